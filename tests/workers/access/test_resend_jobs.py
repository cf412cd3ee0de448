"""Resets and invitations of selected rows: a result for each row, one mail each within the rate limit,
each job once.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.throttle import LIMITS, RateLimit, ThrottleScope
from tests.kit.builders.contracts import add_contract, enrol_people, query
from tests.kit.builders.password_links import (
    answers,
    ask,
    claim,
    codes,
    do,
    enrolled,
    later,
    links,
    mails,
    resend,
    reset,
)
from workers.actors.registry import do_jobs
from workers.database import Session
from workers.engine import ledger
from workers.engine.ledger import EMAILS
from workers.requests.queues import URGENT_MAILS, Queue


def test_each_row_has_its_result_in_the_order_ticked(session: Session) -> None:
    anne, zoe = enrolled(session, "anne", "zoe")
    (luc,) = enrolled(session, "luc", activated=False)
    (other,) = enrolled(session, "eve", contract="C-2")
    session.execute(text("UPDATE enrollment SET withdrawn_at = '2026-01-02Z' WHERE id = :id"), {"id": zoe})
    nobody = new_id()
    [job] = do(session, reset(nobody, luc, other, zoe, anne, anne))
    assert codes(job) == ["not_found", "activation_sent_instead", "not_found", "already_withdrawn", "sent", "sent"]
    assert job["state"] == "succeeded"
    assert job["result"]["counts"] == {
        "not_found": 2, "activation_sent_instead": 1, "already_withdrawn": 1, "sent": 2}  # fmt: skip
    people = job["result"]["people"]
    assert [person["position"] for person in people] == [0, 1, 2, 3, 4, 5]
    assert [person["enrollment_id"] for person in people] == [str(one) for one in (nobody, luc, other, zoe, anne, anne)]
    assert [person["account_id"] is None for person in people] == [True, False, True, False, False, False]
    assert people[3]["detail"] == {"since": "2026-01-02T00:00:00+00:00"}
    assert mails(session) == [
        ("password_reset", "emails", "anne@example.com"),
        ("invitation", "emails", "luc@example.com"),
    ]
    assert links(session, "anne")[1:] == [("password_reset", 0, True)]
    assert links(session, "luc") == [("activation", 1, True)]
    assert links(session, "zoe")[1:] == links(session, "eve")[1:] == []


@pytest.mark.parametrize(("kind", "name"), [("reset_passwords", "anne"), ("resend_invitations", "luc")])
def test_one_row_is_answered_in_the_job_itself(session: Session, kind: str, name: str) -> None:
    (one,) = enrolled(session, name, activated=name == "anne")
    request = reset(one) if kind == "reset_passwords" else resend(one)
    [job] = do(session, request)
    assert codes(job) == ["sent"]
    assert query(session, "SELECT count(*) FROM job_person") == [(0,)]
    [(action, result)] = query(session, "SELECT action, detail FROM audit WHERE job_id = :id", id=job["id"])
    assert (action, result) == (kind, {"counts": {"sent": 1}})
    [(account, asker)] = query(
        session, "SELECT account_id, portal_id FROM audit WHERE job_id = :id AND company_id IS NOT NULL", id=job["id"]
    )
    assert (str(account), asker) == (job["result"]["people"][0]["account_id"], LOCAL_PORTAL_ID)


def test_an_unknown_contract_or_no_recipient_is_a_refusal(session: Session) -> None:
    (luc,) = enrolled(session, "luc", activated=False)
    unknown, nobody = do(session, reset(luc, contract="C-9"), resend(new_id()))
    assert (unknown["state"], unknown["result"]["code"]) == ("refused", "unknown_contract")
    assert (nobody["state"], codes(nobody)) == ("refused", ["not_found"])
    assert mails(session) == []


def test_a_contract_of_another_portal_is_unknown(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    session.execute(text("INSERT INTO portal (id, name) VALUES (:id, 'autre')"), {"id": (other := new_id())})
    for table in ("contract", "company", "training"):
        session.execute(text(f"UPDATE {table} SET portal_id = :id"), {"id": other})
    [job] = do(session, reset(anne))
    assert (job["state"], job["result"]["code"]) == ("refused", "unknown_contract")


def test_an_invitation_says_nothing_new_to_who_is_activated(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    (luc,) = enrolled(session, "luc", activated=False)
    assert answers(session, resend(anne, luc)) == ["already_activated", "sent"]
    assert mails(session) == [("invitation", "emails", "luc@example.com")]


def test_resets_in_any_number_are_urgent_and_overtake_waiting_invitations(session: Session) -> None:
    names = [f"p{number}" for number in range(URGENT_MAILS + 2)]
    ids = enrolled(session, *names)
    add_contract(session, "C-2", 1_000)
    enrol_people(session, *(f"n{number}" for number in range(300)), contract="C-2")
    assert set(answers(session, reset(*ids))) == {"sent"}
    claimed = ledger.claim(session, EMAILS, Queue.EMAILS, size=200, lease=30, worker=new_id())
    assert [row.columns.kind for row in claimed] == ["password_reset"] * len(names)
    waiting = enrolled(session, *(f"w{number}" for number in range(URGENT_MAILS + 1)), activated=False, contract="C-3")
    assert set(answers(session, resend(*waiting, contract="C-3"))) == {"sent"}
    assert {queue for _, queue, _ in mails(session)} == {"emails_bulk"}


# Rate limits


def test_one_person_is_written_to_three_times_an_hour(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    (luc,) = enrolled(session, "luc", activated=False)
    for _ in range(3):
        assert answers(session, reset(anne, luc)) == ["sent", "activation_sent_instead"]
        later(session, 10)
    [job] = do(session, reset(anne, luc))
    assert codes(job) == ["throttled", "throttled"]
    assert job["state"] == "refused"
    [(now,)] = query(session, "SELECT now()")
    opens = datetime.fromisoformat(job["result"]["people"][0]["detail"]["from"])
    assert opens == now + timedelta(minutes=30)
    session.execute(text("UPDATE link SET resent = 0"))
    assert answers(session, resend(luc)) == ["sent"]  # counted separately
    later(session, 30)
    session.execute(text("UPDATE link SET resent = 0"))
    assert answers(session, reset(anne)) == ["sent"]


def test_a_new_address_resets_neither_the_limit_of_account_nor_of_address(session: Session) -> None:
    anne, zoe = enrolled(session, "anne", "zoe")
    for _ in range(3):
        answers(session, reset(anne))
    session.execute(text("UPDATE account SET email_norm = 'x@example.com' WHERE email_norm = 'anne@example.com'"))
    assert answers(session, reset(anne)) == ["throttled"]
    session.execute(text("UPDATE account SET email_norm = 'anne@example.com' WHERE email_norm = 'zoe@example.com'"))
    assert answers(session, reset(zoe)) == ["throttled"]


@pytest.mark.parametrize("scope", [ThrottleScope.RESET_COMPANY, ThrottleScope.RESET_PORTAL])
def test_a_company_and_a_portal_have_their_own(
    session: Session, monkeypatch: pytest.MonkeyPatch, scope: ThrottleScope
) -> None:
    monkeypatch.setitem(LIMITS, scope, (RateLimit(3, timedelta(hours=1)),))
    ids = enrolled(session, "a", "b", "c", "d", "e")
    first, second = do(session, reset(*ids[:2]), reset(*ids[2:]))  # one batch: the first counts for the second
    assert (codes(first), codes(second)) == (["sent"] * 2, ["sent", "throttled", "throttled"])
    assert answers(session, reset(ids[4])) == ["throttled"]
    assert query(session, "SELECT sum(times), count(*) FROM throttle WHERE scope = :s", s=scope) == [(3, 1)]
    assert query(session, "SELECT count(*) FROM throttle WHERE scope = :s", s=ThrottleScope.RESET_ACCOUNT) == [(3,)]


def test_no_address_is_kept_in_a_throttle(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    answers(session, reset(anne))
    kept = json.dumps(query(session, "SELECT CAST(t AS text) FROM throttle t"))
    assert "anne" not in kept
    scopes = {scope for (scope,) in query(session, "SELECT scope FROM throttle")}
    assert scopes == {
        ThrottleScope.RESET_ACCOUNT,
        ThrottleScope.RESET_ADDRESS,
        ThrottleScope.RESET_COMPANY,
        ThrottleScope.RESET_PORTAL,
    }


# Twice


@pytest.mark.parametrize("activated", [True, False])
def test_done_twice_a_job_owes_one_mail(session: Session, activated: bool) -> None:
    anne, zoe = enrolled(session, "anne", "zoe", activated=activated)
    request = reset(anne, zoe) if activated else resend(anne, zoe)
    ask(session, request)
    claimed = claim(session)
    for _ in range(2):
        session.execute(text("DELETE FROM job_person"))
        assert [outcome.state for outcome in do_jobs(session, claimed)] == ["succeeded"]
    assert [address for _, _, address in mails(session)] == ["anne@example.com", "zoe@example.com"]
    assert sum(alive for _, _, alive in links(session, "anne")) == 1


def test_ten_thousand_rows_are_a_dozen_statements(session: Session) -> None:
    count = 40
    few, many = enrolled(session, "x", "y"), enrolled(session, *(f"m{n}" for n in range(count)), contract="C-2")

    def statements(request: Any) -> int:
        seen: list[str] = []

        def note(*args: Any) -> None:
            seen.append(args[2])

        connection = session.connection()
        event.listen(connection, "before_cursor_execute", note)
        do(session, request)
        event.remove(connection, "before_cursor_execute", note)
        return len(seen)

    assert statements(reset(*few)) == statements(reset(*many, contract="C-2"))


def test_dates_are_told_in_utc(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    for _ in range(4):
        [job] = do(session, reset(anne))
    moment = datetime.fromisoformat(job["result"]["people"][0]["detail"]["from"])
    assert moment.utcoffset() == timedelta(0)
    assert moment > datetime.now(UTC)
