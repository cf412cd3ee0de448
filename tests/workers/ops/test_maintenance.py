"""Seats with drift are found and not changed; rows with an expiry are deleted after it."""

import pytest
from sqlalchemy import text

from models.retention import RETENTION
from tests.kit.builders.contracts import (
    add_contract,
    enrol_people,
    everything,
    query,
)
from workers.database import Session
from workers.ops.reconciliation import SeatDrift, find_drift
from workers.people.retention import purge


def sound(session: Session) -> None:
    """Creates two contracts: one with four people and one withdrawn, the other without people."""
    add_contract(session, seats=10)
    add_contract(session, "C-2", company="autre")
    enrol_people(session, "a", "b", "c", "d", "e")
    session.execute(
        text("""
            WITH gone AS (UPDATE enrollment SET withdrawn_at = now() WHERE account_id =
                (SELECT id FROM account WHERE email_norm = 'e@example.com') RETURNING id, contract_id),
            back AS (INSERT INTO seat_movement (contract_id, enrollment_id, change)
                SELECT contract_id, id, -1 FROM gone RETURNING contract_id)
            UPDATE contract SET enrolled_count = enrolled_count - 1 FROM back WHERE id = back.contract_id""")
    )


ONE = "(SELECT e.id FROM enrollment e WHERE e.withdrawn_at IS NULL ORDER BY e.id LIMIT 1)"
ANOTHER = "(SELECT e.id FROM enrollment e WHERE e.withdrawn_at IS NULL ORDER BY e.id DESC LIMIT 1)"
COUNTED = "UPDATE contract SET enrolled_count = {} WHERE reference = '{}'"
MOVED = """
    INSERT INTO seat_movement (contract_id, enrollment_id, change)
    SELECT c.id, {}, 1 FROM contract c WHERE reference = '{}'"""
GIVEN_TO = f"UPDATE seat_movement SET enrollment_id = {{}} WHERE enrollment_id = {ANOTHER}"


def test_sound_contracts_are_not_reported(session: Session) -> None:
    sound(session)
    assert find_drift(session) == []


@pytest.mark.parametrize(
    ("harm", "expected"),
    [  # counter, rows, ledger, orphans, uneven
        (COUNTED.format(3, "C-1"), ("C-1", 3, 4, 4, 0, 0)),
        (COUNTED.format(5, "C-1"), ("C-1", 5, 4, 4, 0, 0)),
        (COUNTED.format(1, "C-2"), ("C-2", 1, 0, 0, 0, 0)),
        (f"UPDATE enrollment SET withdrawn_at = now() WHERE id = {ONE}", ("C-1", 4, 3, 4, 0, 1)),
        ("UPDATE enrollment SET withdrawn_at = NULL", ("C-1", 4, 5, 4, 0, 1)),
        (f"DELETE FROM enrollment WHERE id = {ONE}", ("C-1", 4, 3, 4, 1, 0)),
        (f"DELETE FROM seat_movement WHERE enrollment_id = {ONE}", ("C-1", 4, 4, 3, 0, 1)),
        (MOVED.format(ONE, "C-1"), ("C-1", 4, 4, 5, 0, 1)),
        (MOVED.format(ONE, "C-2"), ("C-2", 0, 0, 1, 1, 0)),
        (MOVED.format("gen_random_uuid()", "C-2"), ("C-2", 0, 0, 1, 1, 0)),
        # The sums are right, the rows are not.
        (GIVEN_TO.format("gen_random_uuid()"), ("C-1", 4, 4, 4, 1, 1)),
        (GIVEN_TO.format(ONE), ("C-1", 4, 4, 4, 0, 2)),
    ],
)
def test_drift_is_found_and_not_repaired(
    session: Session, harm: str, expected: tuple[str, int, int, int, int, int]
) -> None:
    sound(session)
    session.execute(text(harm))
    before = everything(session)
    [drift] = find_drift(session)
    assert isinstance(drift, SeatDrift)
    assert drift[1:] == expected
    assert drift.as_json()["contract_id"] == str(drift.contract_id)
    assert everything(session) == before


def test_purge_deletes_what_is_too_old_and_nothing_else(session: Session) -> None:
    sound(session)
    session.execute(
        text("""
            INSERT INTO idempotency (portal_id, key, request_hash, job_id, created_at)
            SELECT id, 'k' || days, '', gen_random_uuid(), now() - make_interval(days => days)
            FROM portal, unnest(ARRAY[0, 89, 91, 400]) days""")
    )
    session.execute(
        text("""
            INSERT INTO process (id, kind, host, pid, seen_at)
            SELECT gen_random_uuid(), 'worker', 'h', minutes, now() - make_interval(mins => minutes)
            FROM unnest(ARRAY[0, 59, 61]) minutes""")
    )
    session.execute(
        text("""
            INSERT INTO job_attempt (ledger, row_id, claim, outcome, created_at)
            SELECT 'job', gen_random_uuid(), days, 'retry', now() - make_interval(days => days)
            FROM unnest(ARRAY[0, 89, 91, 400]) days""")
    )
    session.execute(
        text("""
            INSERT INTO sign_in (subject, failures, failed_at)
            SELECT gen_random_uuid(), hours, now() - make_interval(hours => hours)
            FROM unnest(ARRAY[1, 23, 25]) hours""")
    )
    session.execute(
        text("""
            INSERT INTO throttle (scope, subject, at)
            SELECT 'password_reset:account', gen_random_uuid(), now() - make_interval(hours => hours)
            FROM unnest(ARRAY[0, 23, 25, 400]) hours""")
    )
    session.execute(
        text("""
            INSERT INTO suppression (email_norm, reason, until) VALUES ('a@x.fr', 'hard_bounce', now()),
              ('b@x.fr', 'hard_bounce', now() + interval '1 minute'), ('c@x.fr', 'ops', NULL)""")
    )
    before = everything(session)
    deleted = {"idempotency": 2, "job_attempt": 2, "sign_in": 1, "process": 1, "throttle": 2, "suppression": 1}
    nothing = dict.fromkeys(RETENTION, 0)
    assert purge(session) == nothing | deleted
    assert purge(session) == nothing
    assert query(session, "SELECT failures FROM sign_in ORDER BY failures") == [(1,), (23,)]
    assert query(session, "SELECT key FROM idempotency ORDER BY key") == [("k0",), ("k89",)]
    assert query(session, "SELECT claim FROM job_attempt ORDER BY claim") == [(0,), (89,)]
    assert query(session, "SELECT pid FROM process ORDER BY pid") == [(0,), (59,)]
    assert query(session, "SELECT count(*) FROM throttle WHERE at > now() - interval '1 day'") == [(2,)]
    assert query(session, "SELECT email_norm FROM suppression ORDER BY 1") == [("b@x.fr",), ("c@x.fr",)]
    after = everything(session)
    assert {table for table in after if after[table] != before[table]} == set(deleted)
