"""The actors of `emails` and `emails_bulk`: they claim owed mails, render and send them, and record each outcome."""

import random
import threading
import time
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Final
from uuid import UUID

from dramatiq.asyncio import get_event_loop_thread

from models.delivery import OPENING, CircuitBreaker, DeliveryReason, DeliveryVerdict, count_answer, retry_delay
from models.delivery import DeliveryOutcome as Delivery
from models.words import EmailState
from workers.database import Session, is_transient, transaction
from workers.engine import ledger as books
from workers.engine.claimer import (
    STOPPING,
    BatchRun,
    Claimer,
    give_back,
)
from workers.engine.ledger import (
    EMAILS,
    ClaimedRow,
    FailedAttempt,
    LostClaimError,
    WorkOutcome,
)
from workers.logs import get_logger
from workers.mail.letters.letter import Letter
from workers.mail.letters.writing import write_letters
from workers.mail.message import SenderIdentity
from workers.mail.sealing import seal_letters
from workers.mail.sending import DeliveryAttempt, MailBatch, PreparedMail
from workers.mail.transport import SmtpConnections
from workers.outbox.suppression import suppress_addresses_of
from workers.requests.queues import Queue
from workers.settings import get_settings

log = get_logger()

MOST_UNCERTAIN: Final = 3
"""Times that the connection may break inside DATA before a mail is left uncertain; each time it may have arrived."""


class Mailer:
    """Sends the mails of one process; it holds the SMTP connections and the circuit breaker of the relay."""

    def __init__(self) -> None:
        settings = get_settings()
        self.identity = SenderIdentity.from_settings(settings)
        self.lease = settings.lease_seconds
        self.places = settings.smtp_connections
        self.connections = SmtpConnections.from_settings(settings, hello_domain=self.identity.domain)
        self._rests_until = 0.0
        self._failures_in_a_row = 0
        self._suspicion = CircuitBreaker()
        self._lock = threading.Lock()

    def ready(self) -> bool:
        """Tells whether the relay may be tried: False while the circuit breaker is open."""
        return time.monotonic() >= self._rests_until

    def heard(self, delivered: DeliveryAttempt) -> None:
        """Counts the outcome of an attempt; opens the circuit breaker when the relay is at fault.

        It also opens when several addresses got the same answer. Then the back-off ignores a delay named in that
        answer, because the server of one recipient may have named it.
        """
        verdict = delivered.verdict
        if verdict is None:
            with self._lock:
                self._failures_in_a_row, self._suspicion = 0, CircuitBreaker()
        elif verdict.outcome in OPENING:
            self.rest(verdict)
        elif verdict.suspect is not None:
            with self._lock:
                self._suspicion, founded = count_answer(self._suspicion, verdict, delivered.mail.to_address)
            if founded:
                self.rest(DeliveryVerdict(verdict.suspect, verdict.reason))

    def rest(self, verdict: DeliveryVerdict) -> float:
        """Opens the circuit breaker, because the relay failed and not the mails; returns for how many seconds.

        No mail is claimed meanwhile. Connections that fail together count as one failure.
        """
        with self._lock:
            left = self._rests_until - time.monotonic()
            if left > 0:
                return left
            self._failures_in_a_row += 1
            seconds = retry_delay(verdict.outcome, self._failures_in_a_row, _chance(), verdict.hint)
            self._rests_until = time.monotonic() + seconds
        log.error("relay.rests", reason=verdict.reason, seconds=round(seconds))
        return seconds

    def do_batch(self, rows: Sequence[ClaimedRow]) -> None:
        """Renders and sends claimed mails."""
        letters: dict[UUID, Letter] = {}

        def look(session: Session, held: Sequence[ClaimedRow]) -> Sequence[WorkOutcome]:
            found = write_letters(session, held)
            letters.update({letter.row.id: letter for letter in found})
            return [WorkOutcome(letter.row.id, letter.row.claim, letter.unsent) for letter in found if letter.unsent]

        looked = BatchRun(EMAILS, look)
        looked.run(rows)
        to_send = [letter for row_id, letter in letters.items() if row_id in looked.done and not letter.unsent]
        # Mails with a file are sent last, because reading a file may take long and plain mails must not wait for it.
        for some in ([one for one in to_send if not one.has_file], [one for one in to_send if one.has_file]):
            self._send(seal_letters(some, self.identity, self.lease, self.renew))

    def _send(self, mails: Sequence[PreparedMail]) -> None:
        loop = get_event_loop_thread()
        if not mails or loop is None:
            return
        sending = MailBatch(
            self.connections,
            envelope_from=self.identity.envelope_from,
            mails=mails,
            record=self.record,
            renew=self.renew,
            ready=self.ready,
            heard=self.heard,
            lease=self.lease,
        )
        try:
            loop.run_coroutine(sending.run(self.places))
        finally:
            left = [mail.row for mail in sending.waiting]
            if left:
                give_back(EMAILS, left)

    def renew(self, rows: Sequence[ClaimedRow]) -> set[UUID] | None:
        """Renews the leases of these mails; returns the mails still ours, or None when the database did not answer."""
        try:
            with transaction() as session:
                return books.renew(session, EMAILS, rows, lease=self.lease)
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("lease.not_renewed", exc_info=error)
            return None

    def record(self, deliveries: Sequence[DeliveryAttempt]) -> None:
        """Commits the outcomes of attempts; tries again while the database is away and the lease lasts."""
        give_up = time.monotonic() + self.lease
        while True:
            try:
                self._record(deliveries)
            except LostClaimError:
                self._record_one_by_one(deliveries)
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("outcome.waits", rows=_names(deliveries), exc_info=error)
                if time.monotonic() < give_up or not STOPPING.is_set():
                    time.sleep(0.5)
                    continue
            return

    def _record_one_by_one(self, deliveries: Sequence[DeliveryAttempt]) -> None:
        """Records each outcome by itself, after one of the mails was rescued and another process will send it again."""
        if len(deliveries) == 1:
            log.warning("mail.taken_back", rows=_names(deliveries))
            return
        for delivered in deliveries:
            self.record([delivered])

    def _record(self, deliveries: Sequence[DeliveryAttempt]) -> None:
        sent = [delivered for delivered in deliveries if delivered.verdict is None]
        not_sent = [(delivered, self._setback(delivered)) for delivered in deliveries if delivered.verdict]
        with transaction() as session:
            if sent and not_sent:  # lock all rows before the two statements: else a renewal deadlocks
                books.hold(session, EMAILS, [delivered.row for delivered in deliveries])
            books.finish(session, EMAILS, [_sent(delivered) for delivered in sent])
            if not_sent:
                books.set_back(session, EMAILS, [setback for _, setback in not_sent])
                suppress_addresses_of(session, [one.row.id for one, _ in not_sent if _bounced(one)])
        if sent:
            log.info("mail.sent", rows=_names(sent))
        for delivered, setback in not_sent:
            log.warning("mail.not_sent", rows=_names([delivered]), outcome=setback.outcome, **_why(delivered))

    def _setback(self, delivered: DeliveryAttempt) -> FailedAttempt:
        """Decides whether the mail of a failed attempt is tried again, and when.

        Raises: ValueError for an attempt that succeeded.
        """
        row, verdict, failures = delivered.row, delivered.verdict, delivered.row.failures + 1
        if verdict is None:
            raise ValueError("a mail that was sent has no setback")
        setback = partial(FailedAttempt, row.id, row.claim, error=_why(delivered) | {"message": _words(delivered)})
        match verdict.outcome:
            case Delivery.RELAY_DOWN | Delivery.CONFIGURATION:
                return setback(EmailState.OWED, self.rest(verdict), "postponed", counts=False)
            case Delivery.UNCERTAIN:
                losses = delivered.mail.losses + 1
                again = retry_delay(verdict.outcome, losses, _chance()) if losses < MOST_UNCERTAIN else None
                return setback(EmailState.UNCERTAIN, again, "uncertain")
            case Delivery.RETRY:
                again = retry_delay(verdict.outcome, failures, _chance(), verdict.hint)
                return setback(EmailState.OWED, again, "retry")
        return setback(EmailState.FAILED, None, "dead")


