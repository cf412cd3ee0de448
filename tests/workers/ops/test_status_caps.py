"""The status counts to a cap: exactly up to it, and beyond it says that there may be more."""

from typing import Any, Final
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.ledgers import owe
from tests.workers.ops.test_status import contract, everything_served, job, mail
from workers.database import Session
from workers.engine.ledger import EMAILS, JOBS
from workers.ops.capped import CappedNumber, StatusCaps
from workers.ops.status import read_status

CAPS: Final = StatusCaps(rows=3, alike=3, groups=3, lanes=3)
NUMBERS: Final = pytest.mark.parametrize(("number", "shown", "more"), [(2, 2, False), (3, 3, False), (4, 3, True)])


ADD_ACCOUNT: Final = text("""
    INSERT INTO account (id, email_norm, first_name, last_name, locale) VALUES (:id, :email, 'A', 'B', 'fr')""")


def status(session: Session, caps: StatusCaps = CAPS) -> dict[str, Any]:
    everything_served(session)
    return read_status(session, None, caps=caps)


def the_problem(session: Session, code: str, caps: StatusCaps = CAPS) -> dict[str, Any]:
    [found] = [problem for problem in status(session, caps)["problems"] if problem["code"] == code]
    return dict(found)


@NUMBERS
@pytest.mark.parametrize("condition", ["waiting", "due_later", "running", "dead"])
def test_rows_of_a_queue(session: Session, condition: str, number: int, shown: int, *, more: bool) -> None:
    states: dict[str, dict[str, Any]] = {
        "waiting": {"state": "queued", "due": "-5 s"},
        "due_later": {"state": "queued", "due": "1 hour"},
        "running": {"state": "running", "due": "-5 s", "lease": "30 s"},
        "dead": {"state": "dead"},
    }
    for _ in range(number):
        job(session, **states[condition])
    found = status(session)["queues"]["rosters"]
    assert (found[condition], found.get("at_least", [])) == (shown, [condition] if more else [])
    assert {found[other] for other in states if other != condition} == {0}


@NUMBERS
@pytest.mark.parametrize("state", ["sent", "failed", "expired", "suppressed", "cancelled"])
def test_mails_of_a_state(session: Session, state: str, number: int, shown: int, *, more: bool) -> None:
    for _ in range(number):
        mail(session, state)
    found = status(session)
    assert found["mails"][state] == shown
    assert (f"mails.{state}" in found["at_least"], found["cap"]) == (more, 3)


@NUMBERS
def test_mails_that_wait(session: Session, number: int, shown: int, *, more: bool) -> None:
    for _ in range(number):
        mail(session, "owed", due="-1 s")
    found = status(session)
    assert (found["mails"]["owed"], "mails.owed" in found["at_least"]) == (shown, more)


NOT_COUNTED: Final = ("bounced", "cancelled", "complained", "sent")
"""The states of mails that no index counts: of more mails than the cap, only the newest are looked at for them."""


def test_few_mails_that_failed_are_exact_among_many_sent(session: Session) -> None:
    failed = [mail(session, "failed") for _ in range(2)]
    for _ in range(5):
        mail(session, "sent")
    found = status(session)
    assert found["mails"] == dict.fromkeys(NOT_COUNTED, 0) | {"failed": len(failed), "sent": 3}
    assert found["at_least"] == [f"mails.{one}" for one in NOT_COUNTED]


@pytest.mark.parametrize("state", NOT_COUNTED)
def test_older_mails_may_be_in_every_state_that_no_index_counts(session: Session, state: str) -> None:
    mail(session, state)
    for _ in range(5):
        mail(session, "owed", due="-1 s")
    found = status(session)
    assert found["mails"] == dict.fromkeys(NOT_COUNTED, 0) | {"owed": 3}
    assert found["at_least"] == sorted(f"mails.{one}" for one in (*NOT_COUNTED, "owed"))


def test_the_rows_that_run_are_counted_to_the_cap_in_each_queue(session: Session) -> None:
    for queue in ("certificates", "enrollments", "maintenance", "rosters"):
        for _ in range(2 if queue != "rosters" else 4):
            job(session, "running", due="-5 s", lease="30 s", queue=queue)
    found = status(session)["queues"]
    assert {found[queue]["running"] for queue in ("certificates", "enrollments", "maintenance")} == {2}
    assert (found["rosters"]["running"], found["rosters"]["at_least"]) == (3, ["running"])
    assert not any("at_least" in found[queue] for queue in found if queue != "rosters")


