"""The client for portals beside the broker: the requests it refuses, its dependencies, and its time limits."""

import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import redis

from models.words import Code
from tests.kit.actors.messages import client
from tests.kit.processes.support import PROJECT
from workers.errors import InvalidRequest
from workers.portal_client import Door, PortalClient
from workers.requests.base import MAX_MESSAGE_BYTES
from workers.requests.catalog import PutCompany, PutContract
from workers.requests.enrollment import Enroll, PersonToEnroll
from workers.requests.signing import SignedFields

COMPANY = PutCompany(reference="R-1", name="Lorval")
SECRET = "mqs_secret"


@pytest.fixture
def portal(fresh_database: str) -> Iterator[PortalClient]:
    opened = portal_at(os.environ["REDIS_URL"], namespace=fresh_database)
    yield opened
    opened.close()


@pytest.fixture
def by_stream(fresh_database: str) -> Iterator[PortalClient]:
    opened = portal_at(os.environ["REDIS_URL"], namespace=fresh_database, door="stream")
    yield opened
    opened.close()


@pytest.fixture
def mute() -> Iterator[str]:
    """Runs a server that accepts connections and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(16)
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


class LosesAnswers(socketserver.ThreadingTCPServer):
    """A way to the broker on which the answer to the first script that is done is lost, with its connection."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, broker: str) -> None:
        super().__init__(("127.0.0.1", 0), ForwardsCommands)
        self.broker = redis.Redis.from_url(broker)
        self.lost = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.server_address[1]}/0"


class ForwardsCommands(socketserver.BaseRequestHandler):
    server: LosesAnswers

    def handle(self) -> None:
        broker: Any = self.server.broker.connection_pool.make_connection()
        broker.connect()
        with closing(broker._sock) as upstream:
            while commands := self.request.recv(65_536):
                upstream.sendall(commands)
                answer = upstream.recv(65_536)
                if b"EVALSHA" in commands and answer.startswith(b"+OK") and not self.server.lost:
                    self.server.lost += 1
                    return
                self.request.sendall(answer)


@pytest.fixture
def loses_answers(fresh_database: str) -> Iterator[LosesAnswers]:
    with LosesAnswers(os.environ["REDIS_URL"]) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        server.broker.close()


def portal_at(url: str, *, namespace: str = "matricule", door: Door = "list") -> PortalClient:
    return PortalClient(url, portal="shop", key_id="Ab3dEf7h", secret=SECRET, door=door, namespace=namespace)


def sent(namespace: str) -> list[bytes]:
    with client() as opened:
        return list(opened.hvals(f"{namespace}:requests.msgs"))


def of_size(extra: int) -> Enroll:
    person = PersonToEnroll(email="a@example.com", first_name="x" * extra, last_name="Lorval")
    return Enroll(contract="K-1", people=[person])


def test_it_needs_no_database() -> None:
    code = "import json, sys, workers.portal_client; print(json.dumps(sorted(sys.modules)))"
    shown = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(shown.stdout)}
    assert loaded.isdisjoint({"sqlalchemy", "sqlmodel", "psycopg", "alembic", "structlog"})
    assert not any(name.startswith(("workers.actors", "workers.engine")) for name in json.loads(shown.stdout))


def test_a_request_is_one_message(portal: PortalClient, fresh_database: str) -> None:
    message_id = portal.send(COMPANY, key="one")
    (raw,) = sent(fresh_database)
    message = json.loads(raw)
    assert (message["queue_name"], message["actor_name"], message["message_id"]) == ("requests", "accept", message_id)
    assert message["kwargs"].pop("version") == 1
    assert is_signed(message["kwargs"], portal="shop")


def test_a_request_is_one_entry_of_the_stream_of_its_portal(by_stream: PortalClient, fresh_database: str) -> None:
    entry = by_stream.send(COMPANY, key="one")
    with client() as opened:
        [(found, fields)] = opened.xrange(f"{fresh_database}:stream:shop")
    assert found.decode() == entry
    told = {name.decode(): value.decode() for name, value in fields.items()}
    assert told.pop("version") == "1"
    assert is_signed(told, portal="shop")


def is_signed(fields: dict[str, str], *, portal: str) -> bool:
    """Tells whether these are the fields of the request `COMPANY`, signed a moment ago."""
    named = {"portal": portal} | fields
    signature, sent_at = named.pop("signature"), int(named["sent_at"])
    assert PutCompany.model_validate_json(named["body"]) == COMPANY
    assert (named["key"], named["kind"], named["key_id"]) == ("one", "put_company", "Ab3dEf7h")
    assert abs(sent_at - time.time()) < 60
    return SignedFields(**named, version="1").is_signed_by(SECRET, signature)


def test_an_option_left_out_is_not_sent(portal: PortalClient, fresh_database: str) -> None:
    """An option of a contract that is left out keeps its value, so its default must not be sent."""
    portal.send(PutContract(reference="K-1", company="R-1", training="T-1", planned_seats=3), key="one")
    [message] = sent(fresh_database)
    body = json.loads(json.loads(message)["kwargs"]["body"])
    assert set(body) == {"reference", "company", "training", "planned_seats"}


