"""A reset requested by address gives the same answer, the same rows and the same time whether or not an
account exists.
"""

import json
from datetime import timedelta
from itertools import count
from statistics import median
from time import perf_counter
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event, text

from models.base import new_id
from models.throttle import LIMITS, RateLimit, ThrottleScope
from models.words import EmailKind
from tests.kit.builders.accounts import keys, make_account
from tests.kit.builders.contracts import (
    add_contract,
    enrol_people,
    everything,
    query,
)
from tests.kit.builders.erasure import other_portal
from tests.kit.builders.password_links import (
    answers,
    ask,
    claim,
    do,
    enrolled,
    later,
    links,
    mails,
    reset,
)
from workers.access.passwords import choose_password
from workers.actors.registry import do_jobs
from workers.database import Session, transaction
from workers.engine import ledger
from workers.engine.acceptance import accept
from workers.engine.ledger import EMAILS, JOBS, ClaimedRow
from workers.mail.letters.writing import write_letters
from workers.mail.renderer import render
from workers.requests.accounts import RequestPasswordReset
from workers.requests.queues import Queue
from workers.security.link_views import LinkView


def by(email: str) -> RequestPasswordReset:
    return RequestPasswordReset(email=email)


def answer(session: Session, email: str) -> dict[str, Any]:
    """Returns the answer that the portal sees, without the fields that differ between any two jobs."""
    [job] = do(session, by(email))
    varying = {"id", "created_at", "started_at", "finished_at", "claim"}
    return {name: value for name, value in job.items() if name not in varying}


def first_step(session: Session, email: str) -> list[ClaimedRow]:
    """Returns the claimed job of a request before it is done."""
    ask(session, by(email))
    return [row for row in claim(session) if row.columns.kind == RequestPasswordReset.kind]


def test_known_unknown_and_rate_limited_addresses_get_the_same_answer(session: Session) -> None:
    enrolled(session, "anne")
    enrolled(session, "luc", activated=False)
    make_account(session, "seul@example.com")  # never activated, enrolled nowhere
    expected = answer(session, "anne@example.com")
    assert expected["result"] == {"code": "requested", "people": []}
    assert (expected["state"], expected["error"], expected["attempts"]) == ("succeeded", None, [])
    others = ["luc@example.com", "seul@example.com", "personne@example.com", *["anne@example.com"] * 4]
    assert [answer(session, email) for email in others] == [expected] * len(others)
    assert mails(session) == [
        *[("password_reset", "emails", "anne@example.com")] * 3,
        ("invitation", "emails", "luc@example.com"),
    ]


def test_the_address_is_compared_as_accounts_are(session: Session) -> None:
    enrolled(session, "anne")
    answer(session, " Anne@EXAMPLE.com\u00a0")
    assert len(mails(session)) == 1


def test_the_mail_names_no_company_and_its_link_sets_the_password(session: Session) -> None:
    enrolled(session, "anne")
    answer(session, "anne@example.com")
    [letter] = write_letters(session, ledger.claim(session, EMAILS, Queue.EMAILS, size=9, lease=30, worker=new_id()))
    assert (letter.kind, letter.context["company_name"]) == (EmailKind.PASSWORD_RESET, None)
    assert "avec votre adresse" in render(letter.kind, "fr", letter.context).text
    assert isinstance(choose_password(session, keys(), letter.context["link"].rpartition("/")[2], "new"), LinkView)


def test_an_account_never_activated_is_invited_to_its_latest_training(session: Session) -> None:
    enrolled(session, "luc", activated=False)
    add_contract(session, "C-2", 10)
    enrol_people(session, "luc", contract="C-2")
    session.execute(text("DELETE FROM email"))
    session.execute(
        text("UPDATE enrollment SET enrolled_at = enrolled_at + interval '1 day' FROM contract c"
             " WHERE c.id = contract_id AND c.reference = 'C-2'")
    )  # fmt: skip
    answer(session, "luc@example.com")
    owed = "SELECT c.reference FROM email e JOIN contract c ON c.id = e.contract_id"
    assert query(session, owed) == [("C-2",)]
    assert links(session, "luc") == [("activation", 1, True)]


