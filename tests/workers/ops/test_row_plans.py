"""Lists and pages on rows are read from the ends of indexes, also beside a long history and on wrong statistics."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from tests.kit.processes.support import change
from tests.workers.ops.test_status_plans import CAPS, forget_statistics, read_too_much
from tests.workers.ops.test_status_plans import long_history as long_history  # noqa: PLC0414 - a fixture
from workers.database import Session, autocommit, transaction
from workers.ops.file_list import list_imports
from workers.ops.job_list import list_jobs, list_jobs_between, list_jobs_of_key
from workers.ops.job_people import list_people
from workers.ops.job_search import PersonToFind, search_jobs
from workers.ops.job_story import list_lane, list_mails_of_job, read_attempts, read_job
from workers.ops.mail_list import list_mails, list_mails_of, read_mail
from workers.ops.ops_audit import list_ops_audit
from workers.ops.person_story import list_enrollments_of, list_links_of, read_account
from workers.ops.row_filter import RowFilter
from workers.ops.trouble_groups import list_error_groups

Read = Callable[[Session], object]

LOOKED_AT: Final = 200
"""Rows that a walk looks at in these tests."""

JOB, EMAIL = RowFilter("job"), RowFilter("email")


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets pages look at few rows, so that reading many is noticed in a small history."""
    for module in ("job_list", "mail_list", "ops_audit"):
        monkeypatch.setattr(f"workers.ops.{module}.LOOKED_AT", LOOKED_AT)
    monkeypatch.setattr("workers.ops.trouble_groups.CAPS", CAPS)


GIVE_TROUBLES: Final = """
    UPDATE {} SET trouble = 'KeyError||of ' || abs(hashtext(CAST(id AS text))) % 5
    WHERE state IN ('dead', 'failed', 'expired', 'uncertain')"""


def one(statement: str) -> Any:
    with transaction() as session:
        return session.execute(text(statement)).scalar_one()


def lists() -> Iterator[tuple[str, Read]]:
    """Yields the reads of the lists, with a name."""
    middle = one("SELECT id FROM job ORDER BY id OFFSET 6000 LIMIT 1")
    trouble = one("SELECT trouble FROM job WHERE trouble IS NOT NULL ORDER BY id LIMIT 1")
    for wanted in (JOB, RowFilter("job", "dead"), RowFilter("job", queue="none"), RowFilter("job", contract="H-00007")):
        for after in (None, middle):
            yield f"{wanted.given} {after}", partial(list_jobs, wanted=wanted, after=after)
    yield "requested_by", partial(list_jobs, wanted=JOB, requested_by="unknown")
    yield "trouble", partial(list_jobs, wanted=RowFilter("job", trouble=trouble))
    yield "between", partial(list_jobs_between, first=UUID(int=0), last=middle)
    yield "key", partial(list_jobs_of_key, key="unknown")
    mail_trouble = one("SELECT trouble FROM email WHERE trouble IS NOT NULL ORDER BY id LIMIT 1")
    for wanted in (EMAIL, RowFilter("email", "expired"), RowFilter("email", contract="H-00007")):
        yield f"mails {wanted.given}", partial(list_mails, wanted=wanted)
    yield "mails of a trouble", partial(list_mails, wanted=RowFilter("email", trouble=mail_trouble))
    yield "mails to", partial(list_mails, wanted=EMAIL, to="ancien.77@histoire.example")
    yield "mails to a beginning", partial(list_mails, wanted=EMAIL, to="ancien.77*")
    yield "errors", list_error_groups
    yield "imports", list_imports
    yield "audit of ops", list_ops_audit


def stories() -> Iterator[tuple[str, Read]]:
    """Yields the reads of one job, one mail and one person."""
    job_id = one("SELECT id FROM job WHERE state = 'queued' ORDER BY id LIMIT 1")
    mail_id = one("SELECT id FROM email ORDER BY id OFFSET 600 LIMIT 1")
    account = one("SELECT id FROM account ORDER BY id OFFSET 600 LIMIT 1")
    with transaction() as session:
        job = read_job(session, job_id)
        assert job is not None
    yield "job", partial(read_job, job_id=job_id)
    yield "attempts", partial(read_attempts, row_id=job_id)
    yield "people", partial(list_people, job=job)
    yield "lane", partial(list_lane, job=job)
    yield "mails of a job", partial(list_mails_of_job, job_id=job_id)
    yield "mail", partial(read_mail, mail_id=mail_id)
    yield "account", partial(read_account, account=account)
    yield "mails of a person", partial(list_mails_of, account=account)
    yield "enrollments", partial(list_enrollments_of, account=account)
    yield "links", partial(list_links_of, account=new_id())
    yield "typed", partial(search_jobs, wanted=JOB, person=PersonToFind(account, ("unknown@example.com",)))


@pytest.mark.usefixtures("long_history")
@pytest.mark.parametrize("statistics", ["good", "none"])
def test_no_page_on_rows_reads_a_large_table(statistics: str, subtests: pytest.Subtests) -> None:
    for table in ("job", "email"):
        change(GIVE_TROUBLES.format(table))
    with autocommit() as session:  # else what the rows were before stands in the indexes, and is passed over
        session.execute(text("VACUUM ANALYZE job, email"))
    reads = [*lists(), *stories()]
    if statistics == "none":
        forget_statistics()
    for name, read in reads:
        with subtests.test(name), transaction() as session:
            assert read_too_much(session, partial(read, session)) == []
