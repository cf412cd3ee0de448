"""Duplicates are rendered, stored, zipped with an index and mailed, once each, even when a worker dies on the way."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest

from models.base import new_id
from models.document import PrintedCertificate
from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.committed_jobs import all_rows, claimed
from tests.kit.builders.certificates import (
    ask,
    certified,
    content,
    duplicated,
    index,
    job,
    unzipped,
)
from tests.kit.builders.contracts import enrolled, someone
from tests.kit.processes.support import change, rows, wait_until
from workers.actors import certificates
from workers.certificates.duplicates import job as duplicate_job
from workers.certificates.duplicates import making
from workers.certificates.duplicates.fetching import pieces, read_file
from workers.certificates.duplicates.files import find_by_job
from workers.certificates.duplicates.making import DocumentMaker
from workers.database import transaction
from workers.documents.renderer import NotRendered, render
from workers.documents.store import DocumentStore
from workers.engine import chunks as courses
from workers.engine import claimer
from workers.engine.acceptance import accept
from workers.errors import Transient
from workers.requests.certificates import DuplicateCertificates
from workers.requests.queues import Queue
from workers.settings import get_settings


@pytest.fixture(autouse=True)
def stopping(fresh_database: str) -> Iterator[None]:
    """Restores the stop flag of this process after the test."""
    yield
    claimer.STOPPING.clear()


def asking(*enrollments: UUID, **more: Any) -> DuplicateCertificates:
    return DuplicateCertificates(contract="C-1", enrollment_ids=list(enrollments), **more)


def work(queue: Queue = Queue.CERTIFICATES) -> None:
    certificates.do_batch(claimed(queue))


def test_one_person_is_given_one_document() -> None:
    [zoe] = certified(someone("zoe", "Zoé", "Le Dû"))
    shown = duplicated(zoe)
    person = shown["result"]["people"][0]
    assert (shown["state"], shown["result"]["counts"]) == ("succeeded", {"duplicated": 1})
    assert shown["result"]["file"]["name"] == f"attestation-Le-Du-Zoe-{person['detail']['number']}.pdf"
    assert content(shown).startswith(b"%PDF-")
    [(sha256, size)] = rows("SELECT sha256, size FROM rendering")
    assert (sha256, size) == (shown["result"]["file"]["sha256"], shown["result"]["file"]["size"])


def test_several_are_given_a_zip_with_the_right_person_in_every_file() -> None:
    names = [("Zoé", "Le Dû"), ("Zoé", "Le Dû"), ("Anne/../..", "O’Brien"), ("Ωμέγα", "محمد"), ("=1+1", "CON")]
    people = certified(*(someone(f"p{number}", *name) for number, name in enumerate(names)))
    with transaction() as session:
        [new] = enrolled(session, "new")
    shown = duplicated(*people, new)
    files = unzipped(shown)
    lines = index(files)
    assert shown["result"]["counts"] == {"duplicated": 5, "not_completed": 1}
    assert len(files) == 6
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") for name in files)
    assert [line[7] for line in lines] == ["duplicated"] * 5 + ["not_completed"]
    for number, line in enumerate(lines[:5]):
        assert [line[1].lstrip("'"), line[2]] == list(names[number])
        made = files[line[6]]
        assert made.startswith(b"%PDF-")
        assert line[4] == shown["result"]["people"][number]["detail"]["number"]
    assert lines[4][1] == "'=1+1"  # no cell is a formula
    assert len({bytes(value) for name, value in files.items() if name != "index.csv"}) == 5


def test_a_large_zip_goes_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(making, "CHUNK", 3)
    people = certified(*(f"p{number}" for number in range(11)))
    shown = duplicated(*people)
    assert shown["queue"] == "certificates_bulk"
    assert len(unzipped(shown)) == 12


def test_the_failure_of_one_is_listed_and_loses_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    people = certified(*(someone(name, name.title(), "Dû") for name in ("a", "b", "c")))
    real = render

    def sometimes(printed: Any, *more: Any, **options: Any) -> bytes:
        if printed.snapshot.first_name == "B":
            raise NotRendered("no glyph")
        return real(printed, *more, **options)

    monkeypatch.setattr(making, "render", sometimes)
    shown = duplicated(*people)
    files = unzipped(shown)
    assert [line[7] for line in index(files)] == ["duplicated", "not_rendered", "duplicated"]
    assert [person["code"] for person in shown["result"]["people"]] == ["duplicated", "not_rendered", "duplicated"]
    assert shown["result"]["counts"] == {"duplicated": 2, "not_rendered": 1}
    assert len(files) == 3


def test_there_is_no_file_when_no_person_can_have_a_duplicate(monkeypatch: pytest.MonkeyPatch) -> None:
    certified("zoe")
    with transaction() as session:
        [new] = enrolled(session, "new")
    shown = duplicated(new)
    assert (shown["state"], shown["result"]["counts"]) == ("refused", {"not_completed": 1})
    assert "file" not in shown["result"]


def test_the_same_request_under_the_same_key_is_the_same_duplicate() -> None:
    [zoe] = certified("zoe")
    first = duplicated(zoe, key="once")
    again = duplicated(zoe, key="once")
    assert again == first
    assert rows("SELECT count(*) FROM certificate_duplicate") == [(1,)]


def test_a_hundred_who_ask_for_the_same_at_once_are_given_one_number() -> None:
    [zoe] = certified("zoe")
    request = asking(zoe)
    body = request.model_dump_json(exclude_unset=True)

    def once(_: int) -> UUID:
        with transaction() as session:
            return accept(session, LOCAL_PORTAL_ID, request, body, key="once").job_id

    with ThreadPoolExecutor(20) as threads:
        jobs = set(threads.map(once, range(100)))
        list(threads.map(lambda _: work(), range(20)))
    assert len(jobs) == 1
    assert rows("SELECT ordinal FROM certificate_duplicate") == [(1,)]
    assert rows("SELECT count(*) FROM rendering") == [(1,)]


def test_many_who_ask_each_for_their_own_are_given_numbers_without_gaps() -> None:
    [zoe] = certified("zoe")
    for _ in range(30):
        ask(zoe)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: work(), range(8)))
    while rows("SELECT 1 FROM job WHERE finished_at IS NULL"):
        work()
    assert [ordinal for (ordinal,) in rows("SELECT ordinal FROM certificate_duplicate ORDER BY 1")] == [*range(1, 31)]


@pytest.mark.parametrize("step", ["register", "record_rendering", "_end"])
def test_killed_half_way_it_goes_on_with_the_same_numbers(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    people = certified(*"ab")
    job_id = ask(*people)

    def die(*_: object) -> None:
        raise RuntimeError("killed half-way")

    with monkeypatch.context() as broken:
        broken.setattr(duplicate_job, step, die)
        work()
    assert job(job_id)["state"] == "queued"
    work()
    shown = job(job_id)
    assert (shown["state"], len(unzipped(shown))) == ("succeeded", 3)
    assert rows("SELECT ordinal FROM certificate_duplicate") == [(1,), (1,)]
    assert rows("SELECT count(*) FROM rendering") == [(2,)]


def test_run_twice_it_is_done_once() -> None:
    people = certified(*"ab")
    ask(*people)
    held = claimed(Queue.CERTIFICATES)
    certificates.do_batch(held)
    before = all_rows()
    certificates.do_batch(held)
    assert all_rows() == before


def test_a_store_that_is_away_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    [zoe] = certified("zoe")
    job_id = ask(zoe)

    def away(*_: object) -> None:
        raise Transient("the store does not answer", seconds=5)

    with monkeypatch.context() as broken:
        broken.setattr(type(DocumentMaker.of_this_thread().store), "put", away)
        work()
    waiting = job(job_id)
    assert (waiting["state"], waiting["failures"], waiting["attempts"][0]["outcome"]) == ("queued", 0, "postponed")
    work()
    assert job(job_id)["state"] == "succeeded"


def test_one_is_put_away_while_the_next_is_rendered(monkeypatch: pytest.MonkeyPatch) -> None:
    people = certified(*(someone(name, name) for name in "abc"))
    second = threading.Event()
    put = DocumentStore.put

    def put_late(store: DocumentStore, content: bytes) -> str:
        assert second.wait(30)
        return put(store, content)

    def rendered(printed: PrintedCertificate, *args: Any, **more: Any) -> bytes:
        if printed.snapshot.first_name == "b":
            second.set()
        return render(printed, *args, **more)

    monkeypatch.setattr(DocumentStore, "put", put_late)
    monkeypatch.setattr(making, "render", rendered)
    shown = duplicated(*people)
    assert (shown["state"], len(unzipped(shown))) == ("succeeded", 4)


def test_a_document_lost_in_the_store_is_rendered_again_the_same() -> None:
    people = certified(*"ab")
    shown = duplicated(*people)
    first = content(shown)
    store = DocumentMaker.of_this_thread().store
    for (digest,) in rows("SELECT sha256 FROM rendering"):
        store.delete(str(digest), ".pdf")
    store.delete(shown["result"]["file"]["sha256"], ".zip")
    assert content(shown) == first
    assert rows("SELECT count(*) FROM rendering") == [(2,)]


def test_a_document_rendered_otherwise_is_another_rendering(monkeypatch: pytest.MonkeyPatch) -> None:
    [zoe] = certified("zoe")
    shown = duplicated(zoe)
    digest = shown["result"]["file"]["sha256"]
    DocumentMaker.of_this_thread().store.delete(digest, ".pdf")
    real = render
    monkeypatch.setattr(making, "render", lambda *a, **o: real(*a, **o) + b"\n")
    again = read_file(UUID(shown["result"]["file"]["id"]))
    assert again is not None
    assert {str(sha) for (sha,) in rows("SELECT sha256 FROM rendering")} > {digest}


def test_a_portal_fetches_the_file_of_its_own_job_alone() -> None:
    [zoe] = certified("zoe")
    shown = duplicated(zoe)
    change("INSERT INTO portal (id, name) VALUES (:id, 'autre')", id=(other := new_id()))
    with transaction() as session:
        assert find_by_job(session, other, UUID(shown["id"])) is None
        file = find_by_job(session, LOCAL_PORTAL_ID, UUID(shown["id"]))
        assert file is not None
    delivered = pieces(file)
    assert delivered is not None
    assert b"".join(delivered.pieces) == content(shown)
    assert delivered.size == len(content(shown))


def test_issues_of_many_are_one_transaction() -> None:
    people = certified(*(f"p{number}" for number in range(5)))
    change("DELETE FROM certificate")
    change("UPDATE job SET state = 'queued', finished_at = NULL, due_at = now() WHERE kind = 'issue_certificate'")
    work()
    assert rows("SELECT count(*) FROM certificate") == [(len(people),)]
    assert rows("SELECT count(DISTINCT finished_at) FROM job WHERE kind = 'issue_certificate'") == [(1,)]


def test_leases_are_kept_while_the_store_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leases of jobs that wait behind it are renewed too, because each expired lease counts as a lost worker."""
    for person in certified(*"ab"):
        ask(person)
    held = "SELECT id, leased_until FROM job WHERE leased_until IS NOT NULL"
    put, kept = DocumentStore.put, []

    def slow(store: DocumentStore, content: bytes) -> str:
        before: dict[Any, Any] = dict(rows(held))  # type: ignore[arg-type]
        wait_until(lambda: all(until > before[job_id] for job_id, until in rows(held)))
        kept.append(len(before))
        return put(store, content)

    found = claimed(Queue.CERTIFICATES)
    change("UPDATE job SET leased_until = now() WHERE leased_until IS NOT NULL")
    with monkeypatch.context() as hurried:
        hurried.setattr(courses, "get_settings", lambda: get_settings().model_copy(update={"lease_seconds": 0.9}))
        hurried.setattr(DocumentStore, "put", slow)
        certificates.do_batch(found)
    assert kept == [2, 1]
    assert rows("SELECT DISTINCT state, rescues, failures FROM job WHERE kind = 'duplicate_certificates'") == [
        ("succeeded", 0, 0)
    ]
