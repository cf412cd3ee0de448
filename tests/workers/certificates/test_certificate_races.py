"""Certificates beside other work at the same moment: real sessions, both orders, no gap in the numbers,
nothing twice.
"""

import hashlib
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.words import Code
from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders.certificates import (
    ask,
    certificate,
    certified,
    completed,
    did,
    job,
    organisation,
    training,
)
from tests.kit.builders.contracts import add_contract, enrolled, someone
from tests.kit.processes.support import rows, wait_until
from tests.kit.races.racers import outcome_of, until_done, waiting_for_a_lock
from workers.actors import certificates as actor
from workers.certificates import issuing as certificates
from workers.certificates.duplicates.fetching import read_file
from workers.certificates.duplicates.register import register
from workers.certificates.enrollments import hold_enrollments
from workers.database import Session, transaction
from workers.engine import ledger
from workers.engine.acceptance import accept
from workers.engine.ledger import JOBS
from workers.requests.accounts import ErasePerson
from workers.requests.base import Request
from workers.requests.certificates import (
    CatchUpCertificates,
    CorrectCertificate,
    DuplicateCertificates,
    RevokeCertificate,
)
from workers.requests.enrollment import RecordProgress
from workers.requests.internal import IssueCertificate
from workers.requests.queues import Queue

REGISTER = "SELECT p.code FROM job_person p JOIN job j ON j.id = p.job_id WHERE j.kind = 'duplicate_certificates'"
SEQUENCES = """
    SELECT c.last, array_agg(right(k.number, 6)::int ORDER BY k.number) FROM certificate_counter c
    LEFT JOIN certificate k ON k.organisation_id = c.organisation_id AND left(k.number, 4)::int = c.year
    GROUP BY c.organisation_id, c.year, c.last ORDER BY c.last"""


def do(session: Session, request: Request) -> dict[str, Any]:
    """Returns the answer of the service."""
    return dict(outcome_of(session, request).result or {})


def doing(request: Request) -> Callable[[Session], Any]:
    return lambda session: do(session, request)


def uncertified(*people: Any, contract: str = "C-1") -> list[UUID]:
    """Enrolls people who completed the training and have no certificate yet."""
    with transaction() as session:
        add_contract(session, contract, 200)
        did(session, organisation(), training())
        enrollments = enrolled(session, *people, contract=contract)
        for start in range(0, len(enrollments), 100):
            do(session, RecordProgress(events=[completed(one) for one in enrollments[start : start + 100]]))
        return enrollments


def issue(batch: list[UUID], session: Session) -> None:
    """Issues the missing certificates of a batch in one transaction."""
    certificates.issue(session, hold_enrollments(session, batch))


def give_up(enrollment: UUID, session: Session) -> None:
    """Takes a number and dies before the commit."""
    do(session, IssueCertificate(enrollment_id=enrollment))
    session.rollback()


def duplicating(enrollment: UUID) -> Callable[[Session], Any]:
    """Returns a step that registers a duplicate in its own job, which is the first step of the actor."""
    job_id = ask(enrollment)
    [row] = [one for one in claimed(Queue.CERTIFICATES) if one.id == job_id]
    request = DuplicateCertificates(contract="C-1", enrollment_ids=[enrollment])

    def registered(session: Session) -> list[Any]:
        ledger.hold(session, JOBS, [row])
        register(session, row, request)
        return [code for (code,) in session.execute(text(REGISTER))]

    return registered


def in_order(threads: ThreadPoolExecutor, first: Callable[[Session], Any], second: Callable[[Session], Any]) -> Any:
    """Starts the second step before the first commits; returns both answers."""
    with transaction() as session:
        begun = first(session)
        later = threads.submit(until_done, second)
        wait_until(waiting_for_a_lock(1))
    return begun, later.result(30)


def gapless() -> list[int]:
    """Returns how many numbers each organisation used in each year, after a check for gaps and repeats."""
    found = []
    for last, numbers in rows(SEQUENCES):
        assert isinstance(numbers, list)
        assert numbers == list(range(1, int(str(last)) + 1))
        found.append(len(numbers))
    return found


