"""Hostile clients get coded answers that repeat nothing, and the others are served meanwhile."""

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import UUID, uuid4

import httpx2
import pytest

from models.words import Scope
from tests.kit.processes.support import Processes, change, rows, wait_until
from tests.kit.processes.web_process import connected, is_open, read_to_end, start_web
from tests.workers.api.conftest import client_of, make_key
from tests.workers.api.test_frame import ENROLL, PEOPLE, keyed, problem
from workers.api import app, bodies, waiting

MARK = "zqx-mark-7"
"""A word in everything hostile, which neither an answer nor a log may repeat."""

TRICKS = [
    f"' OR 1=1; DROP TABLE job; -- {MARK}",
    f"../../../../etc/passwd/{MARK}",
    f"..\\..\\{MARK}",
    f"{MARK}\r\nSet-Cookie: a=b",
    f"{MARK}\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    f"%0d%0aX-Injected:%20{MARK}",
    f"<script>{MARK}</script>",
    f"{{{{7*7}}}}${{jndi:ldap://x/{MARK}}}",
    f"{MARK}\0",
    f"{MARK}\ud800",
    f"{MARK}\u202e\u2028\ufeff",
    MARK * 200,
]


def raw(method: str, path: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """Writes a request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def half(path: str, headers: dict[str, str], length: str = "Content-Length: 100000") -> bytes:
    """Writes a request with half a body."""
    name, _, value = length.partition(": ")
    begun = b"5\r\nhello\r\n" if name == "Transfer-Encoding" else b'{"people": ['
    return raw("POST", path, headers | {name: value}, begun)


def parsed(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    """Reads the one answer that these bytes are."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]), headers, body


def hung_up_with(base_url: str, sent: bytes) -> tuple[int, str]:
    """Returns status and code of the answer to bytes after which the client sends nothing more."""
    with connected(base_url, sent) as [connection]:
        status, headers, body = parsed(read_to_end(connection))
    assert headers["content-type"] == "application/problem+json"
    return status, json.loads(body)["code"]


@pytest.mark.parametrize("length", ["Content-Length: 100000", "Transfer-Encoding: chunked"])
def test_half_a_body_without_the_right_is_answered_at_once(base_url: str, portal: UUID, length: str) -> None:
    revoked, narrow, full = make_key(portal), make_key(portal, {Scope.READ}), make_key(portal)
    change("UPDATE portal_key SET revoked_at = now() WHERE key_id = :key", key=revoked.split("_")[1])
    path = f"/v1{ENROLL}"
    assert hung_up_with(base_url, half(path, {}, length)) == (401, "unauthorized")
    assert hung_up_with(base_url, half(path, bearer("x"), length)) == (401, "unauthorized")
    assert hung_up_with(base_url, half(path, bearer(revoked), length)) == (401, "unauthorized")
    assert hung_up_with(base_url, half(path, bearer(narrow), length)) == (403, "insufficient_scope")
    assert hung_up_with(base_url, half("/v1/nothing", bearer(full), length)) == (404, "not_found")
    assert hung_up_with(base_url, half("/v1/jobs", bearer(full), length)) == (405, "method_not_allowed")
    assert hung_up_with(base_url, half(path, bearer(full), length)) == (400, "idempotency_key_required")
    assert hung_up_with(base_url, half(f"{path}?a=1", bearer(full) | keyed(), length)) == (400, "invalid_request")


def test_a_large_body_without_a_key_gets_its_answer(base_url: str) -> None:
    for _ in range(20):
        answer = httpx2.post(f"{base_url}/v1{ENROLL}", content=b" " * 3_000_000, trust_env=False, timeout=20)
        problem(answer, 401, "unauthorized")


@pytest.mark.serial
def test_a_slow_body_ends_and_others_are_served_meanwhile(
    base_url: str, portal: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "READ_SECONDS", 1.0)
    key = make_key(portal)
    sent = half(f"/v1{ENROLL}", bearer(key) | keyed())
    with (
        connected(base_url, sent, 50) as silent,
        connected(base_url, sent) as [dripping],
        client_of(base_url, key) as c,
    ):

        def dripped_to_the_end() -> bool:
            try:
                dripping.send(b" ")
            except OSError:
                return True
            return not is_open(dripping)

        assert c.post(ENROLL, json=PEOPLE, headers=keyed()).status_code == 202
        assert not any(map(is_there, silent))  # nothing was answered to them yet
        wait_until(lambda: is_there(dripping))
        wait_until(dripped_to_the_end)
        for one in silent:
            one.setblocking(True)
            status, _, body = parsed(read_to_end(one))
            assert (status, json.loads(body)["code"]) == (408, "too_slow")
    assert rows("SELECT count(*) FROM job") == [(1,)]


def is_there(connection: socket.socket) -> bool:
    """Tells whether a part of an answer has come."""
    connection.setblocking(False)
    try:
        return bool(connection.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


def test_a_body_over_its_limit_is_refused_before_its_end(base_url: str, portal: UUID) -> None:
    headers = bearer(make_key(portal))
    named = half(f"/v1{ENROLL}", headers | keyed(), "Content-Length: 1048577")
    assert hung_up_with(base_url, named) == (413, "too_large")
    huge = half(f"/v1{ENROLL}", headers | keyed(), f"Content-Length: {10**19}")
    assert hung_up_with(base_url, huge) == (413, "too_large")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    chunked = raw("POST", f"/v1{ENROLL}", headers | keyed() | {"Transfer-Encoding": "chunked"}, chunk * 17)
    assert hung_up_with(base_url, chunked) == (413, "too_large")
    assert rows("SELECT count(*) FROM job") == [(0,)]


@pytest.mark.serial
def test_900_silent_connections_hold_up_no_other(processes: Processes, portal: UUID) -> None:
    web = start_web(processes)
    key = make_key(portal)
    halves = half(f"/v1{ENROLL}", bearer(key) | keyed())
    with ExitStack() as opened:
        for sent in (b"", b"POST /v1/jo", halves):
            opened.enter_context(connected(web.base_url, sent, 300))
        client = opened.enter_context(client_of(web.base_url, key))
        answers = [client.post(ENROLL, json=PEOPLE, headers=keyed()) for _ in range(100)]
    assert {answer.status_code for answer in answers} == {202}
    assert max(answer.elapsed.total_seconds() for answer in answers) < 5
    assert rows("SELECT count(*) FROM job") == [(100,)]


def escaped(trick: str) -> str:
    """Writes a trick as a segment of an address."""
    return "".join(f"%{byte:02X}" for byte in trick.encode("utf-8", "surrogatepass"))


def test_tricks_get_coded_answers_and_leave_no_trace(processes: Processes, portal: UUID) -> None:
    web, key = start_web(processes), make_key(portal)
    with client_of(web.base_url, key) as client:
        for trick in TRICKS:
            for send in in_the_address(client, trick), in_the_query(client, trick), in_the_body(client, trick):
                for answer in send:
                    assert_coded(answer)
    assert MARK not in processes.logs()
    assert "Traceback" not in processes.logs()


def in_the_address(client: httpx2.Client, trick: str) -> list[httpx2.Response]:
    place = escaped(trick)
    return [
        client.get(f"/jobs/{place}"),
        client.get(f"/contracts/{place}"),
        client.get(f"/contracts/{place}/participants"),
        client.get(f"/{place}"),
        client.post(f"/enrollments/{place}/name-correction", json={}, headers=keyed()),
    ]


def in_the_query(client: httpx2.Client, trick: str) -> list[httpx2.Response]:
    value = escaped(trick)
    names = ("cursor", "limit", "state", "kind", value)
    return [
        *(client.get(f"/jobs?{name}={value}") for name in names),
        *(client.get(f"/contracts/C-1/participants?{name}={value}") for name in (*names, "q", "progress", "mail")),
        client.get(f"/contracts?cursor={value}"),
    ]


def in_the_body(client: httpx2.Client, trick: str) -> list[httpx2.Response]:
    text = json.dumps(trick)
    sent = [
        f'{{"people": [], {text}: 1}}',
        f'{{"people": [{text}]}}',
        f'{{"people": {text}}}',
        f'{{"people": [{{"email": "a@b.fr", "first_name": "A", "last_name": "B", {text}: 1}}]}}',
        f"{text}",
        f'{{"policy": {text}, "people": []}}',
    ]
    raw_bytes = trick.encode("utf-8", "surrogatepass")
    bodies = [*(one.encode() for one in sent), raw_bytes, b'{"people": ' + raw_bytes]
    return [client.post(ENROLL, content=body, headers=keyed()) for body in bodies]


def assert_coded(answer: httpx2.Response) -> None:
    """Checks that a trick is refused with a code, unless a row is judged later, and that nothing is repeated."""
    where = f"{answer.request.method} {answer.request.url}: {answer.status_code} {answer.text}"
    judged_later = answer.status_code == 202 and '"people": [' in answer.request.content.decode(errors="replace")
    assert judged_later or answer.status_code in (400, 404), where
    assert judged_later or answer.json()["code"] in ("invalid_request", "not_found"), where
    assert MARK not in answer.text, where
    assert MARK not in str(answer.headers), where
    assert "set-cookie" not in answer.headers
    assert "x-injected" not in answer.headers


HEADER_TRICKS = {
    "Authorization": (401, "unauthorized"),
    "Idempotency-Key": (400, "invalid_request"),
    "X-Request-Id": (202, None),
    "Prefer": (202, None),
}
"""Headers that the API reads, and how it answers when they hold a trick."""


def test_tricks_in_headers_are_refused_or_left_unread(processes: Processes, portal: UUID) -> None:
    web, key = start_web(processes), make_key(portal)
    body = json.dumps(PEOPLE).encode()
    for name, (status, code) in HEADER_TRICKS.items():
        for trick in (f"{MARK} é ' -- <b>", f"wait=x; {MARK} x", f"Bearer mtr_{MARK}_é"):
            headers = bearer(key) | keyed() | {name: trick, "Content-Length": str(len(body)), "Connection": "close"}
            with connected(web.base_url, raw("POST", f"/v1{ENROLL}", headers, body)) as [connection]:
                got, answered, text = parsed(read_to_end(connection))
            assert (got, json.loads(text).get("code")) == (status, code), name
            assert MARK not in f"{answered}{text!r}"
    assert MARK not in processes.logs()
    assert "Traceback" not in processes.logs()


STRANGE_JSON = [
    b'{"people": ' + b"[" * 200_000,
    b"[" * 200_000 + b"]" * 200_000,
    b'{"people": ' + b"[" * 200_000 + b"]" * 200_000 + b"}",
    b'{"people": ' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}",
    b'{"people": [], "contract\\u0020": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"people": NaN}',
    b'{"people": [], "order": Infinity}',
    b'{"people": ' + b"9" * 5_000 + b"}",
    b'{"people": [], "version": ' + b"9" * 5_000 + b"}",
    b'{"people": [' + b"{}," * 300_000 + b"{}]}",
    b'\xef\xbb\xbf{"people": 1e400}',
    b'{"people": []}{"people": []}',
    b'{"people": [], "contrac\\u0074": "C-2"}',
    b'{"people": []} // comment',
    b'{"people": [],}',
    "{'people': []}".encode("utf-16"),
]


def test_strange_json_is_refused_and_costs_no_other(api: httpx2.Client) -> None:
    for body in STRANGE_JSON:
        answer = api.post(ENROLL, content=body, headers=keyed())
        assert answer.status_code == 400, (body[:80], answer.text)
        assert problem(answer, 400, "invalid_request")["errors"], body[:80]
        assert len(answer.content) < 20_000
        assert api.post(ENROLL, json=PEOPLE, headers=keyed()).status_code == 202


BYRON = '"Byron"'
ROW = '{"email": "a@b.fr", "first_name": "Ada", "last_name": %s}'


@pytest.mark.parametrize("name", ['"\\ud800"', '"\\u0000"', "NaN", "[" * 50 + "]" * 50, "{}", "1e400"])
def test_a_wrong_value_in_one_row_is_kept_for_that_row(api: httpx2.Client, name: str) -> None:
    body = f'{{"people": [{ROW % name}, {ROW % BYRON}]}}'
    answer = api.post(ENROLL, content=body, headers=keyed())
    assert answer.status_code == 202, answer.text
    [(request,)] = rows("SELECT request FROM job")
    assert request["people"][1]["last_name"] == "Byron"  # type: ignore[index]


def test_of_a_name_given_twice_the_last_counts_everywhere(api: httpx2.Client) -> None:
    body = f'{{"people": [], "people": [{{"email": "old@b.fr", {ROW[1:]}]}}' % BYRON
    assert api.post(ENROLL, content=body, headers=keyed("twice")).status_code == 202
    [(request,)] = rows("SELECT request FROM job")
    assert request == {"contract": "C-1", "people": [json.loads(ROW % BYRON)]}
    only = {"people": [json.loads(ROW % BYRON)]}
    repeated = api.post(ENROLL, json=only, headers=keyed("twice"))
    assert repeated.headers["idempotency-replayed"] == "true"


def test_pipelined_calls_are_answered_in_their_order(base_url: str, portal: UUID) -> None:
    body = json.dumps(PEOPLE).encode()
    headers = bearer(make_key(portal)) | {"Content-Length": str(len(body))}
    ids = [f"call-{number}" for number in range(20)]
    sent = b"".join(raw("POST", f"/v1{ENROLL}", headers | keyed() | {"X-Request-Id": one}, body) for one in ids)
    last = raw("GET", "/v1/jobs", {"X-Request-Id": "last", "Connection": "close"})
    with connected(base_url, sent + last) as [connection]:
        heads = [line.lower() for line in read_to_end(connection).decode().split("\r\n")]
    assert [line.partition(": ")[2] for line in heads if line.startswith("x-request-id")] == [*ids, "last"]
    assert rows("SELECT count(*) FROM job") == [(20,)]


def test_head_is_answered_as_get_without_the_body(api: httpx2.Client) -> None:
    location = api.post(ENROLL, json=PEOPLE, headers=keyed()).headers["location"].removeprefix("/v1")
    whole, head = api.get(location), api.head(location)
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "cache-control"):
        assert head.headers[name] == whole.headers[name]
    missing = api.head(f"/jobs/{uuid4()}")
    assert (missing.status_code, missing.content) == (404, b"")


