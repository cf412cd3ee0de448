"""Redis answers with errors that are no lost connection: work goes on by itself once Redis is well again."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.messages import push, send
from tests.kit.processes.support import Processes, rows, wait_until
from tests.kit.processes.valkey import OwnSentinel, OwnValkey, free_port
from workers.database import transaction
from workers.engine.acceptance import accept
from workers.engine.broker import make_broker, wake, worker_client
from workers.engine.consumer import MAINTENANCE_SECONDS
from workers.engine.watchdog import ENDED_ITSELF
from workers.requests.catalog import PutCompany
from workers.requests.queues import Queue

SECRET = "geheim"
QUEUES = ("requests", "enrollments")
NO_HOST = ("127.0.0.1", "1")
ALL_SLOTS = ("0", "16383")


@dataclass(frozen=True)
class Illness:
    """The commands that make a server answer with one class of error, and those that cure it."""

    code: str
    begin: tuple[tuple[str, ...], ...]
    cure: tuple[tuple[str, ...], ...]

    @contextmanager
    def of(self, server: OwnValkey) -> Iterator[None]:
        """Makes the server ill during the block."""
        with server.client(username="admin") as admin:
            _order(admin, self.begin)
            try:
                yield
            finally:
                _order(admin, self.cure)


def _order(admin: redis.Redis, commands: Iterable[tuple[str, ...]]) -> None:
    for command in commands:
        admin.execute_command(*command)  # type: ignore[no-untyped-call]


def config(name: str, value: str) -> tuple[str, ...]:
    return ("CONFIG", "SET", name, value)


def user(*rules: str) -> tuple[str, ...]:
    return ("ACL", "SETUSER", "matricule", *rules)


ADMIN = ("--user", "admin", "on", "nopass", "~*", "&*", "+@all")
"""Options of a server with a user whom no illness concerns."""

LEAVE = ("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

ILLNESSES = (
    Illness("OOM", (config("maxmemory", "1"),), (config("maxmemory", "0"),)),
    Illness("NOPERM", (user("-@all"),), (user("+@all"),)),
    Illness("WRONGPASS", (user("resetpass", ">other"), LEAVE), (user(f">{SECRET}"),)),
    Illness("NOREPLICAS", (config("min-replicas-to-write", "1"),), (config("min-replicas-to-write", "0"),)),
    Illness("READONLY", (("REPLICAOF", *NO_HOST),), (("REPLICAOF", "NO", "ONE"),)),
    Illness(
        "MASTERDOWN",
        (config("replica-serve-stale-data", "no"), config("replica-read-only", "no"), ("REPLICAOF", *NO_HOST)),
        (("REPLICAOF", "NO", "ONE"),),
    ),
)

WITHOUT_PASSWORD = Illness("NOAUTH", (config("requirepass", "x"), LEAVE), (config("requirepass", ""),))
WITHOUT_SLOTS = Illness(
    "CLUSTERDOWN", (("CLUSTER", "DELSLOTSRANGE", *ALL_SLOTS),), (("CLUSTER", "ADDSLOTSRANGE", *ALL_SLOTS),)
)


@contextmanager
def busy(server: OwnValkey) -> Iterator[None]:
    """Keeps the server in a script that does not end during the block."""
    with server.client(username="admin") as admin, server.client(username="admin") as other:
        admin.config_set("busy-reply-threshold", 50)

        def loop() -> None:
            with suppress(redis.RedisError):
                other.eval("while true do end", 0)

        running = threading.Thread(target=loop)
        running.start()
        try:
            yield
        finally:
            _order(admin, [("SCRIPT", "KILL")])
            running.join()


@contextmanager
def no_snapshot(server: OwnValkey) -> Iterator[None]:
    """Makes snapshots fail during the block, upon which the server refuses writes."""
    obstacle = server.folder / "dump.rdb"
    with server.client(username="admin") as admin:
        admin.config_set("save", "3600 1")
        obstacle.mkdir()
        admin.bgsave()
        wait_until(lambda: admin.info("persistence")["rdb_last_bgsave_status"] == "err")
        try:
            yield
        finally:
            admin.config_set("save", "")
            obstacle.rmdir()


@contextmanager
def loading(server: OwnValkey) -> Iterator[None]:
    """Makes the server read its data for some seconds; the block ends in the middle of it."""
    with server.client(username="admin") as admin, server.client(username="admin") as other:
        for name, value in (("key-load-delay", 1_000), ("loading-process-events-interval-bytes", 1_024)):
            admin.config_set(name, value)
        admin.mset({f"ballast:{number}": "x" * 100 for number in range(4_000)})

        def reload() -> None:
            with suppress(redis.RedisError):
                _order(other, [("DEBUG", "RELOAD")])

        running = threading.Thread(target=reload)
        running.start()
        yield
        running.join()


def company(name: str) -> PutCompany:
    return PutCompany(reference=name, name="Lorval")


def done(name: str) -> bool:
    return bool(rows("SELECT 1 FROM company WHERE reference = :name", name=name))


def owe_silently(name: str) -> None:
    """Records a job in the ledger and wakes no queue."""
    request = company(name)
    with transaction() as session:
        accept(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key=name)


def owe(name: str) -> None:
    """Records a job in the ledger, as a command does, while Redis is ill."""
    owe_silently(name)
    wake(Queue.ENROLLMENTS)


def survives(processes: Processes, code: str, illness: Any) -> None:
    """Checks that work asked for during an illness and after it is done, without a restart of a process."""
    told = f'"error": "{code}"'
    before = processes.logs().count(told)
    with illness:
        wait_until(lambda: processes.logs().count(told) > before, say=processes.logs)
        owe(f"during-{code}")
        with pytest.raises(redis.RedisError):
            send(company("refused"), code)
    wait_until(lambda: sends(f"after-{code}"))  # a portal repeats what failed; a cluster needs a second
    wait_until(lambda: done(f"during-{code}") and done(f"after-{code}"), say=processes.logs)
    assert [process.poll() for process in processes.started] == [None] * len(processes.started), processes.logs()


def sends(name: str) -> bool:
    try:
        send(company(name), name)
    except redis.RedisError:
        return False
    return True


def start(processes: Processes) -> None:
    processes.worker(*QUEUES, threads=2)
    processes.clock()
    send(company("before"), "before")
    wait_until(lambda: done("before"), say=processes.logs)


def test_work_goes_on_after_any_error_that_redis_answers(
    processes: Processes, valkey: Callable[..., OwnValkey], use: Callable[[str], None], subtests: pytest.Subtests
) -> None:
    server = valkey("--enable-debug-command", "yes", *ADMIN)
    with server.client() as admin:
        _order(admin, [user("on", f">{SECRET}", "~*", "&*", "+@all")])
    use(f"redis://matricule:{SECRET}@127.0.0.1:{server.port}/0")
    start(processes)
    cases = [(illness.code, illness.of(server)) for illness in ILLNESSES]
    cases += [("BUSY", busy(server)), ("MISCONF", no_snapshot(server)), ("LOADING", loading(server))]
    for code, illness in cases:
        with subtests.test(code):
            survives(processes, code, illness)


def test_work_goes_on_after_a_password_was_asked_for(
    processes: Processes, valkey: Callable[..., OwnValkey], use: Callable[[str], None]
) -> None:
    server = valkey(*ADMIN)
    use(server.url)
    start(processes)
    survives(processes, "NOAUTH", WITHOUT_PASSWORD.of(server))


def test_work_goes_on_after_a_cluster_was_down(
    processes: Processes, valkey: Callable[..., OwnValkey], use: Callable[[str], None]
) -> None:
    # The bus of a cluster listens 10,000 ports higher unless told, where a high port has no room.
    server = valkey("--cluster-enabled", "yes", "--cluster-port", str(free_port()), *ADMIN)
    with server.client() as admin:
        admin.execute_command("CLUSTER", "ADDSLOTSRANGE", *ALL_SLOTS)
        wait_until(lambda: "cluster_state:ok" in str(admin.execute_command("CLUSTER", "INFO")))
    use(server.url)
    start(processes)
    survives(processes, "CLUSTERDOWN", WITHOUT_SLOTS.of(server))


def test_requests_are_taken_out_of_a_redis_that_is_full(
    processes: Processes, valkey: Callable[..., OwnValkey], use: Callable[[str], None]
) -> None:
    server = valkey()
    use(server.url)
    for number in range(5):
        send(company(f"R-{number}"), f"key-{number}")
    with server.client() as admin:
        admin.config_set("maxmemory", 1)
        processes.worker(*QUEUES)
        wait_until(lambda: rows("SELECT count(*) FROM job") == [(5,)], say=processes.logs)


def test_a_failover_of_sentinel_is_followed_without_a_restart(
    processes: Processes, valkey: Callable[..., OwnValkey], use: Callable[[str], None], tmp_path: Path
) -> None:
    auth = ("--requirepass", SECRET, "--masterauth", SECRET)
    primary = valkey(*auth, password=SECRET)
    replica = valkey(*auth, "--replicaof", "127.0.0.1", str(primary.port), password=SECRET)
    sentinel = OwnSentinel(tmp_path / "sentinel", primary, SECRET).start()
    try:
        with replica.client() as of_replica, sentinel.client() as watching:
            wait_until(lambda: of_replica.info("replication")["master_link_status"] == "up")
            wait_until(lambda: watching.sentinel_slaves("matricule"))
            use(f"redis+sentinel://default:{SECRET}@127.0.0.1:1,127.0.0.1:{sentinel.port}/matricule/0")
            start(processes)
            primary.kill()
            owe("during")
            wait_until(lambda: of_replica.info("replication")["role"] == "master", say=processes.logs)
        wait_until(lambda: sends("after"))  # a portal repeats what failed
        wait_until(lambda: done("during") and done("after"), say=processes.logs)
        assert [process.poll() for process in processes.started] == [None, None]
    finally:
        sentinel.kill()


def test_a_process_says_for_which_error_it_fetches_nothing(
    processes: Processes, valkey: Callable[..., OwnValkey], use: Callable[[str], None]
) -> None:
    server = valkey()
    use(server.url)
    processes.worker(*QUEUES)
    wait_until(lambda: rows("SELECT trouble FROM process") == [(None,)], say=processes.logs)
    with server.client() as admin:
        admin.config_set("min-replicas-to-write", 1)
        wait_until(lambda: rows("SELECT trouble FROM process") == [("NOREPLICAS",)], say=processes.logs)
        assert (
            processes.logs().count("redis.refuses") == len(QUEUES) + 1
        )  # once for each reader; not once for each of the tries of ten seconds
        admin.config_set("min-replicas-to-write", 0)
    wait_until(lambda: rows("SELECT trouble FROM process") == [(None,)], say=processes.logs)


@pytest.mark.parametrize("lost", ["consumer", "worker"])
def test_a_process_that_lost_a_thread_ends_so_that_it_is_restarted(processes: Processes, lost: str) -> None:
    group = processes.start(
        *("dramatiq", "tests.kit.processes.wounded", "--processes", "1", "--threads", "2", "--queues", *QUEUES),
        LOSES=lost,
    )
    assert group.wait(timeout=30) == ENDED_ITSELF, processes.logs()
    assert "thread_lost" in processes.logs()
    assert rows("SELECT 1 FROM process") == []


def test_closing_never_fails_and_what_was_fetched_comes_back(
    fresh_database: str, valkey: Callable[..., OwnValkey], use: Callable[[str], None]
) -> None:
    server = valkey()
    use(server.url)
    for noise in (b"one", b"two"):
        push(noise, queue="enrollments")
    broker = make_broker(worker_client(server.url))
    broker.declare_queue("enrollments")
    consumer = broker.consume("enrollments", prefetch=4)
    with server.client() as admin:
        message = next(consumer)
        assert message is not None
        admin.config_set("min-replicas-to-write", 1)
        consumer.requeue([message])
        for _ in range(2):
            consumer.close()
        admin.config_set("min-replicas-to-write", 0)
        admin.zadd(
            f"{fresh_database}:__heartbeats__", {broker.broker_id: 1}
        )  # the process of this consumer is long gone
    other = make_broker(worker_client(server.url))
    other.declare_queue("enrollments")
    heir = other.consume("enrollments", prefetch=4)
    heir._maintained_at -= MAINTENANCE_SECONDS
    assert [next(heir) is None for _ in range(3)] == [False, False, True]
    for opened in (broker, other):
        opened.client.close()


def test_a_clock_leads_on_while_redis_does_not_answer(
    processes: Processes, valkey: Callable[..., OwnValkey], use: Callable[[str], None]
) -> None:
    server = valkey()
    use(server.url)
    processes.clock()
    wait_until(lambda: rows("SELECT 1 FROM clock WHERE until > now()"), say=processes.logs)
    server.freeze()
    owe_silently("one")

    def is_told() -> bool:
        assert rows("SELECT 1 FROM clock WHERE until > now()"), processes.logs()
        return "wake.failed" in processes.logs()

    wait_until(is_told, say=processes.logs)


@pytest.mark.parametrize("url", ["redis+sentinel://u:hush@h/m/0", "http://u:hush@h"])
def test_a_process_with_a_wrong_address_stops_with_a_sentence(processes: Processes, url: str) -> None:
    worker = processes.worker("emails", REDIS_URL=url)
    assert worker.wait(timeout=30) == 1
    assert "REDIS_URL: not redis://host:6379/0" in processes.logs()
    assert "Traceback" not in processes.logs()
    assert "hush" not in processes.logs()
