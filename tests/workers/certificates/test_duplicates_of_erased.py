"""Duplicates of an erased person, or after a corrected address: no mail, name or address outlives the change."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import EmailState
from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders.certificates import duplicated, job
from tests.kit.builders.contracts import accepted, everything, someone
from tests.kit.processes.support import change, rows
from tests.kit.relay.relay import Relay
from tests.workers.mail.test_duplicate_mails import graduate, mailer, send
from workers.actors import certificates
from workers.database import transaction
from workers.engine import ledger
from workers.engine.ledger import EMAILS
from workers.mail.letters.writing import write_letters
from workers.mail.mailer import Mailer
from workers.outbox.mails import cancel_mails_to_former_addresses
from workers.people.erasure import erase_person
from workers.people.export import read_person
from workers.people.retention import purge
from workers.requests.accounts import ErasePerson
from workers.requests.certificates import DuplicateOwnCertificate
from workers.requests.queues import Queue

__all__ = ["mailer"]

ZOE = "zoe@example.com"
MAILS = "SELECT to_address, state, context IS NULL FROM email WHERE kind = 'duplicate'"


def erase(email: str = ZOE) -> None:
    with transaction() as session:
        erase_person(session, LOCAL_PORTAL_ID, new_id(), ErasePerson(email=email, reason="demande"))


def correct() -> None:
    """Corrects Zoé's address, which belonged to a stranger from the start."""
    change("UPDATE account SET email_norm = 'right@example.com' WHERE email_norm = 'zoe@example.com'")


def ask_own(enrollment: UUID) -> UUID:
    [(account,)] = rows(f"SELECT account_id FROM enrollment WHERE id = '{enrollment}'")
    request = DuplicateOwnCertificate(enrollment_id=enrollment, account_id=UUID(str(account)), deliver=True)
    with transaction() as session:
        return accepted(session, request, f"key-{new_id()}")


def own(enrollment: UUID) -> dict[str, Any]:
    """Has the learner request a duplicate for themselves."""
    job_id = ask_own(enrollment)
    certificates.do_batch(claimed(Queue.CERTIFICATES))
    return job(job_id)


def found(*words: str) -> set[str]:
    """Returns the tables that still contain one of these words."""
    with transaction() as session:
        tables = everything(session)
    return {name for name, all_rows in tables.items() if any(word in row for row in all_rows for word in words)}


@pytest.mark.parametrize("event", [erase, correct])
def test_the_learners_own_mail_ends_with_their_address(relay: Relay, mailer: Mailer, event: Callable[[], None]) -> None:
    own(graduate("zoe")[0])
    event()
    send(mailer)
    assert relay.mails == []
    assert rows("SELECT state FROM email WHERE kind = 'duplicate'") == [(EmailState.CANCELLED,)]
    assert event is correct or rows(MAILS) == [("", EmailState.CANCELLED, True)]


def test_a_correction_cancels_it_before_a_mailer_sees_it(mailer: Mailer) -> None:
    own(graduate("zoe")[0])
    correct()
    with transaction() as session:
        [(account,)] = rows("SELECT id FROM account")
        cancel_mails_to_former_addresses(session, [(UUID(str(account)), ZOE)], kept=())
    assert [state for _, state, _ in rows(MAILS)] == [EmailState.CANCELLED]


def test_to_an_erased_person_none_is_owed(mailer: Mailer) -> None:
    asked = ask_own(graduate("zoe")[0])
    erase()
    certificates.do_batch(claimed(Queue.CERTIFICATES))
    assert job(asked)["state"] == "succeeded"  # the portal may have it: the law requires the certificate
    assert rows(MAILS) == []


def test_a_manager_who_is_erased_as_a_learner_is_named_nowhere(mailer: Mailer) -> None:
    zoe, _ = graduate("zoe", "rh")
    done = duplicated(zoe, deliver_to="rh@example.com")
    other = duplicated(zoe, deliver_to="chef@example.com")
    with transaction() as session:
        [(account,)] = rows("SELECT id FROM account WHERE email_norm = 'rh@example.com'")
        known = read_person(session, UUID(str(account)), "rh@example.com", None)
    assert "duplicate" in [mail["kind"] for mail in known["mails"]]
    [typed] = [one["request"] for one in known["typed"] if one["kind"] == "duplicate_certificates"]
    assert typed == {"contract": "C-1", "deliver_to": "rh@example.com"}
    erase("rh@example.com")
    assert found("rh@example.com") == set()
    assert set(rows(MAILS)) == {("", EmailState.CANCELLED, True), ("chef@example.com", EmailState.OWED, False)}
    assert rows(f"SELECT CAST(request AS text) FROM job WHERE id = '{done['id']}'") == [
        (f'{{"contract": "C-1", "enrollment_ids": ["{zoe}"]}}',)
    ]
    assert "chef@example.com" in str(rows(f"SELECT CAST(request AS text) FROM job WHERE id = '{other['id']}'"))


def test_a_mailer_that_holds_a_managers_mail_does_not_send_it(mailer: Mailer) -> None:
    zoe, _ = graduate("zoe", "rh")
    duplicated(zoe, deliver_to="rh@example.com")
    with transaction() as session:
        held = ledger.claim(session, EMAILS, Queue.EMAILS_BULK, size=9, lease=30, worker=new_id())
    erase("rh@example.com")
    with transaction() as session:
        assert [one.unsent for one in write_letters(session, held)] == [EmailState.CANCELLED]


def test_no_name_of_a_file_outlives_its_person(mailer: Mailer) -> None:
    people = graduate(someone("zoe", "Champignac", "Zorglub"), "anne")
    done = duplicated(people[0])
    duplicated(people[1])
    number = done["result"]["people"][0]["detail"]["number"]
    assert done["result"]["file"]["name"] == f"attestation-Zorglub-Champignac-{number}.pdf"
    assert found("Champignac-", "-Champignac") == {"certificate_file"}
    erase()
    assert found("Zorglub-Champignac") == set()
    assert job(UUID(done["id"]))["result"]["file"]["name"] == f"{number}.pdf"
    assert rows("SELECT count(*) FROM certificate_file WHERE name LIKE 'attestation-Le-Du-Zoe-%'") == [(1,)]
    # The time set by law is over, and the links have expired.
    for table in ("certificate", "certificate_holder"):
        change(f"UPDATE {table} SET kept_until = now() - interval '1 second'")
    change("UPDATE certificate_file SET created_at = '2020-01-01'")
    with transaction() as session:
        purge(session)
    assert found("Zorglub", "Champignac") == set()
    assert job(UUID(done["id"]))["result"]["file"]["name"] is None
