"""A portal is told once of each job that has ended, whichever way it ended, and of none that Matricule made itself."""

import io
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import Code
from tests.kit.builders.contracts import asking, someone
from tests.kit.builders.events_page import check_documented
from tests.kit.builders.portal_events import (
    add_endpoint,
    add_portal,
    ask,
    contract,
    done,
    enrolled,
    forget_webhooks,
    owed,
    work,
)
from tests.kit.processes.support import change, rows
from workers import clock
from workers.actors import registry, rosters
from workers.actors.registry import do_jobs
from workers.database import transaction
from workers.engine import ledger
from workers.engine.acceptance import MessageOwner, record_refusal
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS, MAX_RESCUES, ClaimedRow
from workers.errors import InvalidRequest, Permanent, Problem, Transient
from workers.imports.acceptance import accept_file, digest_of
from workers.requests.accounts import ExportPerson
from workers.requests.catalog import PutCompany
from workers.requests.enrollment import Withdraw
from workers.requests.imports import CancelImport, ImportRoster
from workers.requests.queues import Queue


@pytest.fixture
def alpha(fresh_database: str) -> Iterator[UUID]:
    portal_id = add_portal("alpha")
    add_endpoint(portal_id, "main", "job.finished", "roster.finished")
    yield portal_id
    check_documented()


def ended() -> list[tuple[str, dict[str, Any]]]:
    """Returns the types and data of what was told, in the order of the ids of the jobs."""
    return [(one.event, one.data) for one in owed()]


def claimed(queue: Queue = Queue.ENROLLMENTS) -> list[ClaimedRow]:
    with transaction() as session:
        return ledger.claim(session, JOBS, queue, size=200, lease=30, worker=new_id())


def test_a_job_that_was_done_is_told_with_its_key_and_counters(alpha: UUID) -> None:
    [job] = done(alpha, asking("anne"))
    [(key,)] = rows("SELECT key FROM idempotency WHERE job_id = :id", id=UUID(job["id"]))
    [(event, data)] = ended()
    [person] = job["result"]["people"]
    assert event == "job.finished"
    assert data == {
        "sequence": 1,
        "portal": "alpha",
        "job_id": job["id"],
        "key": key,
        "kind": "enroll",
        "state": "succeeded",
        "counts": {"enrolled": 1},
        "seats": 1,
        "carried_out": True,
        "dry_run": False,
        "planned_seats": 10,
        "enrolled_count": 1,
        "remaining": 9,
        "people": [{name: person[name] for name in ("position", "code", "field", "account_id", "enrollment_id")}],
    }
    assert owed()[0].resource == f"job:{job['id']}"


def test_a_refused_job_is_told_with_its_code(alpha: UUID) -> None:
    done(alpha, asking("anne", contract="nowhere"))
    [(_, data)] = ended()
    assert (data["state"], data["code"]) == ("refused", "unknown_contract")


def test_nothing_of_a_person_is_told(alpha: UUID) -> None:
    done(alpha, asking(someone("zoe@gmial.com", "Zoé-Line", "Lorval", external_id="M-0042")))
    done(alpha, asking(someone("bad address", "Zoé-Line", "Lorval")))
    done(alpha, ExportPerson(email="zoe@gmial.com"))
    assert [data["kind"] for _, data in ended()] == ["enroll", "enroll", "export_person"]
    told = str(rows("SELECT CAST(payload AS text) FROM webhook"))
    assert [word for word in ("gmail", "gmial", "Zo", "Lorval", "M-0042", "bad address") if word in told] == []


def test_jobs_of_one_batch_are_told_each_once(alpha: UUID) -> None:
    jobs = ask(alpha, *(PutCompany(reference=f"co-{number}", name="Co") for number in range(5)))
    work()
    work()
    assert sorted(data["job_id"] for _, data in ended()) == sorted(str(job) for job in jobs)


def test_a_job_that_fails_is_told_when_it_is_given_up(alpha: UUID) -> None:
    ask(alpha, PutCompany(reference="co", name="Co"))

    def fail(*_: object) -> Any:
        raise ZeroDivisionError

    def stop(*_: object) -> Any:
        raise Permanent("no use")

    BatchRun(JOBS, fail).run(claimed())
    assert ended() == []
    change("UPDATE job SET due_at = now() WHERE due_at IS NOT NULL")
    BatchRun(JOBS, stop).run(claimed())
    [(_, data)] = ended()
    assert (data["kind"], data["state"], "code" in data) == ("put_company", "dead", False)


def test_a_job_that_ops_retry_is_told_again_when_it_ends(alpha: UUID) -> None:
    [job] = ask(alpha, PutCompany(reference="co", name="Co"))

    def stop(*_: object) -> Any:
        raise Permanent("no use")

    BatchRun(JOBS, stop).run(claimed())
    with transaction() as session:
        assert ledger.revive(session, job) == Queue.ENROLLMENTS
    work()
    assert [(data["sequence"], data["state"]) for _, data in ended()] == [(1, "dead"), (2, "succeeded")]


def test_a_job_that_kills_its_workers_is_told_by_the_clock(alpha: UUID) -> None:
    ask(alpha, PutCompany(reference="co", name="Co"))
    leader = new_id()
    for _ in range(MAX_RESCUES):
        assert (len(claimed()), ended()) == (1, [])
        change("UPDATE job SET leased_until = now() - interval '1 second' WHERE leased_until IS NOT NULL")
        clock.tick(leader, lambda _: None)
    [(_, data)] = ended()
    assert (data["state"], data["kind"]) == ("dead", "put_company")