def test_a_hundred_requests_for_one_duplicate_get_one_number_and_one_file(fresh_database: str) -> None:
    [zoe] = certified("zoe")
    request = DuplicateCertificates(contract="C-1", enrollment_ids=[zoe])
    body = request.model_dump_json(exclude_unset=True)
    barrier = Barrier(100)

    def ask_and_work(_: int) -> tuple[UUID, str]:
        barrier.wait(60)
        job_id = until_done(lambda session: accept(session, LOCAL_PORTAL_ID, request, body, key="once").job_id)
        with transaction() as session:
            mine = ledger.claim(session, JOBS, Queue.CERTIFICATES, size=50, lease=30, worker=new_id())
        actor.do_batch(mine)
        wait_until(lambda: job(job_id)["state"] == "succeeded")
        content = read_file(UUID(job(job_id)["result"]["file"]["id"])) or b""
        return job_id, hashlib.sha256(content).hexdigest()

    with ThreadPoolExecutor(100) as crowd:
        answers = set(crowd.map(ask_and_work, range(100)))
    [(job_id, digest)] = answers
    assert digest == job(job_id)["result"]["file"]["sha256"]
    assert rows("SELECT ordinal, job_id FROM certificate_duplicate") == [(1, job_id)]
    assert rows("SELECT sha256 FROM rendering") == [(digest,)]


def test_numbers_have_no_gap_while_others_issue_correct_and_give_up(threads: ThreadPoolExecutor) -> None:
    people = uncertified(*(f"p{number}" for number in range(60)))
    with transaction() as session:
        session.execute(text("INSERT INTO portal (id, name) VALUES (:id, 'autre')"), {"id": (other := new_id())})
        did(session, organisation("of-2", portals=["autre"]))
        others = enrolled(session, *(f"q{number}" for number in range(30)), contract=add(session))
        do(session, RecordProgress(events=[completed(one) for one in others]))
        session.execute(text("UPDATE contract SET portal_id = :other WHERE reference = 'C-2'"), {"other": other})
    barrier = Barrier(6)

    def issue_all(seed: int) -> None:
        barrier.wait(30)
        order = random.Random(seed).sample([*people, *others], 90)
        for start in range(0, 90, 7):
            batch = order[start : start + 7]
            until_done(partial(issue, batch))

    def give_up_often() -> None:
        barrier.wait(30)
        for one in people[::3]:
            until_done(partial(give_up, one))

    def correct_some() -> None:
        barrier.wait(30)
        for one in people[::4]:
            until_done(doing(IssueCertificate(enrollment_id=one)))
            until_done(doing(CorrectCertificate(enrollment_id=one, first_name="Autre", reason="x")))

    def catch_up() -> None:
        barrier.wait(30)
        until_done(doing(CatchUpCertificates()))

    runs = [threads.submit(issue_all, seed) for seed in range(3)]
    runs += [threads.submit(step) for step in (give_up_often, correct_some, catch_up)]
    for run in runs:
        run.result(120)
    assert gapless() == [30, 60 + 15]
    assert rows("SELECT count(*), count(DISTINCT enrollment_id), count(DISTINCT code) FROM certificate") == [
        (105, 90, 105)
    ]


def add(session: Session) -> str:
    add_contract(session, "C-2", 200)
    return "C-2"


def test_a_person_erased_during_the_issue_keeps_the_certificate(threads: ThreadPoolExecutor) -> None:
    [zoe] = uncertified(someone("zoe", "Zoé", "Le Dû"))
    erasing = ErasePerson(email="zoe@example.com", reason="x")
    issued, erased = in_order(threads, doing(IssueCertificate(enrollment_id=zoe)), doing(erasing))
    assert (issued["counts"], erased["code"]) == ({"issued": 1}, Code.ERASED)
    named()


