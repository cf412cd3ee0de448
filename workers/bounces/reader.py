"""The reader of bounces: it records the reports that arrive in a Maildir, a bundle in a transaction.

A file is put away after the commit. A reader that is killed in between reads it again, and finds its report recorded.
"""

import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple
from uuid import UUID

from models.bounce import BounceEffect, BounceReport
from workers.bounces.maildir import Maildir
from workers.bounces.parsing import MOST_BYTES, read_report
from workers.bounces.recording import RecordedReport, record_reports
from workers.database import Session, dispose_engine, is_transient
from workers.engine.claimer import this_process
from workers.engine.draining import Drain
from workers.engine.heartbeat import Heartbeat
from workers.engine.stopping import DRAINING
from workers.engine.wake import waking_transaction
from workers.engine.watchdog import ENDED_ITSELF, HeartbeatGuard, ProcessWatch, Turns
from workers.errors import NotConfigured
from workers.logs import configure_logs, get_logger
from workers.mail.return_address import ReturnAddresses
from workers.outbox.mails import message_id_domain
from workers.settings import get_settings

log = get_logger()

BUNDLE: Final = 100
"""Reports that are recorded in one transaction."""

LOOK_SECONDS: Final = 3.0
"""Seconds between two looks into the folder: a participant is marked within ten."""

PAUSE_SECONDS: Final = 10.0
"""Seconds between two tries while the folder or the database cannot be reached."""

EARLY_SECONDS: Final = 3_600.0
"""A report about a mail that its mailer still holds waits for so long. A mailer that was killed sends it again."""

HOUSEKEEPING_SECONDS: Final = 3_600.0


class ArrivedReport(NamedTuple):
    """A report that was read, with the mail its return address proves it to be about."""

    name: str
    age: float
    mail_id: UUID
    report: BounceReport


class BounceReader:
    """Reads what waits in a Maildir.

    Parameters:
      maildir: the folder.
      addresses: the return addresses that are believed.
    """

    def __init__(self, maildir: Maildir, addresses: ReturnAddresses) -> None:
        self._maildir = maildir
        self._addresses = addresses
        self.stopped = threading.Event()
        self.turns = Turns("bounces")
        self._cleaned_at = 0.0
        self._rests = True

    def run(self) -> None:
        """Reads until it is stopped, and looks again every few seconds."""
        while not self.stopped.is_set():
            self._rests = False
            seconds = LOOK_SECONDS if DRAINING.is_set() else self._look()
            self.turns.rest()
            self._rests = True
            self.stopped.wait(seconds)

    def holds_work(self, _: float = 0.0) -> bool:
        """Tells whether it reads reports at this moment."""
        return not self._rests

    def _look(self) -> float:
        """Reads what waits; returns the seconds until the next look."""
        try:
            self.read_all()
            self._clean()
        except Exception as error:
            if not (isinstance(error, OSError) or is_transient(error)):
                raise
            log.warning("bounces.wait", exc_info=error)
            return PAUSE_SECONDS
        return LOOK_SECONDS

    def _clean(self) -> None:
        if time.monotonic() - self._cleaned_at >= HOUSEKEEPING_SECONDS or not self._cleaned_at:
            self._cleaned_at = time.monotonic()
            self._maildir.drop_old()

    def read_all(self) -> Counter[str]:
        """Reads each file that waits, once; returns how many had which consequence.

        Raises: OSError, and transient errors of the database; what was not read waits.
        """
        counts: Counter[str] = Counter()
        self.turns.begin()
        for bundle in _bundles(self._reports(counts)):
            if self.stopped.is_set() or DRAINING.is_set():
                break
            self.turns.begin()
            counts.update(self._record(bundle))
        if counts:
            log.info("bounces.read", **counts)
        return counts

    def _reports(self, counts: Counter[str]) -> Iterator[ArrivedReport]:
        """Yields the reports about mails of ours; files that are none are put away."""
        for arrived in self._maildir.arrived():
            raw = self._maildir.read(arrived.name)
            mail_id = self._addresses.find(raw) if raw else None
            if raw is None or mail_id is None:
                self._maildir.keep([arrived.name])
                counts["foreign"] += 1
            else:
                yield ArrivedReport(arrived.name, arrived.age, mail_id, read_report(raw))

    def _record(self, bundle: Sequence[ArrivedReport]) -> Counter[str]:
        """Records a bundle; one report that makes it fail is set aside, and the others are recorded."""
        try:
            recorded = _commit(bundle)
        except Exception as error:
            if is_transient(error) or isinstance(error, NotConfigured):
                raise
            if len(bundle) > 1:
                return sum((self._record([one]) for one in bundle), Counter())
            log.exception("bounces.not_recorded", mail=str(bundle[0].mail_id))
            self._maildir.keep([bundle[0].name])
            return Counter({"not_recorded": 1})
        done = [one.name for one, said in zip(bundle, recorded, strict=True) if not _is_early(one, said)]
        self._maildir.delete(done)
        return Counter(said.effect.value for said in recorded)


def _is_early(one: ArrivedReport, said: RecordedReport) -> bool:
    return said.effect is BounceEffect.TOO_EARLY and one.age < EARLY_SECONDS


def _commit(bundle: Sequence[ArrivedReport]) -> list[RecordedReport]:
    with waking_transaction() as session:
        recorded = record_reports(session, [(one.mail_id, one.report) for one in bundle])
    for said in recorded:
        if said.effect is not BounceEffect.NOTHING:
            log.info("mail.returned", mail=str(said.mail_id), effect=said.effect, status=said.verdict.status)
    return recorded


def record_one(session: Session, addresses: ReturnAddresses, raw: bytes) -> RecordedReport | None:
    """Records one report; None when it is about no mail of ours."""
    mail_id = addresses.find(raw[:MOST_BYTES])
    if mail_id is None:
        return None
    [recorded] = record_reports(session, [(mail_id, read_report(raw))])
    return recorded


def _bundles(reports: Iterator[ArrivedReport]) -> Iterator[list[ArrivedReport]]:
    while bundle := list(islice(reports, BUNDLE)):
        yield bundle


def run(signals: Iterable[signal.Signals] = (signal.SIGTERM, signal.SIGINT)) -> None:
    """Runs the process until it gets one of the signals; without a Maildir in the settings it only waits for it.

    Raises: SystemExit when the process ends because it works no more.
    """
    settings = get_settings()
    configure_logs(settings.log_level)
    addresses = ReturnAddresses.from_settings(settings)
    message_id_domain()  # a missing setting ends the process at its start
    stopped = threading.Event()
    reader = None
    if addresses is not None and settings.bounce_maildir:
        reader = BounceReader(Maildir(Path(settings.bounce_maildir)), addresses)
        reader.stopped = stopped
    for signum in signals:
        signal.signal(signum, lambda *_: stopped.set())
    log.info("process.started", reads=reader is not None, python=sys.version.split()[0])
    has_ended = False
    if reader is None:
        stopped.wait()
    else:
        has_ended = _read_alive(reader)
    dispose_engine()
    log.info("process.stopped")
    if has_ended:
        sys.exit(ENDED_ITSELF)


def _read_alive(reader: BounceReader) -> bool:
    """Reads until it is stopped, with a heartbeat meanwhile; returns whether it ends because it works no more."""
    watch = ProcessWatch(reader.turns)
    drain = Drain(reader.holds_work)
    alive = Heartbeat(this_process(), "bounces", watch.look, drain, watch.wait_for_database)
    alive.start()
    HeartbeatGuard(alive).start()
    reader.run()
    alive.leave()
    return watch.has_ended
