"""The mailer of a process: it writes claimed mails, sends them over its connections and records each outcome."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from dramatiq.asyncio import EventLoopThread, get_event_loop_thread

from models.circuit_breaker import CircuitBreaker, CircuitState
from models.delivery import DeliveryOutcome, DeliveryReason, DeliveryVerdict, blame, retry_delay
from models.words import EmailState
from workers.database import Session, autocommit, is_transient, transaction
from workers.engine import ledger as books
from workers.engine.chunks import LONGEST_STEP
from workers.engine.claimer import STOPPING, BatchRun, give_back
from workers.engine.heartbeat import CIRCUIT, OpenCircuit
from workers.engine.ledger import EMAILS, ClaimedRow, FailedAttempt, LostClaimError, MailColumns, WorkOutcome
from workers.engine.wake import waking_transaction
from workers.logs import get_logger
from workers.mail.letters.letter import Letter
from workers.mail.letters.writing import look_up_letters, write_letters
from workers.mail.message import SenderIdentity
from workers.mail.pool import SmtpConnections
from workers.mail.preparing import prepare_mails
from workers.mail.recording import (
    LONGEST_ANSWER,
    DeliveryAttempt,
    OutcomeGivenUpError,
    OutcomeRecorder,
    find_recorded,
    record_sent,
)
from workers.mail.relay import parse_smtp_url
from workers.mail.return_address import ReturnAddresses
from workers.mail.sending import MailBatch, PreparedMail
from workers.outbox.events import tell_undeliverable
from workers.outbox.relays import RefusedMail, read_evidence, record_accepted, record_refused
from workers.outbox.suppression import suppress_addresses_of
from workers.settings import get_settings
from workers.signs import SIGNS

log = get_logger()

_T = TypeVar("_T")

MOST_UNCERTAIN: Final = 3
"""Times that the connection may break inside DATA before a mail is left uncertain; each time it may have arrived."""


class Mailer:
    """Sends the mails of one process; it holds the SMTP connections and the circuit breaker of the relay."""

    def __init__(self) -> None:
        settings = get_settings()
        self.identity = SenderIdentity.from_settings(settings)
        self.returns = ReturnAddresses.from_settings(settings)
        self.lease = settings.lease_seconds
        self.places = settings.smtp_connections
        self.relay = parse_smtp_url(settings.smtp_url).name
        self.connections = SmtpConnections.from_settings(settings, hello_domain=self.identity.domain)
        self._recorder = OutcomeRecorder(self.record)
        self._breaker = CircuitBreaker()
        self._opened_for = ""
        self._breaker_lock = threading.Lock()
        CIRCUIT.look_by(self.open_circuit)

    def open_circuit(self) -> OpenCircuit | None:
        """Returns how long the relay is still left alone, and why; None while the circuit is closed."""
        breaker, now = self._breaker, time.monotonic()
        if breaker.state(now) is CircuitState.CLOSED:
            return None
        return OpenCircuit(breaker.seconds_left(now), self._opened_for)

    def may_send(self) -> bool:
        """Tells whether mails may be claimed and sent: not while the circuit is open."""
        return self._breaker.state(time.monotonic()) is not CircuitState.OPEN

    def do_batch(self, rows: Sequence[ClaimedRow[MailColumns]]) -> None:
        """Writes and sends claimed mails. Those that need a file come last: plain mails must not wait for it."""
        letters = self._look_up(rows)
        if letters is None:
            letters = self._write(rows)
        for some in ([one for one in letters if not one.has_file], [one for one in letters if one.has_file]):
            self._send(prepare_mails(some, self.identity, self.lease, self.renew))

    def _look_up(self, rows: Sequence[ClaimedRow[MailColumns]]) -> list[Letter] | None:
        """Returns the letters if they can be written without a lock; None when a transaction has to write them."""
        try:
            with autocommit() as session:
                return look_up_letters(session, rows)
        except Exception:  # noqa: BLE001 - the transaction meets the same error, and finds the mail that causes it
            return None

    def _write(self, rows: Sequence[ClaimedRow[MailColumns]]) -> list[Letter]:
        """Returns the letters to send; the other mails are recorded with the state in which they end unsent."""
        letters: dict[UUID, Letter] = {}

        def write(session: Session, held: Sequence[ClaimedRow[MailColumns]]) -> Sequence[WorkOutcome]:
            written = write_letters(session, held)
            letters.update({letter.row.id: letter for letter in written})
            tell_undeliverable(session, [one.row.id for one in written if one.unsent])
            return [WorkOutcome(letter.row.id, letter.row.claim, letter.unsent) for letter in written if letter.unsent]

        writing = BatchRun(EMAILS, write, tell_undeliverable)
        writing.run(rows)
        return [letter for row_id, letter in letters.items() if row_id in writing.done and not letter.unsent]

    def _send(self, mails: Sequence[PreparedMail]) -> None:
        loop = get_event_loop_thread()
        if not mails or loop is None:
            return
        # A relay may take minutes for each mail; the leases are renewed meanwhile. Each end of a mail is a sign.
        with SIGNS.patiently(LONGEST_STEP) as go_on:
            self._run(loop, mails, go_on)

    def _run(self, loop: EventLoopThread, mails: Sequence[PreparedMail], go_on: Callable[[], None]) -> None:
        def ended(attempt: DeliveryAttempt) -> None:
            go_on()
            self.count(attempt)

        batch = MailBatch(
            self.connections,
            envelope_from=self.identity.envelope_from,
            mails=mails,
            recorder=self._recorder,
            renew=self.renew,
            may_send=self.may_send,
            ended=ended,
            lease=self.lease,
            returns=self.returns,
        )
        try:
            with suppress(OutcomeGivenUpError):  # it is logged, and this process stops
                loop.run_coroutine(batch.run(self.places))
        finally:
            left = [mail.row for mail in batch.waiting]
            if left:
                give_back(EMAILS, left)

    def count(self, attempt: DeliveryAttempt) -> None:
        """Tells the circuit breaker how an attempt ended."""
        with self._breaker_lock:
            if attempt.verdict is None:
                self._breaker = self._breaker.accepted()
                return
            before, now = self._breaker, time.monotonic()
            self._breaker = before.failed(attempt.verdict, attempt.mail.to_address, now, _jitter())
            self._log_opening(before, attempt.verdict, now)

    def _open(self, verdict: DeliveryVerdict) -> float:
        """Opens the circuit if it is not open; returns the seconds until mails may be sent again."""
        with self._breaker_lock:
            before, now = self._breaker, time.monotonic()
            self._breaker = before.opened(verdict, now, _jitter())
            self._log_opening(before, verdict, now)
            return self._breaker.seconds_left(now)

    def _log_opening(self, before: CircuitBreaker, verdict: DeliveryVerdict, now: float) -> None:
        if self._breaker.openings > before.openings:
            self._opened_for = verdict.reason
            seconds = round(self._breaker.seconds_left(now))
            log.error("relay.circuit_open", reason=verdict.reason, seconds=seconds, opening=self._breaker.openings)

    def renew(self, rows: Sequence[ClaimedRow[MailColumns]]) -> set[UUID] | None:
        """Renews the leases of these mails; returns the mails still ours, or None when the database did not answer."""
        try:
            with transaction() as session:
                return books.renew(session, EMAILS, rows, lease=self.lease)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("lease.not_renewed", exc_info=error)
            return None

    def record(self, attempts: Sequence[DeliveryAttempt]) -> None:
        """Commits the outcomes of attempts; tries again while the database is away.

        Raises: OutcomeGivenUpError when this process has to stop and the database stays away for longer than a lease.
        """
        try:
            self._record(attempts)
        except OutcomeGivenUpError:
            log.error("outcome.given_up", rows=_names(attempts))  # noqa: TRY400 - `outcome.waits` had the traceback
            raise

    def _record(self, attempts: Sequence[DeliveryAttempt]) -> None:
        if all(attempt.verdict is None for attempt in attempts):
            self._record_sent(attempts)
            return
        try:
            self._patiently(attempts, lambda: self._record_judged(attempts))
        except LostClaimError:
            # One of the mails was rescued, and another process will send it again.
            for attempt in attempts:
                self._record([attempt])

    def _patiently(self, attempts: Sequence[DeliveryAttempt], step: Callable[[], _T]) -> _T:
        """Returns the result of a step that commits by itself; takes it again while the database is away.

        Raises: OutcomeGivenUpError.
        """
        give_up = max(attempt.ended_at for attempt in attempts) + self.lease
        while True:
            try:
                return step()
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("outcome.waits", rows=_names(attempts), exc_info=error)
                if time.monotonic() >= give_up and STOPPING.is_set():
                    raise OutcomeGivenUpError(_names(attempts)) from error
                time.sleep(0.5)

    def _record_sent(self, attempts: Sequence[DeliveryAttempt]) -> None:
        """Records mails that were all accepted: one statement that commits itself.

        The entry in the register of relays follows in another, with tries of its own: the mails are recorded, and were
        they recorded again they would look like mails that another process took. If this process is killed in between,
        the next mail that is accepted makes the entry.
        """
        recorded = self._run_alone(attempts, lambda session: record_sent(session, attempts, self.relay))
        ours = {mail.id for mail in recorded}
        if ours:
            log.info("mail.sent", rows=_names([attempt for attempt in attempts if attempt.row.id in ours]))
        if left := [attempt for attempt in attempts if attempt.row.id not in ours]:
            self._explain(left)
        if any(mail.acceptance_is_old for mail in recorded):
            with suppress(OutcomeGivenUpError):
                self._run_alone(attempts, lambda session: record_accepted(session, self.relay))

    def _run_alone(self, attempts: Sequence[DeliveryAttempt], statement: Callable[[Session], _T]) -> _T:
        """Runs one statement, which commits itself, as :meth:`_patiently` does."""

        def run() -> _T:
            with autocommit() as session:
                return statement(session)

        return self._patiently(attempts, run)

    def _explain(self, attempts: Sequence[DeliveryAttempt]) -> None:
        """Logs why accepted mails were not recorded now.

        Another process took them back; or the database recorded them before, and the connection broke under its answer.
        """
        before = self._run_alone(attempts, lambda session: find_recorded(session, attempts))
        known = [attempt for attempt in attempts if attempt.row.id in before]
        if known:
            log.info("mail.sent", rows=_names(known))
        if len(known) < len(attempts):
            log.warning("mail.taken_back", rows=_names([one for one in attempts if one.row.id not in before]))

    def _record_judged(self, attempts: Sequence[DeliveryAttempt]) -> None:
        """Records attempts of which some failed, with all that follows from the failures, in one transaction."""
        sent = [attempt for attempt in attempts if attempt.verdict is None]
        with waking_transaction() as session:
            judged = self._judge_again(session, [attempt for attempt in attempts if attempt.verdict])
            failed = [(attempt, self._failed_attempt(attempt, verdict)) for attempt, verdict in judged]
            if sent and failed:  # lock all rows before the two statements: else a renewal deadlocks
                books.hold(session, EMAILS, [attempt.row for attempt in attempts])
            books.finish(session, EMAILS, [_sent(attempt) for attempt in sent])
            if failed:
                books.set_back(session, EMAILS, [one for _, one in failed])
                tell_undeliverable(session, [one.id for _, one in failed if one.seconds is None])
                suppress_addresses_of(session, [attempt.row.id for attempt, verdict in judged if _bounced(verdict)])
            self._register(session, judged, accepted=bool(sent))
        if sent:
            log.info("mail.sent", rows=_names(sent))
        for attempt, one in failed:
            log.warning("mail.not_sent", rows=_names([attempt]), outcome=one.outcome, **_why(attempt.verdict))

    def _judge_again(
        self, session: Session, attempts: Sequence[DeliveryAttempt]
    ) -> list[tuple[DeliveryAttempt, DeliveryVerdict]]:
        """Returns failed attempts with their verdicts: a recipient is blamed only if the relay takes other mails."""
        given = [(attempt, attempt.verdict) for attempt in attempts if attempt.verdict]
        refused = [RefusedMail(attempt.row.id, verdict.reason) for attempt, verdict in given if verdict.blames]
        evidence = read_evidence(session, self.relay, refused)
        judged = []
        for attempt, verdict in given:
            known = evidence.get(attempt.row.id)
            last = verdict if known is None else blame(verdict, known, doubted=self._breaker.doubts)
            judged.append((replace(attempt, verdict=last), last))
        return judged

    def _register(
        self, session: Session, judged: Sequence[tuple[DeliveryAttempt, DeliveryVerdict]], *, accepted: bool
    ) -> None:
        """Registers that the relay accepted mails, and what it refused for a reason that may be ours."""
        for attempt, verdict in judged:
            if verdict.doubts_relay:
                record_refused(session, self.relay, verdict.reason, _words(attempt))
                break  # one speaks for the others of the same moment
        if accepted:
            record_accepted(session, self.relay)

    def _failed_attempt(self, attempt: DeliveryAttempt, verdict: DeliveryVerdict) -> FailedAttempt:
        """Decides whether the mail of a failed attempt is tried again, and when."""
        row, failures = attempt.row, attempt.row.failures + 1
        failed = partial(FailedAttempt, row.id, row.claim, error=_why(verdict) | {"message": _words(attempt)})
        match verdict.outcome:
            case DeliveryOutcome.RELAY_DOWN | DeliveryOutcome.CONFIGURATION:
                return failed(EmailState.OWED, self._open(verdict), "postponed", counts=False)
            case DeliveryOutcome.UNCERTAIN:
                losses = attempt.mail.losses + 1
                again = retry_delay(verdict.outcome, losses, _jitter()) if losses < MOST_UNCERTAIN else None
                return failed(EmailState.UNCERTAIN, again, "uncertain")
            case DeliveryOutcome.RETRY:
                again = retry_delay(verdict.outcome, failures, _jitter(), verdict.hint)
                return failed(EmailState.OWED, again, "retry")
        return failed(EmailState.FAILED, None, "dead")


def _sent(attempt: DeliveryAttempt) -> WorkOutcome:
    return WorkOutcome(attempt.row.id, attempt.row.claim, EmailState.SENT, {"answer": attempt.answer[:LONGEST_ANSWER]})


def _bounced(verdict: DeliveryVerdict) -> bool:
    """Tells whether the recipient's server said that the mailbox does not exist, and is believed."""
    return verdict.outcome is DeliveryOutcome.FAILED and verdict.reason is DeliveryReason.ADDRESS_REJECTED


def _why(verdict: DeliveryVerdict | None) -> dict[str, str]:
    return {} if verdict is None else {"class": verdict.outcome.value, "reason": verdict.reason.value}


def _words(attempt: DeliveryAttempt) -> str:
    fault = attempt.fault
    return "" if fault is None else f"{fault.phase} {fault.code or fault.trouble} {fault.text}"[:500]


def _names(attempts: Sequence[DeliveryAttempt]) -> list[str]:
    return [attempt.mail.name for attempt in attempts]


def _jitter() -> float:
    return random.random()  # noqa: S311 - spreads load, guards nothing