def test_a_certificate_issued_during_an_erasure_has_the_names_kept_apart(threads: ThreadPoolExecutor) -> None:
    [zoe] = uncertified(someone("zoe", "Zoé", "Le Dû"))
    erasing = ErasePerson(email="zoe@example.com", reason="x")
    erased, issued = in_order(threads, doing(erasing), doing(IssueCertificate(enrollment_id=zoe)))
    assert (issued["counts"], erased["code"]) == ({"issued": 1}, Code.ERASED)
    named()


def named() -> None:
    """Checks that one certificate has the typed names and that the account has no names."""
    said = rows("SELECT snapshot ->> 'first_name', snapshot ->> 'last_name' FROM certificate")
    assert said == [("Zoé", "Le Dû")]
    assert rows("SELECT first_name, last_name FROM account") == [("", "")]
    assert gapless() == [1]


def test_a_duplicate_requested_during_a_revocation_is_refused(threads: ThreadPoolExecutor) -> None:
    [zoe] = certified("zoe")
    asked = duplicating(zoe)
    revoked, codes = in_order(threads, doing(RevokeCertificate(enrollment_id=zoe, reason="x")), asked)
    assert (revoked["code"], codes) == (Code.REVOKED, ["certificate_revoked"])
    assert rows("SELECT count(*) FROM certificate_duplicate") == [(0,)]


def test_a_revocation_waits_for_a_duplicate_that_is_being_registered(threads: ThreadPoolExecutor) -> None:
    [zoe] = certified("zoe")
    asked = duplicating(zoe)
    codes, revoked = in_order(threads, asked, doing(RevokeCertificate(enrollment_id=zoe, reason="x")))
    assert (revoked["code"], codes) == (Code.REVOKED, ["duplicated"])
    assert rows("SELECT d.issued_at <= k.revoked_at FROM certificate_duplicate d, certificate k") == [(True,)]


def test_a_duplicate_requested_during_a_correction_has_the_new_version(threads: ThreadPoolExecutor) -> None:
    [zoe] = certified("zoe")
    asked = duplicating(zoe)
    in_order(threads, doing(CorrectCertificate(enrollment_id=zoe, first_name="Autre", reason="x")), asked)
    with transaction() as session:
        current = certificate(session, zoe)
    assert rows("SELECT certificate_id, number FROM certificate_duplicate") == [(current[0], f"{current[1]}-D1")]


@pytest.mark.parametrize(
    ("requests", "codes", "certificates"),
    [
        ((CorrectCertificate, CorrectCertificate), ("reissued", "unchanged"), [(1,), (2,)]),
        ((RevokeCertificate, CorrectCertificate), ("revoked", "certificate_revoked"), [(1,)]),
        ((CorrectCertificate, RevokeCertificate), ("reissued", "revoked"), [(1,), (2,)]),
        ((RevokeCertificate, RevokeCertificate), ("revoked", "certificate_revoked"), [(1,)]),
    ],
    ids=["two corrections", "revoked first", "corrected first", "two revocations"],
)
def test_the_second_of_two_changes_at_once_sees_the_first(
    threads: ThreadPoolExecutor, requests: Any, codes: tuple[str, str], certificates: list[Any]
) -> None:
    [zoe] = certified("zoe")
    more = {CorrectCertificate: {"first_name": "Autre"}, RevokeCertificate: {}}
    first, second = (doing(kind(enrollment_id=zoe, reason="x", **more[kind])) for kind in requests)
    answers = in_order(threads, first, second)
    assert tuple(answer["code"] for answer in answers) == codes
    assert rows("SELECT version FROM certificate ORDER BY 1") == certificates
    assert rows("SELECT count(*) FROM certificate WHERE replaced_by IS NULL") == [(1,)]
    assert gapless() == [len(certificates)]


def test_the_second_of_two_issuers_finds_the_certificate_issued(threads: ThreadPoolExecutor) -> None:
    [zoe] = uncertified("zoe")
    issuing = doing(IssueCertificate(enrollment_id=zoe))
    first, second = in_order(threads, issuing, issuing)
    assert first["counts"] == second["counts"] == {"issued": 1}
    assert gapless() == [1]