ADD_PENDING: Final = {
    "corrections": text("""
        INSERT INTO email_correction (id, account_id, portal_id, job_id, old_email, new_email, state, asked_at)
        SELECT id, id, :portal, id, 'a@x.fr', 'b@x.fr', 'pending', now() - interval '2 hours' FROM account"""),
    "name_corrections": text("""
        INSERT INTO name_correction (id, account_id, portal_id, job_id, old_first_name, old_last_name, new_first_name,
          new_last_name, state, asked_at)
        SELECT id, id, :portal, id, 'A', 'B', 'A', 'C', 'pending', now() - interval '2 hours' FROM account"""),
}


@NUMBERS
@pytest.mark.parametrize("name", ADD_PENDING)
def test_corrections_that_wait(session: Session, name: str, number: int, shown: int, *, more: bool) -> None:
    for one in range(number):
        values = {"id": new_id(), "email": f"{one}@x.fr"}
        session.execute(ADD_ACCOUNT, values)
    session.execute(ADD_PENDING[name], {"portal": LOCAL_PORTAL_ID})
    found = status(session)
    assert found[name] == {"pending": shown, "oldest_seconds": 7_200.0}
    assert (f"{name}.pending" in found["at_least"]) is more


@NUMBERS
def test_problems_of_rows_with_the_same_error(session: Session, number: int, shown: int, *, more: bool) -> None:
    for _ in range(number):
        mail(session, "expired", error='{"class": "relay_down", "reason": "timed_out"}')
    problem = the_problem(session, "expired")
    assert (problem["count"], problem.get("at_least", False)) == (shown, more)
    [group] = problem["groups"]
    assert (group["class"], group["reason"]) == ("relay_down", "timed_out")
    assert (group["count"], group.get("at_least", False)) == (shown, more)


@NUMBERS
def test_errors_that_are_told_apart(session: Session, number: int, shown: int, *, more: bool) -> None:
    for one in range(number):
        mail(session, "failed", error=f'{{"class": "Error{one}"}}')
    problem = the_problem(session, "dead", CAPS._replace(rows=10))
    assert (problem["count"], len(problem["groups"])) == (number, number)
    assert problem.get("more_groups", False) is more
    assert shown == min(number, CAPS.groups)


def test_the_ten_most_frequent_errors_are_listed(session: Session) -> None:
    for one in range(12):
        for _ in range(1 + one % 3):
            mail(session, "failed", error=f'{{"class": "Error{one}"}}')
    problem = the_problem(session, "dead", StatusCaps())
    assert [group["count"] for group in problem["groups"]] == [3, 3, 3, 3, 2, 2, 2, 2, 1, 1]
    assert (problem["count"], problem["more_groups"], len(problem["rows"])) == (24, True, 10)


@pytest.mark.parametrize(("others", "shown"), [(0, [(5, False)]), (1, [(3, True), (1, False)])])
def test_rows_of_the_only_error_are_counted_like_all_rows(session: Session, others: int, shown: list[Any]) -> None:
    for _ in range(5):
        job(session, "dead")
    for _ in range(others):
        job(session, "dead")
        session.execute(
            text("""
            UPDATE job SET error = '{"class": "KeyError"}' WHERE id = (SELECT id FROM job ORDER BY id LIMIT 1)""")
        )
    found = status(session, CAPS._replace(rows=6))["problems"]
    [groups] = [one["groups"] for one in found if (one["code"], one["subject"]) == ("dead", "rosters")]
    assert [(group["count"], "at_least" in group) for group in groups] == shown


def test_an_error_was_first_and_last_seen(session: Session) -> None:
    for _ in range(3):
        job(session, "dead")
    session.execute(
        text("""
        UPDATE job SET error = '{"class": "KeyError"}', finished_at = now() - interval '1 hour' * place
        FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM job) placed WHERE placed.id = job.id""")
    )
    [group] = the_problem(session, "dead")["groups"]
    first, last = session.connection().exec_driver_sql("SELECT min(finished_at), max(finished_at) FROM job").one()
    assert (group["first"], group["last"]) == (first.isoformat(), last.isoformat())


def test_a_fault_of_the_address_is_none_of_the_errors(session: Session) -> None:
    for _ in range(5):
        mail(session, "failed", error='{"class": "failed", "reason": "address_rejected"}')
    mail(session, "failed", error='{"class": "failed", "reason": "policy"}')
    problem = the_problem(session, "dead")
    assert (problem["count"], problem.get("at_least"), len(problem["groups"])) == (1, None, 1)


