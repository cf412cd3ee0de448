"""`matricule audit` shows the audit of a person, a company or a job."""

import pytest

from tests.kit.processes.support import rows
from tests.workers.cli.conftest import Call
from workers.actors import enrollments
from workers.database import transaction
from workers.engine.claimer import this_process
from workers.engine.ledger import JOBS, claim
from workers.requests.queues import Queue

CATALOG = {
    "companies": [{"reference": "acme", "name": "Acmé"}, {"reference": "other", "name": "Autre"}],
    "trainings": [{"reference": "t", "title": "Hygiène"}],
    "contracts": [
        {"reference": f"k-{company}", "company": company, "training": "t", "planned_seats": 5}
        for company in ("acme", "other")
    ],
}


def enroll(call: Call, contract: str, *names: str, asker: str) -> str:
    people = [{"email": f"{name}@example.com", "first_name": name, "last_name": "Lorval"} for name in names]
    asked = {"contract": contract, "people": people, "requested_by": asker}
    job = str(call("enqueue", "enroll", "--file", "-", stdin=asked).json["id"])
    with transaction() as session:
        claimed = claim(session, JOBS, Queue.ENROLLMENTS, size=10, lease=30, worker=this_process())
    enrollments.do_batch(claimed)
    return job


@pytest.fixture
def done(fresh_database: str, call: Call) -> tuple[str, str]:
    """Enrolls Anne and Zoé for acme by u-1, then Anne for the other company by u-2; returns the jobs."""
    assert call("seed", "-", stdin=CATALOG).code == 0
    return enroll(call, "k-acme", "anne", "zoe", asker="u-1"), enroll(call, "k-other", "anne", asker="u-2")


def found(call: Call, *options: str) -> list[tuple[str, str, str]]:
    entries = call("audit", "--json", *options).json
    return [(entry["requested_by"], entry["action"], entry["result"]) for entry in entries]


def test_the_audit_of_a_person_latest_first(call: Call, done: tuple[str, str]) -> None:
    assert found(call, "--person", " Anne@Example.com") == [("u-2", "enroll", "done"), ("u-1", "enroll", "done")]
    ((account,),) = rows("SELECT CAST(id AS text) FROM account WHERE email_norm = 'zoe@example.com'")
    assert found(call, "--person", str(account)) == [("u-1", "enroll", "done")]
    assert found(call, "--person", "anne@example.com", "--company", "other") == [("u-2", "enroll", "done")]


def test_the_audit_of_a_company(call: Call, done: tuple[str, str]) -> None:
    assert [action for _, action, _ in found(call, "--company", "acme")].count("enroll") == 2
    assert ("u-2", "enroll", "done") not in found(call, "--company", "acme")
    assert len(found(call, "--company", "acme", "--limit", "1")) == 1


def test_the_audit_of_a_job(call: Call, done: tuple[str, str]) -> None:
    first, second = done
    assert found(call, "--job", first) == [("u-1", "enroll", "done")] * 2
    assert found(call, "--job", second) == [("u-2", "enroll", "done")]
    table = call("audit", "--job", second)
    assert (table.code, "local u-2" in table.out, "enroll" in table.out) == (0, True, True)


@pytest.mark.parametrize(
    "options", [("--person", "nobody@example.com"), ("--person", "no address"), ("--company", "nowhere")]
)
def test_an_unknown_person_is_reported(call: Call, fresh_database: str, options: tuple[str, str]) -> None:
    called = call("audit", *options)
    assert (called.code, called.out, len(called.err.splitlines())) == (65, "", 1)
    assert "nobody" not in called.err
