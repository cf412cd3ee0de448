"""A mail to an address without a mailbox puts it on the suppression list for a week; the next mails to
it end unsent.
"""

import pytest

from models.base import new_id
from models.delivery import AttemptFault, SmtpPhase, judge_fault
from tests.kit.actors.mailers import has_accepted
from tests.kit.builders.contracts import (
    add_contract,
    asking,
    did,
    enrol,
    someone,
)
from tests.kit.processes.support import (
    Processes,
    change,
    rows,
    wait_until,
)
from tests.kit.relay.relay import Relay
from workers.database import transaction
from workers.engine import ledger
from workers.engine.broker import wake
from workers.engine.ledger import EMAILS, ClaimedRow, MailColumns
from workers.mail import mailer as mailers
from workers.mail.claimed import ClaimedMail
from workers.mail.mailer import Mailer
from workers.mail.recording import DeliveryAttempt
from workers.requests.accounts import ErasePerson
from workers.requests.queues import Queue

LIST = """
    SELECT email_norm, reason, until - created_at = interval '7 days', created_at > now() - interval '1 minute'
    FROM suppression ORDER BY email_norm"""
STATES = "SELECT to_address, kind, state FROM email ORDER BY created_at, to_address"
NO_MAILBOX = "550 5.1.1 no such user here"


def owe(*people: str, contract: str = "C-1") -> list[str]:
    """Enrolls these people, each with a mail to send; returns their codes."""
    with transaction() as session:
        add_contract(session, contract, seats=100)
        answer = enrol(session, asking(*[someone(f"{one}@example.com") for one in people], contract=contract))[0]
    for queue in ("emails", "emails_bulk"):
        wake(queue)
    return [person.code.value for person in answer.people]


def states() -> list[object]:
    return [state for (_, _, state) in rows(STATES)]


def until(processes: Processes, *wanted: str) -> None:
    wait_until(lambda: states() == list(wanted), say=lambda: f"{states()} {processes.logs()[-3000:]}")


def test_an_address_without_a_mailbox_is_left_alone_for_a_week(relay: Relay, processes: Processes) -> None:
    has_accepted(relay)
    relay.always["RCPT anne@example.com"] = NO_MAILBOX
    owe("anne", "luc")
    processes.worker("emails", "emails_bulk")
    until(processes, "failed", "sent")
    assert rows(LIST) == [("anne@example.com", "hard_bounce", True, True)]

    relay.always.clear()  # its server would accept the mail now
    change("INSERT INTO suppression (email_norm, reason) VALUES ('luc@example.com', 'ops')")
    change("UPDATE email SET state = 'owed', due_at = now(), finished_at = NULL")
    before = len(relay.commands)
    for queue in ("emails", "emails_bulk"):
        wake(queue)
    until(processes, "suppressed", "suppressed")
    assert not [command for command in relay.commands[before:] if command.startswith("RCPT")]
    assert owe("anne", "zoe", contract="C-2") == ["suppressed_address", "not_carried_out"]

    change("UPDATE suppression SET until = now() WHERE email_norm LIKE 'anne%'")  # a week later
    assert owe("anne", contract="C-3") == ["attached"]
    until(processes, "suppressed", "suppressed", "sent")


@pytest.mark.parametrize(
    "answer",
    [
        "550 5.7.1 blocked by policy",
        "550 no",
        "552 5.2.2 mailbox full",
        "554 5.7.1 relay access denied",
        "451 4.3.0 later",
    ],
)
def test_no_other_answer_puts_an_address_on_the_list(relay: Relay, processes: Processes, answer: str) -> None:
    relay.always["RCPT anne@example.com"] = answer
    owe("anne")
    processes.worker("emails", "emails_bulk")
    wait_until(lambda: rows("SELECT 1 FROM email WHERE error IS NOT NULL"), say=processes.logs)
    assert rows(LIST) == []


def test_managers_too(relay: Relay, processes: Processes) -> None:
    change("INSERT INTO suppression (email_norm, reason) VALUES ('chef@example.com', 'ops')")
    with transaction() as session:
        add_contract(session)
        enrol(session, asking("anne"))
    change("UPDATE email SET kind = 'enrollment_report', to_address = 'chef@example.com', account_id = NULL")
    processes.worker("emails", "emails_bulk")
    until(processes, "suppressed")
    assert relay.mails == []


# The records, and their transaction


def claim() -> list[ClaimedRow[MailColumns]]:
    with transaction() as session:
        return ledger.claim(session, EMAILS, Queue.EMAILS, size=50, lease=30, worker=new_id())


def bounce(row: ClaimedRow[MailColumns]) -> DeliveryAttempt:
    fault = AttemptFault(SmtpPhase.RCPT, 550, "5.1.1", "no such user")
    return DeliveryAttempt(ClaimedMail.of(row), fault=fault, verdict=judge_fault(fault))


def test_a_bounce_recorded_by_two_processes_and_then_again_stands_once(relay: Relay) -> None:
    has_accepted(relay)
    owe("anne", "luc")
    claimed = claim()
    mailer = Mailer()
    mailer.record([bounce(row) for row in claimed])
    once = rows("SELECT email_norm, created_at FROM suppression ORDER BY 1")
    mailer.record([bounce(row) for row in claimed[::-1]])  # rows that another worker holds now
    assert rows("SELECT email_norm, created_at FROM suppression ORDER BY 1") == once
    assert [email for email, _ in once] == ["anne@example.com", "luc@example.com"]
    assert states() == ["failed", "failed"]


def test_a_bounce_of_a_person_erased_meanwhile_lists_no_address(relay: Relay) -> None:
    has_accepted(relay)
    owe("anne", "luc")
    claimed = claim()
    with transaction() as session:
        did(session, ErasePerson(email="anne@example.com", reason="asked"))
    Mailer().record([bounce(row) for row in claimed])
    assert rows("SELECT email_norm FROM suppression") == [("luc@example.com",)]
    assert rows("SELECT count(*) FROM email WHERE CAST(email AS text) LIKE '%anne%'") == [(0,)]


def test_an_entry_of_operators_stays(relay: Relay) -> None:
    has_accepted(relay)
    owe("anne")
    change("INSERT INTO suppression (email_norm, reason, created_at) VALUES ('anne@example.com', 'ops', '2026-01-01Z')")
    Mailer().record([bounce(row) for row in claim()])
    assert rows("SELECT reason, until, extract(year FROM created_at) FROM suppression") == [("ops", None, 2026)]


def test_a_mail_accepted_later_removes_no_address_from_the_list(relay: Relay) -> None:
    has_accepted(relay)
    owe("anne")
    row = claim()
    Mailer().record([bounce(one) for one in row])
    change("UPDATE email SET state = 'sending', leased_until = now() + interval '1 minute', finished_at = NULL")
    Mailer().record([DeliveryAttempt(ClaimedMail.of(one), "250 ok") for one in row])
    assert (states(), len(rows(LIST))) == (["sent"], 1)


def test_half_way_neither_the_outcome_nor_the_address_is_recorded(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_accepted(relay)
    owe("anne")
    row = claim()

    def fail(*_: object) -> None:
        raise RuntimeError("killed half-way")

    with monkeypatch.context() as broken:
        broken.setattr(mailers, "suppress_addresses_of", fail)
        with pytest.raises(RuntimeError):
            Mailer().record([bounce(one) for one in row])
    assert (states(), rows(LIST)) == (["sending"], [])
    Mailer().record([bounce(one) for one in row])
    assert (states(), len(rows(LIST))) == (["failed"], 1)
