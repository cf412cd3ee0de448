"""Files arrive in parts of a megabyte, from any client; what does not arrive whole leaves nothing behind."""

import hashlib
import json
import socket
import tracemalloc
from collections.abc import Iterator
from uuid import UUID

import httpx2
import pytest

from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.imports import contract, file_of
from tests.kit.processes.support import rows, wait_until
from tests.workers.api.conftest import make_key
from tests.workers.api.test_frame import keyed, problem
from workers.api import uploading
from workers.database import transaction
from workers.imports.files import open_file
from workers.web import server

PATH = "/contracts/C-1/rosters"
LARGE = file_of(*(f"p{number}" for number in range(70_000)))


@pytest.fixture
def portal(fresh_database: str) -> UUID:
    """Makes a contract of `local`."""
    contract()
    return LOCAL_PORTAL_ID


def kept() -> list[tuple[object, ...]]:
    return rows("SELECT encode(sha256, 'hex'), size FROM roster_file")


def form(content: bytes, head: bytes = b'name="file"; filename="liste.csv"', end: bytes = b"--") -> bytes:
    return b"--x\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + content + b"\r\n--x" + end + b"\r\n"


FORM = {"Content-Type": "multipart/form-data; boundary=x"}


def test_a_large_file_is_kept_in_parts_under_its_hash(api: httpx2.Client) -> None:
    assert len(LARGE) > 2 * (1 << 20)
    answer = api.post(PATH, content=LARGE, headers=keyed(), params={"filename": "liste.csv"})
    assert answer.status_code == 202, answer.text
    digest = hashlib.sha256(LARGE).hexdigest()
    assert kept() == [(digest, len(LARGE))]
    parts = rows("SELECT number, octet_length(content) FROM roster_part ORDER BY number")
    assert parts == [(0, 1 << 20), (1, 1 << 20), (2, len(LARGE) - (2 << 20))]
    with transaction() as session:
        file = open_file(session, LOCAL_PORTAL_ID, digest)
        assert file is not None
        with file:
            file.seek(0)
            assert file.read() == LARGE
    [(request,)] = rows("SELECT request FROM job")
    assert (request["file"], request["file_name"], request["contract"]) == (digest, "liste.csv", "C-1")  # type: ignore[index]


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) - 1, (1 << 20) + 1, 2 << 20])
def test_a_file_may_end_anywhere(api: httpx2.Client, size: int) -> None:
    assert api.post(PATH, content=LARGE[:size], headers=keyed()).status_code == 202
    assert kept() == [(hashlib.sha256(LARGE[:size]).hexdigest(), size)]
    assert rows("SELECT sum(octet_length(content)) FROM roster_part") == [(size,)]


def test_a_form_is_the_same_file(api: httpx2.Client) -> None:
    plain = api.post(PATH, content=LARGE, headers=keyed(), params={"filename": "a.csv"}).json()["id"]
    as_form = api.post(PATH, files={"file": ("a.csv", LARGE, "text/csv")}, headers=keyed())
    assert (as_form.status_code, as_form.json()["id"]) == (202, plain)
    assert len(kept()) == 1


def test_a_repeat_is_the_same_job_and_another_file_is_a_conflict(api: httpx2.Client) -> None:
    first = api.post(PATH, content=LARGE, headers=keyed("nightly"))
    again = api.post(PATH, content=LARGE, headers=keyed("nightly"))
    assert (again.json()["id"], again.headers["idempotency-replayed"]) == (first.json()["id"], "true")
    assert "idempotency-replayed" not in first.headers
    problem(api.post(PATH, content=LARGE + b"x", headers=keyed("nightly")), 409, "idempotency_conflict")
    problem(
        api.post(PATH, content=LARGE, headers=keyed("nightly"), params={"dry_run": True}), 409, "idempotency_conflict"
    )
    assert len(kept()) == 1


def connected(base_url: str, key: str | None, head: str, query: str = "") -> socket.socket:
    """Opens a connection that has sent the head of an upload."""
    host, port = base_url.removeprefix("http://").split(":")
    opened = socket.create_connection((host, int(port)), timeout=20)
    said = f"Authorization: Bearer {key}\r\n" if key else ""
    opened.sendall(f"POST /v1{PATH}?{query} HTTP/1.1\r\nHost: x\r\nIdempotency-Key: k\r\n{said}{head}\r\n\r\n".encode())
    return opened


def told(opened: socket.socket) -> tuple[int, str]:
    """Reads an answer to the end of the connection; returns its status and its code."""
    answer = b""
    while part := opened.recv(65_536):
        answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["code"]


def test_half_a_file_leaves_nothing(base_url: str, portal: UUID) -> None:
    with connected(base_url, make_key(portal), "Content-Length: 5000000") as opened:
        opened.sendall(LARGE)
        wait_until(lambda: rows("SELECT count(*) FROM roster_part") != [(0,)])
    wait_until(lambda: kept() == [])
    assert rows("SELECT count(*) FROM roster_part") == [(0,)]
    assert rows("SELECT count(*) FROM job") == [(0,)]


def test_the_key_is_checked_before_the_file_is_read(base_url: str, portal: UUID) -> None:
    with connected(base_url, None, "Content-Length: 5000000") as opened:
        assert told(opened) == (401, "unauthorized")


