"""The recorder of outcomes: one commit for all batches of a process, and what it does when one cannot be recorded."""

import asyncio
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from dramatiq.asyncio import EventLoopThread
from structlog.testing import CapturingLogger

from models.delivery import AttemptFault, SmtpPhase, judge_fault
from tests.kit.actors.mailers import claim, close_connections, each_came_once, mail, owe_invitations, states
from tests.kit.processes.support import change, forget, rows, wait_until
from tests.kit.relay.relay import HANG, Relay
from tests.workers.mail.test_sending import sealed
from workers.database import transaction
from workers.engine import ledger
from workers.engine.ledger import EMAILS
from workers.engine.stopping import STOPPING
from workers.mail import recording
from workers.mail.claimed import ClaimedMail
from workers.mail.mailer import Mailer
from workers.mail.recording import DeliveryAttempt, OutcomeGivenUpError, OutcomeRecorder
from workers.outbox import relays


def attempt() -> DeliveryAttempt:
    return DeliveryAttempt(sealed().mail, "2.0.0 queued")


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the recorder wait for every connection at work, however slow this machine is."""
    monkeypatch.setattr(recording, "GATHER_SECONDS", 60.0)


@pytest.mark.usefixtures("patient")
def test_outcomes_of_all_connections_are_committed_together() -> None:
    commits: list[int] = []

    async def run() -> None:
        recorder = OutcomeRecorder(lambda attempts: commits.append(len(attempts)))

        async def send() -> None:
            with recorder.connection():
                for _ in range(3):
                    await recorder.record(attempt())

        await asyncio.gather(*(send() for _ in range(5)))

    asyncio.run(run())
    assert commits == [5, 5, 5]


@pytest.mark.usefixtures("patient")
def test_a_connection_that_ends_is_not_waited_for() -> None:
    commits: list[int] = []

    async def run() -> None:
        recorder = OutcomeRecorder(lambda attempts: commits.append(len(attempts)))
        idle, sending = recorder.connection(), recorder.connection()
        with idle:
            with sending:
                recorded = recorder.record(attempt())
                await asyncio.sleep(0)
                assert not recorded.done()
            await asyncio.sleep(0)
        await recorded

    asyncio.run(run())
    assert commits == [1]


def test_an_outcome_that_cannot_be_recorded_takes_no_other_along() -> None:
    good, bad, later = attempt(), attempt(), attempt()
    committed: list[DeliveryAttempt] = []

    def commit(attempts: Sequence[DeliveryAttempt]) -> None:
        if bad in attempts:
            raise ValueError("a bug")
        committed.extend(attempts)

    async def run() -> list[BaseException | None]:
        recorder = OutcomeRecorder(commit)
        ends = await asyncio.gather(recorder.record(good), recorder.record(bad), return_exceptions=True)
        await recorder.record(later)  # the recorder goes on
        return list(ends)

    ends = asyncio.run(run())
    assert committed == [good, later]
    assert ends[0] is None
    assert isinstance(ends[1], ValueError)


def test_a_recorder_without_its_thread_tells_those_who_wait() -> None:
    async def run() -> list[BaseException | None]:
        recorder = OutcomeRecorder(lambda _: None)
        recorder._thread.shutdown()
        ends = await asyncio.gather(*(recorder.record(attempt()) for _ in range(2)), return_exceptions=True)
        return [*ends, *await asyncio.gather(recorder.record(attempt()), return_exceptions=True)]

    ends = asyncio.run(run())
    assert [type(end) for end in ends] == [RuntimeError] * 3


def test_no_mail_leaves_before_the_one_before_it_is_recorded(relay: Relay, loop: EventLoopThread) -> None:
    owe_invitations("anne", "luc")
    mine = claim()
    mailer = Mailer()
    mailer.places = 1
    with ThreadPoolExecutor(1) as pool, transaction() as other:
        ledger.hold(other, EMAILS, mine)
        sending = pool.submit(mailer.do_batch, mine)
        wait_until(lambda: len([word for word in relay.commands if word.startswith("RCPT")]) == 2)
        assert (len(relay.mails), relay.commands.count("DATA")) == (1, 1)
        other.rollback()
        sending.result(30)
    assert states() == {"sent": 2}
    each_came_once(relay, 2)
    close_connections(mailer)


# Records in the database


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> CapturingLogger:
    """Keeps the log of the mailer."""
    lines = CapturingLogger()
    monkeypatch.setattr("workers.mail.mailer.log", lines)
    return lines


def told(lines: CapturingLogger) -> Counter[str]:
    """Counts the mails that each event about mails names."""
    events = Counter[str]()
    for line in lines.calls:
        if line.args[0].startswith("mail."):
            events[line.args[0]] += len(line.kwargs["rows"])
    return events


def sent_attempts() -> list[DeliveryAttempt]:
    return [DeliveryAttempt(ClaimedMail.of(row), "2.0.0 queued") for row in claim()]


def test_a_claim_lost_in_a_gathered_statement_loses_no_other_outcome(relay: Relay, lines: CapturingLogger) -> None:
    owe_invitations("anne", "luc", "zoe")
    ended = sent_attempts()
    change("UPDATE email SET claim = claim + 1 WHERE to_address LIKE 'anne@%'")
    Mailer().record(ended)
    assert told(lines) == {"mail.sent": 2, "mail.taken_back": 1}
    assert (mail()["state"], mail("luc")["state"], mail("zoe")["state"]) == ("sending", "sent", "sent")
    Mailer().record(ended)  # the answer to the first statement may have been lost with its connection
    assert told(lines) == {"mail.sent": 4, "mail.taken_back": 2}
    assert mail("luc")["result"] == {"answer": "2.0.0 queued"}
    assert rows("SELECT state, leased_until IS NULL, due_at IS NULL FROM email ORDER BY state") == [
        ("sending", False, False),
        ("sent", True, True),
        ("sent", True, True),
    ]


# The first session that writes into the register of relays ends, and with it its connection.
BREAK_AT_REGISTER = """
    CREATE SEQUENCE writes;
    CREATE FUNCTION break_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
      IF nextval('writes') = 1 THEN PERFORM pg_terminate_backend(pg_backend_pid()), pg_sleep(5); END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER break_once BEFORE INSERT ON mail_relay FOR EACH ROW EXECUTE FUNCTION break_once()"""


def test_a_connection_lost_at_the_register_takes_no_mail_back(relay: Relay, lines: CapturingLogger) -> None:
    owe_invitations("anne", "luc")
    change(BREAK_AT_REGISTER)
    Mailer().record(sent_attempts())
    assert told(lines) == {"mail.sent": 2}
    assert (states(), rows("SELECT count(accepted_at) FROM mail_relay")) == ({"sent": 2}, [(1,)])


@pytest.fixture
def stopping() -> Iterator[threading.Event]:
    """Gives the sign to stop, and takes it back at the end."""
    yield STOPPING
    STOPPING.clear()


def lose_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    forget()


def test_no_mail_follows_one_that_is_left_unrecorded_at_the_end(
    relay: Relay, loop: EventLoopThread, monkeypatch: pytest.MonkeyPatch, stopping: threading.Event
) -> None:
    owe_invitations("anne", "luc")
    relay.room, relay.script = 0, {"RCPT": ["250 ok", HANG]}
    mailer, mine = Mailer(), claim()
    mailer.places = 1
    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as away:
        sending = pool.submit(mailer.do_batch, mine)
        wait_until(lambda: relay.holding == 1)
        lose_database(away)
        mailer.lease = 0.0  # no outcome waits longer once the process has to stop
        relay.admit(None)
        assert relay.hanging.wait(20)
        stopping.set()
        relay.go_on.set()
        sending.result(30)
    forget()
    assert (len(relay.mails), relay.commands.count("DATA")) == (1, 1)
    assert states() == {"sending": 2}
    close_connections(mailer)


def test_an_outcome_waits_for_the_database_until_the_process_has_to_stop(
    relay: Relay, monkeypatch: pytest.MonkeyPatch, stopping: threading.Event
) -> None:
    owe_invitations("anne")
    mailer, [ended] = Mailer(), sent_attempts()
    late = replace(ended, ended_at=ended.ended_at - 2 * mailer.lease)
    with ThreadPoolExecutor(1) as pool, monkeypatch.context() as away:
        lose_database(away)
        recording_it = pool.submit(mailer.record, [late])
        with pytest.raises(TimeoutError):
            recording_it.result(1)
        stopping.set()
        with pytest.raises(OutcomeGivenUpError, match=str(ended.row.id)):
            recording_it.result(30)
    forget()


def test_one_accepted_mail_in_a_while_is_entered_for_its_relay(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    owe_invitations("anne", "luc", "zoe")
    ended = sent_attempts()
    register = "SELECT accepted_at, refused_words FROM mail_relay"
    mailer = Mailer()
    mailer.record(ended[:1])
    [entered] = rows(register)
    mailer.record(ended[1:2])
    assert rows(register) == [entered]
    with transaction() as session:
        relays.record_refused(session, mailer.relay, "policy", "no")
    mailer.record(ended[2:])
    [(again, words)] = rows(register)
    assert (str(again) > str(entered[0]), words) == (True, None)


def test_failures_and_accepted_mails_are_recorded_in_one_transaction(relay: Relay) -> None:
    owe_invitations("anne", "luc")
    first, second = sent_attempts()
    fault = AttemptFault(SmtpPhase.RCPT, 451, "4.7.1", "later")
    Mailer().record([first, replace(second, fault=fault, verdict=judge_fault(fault))])
    assert rows("SELECT count(DISTINCT xmin::text), count(*) FROM email") == [(1, 2)]
    assert states() == {"sent": 1, "owed": 1}


def test_two_batches_are_recorded_in_one_commit(
    relay: Relay, loop: EventLoopThread, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    owe_invitations("anne", "luc")
    relay.room = 0
    mailer = Mailer()
    with ThreadPoolExecutor(2) as pool:
        batches = [pool.submit(mailer.do_batch, [row]) for row in claim()]
        wait_until(lambda: relay.holding == 2)
        relay.admit(None)
        for batch in batches:
            batch.result(30)
    assert rows("SELECT count(DISTINCT xmin::text), count(*) FROM email WHERE state = 'sent'") == [(1, 2)]
    close_connections(mailer)
