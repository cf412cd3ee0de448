"""Expired documents leave the store: those of erased persons after the time set by law, zips when their
link expires.
"""

from typing import Any
from uuid import UUID

import pytest

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders.certificates import graduates
from tests.kit.builders.contracts import accepted, query
from tests.kit.processes.support import change, rows
from workers.actors import certificates, maintenance
from workers.certificates import document_purge
from workers.certificates.duplicates.fetching import read_file
from workers.certificates.duplicates.making import DocumentMaker
from workers.database import transaction
from workers.engine.acceptance import accept_internal
from workers.errors import Transient
from workers.people.erasure import erase_person
from workers.people.retention import purge
from workers.reading.jobs import show_job
from workers.requests.accounts import ErasePerson
from workers.requests.certificates import DuplicateCertificates, PurgeDocuments
from workers.requests.queues import Queue


def duplicated(*names: str) -> dict[str, Any]:
    with transaction() as session:
        people = graduates(session, *names)
        job_id = accepted(session, DuplicateCertificates(contract="C-1", enrollment_ids=people), f"key-{names}")
    certificates.do_batch(claimed(Queue.CERTIFICATES))
    with transaction() as session:
        return show_job(session, job_id) or {}


def clean() -> dict[str, Any]:
    request = PurgeDocuments()
    with transaction() as session:
        job_id = accept_internal(
            session, LOCAL_PORTAL_ID, request, request.model_dump_json(), key=f"key-{new_id()}"
        ).job_id
    for row in claimed(Queue.MAINTENANCE):
        maintenance.maintain([row])
    with transaction() as session:
        return show_job(session, job_id) or {}


def stored(digest: object, suffix: str = ".pdf") -> bool:
    return DocumentMaker.of_this_thread().store.get(str(digest), suffix) is not None


def test_a_zip_goes_with_its_link_and_is_made_again_on_request(fresh_database: str) -> None:
    file = duplicated("a", "b")["result"]["file"]
    assert clean()["result"]["deleted"] == 0
    change("UPDATE certificate_file SET expires_at = now() - interval '1 second'")
    before = read_file(UUID(file["id"]))
    assert clean()["result"]["deleted"] == 1
    assert not stored(file["sha256"], ".zip")
    assert all(stored(digest) for (digest,) in rows("SELECT sha256 FROM rendering"))
    assert clean()["result"]["deleted"] == 0
    assert read_file(UUID(file["id"])) == before
    assert clean()["result"]["deleted"] == 1  # the zip made again has expired too
    assert not stored(file["sha256"], ".zip")


def test_facts_on_an_erased_persons_certificate_go_after_the_legal_time(fresh_database: str) -> None:
    duplicated("a", "b")
    digests = [digest for (digest,) in rows("SELECT sha256 FROM rendering ORDER BY id")]
    with transaction() as session:
        erase_person(session, LOCAL_PORTAL_ID, new_id(), ErasePerson(email="a@example.com", reason="demande"))
    with transaction() as session:
        purge(session)
        assert query(session, "SELECT count(snapshot) FROM certificate") == [(2,)]
    change("UPDATE certificate SET kept_until = now() - interval '1 second'")
    with transaction() as session:
        purge(session)
        assert query(session, "SELECT count(snapshot) FROM certificate") == [(1,)]  # the other person keeps theirs
    assert clean()["result"]["deleted"] == 1
    assert [stored(digest) for digest in digests] == [False, True]
    assert rows("SELECT count(*) FROM rendering") == [(1,)]
    assert rows("SELECT count(*) FROM certificate_duplicate") == [(2,)]


def test_a_store_that_is_away_forgets_nothing(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    duplicated("a", "b")
    change("UPDATE certificate_file SET expires_at = now() - interval '1 second'")

    def away(*_: object) -> None:
        raise Transient("away")

    with monkeypatch.context() as broken:
        broken.setattr(type(DocumentMaker.of_this_thread().store), "delete", away)
        assert clean()["state"] == "queued"
    assert rows("SELECT dropped_at FROM certificate_file") == [(None,)]
    assert clean()["state"] == "succeeded"
    assert rows("SELECT dropped_at IS NULL FROM certificate_file") == [(False,)]


def test_a_full_part_owes_the_next(fresh_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document_purge, "PART", 1)
    for names in ("ab", "cd"):
        duplicated(*names)
    change("UPDATE certificate_file SET expires_at = now() - interval '1 second'")
    assert clean()["result"] == {"deleted": 1, "more": True, "people": []}
    while rows("SELECT 1 FROM job WHERE finished_at IS NULL AND kind = 'purge_documents'"):
        for row in claimed(Queue.MAINTENANCE):
            maintenance.maintain([row])
    assert rows("SELECT count(*) FROM certificate_file WHERE dropped_at IS NULL") == [(0,)]