@contextmanager
def five_waiting(base_url: str, key: str) -> Iterator[None]:
    """Makes five calls that wait for their jobs, which are recorded when the block begins."""
    with ExitStack() as opened:
        for _ in range(5):
            opened.enter_context(connected(base_url, waiting_call(key)))
        wait_until(lambda: rows("SELECT count(*) FROM job") == [(5,)])
        yield


def waiting_call(key: str) -> bytes:
    body = json.dumps(PEOPLE).encode()
    headers = bearer(key) | keyed() | {"Prefer": "wait=30", "Content-Length": str(len(body))}
    return raw("POST", f"/v1{ENROLL}", headers, body)


def test_a_client_that_leaves_while_it_waits_frees_its_place(
    base_url: str, portal: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "MOST_AT_ONCE", 5)
    key = make_key(portal)
    with client_of(base_url, key) as client:
        with five_waiting(base_url, key):
            problem(client.get("/jobs"), 503, "unavailable")
        wait_until(lambda: client.get("/jobs").status_code == 200, seconds=5)
        assert client.post(ENROLL, json=PEOPLE, headers=keyed()).status_code == 202
    assert rows("SELECT count(*) FROM job") == [(6,)]


def test_more_calls_than_are_answered_at_once_come_again(
    base_url: str, portal: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "MOST_AT_ONCE", 5)
    key = make_key(portal)
    with client_of(base_url, key) as client, five_waiting(base_url, key):
        answer = client.post(ENROLL, json=PEOPLE, headers=keyed())
        problem(answer, 503, "unavailable")
        assert answer.headers["retry-after"] == "1"
    assert rows("SELECT count(*) FROM job") == [(5,)]


def test_waits_leave_room_for_calls_that_do_not_wait(
    base_url: str, portal: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "MOST_WAITING", 5)
    key = make_key(portal)
    with client_of(base_url, key) as client, five_waiting(base_url, key):
        answer = client.post(ENROLL, json=PEOPLE, headers=keyed() | {"Prefer": "wait=30"})
    assert answer.status_code == 202
    assert "preference-applied" not in answer.headers