@pytest.mark.parametrize("key", ["", "k" * 201, "a\nb", "a\x00b", "\ud800"])
def test_a_key_the_ledger_would_refuse_is_refused_here(portal: PortalClient, fresh_database: str, key: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        portal.send(COMPANY, key=key)
    assert (refused.value.code, refused.value.problems[0].field) == (Code.INVALID_REQUEST, "key")
    assert sent(fresh_database) == []


def test_the_largest_message_it_sends_is_the_largest_the_ledger_takes(
    portal: PortalClient, fresh_database: str
) -> None:
    portal.send(of_size(1), key="one")
    room = MAX_MESSAGE_BYTES - len(sent(fresh_database)[0])
    portal.send(of_size(1 + room), key="two")
    assert max(len(raw) for raw in sent(fresh_database)) == MAX_MESSAGE_BYTES
    with pytest.raises(InvalidRequest) as refused:
        portal.send(of_size(2 + room), key="two")
    assert refused.value.code == Code.REQUEST_TOO_LARGE


def test_a_name_cut_inside_a_character_is_refused_and_its_field_named(
    portal: PortalClient, fresh_database: str
) -> None:
    whole, cut = (
        PersonToEnroll(email="a@example.com", first_name=name, last_name="B") for name in ("Zoé 😀", "Zoé \ud83d")
    )
    cut_twice = PersonToEnroll(email="a@example.com", first_name="\ude00", last_name="B", external_id="\ud83d")
    with pytest.raises(InvalidRequest) as refused:
        portal.send(Enroll(contract="K-1", people=[whole, cut, cut_twice]), key="one")
    assert [(problem.code, problem.field) for problem in refused.value.problems] == [
        (Code.UNSAFE_VALUE, "people.1.first_name"),
        (Code.UNSAFE_VALUE, "people.2.first_name"),
        (Code.UNSAFE_VALUE, "people.2.external_id"),
    ]
    assert sent(fresh_database) == []
    portal.send(Enroll(contract="K-1", people=[whole]), key="one")


def test_many_requests_are_sent_in_their_order(portal: PortalClient, fresh_database: str) -> None:
    requests = [(PutCompany(reference=f"R-{number}", name="Lorval"), f"key-{number}") for number in range(1_203)]
    message_ids = portal.send_many(iter(requests))
    with client() as opened:
        waiting = opened.lrange(f"{fresh_database}:requests", 0, -1)
        messages = [json.loads(raw) for raw in opened.hmget(f"{fresh_database}:requests.msgs", waiting)]
    assert [message["kwargs"]["key"] for message in messages] == [key for _, key in requests]
    assert [message["message_id"] for message in messages] == message_ids


def test_many_large_requests_are_sent_in_several_calls(portal: PortalClient, fresh_database: str) -> None:
    portal.send_many([(of_size(200_000), f"key-{number}") for number in range(21)])
    assert len(sent(fresh_database)) == 21


def test_nothing_is_sent_when_one_of_many_is_invalid(portal: PortalClient, fresh_database: str) -> None:
    cut = Enroll(contract="K-1", people=[PersonToEnroll(email="a@example.com", first_name="\ud83d", last_name="B")])
    requests = [(COMPANY, "one"), (COMPANY, "a\nb"), (cut, "three"), (of_size(MAX_MESSAGE_BYTES), "four")]
    with pytest.raises(InvalidRequest) as refused:
        portal.send_many(requests)
    assert [(problem.code, problem.field) for problem in refused.value.problems] == [
        (Code.INVALID_REQUEST, "1.key"),
        (Code.UNSAFE_VALUE, "2.people.0.first_name"),
        (Code.REQUEST_TOO_LARGE, "3"),
    ]
    assert sent(fresh_database) == []


def test_no_requests_are_sent_as_none(portal: PortalClient, fresh_database: str) -> None:
    assert portal.send_many([]) == []
    assert sent(fresh_database) == []


def test_a_call_repeated_after_a_lost_answer_sends_nothing_twice(
    loses_answers: LosesAnswers, fresh_database: str
) -> None:
    portal = portal_at(loses_answers.url, namespace=fresh_database)
    portal.send_many([(COMPANY, "one"), (COMPANY, "two")])
    portal.close()
    assert loses_answers.lost == 1
    with client() as opened:
        assert opened.llen(f"{fresh_database}:requests") == len(sent(fresh_database)) == 2


def test_it_gives_up_soon_when_the_connection_is_refused() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"redis://127.0.0.1:{closed.getsockname()[1]}/0"
    before = time.monotonic()
    with pytest.raises(redis.ConnectionError):
        portal_at(url).send(COMPANY, key="one")
    assert time.monotonic() - before < 3


def test_it_gives_up_within_seconds_without_an_answer(mute: str) -> None:
    before = time.monotonic()
    with pytest.raises(redis.TimeoutError):
        portal_at(mute).send(COMPANY, key="one")
    assert time.monotonic() - before < 10
