"""Owed mails and what becomes of them: real mailer processes, and a relay that answers as its script tells."""

import logging
import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from dramatiq.asyncio import EventLoopThread, get_event_loop_thread, set_event_loop_thread

from models.base import new_id
from models.words import Code
from tests.contracts import add_contract, asking, enrol, someone
from tests.relay import DROP, HANG, Relay
from tests.support import Processes, change, forget, rows, wait_until
from workers import ledger
from workers.actors.emails import MOST_UNCERTAIN, Mailer
from workers.actors.sending import Sealed
from workers.broker import ring
from workers.database import transaction
from workers.errors import InvalidRequest
from workers.ledger import EMAILS, Claimed
from workers.queues import Queue
from workers.requests import PersonToEnroll, parse

QUEUES = ("emails", "emails_bulk")
LEASE = "5"
"""Seconds: long enough for a busy machine to renew it in time, short enough to wait for its end."""


@pytest.fixture
def relay(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """A relay every mailer of this test sends to."""
    with Relay() as opened:
        monkeypatch.setenv("SMTP_URL", opened.url)
        yield opened


@pytest.fixture
def loop() -> Iterator[EventLoopThread]:
    """What the AsyncIO middleware gives a mailer process, for mailers of this process."""
    thread = EventLoopThread(logging.getLogger("test"))
    thread.start(timeout=5)
    set_event_loop_thread(thread)
    yield thread
    set_event_loop_thread(None)
    thread.stop()  # type: ignore[no-untyped-call]


def owe(*people: PersonToEnroll | str) -> None:
    """Enrols these people: each is owed an invitation."""
    with transaction() as session:
        add_contract(session, seats=1_000)
        enrol(session, asking(*people))


def crowd(number: int) -> list[str]:
    return [f"p{index}" for index in range(number)]


def mail(word: str = "anne") -> dict[str, Any]:
    """One mail as it stands; `pause` is the time between its last attempt that failed and the next."""
    [(found,)] = rows(
        "SELECT to_jsonb(e) || jsonb_build_object('pause', (SELECT extract(epoch FROM e.due_at - max(a.created_at))"
        " FROM job_attempt a WHERE a.row_id = e.id)) FROM email e WHERE to_address = :address",
        address=f"{word}@example.com",
    )
    assert isinstance(found, dict)
    return found


def attempts(word: str = "anne") -> list[object]:
    found = rows(
        "SELECT outcome FROM job_attempt a JOIN email e ON e.id = a.row_id"
        " WHERE a.ledger = 'email' AND to_address = :address ORDER BY a.id",
        address=f"{word}@example.com",
    )
    return [outcome for (outcome,) in found]


def states() -> Counter[object]:
    return Counter(state for (state,) in rows("SELECT state FROM email"))


def due_now() -> None:
    """The time until the next attempt has passed."""
    change("UPDATE email SET due_at = now() WHERE due_at IS NOT NULL")
    for queue in QUEUES:
        ring(queue)


def until(processes: Processes, **wanted: int) -> None:
    wait_until(lambda: states() == wanted, say=lambda: f"{states()} {processes.logs()[-3000:]}")


def each_came_once(relay: Relay, number: int) -> None:
    assert Counter(relay.got().values()) == {1: number}


def claim() -> list[Claimed]:
    with transaction() as session:
        return ledger.claim(session, EMAILS, Queue.EMAILS, size=50, lease=30, worker=new_id())


# What goes well


def test_every_mail_arrives_once_as_it_was_owed(relay: Relay, processes: Processes) -> None:
    owe(*crowd(30))
    processes.worker(*QUEUES)
    until(processes, sent=30)
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
    assert relay.most_open <= 4
    assert rows("SELECT 1 FROM email WHERE due_at IS NOT NULL OR leased_until IS NOT NULL OR failures > 0") == []
    assert "@example.com" not in processes.logs()


def test_mails_answered_twice_are_sent_once(relay: Relay, loop: EventLoopThread) -> None:
    owe(*crowd(6))
    mine = claim()
    mailer = Mailer()
    mailer.do_batch(mine)
    mailer.do_batch(mine)
    assert states() == {"sent": 6}
    each_came_once(relay, 6)
    _close(mailer)


def _close(mailer: Mailer) -> None:
    async def close() -> None:
        mailer.connections.close()

    loop = get_event_loop_thread()
    assert loop is not None
    loop.run_coroutine(close())


def test_what_would_mislead_is_not_sent(relay: Relay, processes: Processes) -> None:
    owe("anne", "late", "gone", "other")
    change("UPDATE email SET expires_at = now() WHERE to_address LIKE 'late@%'")
    change(
        "UPDATE enrollment SET withdrawn_at = now()"
        " WHERE id IN (SELECT enrollment_id FROM email WHERE to_address LIKE 'gone@%')"
    )
    processes.worker(*QUEUES)
    until(processes, sent=2, expired=1, cancelled=1)
    each_came_once(relay, 2)


def test_mails_of_a_platform_whose_domain_has_an_accent_are_sent(
    relay: Relay, processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAIL_FROM", "École <bonjour@école.example>")
    forget()
    owe("anne")
    processes.worker(*QUEUES)
    until(processes, sent=1)
    [one] = relay.mails
    assert one.id.endswith("@xn--cole-9oa.example>")
    assert one.message["From"] == "École <bonjour@xn--cole-9oa.example>"


# What the relay refuses


@pytest.mark.parametrize(
    ("step", "answer", "reason"),
    [
        ("RCPT", "451 4.7.1 greylisted", "deferred"),
        ("BODY", "452 4.3.1 no room", "deferred"),
        ("BODY", "421 4.3.2 closing", "relay_busy"),
        ("RCPT", "552 5.2.2 mailbox full", "mailbox_full"),
    ],
)
def test_a_refusal_for_now_is_tried_again_when_due(
    relay: Relay, processes: Processes, step: str, answer: str, reason: str
) -> None:
    relay.script = {f"{step} anne@example.com": [answer]}
    owe("anne", *crowd(6))
    processes.worker(*QUEUES)
    until(processes, sent=6, owed=1)
    found = mail()
    assert (found["failures"], found["leased_until"], found["error"]["reason"]) == (1, None, reason)
    assert 60 <= found["pause"] <= 72
    assert attempts() == ["retry"]
    due_now()
    until(processes, sent=7)
    assert len([one for one in relay.to("anne@example.com") if one.answer.startswith("250")]) == 1
    assert mail()["claim"] == 2


def test_an_address_that_does_not_exist_is_never_tried_again(relay: Relay, processes: Processes) -> None:
    relay.always = {"RCPT anne@example.com": "550 5.1.1 <anne@example.com>: unknown"}
    owe("anne", *crowd(6))
    processes.worker(*QUEUES)
    until(processes, sent=6, failed=1)
    found = mail()
    assert (found["due_at"], found["failures"], attempts()) == (None, 1, ["dead"])
    assert (found["error"]["class"], found["error"]["reason"]) == ("failed", "address_rejected")
    assert "550" in found["error"]["message"]
    assert "anne@" not in found["error"]["message"]
    owe("zoe")
    due_now()
    until(processes, sent=7, failed=1)
    assert relay.commands.count("RCPT TO:<anne@example.com>") == 1


@pytest.mark.parametrize(
    ("answer", "reason", "first", "second"),
    [
        ("421 4.7.0 try again in 2 minutes", "relay_busy", 120, 120),
        ("450 4.1.1 unverified: its server said: throttled, come back in 60 minutes", "throttled", 3600, 3600),
        ("554 5.7.1 Relay access denied", "relaying_denied", 60, 300),
        ("530 5.7.0 Authentication required", "auth_refused", 60, 300),
        (DROP, "connection_lost", 60, 300),
    ],
)
def test_one_recipient_cannot_stop_the_others(
    relay: Relay, processes: Processes, answer: str, reason: str, first: int, second: int
) -> None:
    relay.always = {"RCPT anne@example.com": answer}
    owe("anne", *crowd(6))
    processes.worker(*QUEUES)
    until(processes, sent=6, owed=1)
    assert first <= mail()["pause"] <= 1.2 * first
    due_now()
    wait_until(lambda: mail()["failures"] == 2, say=processes.logs)
    assert second <= mail()["pause"] <= 1.2 * second
    assert (mail()["error"]["reason"], attempts()) == (reason, ["retry", "retry"])
    owe("zoe")
    due_now()
    wait_until(lambda: relay.to("zoe@example.com"), say=processes.logs)
    assert "relay.rests" not in processes.logs()


def test_the_relay_rests_when_it_refuses_one_recipient_after_the_other(relay: Relay, processes: Processes) -> None:
    relay.always = {"RCPT": "454 Throttling failure: Maximum sending rate exceeded, wait 60 minutes"}
    owe(*(someone(f"anne@c{number}.example") for number in range(30)))
    processes.worker(*QUEUES)
    wait_until(lambda: "relay.rests" in processes.logs(), say=processes.logs)
    wait_until(lambda: states() == {"owed": 30})
    assert '"seconds": 1' in re.findall(r".*relay\.rests.*", processes.logs())[0]
    [(tried, waiting)] = rows(
        "SELECT count(*) FILTER (WHERE failures = 1), count(*) FILTER (WHERE failures = 0 AND due_at <= now())"
        " FROM email"
    )
    assert tried in range(2, 6)  # two tell of the relay; the other connections may be asking
    assert waiting == 30 - int(str(tried))


# What may have arrived


def test_a_mail_lost_inside_data_is_sent_again_later_as_the_same(relay: Relay, processes: Processes) -> None:
    relay.script = {"BODY anne@example.com": [DROP]}
    owe("anne", *crowd(6))
    processes.worker(*QUEUES)
    until(processes, sent=6, uncertain=1)
    found = mail()
    assert 900 <= found["pause"] <= 1800
    assert (found["failures"], found["finished_at"], attempts()) == (1, None, ["uncertain"])
    due_now()
    until(processes, sent=7)
    first, second = relay.to("anne@example.com")
    assert first.message.as_bytes() == second.message.as_bytes()


def test_a_mail_lost_too_often_is_left_uncertain(relay: Relay, processes: Processes) -> None:
    relay.always = {"BODY": DROP}
    owe("anne")
    processes.worker(*QUEUES)
    for losses in range(1, MOST_UNCERTAIN + 1):
        wait_until(lambda: mail()["failures"] == losses, say=processes.logs)  # noqa: B023
        due_now()
    found = mail()
    assert (found["state"], found["due_at"]) == ("uncertain", None)
    assert found["finished_at"] is not None
    assert relay.got() == {found["message_id"]: MOST_UNCERTAIN}


def test_refusals_before_do_not_count_as_losses(relay: Relay, processes: Processes) -> None:
    relay.script = {"RCPT": ["451 later"] * MOST_UNCERTAIN, "BODY": [DROP]}
    owe("anne")
    processes.worker(*QUEUES)
    for failures in range(1, MOST_UNCERTAIN + 2):
        wait_until(lambda: mail()["failures"] == failures, say=processes.logs)  # noqa: B023
        assert mail()["due_at"] is not None
        due_now()
    until(processes, sent=1)
    assert attempts() == ["retry"] * MOST_UNCERTAIN + ["uncertain"]


# A relay that is away


def test_while_the_relay_is_away_mails_wait_and_no_attempt_is_burnt(relay: Relay, processes: Processes) -> None:
    relay.stop()
    owe(*crowd(30))
    processes.worker(*QUEUES)
    processes.clock()
    wait_until(lambda: "relay.rests" in processes.logs(), say=processes.logs)
    wait_until(lambda: states() == {"owed": 30})
    postponed = rows(
        "SELECT extract(epoch FROM e.due_at - a.created_at) FROM job_attempt a JOIN email e ON e.id = row_id"
    )
    assert 1 <= len(postponed) <= 4
    assert all(5 < float(str(pause)) <= 12 for (pause,) in postponed)
    assert rows("SELECT DISTINCT outcome, error->>'reason' FROM job_attempt") == [("postponed", "connection_lost")]
    assert rows("SELECT count(*) FROM email WHERE failures = 0 AND rescues = 0") == [(30,)]
    assert rows("SELECT count(*) FROM email WHERE due_at <= now()") == [(30 - len(postponed),)]
    relay.start()
    until(processes, sent=30)
    each_came_once(relay, 30)
    assert rows("SELECT count(*) FROM email WHERE failures = 0 AND rescues = 0") == [(30,)]


def test_a_relay_without_the_tls_we_require_gets_nothing(relay: Relay, processes: Processes) -> None:
    owe("anne")
    processes.worker(*QUEUES, SMTP_URL=relay.url.replace("?tls=off", ""))
    wait_until(lambda: attempts() == ["postponed"], say=processes.logs)
    found = mail()
    assert (found["state"], found["failures"]) == ("owed", 0)
    assert (found["error"]["class"], found["error"]["reason"]) == ("configuration", "not_offered")
    assert 300 <= found["pause"] <= 360
    assert {command[:4] for command in relay.commands} == {"EHLO"}


# Mails that cannot be made


def test_a_mail_that_cannot_be_rendered_fails_alone(relay: Relay, processes: Processes) -> None:
    owe("anne", *crowd(7))
    change("UPDATE email SET message_id = 'nonsense' WHERE to_address LIKE 'anne@%'")
    processes.worker(*QUEUES)
    until(processes, sent=7, failed=1)
    each_came_once(relay, 7)
    assert (mail()["error"]["class"], attempts()) == ("Permanent", ["dead"])


def test_mails_whose_links_can_no_longer_be_signed_are_sent_with_others_beside_their_neighbours(
    relay: Relay, processes: Processes
) -> None:
    owe(*crowd(4), "anne", "luc", "zoe")
    change(
        "UPDATE link SET key_id = 'gone' WHERE account_id IN"
        " (SELECT account_id FROM email WHERE to_address NOT LIKE 'p%')"
    )
    processes.worker(*QUEUES)
    until(processes, sent=7)
    each_came_once(relay, 7)
    assert rows("SELECT 1 FROM job_attempt") == []
    assert rows("SELECT key_id, count(*) FROM link WHERE voided_at IS NULL GROUP BY key_id") == [("test", 7)]
    assert rows("SELECT key_id, count(*) FROM link WHERE voided_at IS NOT NULL GROUP BY key_id") == [("gone", 3)]


# Leases


def test_a_relay_slower_than_the_lease_gets_the_mail_once(relay: Relay, processes: Processes) -> None:
    relay.always = {"BODY": HANG}
    owe("anne", *crowd(11))
    processes.worker(*QUEUES, LEASE_SECONDS=LEASE)
    processes.clock(LEASE_SECONDS=LEASE)
    assert relay.hanging.wait(20), processes.logs()
    [(claimed_at,)] = rows("SELECT max(started_at) FROM email")
    over = f"SELECT 1 FROM clock WHERE now() > :claimed_at + interval '{LEASE} s' + interval '2 s'"
    wait_until(lambda: rows(over, claimed_at=claimed_at))
    assert rows("SELECT sum(rescues), max(claim) FROM email") == [(0, 1)]
    relay.go_on.set()
    until(processes, sent=12)
    each_came_once(relay, 12)
    assert rows("SELECT sum(rescues), max(claim) FROM email") == [(0, 1)]


def test_a_mail_taken_back_before_data_is_not_sent_by_its_old_owner(relay: Relay, processes: Processes) -> None:
    relay.always = {"RCPT": HANG}
    owe("anne", "zoe", "luc")
    processes.worker(*QUEUES, LEASE_SECONDS=LEASE)
    processes.clock(LEASE_SECONDS=LEASE)
    assert relay.hanging.wait(20), processes.logs()
    wait_until(lambda: states() == {"sending": 3})
    change("UPDATE email SET claim = claim + 1, leased_until = now() + interval '1 h' WHERE to_address LIKE 'anne@%'")
    for _ in range(2):  # when the second renewal is seen, the mailer has drawn its conclusions from the first
        ends = mail("zoe")["leased_until"]
        wait_until(lambda: mail("zoe")["leased_until"] > ends)  # noqa: B023
    relay.go_on.set()
    until(processes, sent=2, sending=1)
    assert relay.to("anne@example.com") == []
    assert (mail()["claim"], attempts()) == (2, [])


@pytest.mark.parametrize(("kept", "sent"), [(slice(0), 0), (slice(4), 4), (None, 0)])
def test_a_mailer_frozen_while_it_claimed_does_not_believe_in_a_lease_that_ended(
    relay: Relay, loop: EventLoopThread, monkeypatch: pytest.MonkeyPatch, kept: slice | None, sent: int
) -> None:
    """It asks which are still its own; where the database does not answer, none is."""
    owe(*crowd(6))
    mailer, mine = Mailer(), claim()
    ours = None if kept is None else {row.id for row in mine[kept]}
    monkeypatch.setattr(mailer, "renew", lambda _: ours)
    mailer.do_batch([replace(row, asked_at=row.asked_at - mailer.lease) for row in mine])
    assert len(relay.mails) == states()["sent"] == sent
    assert states()["sending"] == 6 - sent
    _close(mailer)


def test_leases_are_moved_while_mails_are_made(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    owe(*crowd(6))
    mailer, mine = Mailer(), claim()
    change("UPDATE email SET leased_until = now() + interval '1 s'")
    made: list[Sealed] = []
    monkeypatch.setattr(mailer, "_send", made.extend)
    mailer.do_batch([replace(row, asked_at=row.asked_at - mailer.lease / 2) for row in mine])
    assert rows("SELECT count(*) FROM email WHERE leased_until > now() + interval '10 s'") == [(6,)]
    assert sum(one.good_until > time.monotonic() + mailer.lease / 2 for one in made) == 6


def test_a_renewal_the_database_does_not_answer_says_nothing_of_the_leases(
    relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    owe("anne")
    mailer, mine = Mailer(), claim()
    assert mailer.renew(mine) == {row.id for row in mine}
    with monkeypatch.context() as away:
        away.setenv("DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
        forget()
        assert mailer.renew(mine) is None
    forget()
    assert mailer.renew(mine) == {row.id for row in mine}


# Stopping


def test_a_mailer_that_is_stopped_records_what_it_began_and_gives_back_the_rest(
    relay: Relay, processes: Processes
) -> None:
    relay.always = {"BODY": HANG}
    owe(*crowd(30))
    worker = processes.worker(*QUEUES)
    wait_until(lambda: relay.commands.count("DATA") == 4, say=processes.logs)
    os.killpg(worker.pid, signal.SIGTERM)
    wait_until(lambda: "Shutting down" in processes.logs(), say=processes.logs)
    relay.go_on.set()
    assert worker.wait(timeout=20) == 0, processes.logs()
    assert states() == {"sent": 4, "owed": 26}
    assert rows("SELECT 1 FROM email WHERE leased_until IS NOT NULL OR rescues > 0 OR failures > 0") == []
    processes.worker(*QUEUES)
    until(processes, sent=30)
    each_came_once(relay, 30)


# Names with tricks


def test_a_company_named_as_an_encoded_word_is_refused_at_the_door() -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse("put_company", '{"reference": "C", "name": "Acm=?utf-8?q?=0ABcc:_evil=40x.fr?="}')
    assert refused.value.code == Code.UNSAFE_VALUE


def test_names_with_tricks_arrive_inert(relay: Relay, processes: Processes) -> None:
    owe(
        someone("bcc@example.com", "Bcc: evil@x.fr"),
        someone("bold@example.com", "<b>Zoé</b>"),
        someone("url@example.com", "http://evil.example/x"),
        someone("ok@example.com", "Zoé"),
    )
    change("UPDATE company SET name = 'Acmé <script> www.evil.example'")
    owed = len(rows("SELECT 1 FROM email"))
    processes.worker(*QUEUES)
    until(processes, sent=owed)
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
