"""The status is read from the ends of indexes, also beside a long history and on wrong statistics."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import pytest
from sqlalchemy import event, text

from models.base import new_id
from models.words import JobState
from tests.benchmarks.history import HistorySize, add_history
from tests.benchmarks.status import add_troubles
from tests.kit.processes.support import change
from workers.database import Session, get_engine, transaction
from workers.ops import audit_search
from workers.ops.audit_search import find_company, search_audit
from workers.ops.capped import StatusCaps
from workers.ops.errors import group_errors
from workers.ops.folding import FOLDED_MINUTES, fold_ended, sample_depth
from workers.ops.job_search import PersonToFind, search_jobs
from workers.ops.row_filter import RowFilter
from workers.ops.status import read_status
from workers.ops.why import find_why

SIZE: Final = HistorySize(jobs=12_000, dead=2_400, on_one_contract=2_000, contracts=50)
CAPS: Final = StatusCaps(rows=100, alike=20, groups=5, lanes=5)
LARGE: Final = {
    "audit",
    "job",
    "job_address",
    "email",
    "enrollment",
    "job_attempt",
    "participant_word",
    "seat_movement",
}

MOST_READ: Final = 20 * CAPS.rows
"""The most rows of a table that a part of a plan may read: some caps, and far less than the table has."""

FEW_BLOCKS: Final = 30
"""The most blocks that a scan may read beside four for each of its rows, which may each be looked up."""


def statements_of(read: Callable[[], object]) -> list[tuple[str, Any]]:
    """Returns the statements that this function runs, with their parameters."""
    found: list[tuple[str, Any]] = []

    def keep(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        found.append((statement, parameters))

    event.listen(get_engine(), "before_cursor_execute", keep)
    try:
        read()
    finally:
        event.remove(get_engine(), "before_cursor_execute", keep)
    return found


def scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the parts of a plan that read a large table."""
    if plan.get("Relation Name") in LARGE:
        yield plan
    for part in plan.get("Plans", ()):
        yield from scans(part)


def read_too_much(session: Session, read: Callable[[], object]) -> list[tuple[str, str, int]]:
    """Returns how a statement reads a large table in order, or too many rows of it: kind, table, rows.

    Entries of an index that are passed over are no rows of the plan, but the blocks they lie in are counted.
    """
    found = []
    for statement, parameters in statements_of(read):
        explain = f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {statement}"
        [(plan,)] = session.connection().exec_driver_sql(explain, parameters)
        for scan in scans(plan[0]["Plan"]):
            removed = scan.get("Rows Removed by Filter", 0) + scan.get("Rows Removed by Index Recheck", 0)
            rows = round((scan["Actual Rows"] + removed) * scan["Actual Loops"])
            blocks = scan["Shared Hit Blocks"] + scan["Shared Read Blocks"]
            passed_over = blocks > (FEW_BLOCKS + 4 * rows / max(scan["Actual Loops"], 1)) * scan["Actual Loops"]
            if scan["Node Type"] == "Seq Scan" or rows > MOST_READ or passed_over:
                found.append((scan["Node Type"], scan["Relation Name"], rows))
    return found


@pytest.fixture
def long_history(fresh_database: str) -> None:
    """Fills the database with history and trouble; its statistics are good."""
    add_history(SIZE)
    add_troubles(600)


def forget_statistics() -> None:
    """Leaves the planner with what it knew when the tables were empty; no vacuum learns anew meanwhile."""
    with transaction() as session:
        for table in sorted(LARGE):
            session.execute(text(f"ALTER TABLE {table} SET (autovacuum_enabled = off)"))
        session.execute(
            text("UPDATE pg_class SET reltuples = 0, relpages = 0 WHERE relnamespace = 'public'::regnamespace")
        )
        session.execute(text("DELETE FROM pg_statistic WHERE starelid >= 16384"))


@pytest.mark.usefixtures("long_history")
def test_no_statement_of_the_status_reads_a_large_table() -> None:
    with transaction() as session:
        assert read_too_much(session, lambda: read_status(session, None, caps=CAPS)) == []
        status = read_status(session, None, caps=CAPS)
    told = {(problem["code"], problem["subject"]) for problem in status["problems"]}
    assert told >= {("dead", "enrollments"), ("dead", "emails_bulk"), ("expired", "emails_bulk"), ("unsent", "emails")}


@pytest.mark.usefixtures("long_history")
def test_nor_with_the_statistics_of_an_empty_database() -> None:
    forget_statistics()
    with transaction() as session:
        assert read_too_much(session, lambda: read_status(session, None, caps=CAPS)) == []


@pytest.mark.usefixtures("long_history")
@pytest.mark.parametrize(("state", "found"), [(JobState.RUNNING, 0), (JobState.QUEUED, 100)])
def test_jobs_on_their_way_are_listed_without_reading_finished_ones(state: JobState, found: int) -> None:
    with transaction() as session:
        assert len(search_jobs(session, RowFilter(state=state))) == found
        assert read_too_much(session, lambda: search_jobs(session, RowFilter(state=state))) == []