def rows_written(session: Session, email: str) -> list[tuple[str, int]]:
    """Counts the rows that the job of a request adds to each table."""
    rows = first_step(session, email)
    before = everything(session)
    ledger.finish(session, JOBS, do_jobs(session, rows))
    after = everything(session)
    return [(table, len(after[table]) - len(before[table])) for table in after if after[table] != before[table]]


def statements(session: Session, email: str) -> list[str]:
    rows, seen = first_step(session, email), list[str]()

    def note(*args: Any) -> None:
        seen.append(args[2])

    event.listen(session.connection(), "before_cursor_execute", note)
    ledger.finish(session, JOBS, do_jobs(session, rows))
    event.remove(session.connection(), "before_cursor_execute", note)
    return seen


def test_the_job_runs_the_same_statements_and_writes_the_same_rows(session: Session) -> None:
    enrolled(session, "anne", "zoe")
    assert rows_written(session, "anne@example.com") == rows_written(session, "personne@example.com")
    # The statements are equal, and none of them reads accounts.
    known, unknown = statements(session, "zoe@example.com"), statements(session, "autre@example.com")
    assert known == unknown
    assert not any("FROM account" in statement or "email_norm" in statement for statement in known)


@pytest.mark.serial
def test_the_time_is_the_same(fresh_database: str) -> None:
    """The medians of known and unknown addresses differ no more than those of two halves of one kind."""
    number = count()
    with transaction() as session:
        for one in range(200):
            make_account(session, f"k{one}@example.com")
        session.execute(text("UPDATE account SET activated_at = now()"))

    def seconds(name: str) -> float:
        with transaction() as session:
            rows = first_step(session, f"{name}{next(number) // 2 % 200}@example.com")
        began = perf_counter()
        with transaction() as session:
            ledger.finish(session, JOBS, do_jobs(session, rows))
        took = perf_counter() - began
        with transaction() as session:  # another worker does the look-up that follows
            session.execute(text("UPDATE job SET due_at = NULL WHERE kind = 'send_password_reset'"))
        return took

    for _ in range(10):
        seconds("k"), seconds("u")
    pairs = [(seconds("k"), seconds("u")) for _ in range(150)]  # alternating, so that a slow second slows both
    known, unknown = [k for k, _ in pairs], [u for _, u in pairs]
    spread = sorted(known)[len(known) * 9 // 10] - sorted(known)[len(known) // 10]
    noise = max(
        *(abs(median(times[::2]) - median(times[1::2])) for times in (known, unknown)),
        *(abs(median(times[:75]) - median(times[75:])) for times in (known, unknown)),
        spread / 10,  # too small to detect with this many calls, if the halves agree by chance
    )
    assert abs(median(known) - median(unknown)) <= noise


def test_an_address_is_asked_for_three_times_an_hour_known_or_not(session: Session) -> None:
    enrolled(session, "anne")
    for email in ("anne@example.com", "personne@example.com"):
        for _ in range(5):
            answer(session, email)
    owed = "SELECT count(*) FROM job WHERE kind = 'send_password_reset'"
    assert query(session, owed) == [(6,)]
    later(session, 60)
    answer(session, "personne@example.com")
    assert query(session, owed) == [(7,)]


def test_a_portal_has_its_own(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, ThrottleScope.REQUEST_PORTAL, (RateLimit(2, timedelta(hours=1)),))
    do(session, *(by(f"p{number}@example.com") for number in range(4)))
    assert query(session, "SELECT count(*) FROM job WHERE kind = 'send_password_reset'") == [(2,)]


def ask_at(session: Session, portal: UUID, *names: str | RequestPasswordReset) -> None:
    """Does the requests of another portal for these people, each in turn, and the work that follows."""
    for name in names:
        request = by(f"{name}@example.com") if isinstance(name, str) else name
        accept(session, portal, request, request.model_dump_json(), key=str(new_id()))
        while claimed := claim(session):
            ledger.finish(session, JOBS, do_jobs(session, claimed))


def test_a_portal_resets_its_own_people_and_uses_up_nothing_of_others(session: Session) -> None:
    enrolled(session, "ada")
    enrolled(session, "ben", contract="C-9")
    portal = other_portal(session, "C-9")
    ask_at(session, portal, *["ada"] * 4, "ben")
    assert [address for _, _, address in mails(session)] == ["ben@example.com"]
    do(session, *[by("ada@example.com")] * 3)
    assert [address for _, _, address in mails(session)] == ["ada@example.com"] * 3 + ["ben@example.com"]


def test_of_some_companies_their_people_alone_are_reset(session: Session) -> None:
    enrolled(session, "ada")
    enrolled(session, "ben", contract="C-9")
    add_contract(session, "C-8", company="autre")
    moved = (
        "UPDATE contract SET company_id = (SELECT id FROM company WHERE reference = 'autre') WHERE reference = 'C-9'"
    )
    session.execute(text(moved))
    portal = other_portal(session, "C-9")
    session.execute(text("UPDATE contract SET portal_id = :id"), {"id": portal})
    of_one = [RequestPasswordReset(email=f"{name}@example.com", companies=["autre"]) for name in (*["ada"] * 4, "ben")]
    ask_at(session, portal, *of_one)
    assert [address for _, _, address in mails(session)] == ["ben@example.com"]
    ask_at(session, portal, "ada")  # what was asked for another company has used up nothing of hers
    assert [address for _, _, address in mails(session)] == ["ada@example.com", "ben@example.com"]
    ask_at(session, portal, RequestPasswordReset(email="ben@example.com", companies=[]))
    assert len(mails(session)) == 2


def test_a_portal_resets_whom_it_withdrew_and_none_who_said_this_is_not_me(session: Session) -> None:
    enrolled(session, "ada", "ben", contract="C-9")
    portal = other_portal(session, "C-9")
    session.execute(text("UPDATE enrollment SET withdrawn_at = now()"))
    session.execute(
        text(
            "UPDATE enrollment e SET detached_at = now() FROM account a WHERE a.id = e.account_id AND a.email_norm = :e"
        ),
        {"e": "ben@example.com"},
    )
    ask_at(session, portal, "ada", "ben")
    assert [address for _, _, address in mails(session)] == ["ada@example.com"]


def test_a_reset_by_a_manager_counts_too_and_is_not_visible(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    expected = answer(session, "anne@example.com")
    assert answers(session, reset(anne)) == answers(session, reset(anne)) == ["sent"]
    assert answers(session, reset(anne)) == ["throttled"]
    assert answer(session, "anne@example.com") == expected
    assert len(mails(session)) == 3


def test_an_unknown_address_is_kept_nowhere_but_in_the_request(session: Session) -> None:
    answer(session, "personne@example.com")
    kept = everything(session)
    assert {table: len(kept[table]) for table in ("email", "link", "account", "audit")} == dict.fromkeys(
        ("email", "link", "account", "audit"), 0
    )
    assert [table for table, rows in kept.items() for row in rows if "personne" in row] == ["job"]
    assert query(session, "SELECT kind FROM job WHERE CAST(request AS text) LIKE '%personne%'") == [
        ("request_password_reset",)
    ]


def test_the_audit_names_the_account_never_the_address(session: Session) -> None:
    enrolled(session, "anne")
    session.execute(text("DELETE FROM audit"))
    answer(session, "anne@example.com")
    [(action, result, whose, asked)] = query(
        session, "SELECT action, result, account_id IS NOT NULL, (SELECT kind FROM job WHERE id = job_id) FROM audit"
    )
    assert (action, result, whose, asked) == ("request_password_reset", "sent", True, "request_password_reset")
    assert "anne" not in json.dumps(everything(session)["audit"])


def test_a_request_that_was_erased_meanwhile_ends_quietly(session: Session) -> None:
    enrolled(session, "anne")
    [row] = first_step(session, "anne@example.com")
    do_jobs(session, [row])
    session.execute(text("DELETE FROM job WHERE id = :id"), {"id": row.id})
    assert [outcome.state for outcome in do_jobs(session, claim(session))] == ["succeeded"]
    assert mails(session) == []


def test_done_twice_each_step_owes_one_thing(session: Session) -> None:
    enrolled(session, "anne")
    rows = first_step(session, "anne@example.com")
    for _ in range(2):
        do_jobs(session, rows)
    assert query(session, "SELECT count(*) FROM job WHERE kind = 'send_password_reset'") == [(1,)]
    owed = claim(session)
    for _ in range(2):
        do_jobs(session, owed)
    assert len(mails(session)) == 1
    assert sum(alive for _, _, alive in links(session, "anne")) == 1
