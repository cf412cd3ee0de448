"""A certificate that the fonts cannot print is not made out to boxes: it waits for a Latin spelling, and is told."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.words import JobState
from tests.kit.builders.certificates import complete, did, duplicated, graduates, organisation, training
from tests.kit.builders.contracts import add_contract, enrolled, query, someone
from tests.kit.builders.name_corrections import confirm, correct_name
from workers.certificates import issuing
from workers.database import Session, transaction
from workers.ops.problems import find_unprintable
from workers.requests.accounts import ErasePerson
from workers.requests.catalog import PutCompany, PutTraining
from workers.requests.certificates import CatchUpCertificates, CorrectCertificate

PRINTED = "SELECT k.number, k.snapshot ->> 'first_name', k.snapshot ->> 'last_name' FROM certificate k ORDER BY k.id"
ISSUED = """
    SELECT state, result -> 'people' -> 0 ->> 'code', result -> 'people' -> 0 ->> 'field' FROM job
    WHERE kind = 'issue_certificate' ORDER BY created_at, id"""
TARO = someone("taro", "太郎", "山田")


def completed(session: Session, *people: Any) -> list[UUID]:
    """Enrolls people who complete the training; their certificates need not be issued."""
    add_contract(session, "C-1", 600)
    did(session, organisation(), training())
    enrollments = enrolled(session, *people)
    complete(session, *enrollments)
    return enrollments


def problems(session: Session) -> list[tuple[str, int]]:
    return [(one["code"], one["count"]) for one in find_unprintable(session)]


@pytest.mark.parametrize("name", ["山田", "Zoé 🎓", "a\u20e3", "გიორგი", "x\ue000"])
def test_a_name_without_letters_in_our_fonts_is_not_issued(session: Session, name: str) -> None:
    [taro] = completed(session, someone("taro", name, "Dû"))
    assert query(session, ISSUED) == [("refused", "name_not_printable", "first_name")]
    assert query(session, PRINTED) == []
    [problem] = find_unprintable(session)
    assert (problem["code"], problem["count"], problem["enrollments"]) == ("name_not_printable", 1, [str(taro)])


@pytest.mark.parametrize("name", ["محمد", "דוד", "Живаго", "Ωνάσης", "Nguyễn"])
def test_a_name_of_our_scripts_is_issued(session: Session, name: str) -> None:
    completed(session, someone("one", name, "Dû"))
    assert [(state, code) for state, code, _ in query(session, ISSUED)] == [("succeeded", "issued")]
    assert problems(session) == []


def test_no_number_is_lost_to_a_certificate_that_waits(session: Session) -> None:
    completed(session, "anne", TARO, "luc")
    numbers = [int(number[5:]) for number, *_ in query(session, PRINTED)]
    assert sorted(numbers) == [1, 2]


@pytest.mark.parametrize("activated", [True, False])
def test_a_latin_spelling_of_the_account_lets_it_go_on(session: Session, activated: bool) -> None:
    [taro] = completed(session, TARO)
    if activated:
        session.execute(text("UPDATE account SET activated_at = now()"))
    correct_name(session, taro, "Taro", "Yamada")
    if activated:
        assert query(session, PRINTED) == []
        confirm(session)
    did(session)  # the catch-up that the correction owes
    assert [names for _, *names in query(session, PRINTED)] == [["Taro", "Yamada"]]
    assert problems(session) == []


def test_a_latin_spelling_on_paper_alone_lets_it_go_on(session: Session) -> None:
    [taro] = completed(session, TARO)
    boxes = CorrectCertificate(enrollment_id=taro, first_name="Taro", reason="latin")
    [job] = did(session, boxes)
    assert (job["state"], job["result"]["code"], job["result"]["field"]) == (
        "refused", "name_not_printable", "last_name",
    )  # fmt: skip
    [job] = did(session, CorrectCertificate(enrollment_id=taro, first_name="Taro", last_name="Yamada", reason="latin"))
    assert (job["state"], job["result"]["code"]) == (JobState.SUCCEEDED, "issued")
    assert [names for _, *names in query(session, PRINTED)] == [["Taro", "Yamada"]]
    assert query(session, "SELECT first_name, last_name FROM account") == [("太郎", "山田")]
    assert problems(session) == []


def test_a_certificate_is_not_corrected_into_boxes(session: Session) -> None:
    [zoe] = graduates(session, someone("zoe", "Zoé", "Le Dû"))
    [job] = did(session, CorrectCertificate(enrollment_id=zoe, last_name="山田", reason="nom"))
    assert (job["state"], job["result"]["code"]) == ("refused", "name_not_printable")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (PutTraining(reference="T-1", title="安全"), "title"),
        (PutTraining(reference="T-1", title="Sécurité", objectives=["Savoir", "🎓"]), "objectives"),
        (PutCompany(reference="acme", name="株式会社"), "employer"),
        (organisation(place="東京"), "place"),
        (organisation(address=["12 rue des Écoles", "東京"]), "address"),
        (organisation(signatory_name="山田"), "signatory_name"),
    ],
)
def test_another_text_that_cannot_be_printed_is_named(session: Session, change: Any, field: str) -> None:
    add_contract(session)
    did(session, organisation(), training(), change)
    [zoe] = enrolled(session, "zoe")
    complete(session, zoe)
    assert query(session, ISSUED) == [("refused", "value_not_printable", field)]
    assert problems(session) == [("value_not_printable", 1)]
    did(session, organisation(), training(), PutCompany(reference="acme", name="Acmé"), CatchUpCertificates())
    assert len(query(session, PRINTED)) == 1
    assert problems(session) == []


def test_certificates_that_wait_hold_up_no_others(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issuing, "CATCH_UP", 2)
    add_contract(session)
    people = enrolled(session, *[someone(f"taro{number}", "太郎") for number in range(4)], "anne", "luc", "max")
    complete(session, *people)
    did(session, organisation(), training())
    for _ in range(4):
        did(session, CatchUpCertificates())
    assert len(query(session, PRINTED)) == 3
    assert problems(session) == [("name_not_printable", 4)]


def test_people_who_were_erased_are_no_problem_of_operators(session: Session) -> None:
    completed(session, TARO)
    did(session, ErasePerson(email="taro@example.com", reason="asked"))
    assert problems(session) == []


@pytest.mark.usefixtures("fresh_database")
def test_a_duplicate_of_an_earlier_release_s_boxes_is_refused() -> None:
    with transaction() as session:
        zoe, luc = graduates(session, "zoe", "luc")
        session.execute(
            text("UPDATE certificate SET snapshot = jsonb_set(CAST(snapshot AS jsonb), '{last_name}', '\"山田\"')"
                 " WHERE enrollment_id = :zoe"),
            {"zoe": zoe},
        )  # fmt: skip
    job = duplicated(zoe, luc)
    assert [one["code"] for one in job["result"]["people"]] == ["name_not_printable", "duplicated"]
    with transaction() as session:
        did(session, CorrectCertificate(enrollment_id=zoe, last_name="Yamada", reason="latin"))
    assert [one["code"] for one in duplicated(zoe)["result"]["people"]] == ["duplicated"]