@pytest.mark.usefixtures("long_history")
def test_jobs_that_gave_up_are_counted_before_they_are_sorted() -> None:
    with transaction() as session:
        asked = statements_of(lambda: group_errors(session))
        [(statement, parameters)] = [one for one in asked if "FROM job t" in one[0] and "trouble IS NOT NULL" in one[0]]
        explain = f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}"
        [(plan,)] = session.connection().exec_driver_sql(explain, parameters)
    assert {scan["Node Type"] for scan in scans(plan[0]["Plan"])} == {"Index Only Scan"}
    assert plan[0]["Plan"]["Plans"][0]["Actual Rows"] < MOST_READ / 10 < SIZE.dead
    assert not [one for one, _ in asked if "trouble IS NULL" in one]  # none is of an earlier release


SEARCHES: Final[list[dict[str, Any]]] = [
    {"wanted": RowFilter()},
    {"wanted": RowFilter(kind="erase_person")},
    {"wanted": RowFilter(kind="enroll", portal="local")},
    {"wanted": RowFilter(portal="unknown")},
    {"wanted": RowFilter(), "with_schedules": False},
    {"wanted": RowFilter(), "person": PersonToFind(new_id(), ("anne@example.com", "anne@example,com"))},
    *({"wanted": RowFilter(state=state)} for state in JobState),
]


@pytest.mark.usefixtures("long_history")
@pytest.mark.parametrize("statistics", ["good", "none"])
def test_no_search_of_jobs_reads_them_all(statistics: str, subtests: pytest.Subtests) -> None:
    if statistics == "none":
        forget_statistics()
    for wanted in SEARCHES:
        with subtests.test(str(wanted)), transaction() as session:
            assert read_too_much(session, partial(search_jobs, session, **wanted)) == []


# Gives one contract to a company of its own, and withdraws the first of its people.
SPLIT_OFF = """
    WITH made AS (INSERT INTO company (id, portal_id, reference, name)
      SELECT gen_random_uuid(), portal_id, 'petite', 'Petite' FROM company LIMIT 1 RETURNING id),
    given AS (UPDATE contract SET company_id = made.id FROM made WHERE reference = 'H-00007' RETURNING contract.id)
    UPDATE enrollment SET withdrawn_at = now() WHERE id = (
      SELECT e.id FROM enrollment e JOIN given ON given.id = e.contract_id ORDER BY e.id LIMIT 1)"""

ADD_CHANGES = """
    INSERT INTO audit (at, requested_by, action, result, company_id)
    SELECT e.enrolled_at, '', 'put_contract', 'done', c.company_id
    FROM enrollment e JOIN contract c ON c.id = e.contract_id
    ORDER BY e.id"""


@pytest.mark.usefixtures("long_history")
@pytest.mark.parametrize("statistics", ["good", "none"])
def test_the_audit_of_a_company_reads_what_it_lists(statistics: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_search, "NEWEST", 200)
    change(ADD_CHANGES)
    change(SPLIT_OFF)
    change("ANALYZE")
    if statistics == "none":
        forget_statistics()
    with transaction() as session:
        few, many = (find_company(session, "local", name) for name in ("petite", "histoire"))
        for company in (few, many, None):
            assert read_too_much(session, partial(search_audit, session, company=company, limit=50)) == []
            found = search_audit(session, company=company, limit=50)
            assert len(found) == len({(one.action, one.subject_id, one.at) for one in found}) == 50
            further = search_audit(session, company=company, limit=5_000)
            assert [one.at for one in found] == [one.at for one in further[:50]]


def count_ended(session: Session) -> None:
    """Counts what ended lately as a clock and as a reader does; a history of months is not counted again."""
    assert fold_ended(session, minutes=FOLDED_MINUTES)
    sample_depth(session, CAPS)


@pytest.mark.usefixtures("long_history")
@pytest.mark.parametrize("statistics", ["good", "none"])
def test_counting_reads_what_ended_lately_and_why_reads_a_lane(statistics: str, subtests: pytest.Subtests) -> None:
    with transaction() as session:
        count_ended(session)
        found = session.execute(text("SELECT id FROM job WHERE state = 'queued' ORDER BY due_at DESC LIMIT 1"))
        waiting = found.scalar_one()
    if statistics == "none":
        forget_statistics()
    with transaction() as session:
        for read in (count_ended, partial(find_why, row_id=waiting)):
            with subtests.test(str(read)):
                assert read_too_much(session, partial(read, session)) == []


def planner_settings() -> list[tuple[object, ...]]:
    with transaction() as session:
        found = session.connection().exec_driver_sql(
            "SELECT current_setting('enable_seqscan'), current_setting('enable_bitmapscan'), current_setting('jit')"
        )
        return [tuple(row) for row in found]


@pytest.mark.usefixtures("fresh_database")
def test_reading_the_status_leaves_other_transactions_their_plans() -> None:
    before = planner_settings()
    with transaction() as session:
        read_status(session, None)
    assert (planner_settings(), before[0][1]) == (before, "on")