def test_a_job_of_an_unknown_kind_is_told_when_the_clock_ends_it(alpha: UUID) -> None:
    ask(alpha, PutCompany(reference="co", name="Co"))
    change("UPDATE job SET kind = 'of_tomorrow', due_at = now() - interval '2 days'")
    clock.bury_unknown()
    [(_, data)] = ended()
    assert (data["state"], data["kind"]) == ("dead", "of_tomorrow")


def test_a_refused_message_is_told_to_its_portal_with_its_key(alpha: UUID) -> None:
    wrong = InvalidRequest(Problem(Code.UNKNOWN_KIND, "kind", "no such request"))
    for owner in (MessageOwner(alpha, "k-1"), MessageOwner(alpha, "k-1"), None):
        with transaction() as session:
            record_refusal(session, b"raw", wrong, content=b"same", owner=owner, kind="unknown")
    [(_, data)] = ended()
    told = {name: data[name] for name in ("key", "kind", "state", "code")}
    assert told == {"key": "k-1", "kind": "unknown", "state": "refused", "code": "unknown_kind"}


def test_jobs_that_matricule_made_itself_are_not_told(alpha: UUID) -> None:
    enrollments = enrolled(alpha, asking("anne", "luc"))
    forget_webhooks()
    done(alpha, contract(seats=5))
    change("UPDATE job SET kind = 'purge', request = '{}', state = 'queued', due_at = now(), finished_at = NULL")
    forget_webhooks()
    work()
    assert (enrollments != [], ended()) == (True, [])


def test_a_job_done_again_after_a_rollback_is_told_once(alpha: UUID) -> None:
    ask(alpha, PutCompany(reference="co", name="Co"))
    taken = claimed()

    def half(session: Any, held: Any) -> Any:
        do_jobs(session, held)
        raise Transient("the database is away")

    BatchRun(JOBS, half).run(taken)
    assert ended() == []
    change("UPDATE job SET due_at = now() WHERE due_at IS NOT NULL")
    work()
    assert [data["state"] for _, data in ended()] == ["succeeded"]


def test_a_job_in_chunks_is_told_at_its_end(alpha: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.enrollment.jobs.CHUNK", 2)
    ask(alpha, asking("a", "b", "c", "d", "e", policy="until_full"))
    rosters.do_batch(claimed())
    [(_, data)] = ended()
    assert (data["counts"], data["seats"]) == ({"enrolled": 5}, 5)


def imported(portal_id: UUID, cancelled: bool = False) -> UUID:
    file = io.BytesIO("Nom;Prénom;E-mail\nDû;Zoé;zoe@example.com\nDû;Luc;luc@example.com\n".encode())
    request = ImportRoster(contract="C-1", file=digest_of(file), file_name="Zoé Dû.csv")
    with transaction() as session:
        job_id = accept_file(session, portal_id, file, request, key=f"key-{new_id()}").job_id
    if cancelled:
        done_now = ask(portal_id, CancelImport(job=job_id))
        BatchRun(JOBS, registry.do_jobs).run(claimed())
        assert done_now
        forget_webhooks()
    rosters.do_batch(claimed(Queue.ROSTERS))
    return job_id


def test_an_import_is_told_as_a_roster_too(alpha: UUID) -> None:
    job_id = imported(alpha)
    finished, roster = ended()
    assert (finished[0], roster[0]) == ("job.finished", "roster.finished")
    assert (finished[1]["sequence"], roster[1]["sequence"]) == (1, 2)
    assert roster[1] == finished[1] | {"sequence": 2}
    told = {name: roster[1][name] for name in ("job_id", "state", "rows", "rows_done", "counts")}
    assert told == {
        "job_id": str(job_id), "state": "succeeded", "rows": 2, "rows_done": 2, "counts": {"enrolled": 2},
    }  # fmt: skip
    assert "Zo" not in str(ended())


def test_a_cancelled_import_is_told_as_cancelled(alpha: UUID) -> None:
    imported(alpha, cancelled=True)
    assert [(event, data["state"]) for event, data in ended()] == [
        ("job.finished", "cancelled"),
        ("roster.finished", "cancelled"),
    ]


def test_a_portal_is_not_told_of_the_jobs_of_another(alpha: UUID) -> None:
    beta = add_portal("beta")
    add_endpoint(beta)
    ask(beta, PutCompany(reference="co", name="Co"))
    ask(LOCAL_PORTAL_ID, PutCompany(reference="co", name="Co"))
    [mine] = ask(alpha, PutCompany(reference="co", name="Co"))
    work()
    told = [(one.portal, one.data["job_id"] == str(mine)) for one in owed("job.finished")]
    assert told == [("alpha", True), ("beta", False)]


def test_a_withdrawal_is_a_job_too(alpha: UUID) -> None:
    [anne] = enrolled(alpha, asking("anne"))
    done(alpha, Withdraw(contract="C-1", enrollment_ids=[anne]))
    assert [data["counts"] for _, data in ended()] == [{"enrolled": 1}, {"withdrawn": 1}]
