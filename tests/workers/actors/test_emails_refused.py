"""A relay that refuses us blames no recipient: mails wait, operators are told its words, and nothing is given up.

The real Postfix of these tests is set up wrongly as operators do; the other relay answers as it is told.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from dramatiq.asyncio import EventLoopThread

from tests.kit.actors.mailers import (
    close_connections,
    due_now,
    mail,
    many_names,
    owe_invitations,
    states,
)
from tests.kit.builders.contracts import someone
from tests.kit.processes.support import change, forget, rows
from tests.kit.relay.postfix import Postfix, postfix
from tests.kit.relay.relay import Relay
from workers.database import transaction
from workers.engine import ledger
from workers.engine.claimer import this_process
from workers.engine.ledger import EMAILS
from workers.mail.mailer import Mailer
from workers.ops.status import read_status
from workers.requests.queues import Queue


def send_due() -> None:
    """Sends all due mails, as a mailer that has just started does."""
    mailer = Mailer()
    for queue in (Queue.EMAILS, Queue.EMAILS_BULK):
        with transaction() as session:
            held = ledger.claim(session, EMAILS, queue, size=50, lease=30, worker=this_process())
        mailer.do_batch(held)
    close_connections(mailer)


def refusals() -> list[dict[str, Any]]:
    """Returns what ``matricule status`` tells of relays that refuse us."""
    with transaction() as session:
        problems = read_status(session, None)["problems"]
    return [problem for problem in problems if problem["code"] == "relay_refuses"]


def owe_to_several() -> None:
    owe_invitations(*(someone(f"anne@c{number}.example") for number in range(6)))


# A real Postfix, set up wrongly

WRONG: dict[str, tuple[dict[str, str], str, str]] = {
    "sender": (
        {"smtpd_sender_restrictions": "check_sender_access inline:{formation.test=REJECT}"},
        "sender_refused",
        "Sender address rejected: Access denied",
    ),
    "sender's domain": (
        {"smtpd_sender_restrictions": "reject_unknown_sender_domain"},
        "sender_refused",
        "Sender address rejected: Domain not found",
    ),
    "client": ({"smtpd_client_restrictions": "reject"}, "relay_refused", "Client host rejected"),
    "hello": (
        {"smtpd_helo_restrictions": "check_helo_access static:REJECT"},
        "relay_refused",
        "Helo command rejected",
    ),
    "relaying for now": ({"mynetworks": "192.0.2.0/24"}, "relaying_denied", "454 4.7.1 <(address)>: Relay access"),
    "relaying": (
        {"mynetworks": "192.0.2.0/24", "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination"},
        "relaying_denied",
        "554 5.7.1 <(address)>: Relay access denied",
    ),
    "encryption": ({"smtpd_tls_security_level": "encrypt"}, "auth_refused", "Must issue a STARTTLS command first"),
    "table": (
        {"smtpd_recipient_restrictions": "check_recipient_access texthash:/nonexistent/table"},
        "relay_refused",
        "Server configuration error",
    ),
    "content": ({"header_checks": "regexp:{{/^Subject:/ REJECT}}"}, "policy", "message content rejected"),
    "size": ({"message_size_limit": "500"}, "message_rejected", "message file too big"),
    "mailboxes": (
        {"mydestination": ", ".join(f"c{n}.example" for n in range(6)), "local_recipient_maps": "inline:{root=x}"},
        "address_rejected",
        "User unknown in local recipient table",
    ),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Postfix]:
    """Runs one Postfix for all tests, which set it up anew."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        with postfix(Path(folder)) as opened:
            yield opened


@pytest.mark.parametrize("fault", WRONG)
def test_no_mail_is_lost_to_a_postfix_set_up_wrongly(
    server: Postfix, fresh_database: str, monkeypatch: pytest.MonkeyPatch, loop: EventLoopThread, fault: str
) -> None:
    monkeypatch.setenv("SMTP_URL", server.url)
    forget()
    settings, reason, words = WRONG[fault]
    server.configure(**settings)
    owe_to_several()
    send_due()
    assert states() == {"owed": 6}, server.log
    [told] = refusals()
    assert (told["subject"], told["reason"], words in told["words"]) == (server.name, reason, True), told
    assert "@" not in told["words"]
    due_now()
    send_due()
    assert states() == {"owed": 6}
    assert rows("SELECT 1 FROM suppression") == []
    server.configure()
    due_now()
    send_due()
    assert (states(), refusals()) == ({"sent": 6}, []), server.log