@pytest.mark.parametrize(
    "query", ["policy=x", "dry_run=perhaps", "report_to=x%40%40y", "locale=fr", "requested_by=a%0Ab"]
)
def test_what_is_asked_is_checked_before_the_file_is_read(base_url: str, portal: UUID, query: str) -> None:
    with connected(base_url, make_key(portal), "Content-Length: 5000000", query) as opened:
        assert told(opened) == (400, "invalid_request")


def test_a_file_that_comes_too_slowly_is_given_up(base_url: str, portal: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "PART_SECONDS", 0.2)
    with connected(base_url, make_key(portal), "Content-Length: 5000000") as opened:
        opened.sendall(LARGE)
        assert told(opened) == (408, "too_slow")
    assert kept() == []


def test_a_large_file_has_more_time_than_other_bodies(api: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "BODY_SECONDS", 1.0)
    reached: list[int] = []

    def slowly() -> Iterator[bytes]:
        yield LARGE[: 1 << 20]
        wait_until(lambda: rows("SELECT count(*) FROM roster_part") != [(0,)])
        with socket.socket() as nothing:  # longer than the server waits for other bodies
            nothing.settimeout(1.5)
            nothing.bind(("127.0.0.1", 0))
            nothing.listen()
            with pytest.raises(TimeoutError):
                nothing.accept()
        reached.append(1)
        yield LARGE[1 << 20 :]

    answer = api.post(PATH, content=slowly(), headers=keyed())
    assert (answer.status_code, reached) == (202, [1])


def test_a_file_over_the_limit_leaves_nothing(api: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "MAX_BYTES", 2_000_000)
    problem(api.post(PATH, content=LARGE, headers=keyed()), 413, "too_large")
    chunks = (LARGE[at : at + 65_536] for at in range(0, len(LARGE), 65_536))
    problem(api.post(PATH, content=chunks, headers=keyed()), 413, "too_large")
    problem(api.post(PATH, files={"file": LARGE}, headers=keyed()), 413, "too_large")
    assert kept() == []


def test_a_full_house_is_told_to_come_again(api: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploading, "MOST_OF_PORTAL", 0)
    answer = api.post(PATH, content=file_of("ada"), headers=keyed("k"))
    problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "5"
    monkeypatch.setattr(uploading, "MOST_OF_PORTAL", 1)
    for _ in range(3):
        assert api.post(PATH, content=file_of("ada"), headers=keyed("k")).status_code == 202


def test_the_memory_that_a_file_takes_does_not_grow_with_it(api: httpx2.Client) -> None:
    def many() -> Iterator[bytes]:
        for _ in range(48):
            yield LARGE[: 1 << 19]

    tracemalloc.start()
    try:
        assert api.post(PATH, content=many(), headers=keyed()).status_code == 202
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept()[0][1] == 24 << 20
    assert peak < 12 << 20, peak


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (form(b"a"), "multipart/form-data"),
        (form(b"a"), "multipart/form-data; boundary="),
        (form(b"a"), "multipart/form-data; boundary=" + "y" * 300),
        (form(b"a"), "multipart/form-data; boundary=other"),
        (form(b"a", end=b""), FORM["Content-Type"]),
        (form(b"a", b'name="roster"; filename="a.csv"'), FORM["Content-Type"]),
        (form(b"a", b'name="file\0"; filename="a.csv"'), FORM["Content-Type"]),
        (form(b"a", b"x" * 9_000), FORM["Content-Type"]),
        (form(b"a")[:-6] + b"\r\n" + form(b"b"), FORM["Content-Type"]),
        (b"--x--\r\n", FORM["Content-Type"]),
        (b"", FORM["Content-Type"]),
        (form(b""), FORM["Content-Type"]),
        (b"", "text/csv"),
    ],
)
def test_a_form_without_exactly_one_file_is_refused(api: httpx2.Client, body: bytes, kind: str) -> None:
    answer = api.post(PATH, content=body, headers=keyed() | {"Content-Type": kind})
    assert [one["field"] for one in problem(answer, 400, "invalid_request")["errors"]] == ["file"]  # type: ignore[attr-defined]
    assert rows("SELECT count(*) FROM job") == [(0,)]
    assert kept() == []


@pytest.mark.parametrize(
    ("sent", "label"),
    [
        (b"../../etc/passwd", "passwd"),
        (b"C:\\temp\\liste.csv", "liste.csv"),
        ("équipe n°1.csv".encode(), "équipe n°1.csv"),
        (b"a\xff\xfe.csv", "a__.csv"),
        (b"a\0b.csv", "a_b.csv"),
        ("a\u202ecsv.exe".encode(), "a_csv.exe"),
        (b"", "file"),
        (b"..", ".."),
    ],
)
def test_the_name_of_a_file_is_a_label(api: httpx2.Client, sent: bytes, label: str) -> None:
    body = form(file_of("ada"), b'name="file"; filename="' + sent + b'"')
    answer = api.post(PATH, content=body, headers=keyed() | FORM)
    assert answer.status_code == 202, answer.text
    assert rows("SELECT request ->> 'file_name' FROM job") == [(label,)]


@pytest.mark.parametrize(("query", "label"), [("a%0D%0AX:y.csv", "a__X:y.csv"), ("%00", "_"), ("%ED%A0%80", "___")])
def test_a_name_in_the_address_is_a_label_too(api: httpx2.Client, query: str, label: str) -> None:
    answer = api.post(f"{PATH}?filename={query}", content=file_of("ada"), headers=keyed())
    assert answer.status_code == 202, answer.text
    assert rows("SELECT request ->> 'file_name' FROM job") == [(label,)]
