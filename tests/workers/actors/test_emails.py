"""Owed mails are sent once each, as they were owed, with any names; real mailer processes and a relay."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime

import pytest
from dramatiq.asyncio import EventLoopThread

from models.words import Code
from tests.kit.actors.mailers import (
    CONNECTIONS,
    QUEUES,
    attempts,
    claim,
    close_connections,
    each_came_once,
    mail,
    many_names,
    owe_invitations,
    states,
    wait_for_states,
)
from tests.kit.builders.contracts import someone
from tests.kit.processes.support import (
    Processes,
    change,
    forget,
    rows,
)
from tests.kit.relay.relay import Relay
from workers.actors.emails import emails, emails_bulk
from workers.errors import InvalidRequest
from workers.mail.mailer import Mailer
from workers.requests.registry import parse
from workers.settings import get_settings
from workers.signs import WorkSigns

# Mails that are delivered


def test_every_mail_arrives_once_as_it_was_owed(relay: Relay, processes: Processes) -> None:
    owe_invitations(*many_names(30))
    processes.worker(*QUEUES)
    wait_for_states(processes, sent=30)
    each_came_once(relay, 30)
    assert {mail.recipients for mail in relay.mails} == {(f"p{index}@example.com",) for index in range(30)}
    owed = {
        (f"{address}", f"{message_id}"): date
        for address, message_id, date in rows("SELECT to_address, message_id, date FROM email")
    }
    for one in relay.mails:
        date = owed[one.recipients[0], one.id]
        assert isinstance(date, datetime)
        assert parsedate_to_datetime(str(one.message["Date"])) == date
        assert one.message["To"] == one.recipients[0]
    assert len({re.findall(r"/links/\S+", one.text)[0] for one in relay.mails}) == 30
    answers = [answer for (answer,) in rows("SELECT result->>'answer' FROM email")]
    assert all(str(answer).startswith("2.0.0 queued as Q") for answer in answers)
    assert relay.most_open <= CONNECTIONS
    assert rows("SELECT 1 FROM email WHERE due_at IS NOT NULL OR leased_until IS NOT NULL OR failures > 0") == []
    assert "@example.com" not in processes.logs()


def test_mails_answered_twice_are_sent_once(relay: Relay, loop: EventLoopThread) -> None:
    owe_invitations(*many_names(6))
    mine = claim()
    mailer = Mailer()
    mailer.do_batch(mine)
    mailer.do_batch(mine)
    assert states() == {"sent": 6}
    each_came_once(relay, 6)
    close_connections(mailer)


def test_each_mail_that_ends_is_a_sign_of_the_thread_that_waits(
    relay: Relay, loop: EventLoopThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[int] = []

    @contextmanager
    def patiently(*_: object) -> Iterator[Callable[[], None]]:
        yield lambda: given.append(1)

    monkeypatch.setattr(WorkSigns, "patiently", patiently)
    owe_invitations(*many_names(6))
    mailer = Mailer()
    mailer.do_batch(claim())
    assert (len(given), len(relay.mails)) == (6, 6)
    close_connections(mailer)


def test_a_mail_that_would_mislead_is_not_sent(relay: Relay, processes: Processes) -> None:
    owe_invitations("anne", "late", "gone", "other")
    change("UPDATE email SET expires_at = now() WHERE to_address LIKE 'late@%'")
    change(
        "UPDATE enrollment SET withdrawn_at = now()"
        " WHERE id IN (SELECT enrollment_id FROM email WHERE to_address LIKE 'gone@%')"
    )
    processes.worker(*QUEUES)
    wait_for_states(processes, sent=2, expired=1, cancelled=1)
    each_came_once(relay, 2)


def test_mails_of_a_platform_whose_domain_has_an_accent_are_sent(
    relay: Relay, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_FROM", "École <bonjour@école.example>")
    forget()
    owe_invitations("anne")
    processes.worker(*QUEUES)
    wait_for_states(processes, sent=1)
    [one] = relay.mails
    assert one.id.endswith("@xn--cole-9oa.example>")
    assert one.message["From"] == "École <bonjour@xn--cole-9oa.example>"


# Mails that cannot be made


def test_a_mail_that_cannot_be_rendered_fails_alone(relay: Relay, processes: Processes) -> None:
    owe_invitations("anne", *many_names(7))
    change("UPDATE email SET message_id = 'nonsense' WHERE to_address LIKE 'anne@%'")
    processes.worker(*QUEUES)
    wait_for_states(processes, sent=7, failed=1)
    each_came_once(relay, 7)
    assert (mail()["error"]["class"], attempts()) == ("Permanent", ["dead"])


def test_mails_whose_signing_key_is_gone_are_sent_with_new_links(relay: Relay, processes: Processes) -> None:
    owe_invitations(*many_names(4), "anne", "luc", "zoe")
    change(
        "UPDATE link SET key_id = 'gone' WHERE account_id IN"
        " (SELECT account_id FROM email WHERE to_address NOT LIKE 'p%')"
    )
    processes.worker(*QUEUES)
    wait_for_states(processes, sent=7)
    each_came_once(relay, 7)
    assert rows("SELECT 1 FROM job_attempt") == []
    assert rows("SELECT key_id, count(*) FROM link WHERE voided_at IS NULL GROUP BY key_id") == [("test", 7)]
    assert rows("SELECT key_id, count(*) FROM link WHERE voided_at IS NOT NULL GROUP BY key_id") == [("gone", 3)]


# Names with tricks


def test_a_company_named_as_an_encoded_word_is_refused_at_the_door() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse("put_company", '{"reference": "C", "name": "Acm=?utf-8?q?=0ABcc:_evil=40x.fr?="}')
    assert refused.value.code == Code.UNSAFE_VALUE


def test_names_with_tricks_arrive_inert(relay: Relay, processes: Processes) -> None:
    owe_invitations(
        someone("bcc@example.com", "Bcc: evil@x.fr"),
        someone("bold@example.com", "<b>Zoé</b>"),
        someone("url@example.com", "http://evil.example/x"),
        someone("ok@example.com", "Zoé"),
    )
    change("UPDATE company SET name = 'Acmé <script> www.evil.example'")
    owed = len(rows("SELECT 1 FROM email"))
    processes.worker(*QUEUES)
    wait_for_states(processes, sent=owed)
    assert owed == 4
    for one in relay.mails:
        assert one.message["Bcc"] is None
        assert len(one.message.get_all("To", [])) == 1
        assert "evil" not in str(one.message["To"])
        for part in (one.text, one.html):
            assert "evil@x.fr" not in part
            assert "www.evil.example" not in part
            assert "http://evil" not in part
        assert "<b>Zoé" not in one.html
        assert "<script" not in one.html
    [bold] = relay.to("bold@example.com")
    assert "&lt;b&gt;" in bold.html


def test_a_claim_brings_four_mails_for_each_connection(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMTP_CONNECTIONS", "3")
    get_settings.cache_clear()
    assert [make().size for make in (emails, emails_bulk)] == [12, 12]
