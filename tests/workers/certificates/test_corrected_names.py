"""A certificate after the name of its person was put right: kept as it was, until it is issued again."""

import pytest
from sqlalchemy import text

from tests.kit.builders.certificates import did, graduates
from tests.kit.builders.contracts import query, someone
from tests.kit.builders.name_corrections import confirm, correct_name
from workers.database import Session
from workers.requests.certificates import CorrectCertificate

PRINTED = """
    SELECT k.snapshot ->> 'first_name', k.snapshot ->> 'last_name' FROM certificate k ORDER BY k.version"""


@pytest.mark.parametrize("activated", [True, False])
def test_read_again_it_has_the_name_that_was_put_right_since(session: Session, activated: bool) -> None:
    [zoe] = graduates(session, someone("zoe", "Zoe", "Ledu"))
    if activated:
        session.execute(text("UPDATE account SET activated_at = now()"))
    correct_name(session, zoe, "Zoé", "Le Dû")
    if activated:
        confirm(session)
    assert query(session, PRINTED) == [("Zoe", "Ledu")]
    [job] = did(session, CorrectCertificate(enrollment_id=zoe, reread=True, reason="nom"))
    assert job["result"]["code"] == "reissued"
    assert query(session, PRINTED) == [("Zoe", "Ledu"), ("Zoé", "Le Dû")]


def test_a_name_that_waits_for_the_person_is_not_printed(session: Session) -> None:
    [zoe] = graduates(session, someone("zoe", "Zoe", "Ledu"))
    session.execute(text("UPDATE account SET activated_at = now()"))
    correct_name(session, zoe, "Zoé", "Le Dû")
    [job] = did(session, CorrectCertificate(enrollment_id=zoe, reread=True, reason="nom"))
    assert job["result"]["code"] == "unchanged"


def test_a_later_certificate_has_the_corrected_name_by_itself(session: Session) -> None:
    [zoe] = graduates(session, someone("zoe", "Zoe", "Ledu"))
    correct_name(session, zoe, "Zoé", "Le Dû")
    graduates(session, someone("zoe", "Zoe", "Ledu"), contract="C-2")
    assert query(session, PRINTED) == [("Zoe", "Ledu"), ("Zoé", "Le Dû")]


def test_a_name_printed_on_purpose_stays_when_it_is_read_again(session: Session) -> None:
    [zoe] = graduates(session, someone("zoe", "Zoe", "Ledu"))
    correct_name(session, zoe, "Zoé", "Le Dû")
    did(session, CorrectCertificate(enrollment_id=zoe, last_name="Le Dû-Martin", reason="nom d’usage"))
    session.execute(text("UPDATE certificate SET issued_at = issued_at + interval '1 day' WHERE version = 2"))
    [job] = did(session, CorrectCertificate(enrollment_id=zoe, reread=True, reason="rien"))
    assert job["result"]["code"] == "unchanged"


def test_a_name_the_request_gives_comes_before_all_others(session: Session) -> None:
    [zoe] = graduates(session, someone("zoe", "Zoe", "Ledu"))
    correct_name(session, zoe, "Zoé", "Le Dû")
    did(session, CorrectCertificate(enrollment_id=zoe, reread=True, last_name="Leduc", reason="nom"))
    assert query(session, PRINTED)[-1] == ("Zoé", "Leduc")
