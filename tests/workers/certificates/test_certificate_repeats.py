"""Certificate work done twice has one effect; killed half-way it leaves nothing, and the repeat gives
the same result.
"""

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.committed_jobs import all_rows, claimed, fail_half_way
from tests.kit.builders.certificates import certified, duplicated, organisation
from tests.kit.builders.contracts import accepted
from tests.kit.processes.support import change, rows
from workers.actors import maintenance
from workers.actors.registry import do_jobs
from workers.catalog import organisations
from workers.certificates import changes as certificate_changes
from workers.certificates import document_purge
from workers.certificates import issuing as certificates
from workers.certificates.duplicates.making import DocumentMaker
from workers.database import transaction
from workers.engine.acceptance import accept_internal
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS
from workers.requests.base import Request
from workers.requests.certificates import (
    CatchUpCertificates,
    CorrectCertificate,
    PurgeDocuments,
    RevokeCertificate,
)
from workers.requests.internal import IssueCertificate
from workers.requests.queues import Queue

pytestmark = pytest.mark.usefixtures("fresh_database")


class Case(NamedTuple):
    """A request, the step at which its service may die, and the expected result."""

    request: Callable[[UUID], Request]
    module: ModuleType
    steps: tuple[str, ...]
    query: str
    expected: Any


CASES = {
    "issue": Case(
        lambda one: IssueCertificate(enrollment_id=one),
        certificates,
        ("hold_enrollments", "_row", "write_certificates", "_result"),
        "SELECT right(number, 6), version FROM certificate",
        [("000001", 1)],
    ),
    "catch up": Case(
        lambda _: CatchUpCertificates(),
        certificates,
        ("hold_enrollments", "_row", "write_certificates"),
        "SELECT right(number, 6), version FROM certificate",
        [("000001", 1)],
    ),
    "correct": Case(
        lambda one: CorrectCertificate(enrollment_id=one, first_name="Zoë", reason="faute"),
        certificate_changes,
        ("_corrected", "write_certificates", "record"),
        "SELECT right(number, 6), version, replaced_by IS NULL FROM certificate ORDER BY 1",
        [("000001", 1, False), ("000002", 2, True)],
    ),
    "revoke": Case(
        lambda one: RevokeCertificate(enrollment_id=one, reason="double"),
        certificate_changes,
        ("record",),
        "SELECT revocation_reason FROM certificate",
        [("double",)],
    ),
    "organisation": Case(
        lambda _: organisation(legal_name="Autre"),
        organisations,
        ("record", "owe_successor"),
        "SELECT legal_name, (SELECT count(*) FROM job WHERE kind = 'catch_up_certificates' AND state = 'queued')"
        " FROM organisation",
        [("Autre", 1)],
    ),
}  # fmt: skip
STEPS = [(name, step) for name, case in CASES.items() for step in case.steps]


def asked(name: str) -> Request:
    """Creates the certificate that a request needs, or leaves it out; returns the request as a due job."""
    [zoe] = certified("zoe")
    if name in ("issue", "catch up"):
        change("DELETE FROM certificate")
        change("DELETE FROM certificate_counter")
    change("UPDATE job SET state = 'succeeded', finished_at = now(), due_at = NULL WHERE finished_at IS NULL")
    request = CASES[name].request(zoe)
    with transaction() as session:
        if request.internal:
            accept_internal(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key="once")
        else:
            accepted(session, request, "once")
    return request


@pytest.mark.parametrize("name", CASES)
def test_done_twice_it_is_done_once(name: str) -> None:
    request = asked(name)
    held = claimed(request.queue)
    assert BatchRun(JOBS, do_jobs).run(held)
    before = all_rows()
    BatchRun(JOBS, do_jobs).run(held)
    assert all_rows() == before
    assert rows(CASES[name].query) == CASES[name].expected


@pytest.mark.parametrize(("name", "step"), STEPS)
def test_killed_half_way_it_leaves_nothing_and_is_done_the_next_time(
    monkeypatch: pytest.MonkeyPatch, name: str, step: str
) -> None:
    request = asked(name)
    fail_half_way(monkeypatch, CASES[name].module, step, request.queue)
    assert BatchRun(JOBS, do_jobs).run(claimed(request.queue))
    assert rows(CASES[name].query) == CASES[name].expected


# Deleting expired documents


def over() -> list[str]:
    """Creates a zip with an expired link, two documents of emptied certificates, and the job that deletes them."""
    done = duplicated(*certified(*"ab"))
    digests = [str(digest) for (digest,) in rows("SELECT sha256 FROM rendering")]
    change("UPDATE certificate SET snapshot = NULL")
    change("UPDATE certificate_file SET expires_at = now() - interval '1 second'")
    request = PurgeDocuments()
    with transaction() as session:
        accept_internal(session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key=f"key-{new_id()}")
    assert done["result"]["file"]["kind"] == "zip"
    return digests


def gone(digests: list[str]) -> bool:
    store = DocumentMaker.of_this_thread().store
    assert rows("SELECT dropped_at IS NOT NULL FROM certificate_file") == [(True,)]
    return not any(store.get(digest) for digest in digests) and rows("SELECT count(*) FROM rendering") == [(0,)]


def test_a_purge_done_twice_is_done_once() -> None:
    digests = over()
    held = claimed(Queue.MAINTENANCE)
    maintenance.maintain(held)
    before = all_rows()
    maintenance.maintain(held)
    assert all_rows() == before
    assert gone(digests)


@pytest.mark.parametrize("deleted_before", [0, 1, 3])
def test_a_purge_killed_anywhere_is_finished_the_next_time(
    monkeypatch: pytest.MonkeyPatch, deleted_before: int
) -> None:
    digests = over()
    store = type(DocumentMaker.of_this_thread().store)
    real, before = store.delete, all_rows()

    def some(self: Any, *more: Any) -> None:
        nonlocal deleted_before
        if deleted_before == 0:
            raise RuntimeError("killed half-way")
        deleted_before -= 1
        real(self, *more)

    def die(*_: object) -> None:
        raise RuntimeError("killed half-way")

    with monkeypatch.context() as broken:
        broken.setattr(store, "delete", some)
        broken.setattr(document_purge, "_forget", die)
        maintenance.maintain(claimed(Queue.MAINTENANCE))
    after = all_rows()
    assert {name for name in after if after[name] != before[name]} == {"job", "job_attempt"}
    maintenance.maintain(claimed(Queue.MAINTENANCE))
    assert gone(digests)
