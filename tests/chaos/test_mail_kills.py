"""Processes and connections are killed while mails are sent; all mails are sent, and few of them twice."""

import os
import random
import time
from collections.abc import Iterator

import psycopg
import pytest
import redis
from sqlalchemy.exc import DBAPIError

from tests.kit.builders.contracts import add_contract, asking, enrol
from tests.kit.processes.support import (
    Processes,
    change,
    rows,
    wait_until,
)
from tests.kit.relay.relay import Relay
from workers.database import transaction
from workers.settings import Settings

pytestmark = pytest.mark.heavy

DEFAULT: int = Settings.model_fields["smtp_connections"].default

LEASE = 4

QUEUES = ("emails", "emails_bulk")


@pytest.fixture(params=[4, DEFAULT], ids=lambda number: f"{number} connections")
def connections(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Sets the mails that one mailer process sends at the same time; a kill can repeat at most this many."""
    number: int = request.param
    monkeypatch.setenv("SMTP_CONNECTIONS", str(number))
    return number


@pytest.fixture
def people(connections: int) -> int:
    """Gives the number of people with an invitation to send; sixty at four connections."""
    return 15 * connections


@pytest.fixture
def relay(fresh_database: str, monkeypatch: pytest.MonkeyPatch, people: int) -> Iterator[Relay]:
    """Prepares a relay that holds its answers, short leases, and people with an invitation to send."""
    with Relay(room=0) as opened:
        monkeypatch.setenv("SMTP_URL", opened.url)
        monkeypatch.setenv("LEASE_SECONDS", str(LEASE))
        with transaction() as session:
            add_contract(session, seats=people)
            enrol(session, asking(*(f"p{number}" for number in range(people))))
        yield opened


def states() -> dict[object, object]:
    try:
        return dict(rows("SELECT state, count(*) FROM email GROUP BY state"))  # type: ignore[arg-type]
    except DBAPIError:  # the connection of this test was ended too
        return {}


def all_sent(relay: Relay, processes: Processes, people: int, *, connections: int, kills: int) -> None:
    relay.admit(None)
    wait_until(
        lambda: states() == {"sent": people},
        seconds=40,
        say=lambda: f"{states()} {len(relay.mails)} {processes.logs()[-3000:]}",
    )
    came = relay.got()
    assert set(came) == {message_id for (message_id,) in rows("SELECT message_id FROM email")}
    assert sum(came.values()) - people <= kills * connections
    assert relay.most_open <= 2 * connections  # those of a killed mailer may overlap those of the next
    assert rows("SELECT 1 FROM email WHERE failures > 0 OR due_at IS NOT NULL OR leased_until IS NOT NULL") == []


def may_be_killed(relay: Relay, *, in_hand: int) -> bool:
    """Tells that this many mails wait for the relay's answer and that none has lost two leases; a third loss makes it
    dead. Such mails are sent alone, so the relay answers each before there can be several in hand.
    """
    if rows("SELECT 1 FROM email WHERE leased_until IS NOT NULL HAVING max(rescues) >= 2"):
        if relay.holding:
            relay.admit(1)
        return False
    return relay.holding >= in_hand


@pytest.mark.parametrize("seed", [1, 2])
def test_mails_survive_kills_of_the_mailer_and_a_flushed_redis(
    relay: Relay, processes: Processes, connections: int, people: int, seed: int
) -> None:
    moments = random.Random(seed)
    processes.clock()
    kills = 3
    for kill in range(kills):
        relay.admit(moments.randint(1, 3 * connections))
        mailer = processes.worker(*QUEUES)
        in_hand = moments.randint(1, connections)
        wait_until(lambda: may_be_killed(relay, in_hand=in_hand), seconds=60, say=processes.logs)  # noqa: B023
        processes.kill(mailer)
        wait_until(relay.took_all)  # they have arrived, but the answer did not
        if kill == 1:
            with redis.Redis.from_url(os.environ["REDIS_URL"]) as opened:
                opened.flushall()
    assert states() != {"sent": people}
    processes.worker(*QUEUES)
    all_sent(relay, processes, people, connections=connections, kills=kills)


def test_mails_survive_cut_connections_to_the_database(
    relay: Relay, processes: Processes, connections: int, people: int
) -> None:
    cuts = 4
    processes.clock()
    mailer = processes.worker(*QUEUES)
    for _ in range(cuts):
        relay.admit(10)
        wait_until(lambda: relay.room == 0 and relay.holding == connections, say=processes.logs)
        change(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert states() != {"sent": people}
    all_sent(relay, processes, people, connections=connections, kills=cuts)
    assert mailer.poll() is None


def cut(server: str, database: str, *, come_back: bool) -> None:
    """Ends every connection to a database; with `come_back` false, new connections are refused as well."""
    with psycopg.connect(server, autocommit=True) as opened:
        opened.execute(f"ALTER DATABASE {database} WITH ALLOW_CONNECTIONS {come_back}")
        opened.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database,))


def test_a_long_outage_of_the_database_lets_out_only_mails_in_transit(
    fresh_database: str, relay: Relay, processes: Processes, connections: int, people: int
) -> None:
    processes.clock()
    mailer = processes.worker(*QUEUES)
    relay.admit(10)
    wait_until(lambda: relay.room == 0 and relay.holding == connections, say=processes.logs)
    server = os.environ["DATABASE_URL"].replace(fresh_database, "postgres").replace("+psycopg", "")
    cut(server, fresh_database, come_back=False)
    relay.admit(None)
    gone_at = time.monotonic()
    wait_until(lambda: time.monotonic() > gone_at + 2 * LEASE and len(relay.mails) >= 10 + connections)
    assert len(relay.mails) == 10 + connections
    cut(server, fresh_database, come_back=True)
    all_sent(relay, processes, people, connections=connections, kills=2)
    assert mailer.poll() is None