# A relay that answers as it is told


@pytest.fixture
def four_connections(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a mailer try four mails at the same time, fewer than these tests have."""
    monkeypatch.setenv("SMTP_CONNECTIONS", "4")
    forget()


@pytest.mark.parametrize(
    "answer", ["554 5.7.1 <a@x.fr>: Sender address rejected: Access denied", "550 relay not permitted"]
)
def test_words_about_us_stop_all_mails_after_two_domains(
    relay: Relay, loop: EventLoopThread, four_connections: None, answer: str
) -> None:
    relay.always = {"RCPT": answer}
    owe_to_several()
    send_due()
    assert states() == {"owed": 6}
    tried = len([command for command in relay.commands if command.startswith("RCPT")])
    assert tried in range(2, 6)  # two prove it; other connections may be trying too
    [(waiting,)] = rows("SELECT count(*) FROM email WHERE failures = 0 AND due_at <= now()")
    assert waiting == 6 - tried


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("550 5.7.1 Access denied", "policy"),
        ("554 Transaction failed", "recipient_refused"),
        ("550 5.1.1 User unknown", "address_rejected"),
        ("501 5.5.4 Invalid arguments", "protocol_error"),
    ],
)
def test_a_recipient_is_blamed_once_another_mail_was_accepted(
    relay: Relay, loop: EventLoopThread, answer: str, reason: str
) -> None:
    relay.always = {"RCPT anne@example.com": answer}
    owe_invitations("anne")
    for _ in range(2):
        send_due()
        assert (mail()["state"], mail()["error"]["reason"]) == ("owed", reason)
        assert [one["reason"] for one in refusals()] == [reason]
        due_now()
    owe_invitations("luc")
    change("UPDATE email SET due_at = now() + interval '1 hour' WHERE to_address LIKE 'anne@%'")
    send_due()
    assert (mail("luc")["state"], refusals()) == ("sent", [])
    due_now()
    send_due()
    assert (mail()["state"], mail()["error"]["reason"], refusals()) == ("failed", reason, [])


def test_a_refusal_without_a_cause_is_tried_again_though_the_relay_worked(relay: Relay, loop: EventLoopThread) -> None:
    owe_invitations(*many_names(3))
    send_due()
    relay.always = {"RCPT": "550 5.7.1 Access denied"}
    owe_to_several()
    send_due()
    assert states() == {"sent": 3, "owed": 6}


def test_addresses_refused_one_after_the_other_are_not_blamed(
    relay: Relay, loop: EventLoopThread, four_connections: None
) -> None:
    owe_invitations("luc")
    send_due()
    relay.always = {"RCPT": "550 5.1.2 Domain not found"}
    owe_invitations(*(someone(f"anne@c{number}.example") for number in range(30)))
    send_due()
    assert len(rows("SELECT 1 FROM suppression")) <= 4  # of the first, over four connections at once
    assert states()["owed"] >= 26
    [told] = refusals()
    assert "Domain not found" in told["words"]


def test_a_gmail_mailbox_with_too_many_mails_is_tried_later(relay: Relay, loop: EventLoopThread) -> None:
    rate = "550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages"
    relay.script = {"RCPT anne@example.com": [rate]}
    owe_invitations("anne", *many_names(3))
    send_due()
    assert (states(), mail()["error"]["reason"]) == ({"sent": 3, "owed": 1}, "deferred")
    due_now()
    send_due()
    assert states() == {"sent": 4}


def test_try_again_in_one_second_hurries_no_mail(relay: Relay, loop: EventLoopThread) -> None:
    relay.always = {"RCPT anne@example.com": "450 4.7.1 Greylisted, try again in 1 second"}
    owe_invitations("anne", "luc")
    send_due()
    assert mail()["pause"] >= 60