def _sent(delivered: DeliveryAttempt) -> WorkOutcome:
    return WorkOutcome(delivered.row.id, delivered.row.claim, EmailState.SENT, {"answer": delivered.answer[:200]})


def _bounced(delivered: DeliveryAttempt) -> bool:
    """Tells whether the recipient's server said that the mailbox does not exist."""
    return delivered.verdict is not None and delivered.verdict.reason is DeliveryReason.ADDRESS_REJECTED


def _why(delivered: DeliveryAttempt) -> dict[str, str]:
    verdict = delivered.verdict
    return {} if verdict is None else {"class": verdict.outcome.value, "reason": verdict.reason.value}


def _words(delivered: DeliveryAttempt) -> str:
    fault = delivered.fault
    return "" if fault is None else f"{fault.phase} {fault.code or fault.trouble} {fault.text}"[:500]


def _names(deliveries: Sequence[DeliveryAttempt]) -> list[str]:
    """Lists mails in the form that logs use: identifier and attempt."""
    return [f"{delivered.row.id}#{delivered.row.claim}" for delivered in deliveries]


def _chance() -> float:
    return random.random()  # noqa: S311 - spreads load, guards nothing


@lru_cache(maxsize=1)
def mailer() -> Mailer:
    """Returns the mailer of this process, made on first use, which is after the fork."""
    return Mailer()


def _do_batch(rows: Sequence[ClaimedRow]) -> None:
    mailer().do_batch(rows)


def _claimer(queue: Queue) -> Claimer:
    # A batch is twice the number of connections: while half of it is sent, the next half is rendered.
    size = 2 * get_settings().smtp_connections
    return Claimer(EMAILS, queue, _do_batch, size=size, ready=lambda: mailer().ready())


def emails() -> Claimer:
    """Makes the claimer of `emails`: mails that a person waits for."""
    return _claimer(Queue.EMAILS)


def emails_bulk() -> Claimer:
    """Makes the claimer of `emails_bulk`: the other mails."""
    return _claimer(Queue.EMAILS_BULK)
