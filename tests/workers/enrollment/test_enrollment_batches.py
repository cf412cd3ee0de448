"""Several orders in one batch, and dry runs: each gets the answer it would get alone after the others."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from models.words import Policy
from tests.kit.builders.contracts import (
    LINKS,
    MAILS,
    add_contract,
    asking,
    codes,
    enrol,
    enrol_people,
    everything,
    query,
    seats,
    someone,
)
from workers.database import Session
from workers.requests.enrollment import PersonToEnroll

ALL, VALID, FULL = Policy.ALL_OR_NOTHING, Policy.VALID_ROWS, Policy.UNTIL_FULL


# Batches of several jobs


def test_the_same_new_person_on_two_contracts_in_one_batch(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2", company="autre")
    first, second = enrol(session, asking(someone("a", "Zoé")), asking(someone("a", "Z."), contract="C-2"))
    assert (codes(first), codes(second)) == (["enrolled"], ["attached"])
    assert first.people[0].account_id == second.people[0].account_id
    assert query(session, "SELECT first_name FROM account") == [("Zoé",)]
    assert [row[0] for row in query(session, MAILS)] == ["attachment", "invitation"]
    assert len(query(session, LINKS, email="a@example.com")) == 1


def test_an_unnotified_first_order_leaves_the_link_to_the_second(session: Session) -> None:
    add_contract(session)
    add_contract(session, "C-2")
    enrol(session, asking("a", notify=False), asking("a", contract="C-2"))
    assert [row[0] for row in query(session, MAILS)] == ["attachment"]
    assert [voided for _, voided, _ in query(session, LINKS, email="a@example.com")] == [False]


def test_the_same_person_twice_on_one_contract_in_one_batch(session: Session) -> None:
    add_contract(session)
    first, second = enrol(session, asking("a"), asking(someone("A@example.com"), "b"))
    assert (codes(first), codes(second)) == (["enrolled"], ["already_enrolled", "enrolled"])
    assert second.people[0][3:] == first.people[0][3:]
    assert seats(session) == 2


def test_orders_take_seats_in_ledger_order_each_by_its_own_policy(session: Session) -> None:
    add_contract(session, seats=3)
    answers = enrol(
        session,
        asking("a", "b"),
        asking("c", "d", policy=ALL),
        asking("c", "d", policy=FULL),
        asking("e", policy=VALID),
        asking("a"),
    )
    assert [codes(answer) for answer in answers] == [
        ["enrolled", "enrolled"],
        ["not_carried_out", "no_seat_left"],
        ["enrolled", "no_seat_left"],
        ["no_seat_left"],
        ["already_enrolled"],
    ]
    assert [answer.refused for answer in answers] == [False, True, False, True, False]
    assert seats(session) == 3


def test_each_answer_shows_the_contract_as_its_own_order_left_it(session: Session) -> None:
    add_contract(session, seats=9)
    answers = enrol(session, asking("a", "b"), asking("c", dry_run=True), asking("d"))
    assert [answer.contract and answer.contract.enrolled_count for answer in answers] == [2, 2, 3]


# Dry runs


def all_but_counts(session: Session) -> dict[str, list[str]]:
    """Returns every row of every table but the counts of what was told (``workers/enrollment/questions.py``)."""
    return {table: rows for table, rows in everything(session).items() if table != "throttle"}


def test_a_dry_run_writes_nothing(session: Session) -> None:
    add_contract(session, seats=4)
    add_contract(session, "C-2")
    enrol_people(session, "there")
    enrol_people(session, "known", contract="C-2")
    session.execute(text("UPDATE link SET expires_at = now() - interval '1 day'"))
    before = all_but_counts(session)
    people = [someone("a"), someone("@"), someone("there"), someone("known"), someone("A@example.com"), someone("b")]
    for policy in Policy:
        enrol(session, asking(*people, policy=policy, dry_run=True, report_to="chef@example.com"))
    assert all_but_counts(session) == before
    assert enrol_people(session, *people, policy=VALID, dry_run=True) == [
        "enrolled",
        "invalid_email",
        "already_enrolled",
        "attached",
        "duplicate_in_file",
        "enrolled",
    ]


def test_a_dry_run_takes_nothing_from_the_orders_behind_it(session: Session) -> None:
    add_contract(session, seats=1)
    add_contract(session, "C-2")
    answers = enrol(
        session,
        asking("a", dry_run=True),
        asking("a"),
        asking("a", dry_run=True),
        asking("b", dry_run=True, contract="C-2"),
        asking("b", contract="C-2"),
    )
    assert [codes(answer) for answer in answers] == [
        ["enrolled"],
        ["enrolled"],
        ["already_enrolled"],
        ["enrolled"],
        ["enrolled"],
    ]


ROWS = st.lists(
    st.builds(
        someone,
        st.sampled_from(["a", "A@Example.com", "b", "c", "d", "there", "known", "both", "@", ""]),
        st.sampled_from(["Zoé", "<b>", "", "Nul\0", "x" * 101]),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(people=ROWS, policy=st.sampled_from(Policy), planned_seats=st.integers(2, 7), notify=st.booleans())
def test_a_dry_run_says_what_the_real_run_does(
    session: Session, people: list[PersonToEnroll], policy: Policy, planned_seats: int, notify: bool
) -> None:
    with session.begin_nested() as undone:
        add_contract(session, seats=planned_seats)
        add_contract(session, "C-2")
        enrol_people(session, "there", "both")
        enrol_people(session, "known", "both", contract="C-2")
        before = all_but_counts(session)
        [said] = enrol(session, asking(*people, policy=policy, notify=notify, dry_run=True))
        assert all_but_counts(session) == before
        [done] = enrol(session, asking(*people, policy=policy, notify=notify))
        assert [p[:3] for p in said.people] == [p[:3] for p in done.people]
        assert said.plan == done.plan
        assert seats(session) == 2 + (done.plan.seats if done.plan else 0)
        if done.refused:
            assert all_but_counts(session) == before
        undone.rollback()