def test_an_error_with_a_nul_is_told_like_others(session: Session) -> None:
    """PostgreSQL's json operators cannot read it."""
    job(session, "dead")
    session.execute(
        text("UPDATE job SET error = CAST(:error AS json)"), {"error": '{"class": "ValueError", "message": "\\u0000"}'}
    )
    [row] = the_problem(session, "dead")["rows"]
    assert row["class"] == "ValueError"


def test_errors_that_retention_has_shortened_keep_their_class(session: Session) -> None:
    mail(session, "failed", error='{"class" : "failed", "reason" : "policy"}')
    [row] = the_problem(session, "dead")["rows"]
    assert (row["class"], row["reason"]) == ("failed", "policy")


@NUMBERS
@pytest.mark.parametrize("due", ["-61 min", "9 min"])
def test_mails_owed_for_long(session: Session, due: str, number: int, shown: int, *, more: bool) -> None:
    for _ in range(number):
        mail(session, "owed", due=due, age="61 min")
    for _ in range(4):
        mail(session, "owed", due="10 min", age="59 min")
    problem = the_problem(session, "unsent")
    assert (problem["count"], problem.get("at_least", False)) == (shown, more)


def test_mails_owed_for_long_add_up_over_their_conditions(session: Session) -> None:
    mail(session, "owed", due="-61 min", age="61 min")
    mail(session, "owed", due="9 min", age="62 min", error='{"class": "retry", "reason": "timed_out"}')
    mail(session, "sending", due="-62 min", age="62 min")
    session.execute(text("UPDATE email SET leased_until = now() + interval '30 s' WHERE state = 'sending'"))
    mail(session, "owed", due="9 min", age="70 min", error='{"class": "retry", "reason": "mailbox_full"}')
    problem = the_problem(session, "unsent", StatusCaps())
    assert (problem["count"], len(problem["rows"])) == (3, 3)
    assert sorted((group["class"] or "", group["count"]) for group in problem["groups"]) == [("", 2), ("retry", 1)]


POSTPONE = text("""
    UPDATE job SET postponements = 5, postponed_at = now(), claim = 5, error = '{"class": "NotConfigured"}',
      due_at = now() + interval '5 s', created_at = now() - interval '75 s'""")


@NUMBERS
def test_jobs_that_wait_behind_a_postponed_one(session: Session, number: int, shown: int, *, more: bool) -> None:
    owe(session, JOBS)
    session.execute(POSTPONE)
    for _ in range(number - 1):
        owe(session, JOBS)
    problem = the_problem(session, "postponed", CAPS._replace(rows=10))
    assert (problem["count"], problem.get("at_least", False)) == (shown, more)
    assert (problem["rows"][0]["waiting"], problem["rows"][0].get("at_least", False)) == (shown, more)


@NUMBERS
def test_postponed_lanes(session: Session, number: int, shown: int, *, more: bool) -> None:
    for one in range(number):
        owe(session, JOBS, lane=UUID(int=one))
    session.execute(POSTPONE)
    problem = the_problem(session, "postponed", CAPS._replace(rows=10, alike=10))
    assert (problem["count"], problem.get("at_least", False)) == (number, more)
    assert shown == min(number, CAPS.lanes)


@NUMBERS
@pytest.mark.parametrize("ledger", [JOBS, EMAILS], ids=["job", "email"])
def test_due_work_of_unknown_kinds(session: Session, ledger: Any, number: int, shown: int, *, more: bool) -> None:
    for _ in range(number):
        owe(session, ledger, kind="order_lunch", queue="maintenance", due=-61)
    problem = the_problem(session, "unknown_kind", CAPS._replace(rows=10))
    assert problem.get("at_least", False) is more
    assert shown <= problem["count"] <= number


@NUMBERS
def test_contracts_and_suppressed_addresses(session: Session, number: int, shown: int, *, more: bool) -> None:
    for one in range(number):
        contract(session, f"C-{one}", seats=3)
        session.execute(text(f"INSERT INTO suppression (email_norm, reason) VALUES ('{one}@x.fr', 'ops')"))
    found = status(session)
    assert (found["contract_count"], found["suppressed_addresses"]) == (shown, shown)
    assert found["at_least"] == (["suppressed_addresses", "contract_count"] if more else [])


def test_a_number_beyond_its_cap_is_the_cap_and_says_so() -> None:
    assert [CappedNumber.of(counted, 3) for counted in (2, 3, 4)] == [(2, False), (3, False), (3, True)]
    assert CappedNumber.total([CappedNumber(3, at_least=True), CappedNumber(1)]) == (4, True)
    assert CappedNumber.total([]) == (0, False)
