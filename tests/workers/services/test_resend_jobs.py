"""Resets and invitations of ticked rows: a result per row, one mail each, the same live link, never too many."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event, text

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from models.resending import MOST_RESENT
from models.throttle import LIMITS, Limit, Scope
from models.words import EmailKind, EmailState
from tests.accounts import keys
from tests.contracts import add_contract, enrol_people, everything, query
from tests.ticked import answers, ask, claim, codes, do, enrolled, later, links, mails, resend, reset
from workers import ledger
from workers.database import Session
from workers.ledger import EMAILS
from workers.mail.renderer import render
from workers.queues import URGENT_MAILS, Queue
from workers.services.jobs import do_jobs
from workers.services.keys import signing_keys
from workers.services.letter import Letter
from workers.services.letters import read_letters
from workers.services.link_views import LinkView
from workers.services.passwords import choose_password
from workers.settings import get_settings


def letters(session: Session, queue: Queue = Queue.EMAILS) -> list[Letter]:
    return read_letters(session, ledger.claim(session, EMAILS, queue, size=200, lease=30, worker=new_id()))


def token(letter: Letter) -> str:
    return str(letter.context["link"]).rpartition("/")[2]


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


def test_an_unknown_contract_or_nobody_to_write_to_is_a_refusal(session: Session) -> None:
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


def test_resets_are_urgent_whatever_their_number_and_pass_the_invitations_that_wait(session: Session) -> None:
    names = [f"p{number}" for number in range(URGENT_MAILS + 2)]
    ids = enrolled(session, *names)
    add_contract(session, "C-2", 1_000)
    enrol_people(session, *(f"n{number}" for number in range(300)), contract="C-2")
    assert set(answers(session, reset(*ids))) == {"sent"}
    claimed = ledger.claim(session, EMAILS, Queue.EMAILS, size=200, lease=30, worker=new_id())
    assert [row.columns["kind"] for row in claimed] == ["password_reset"] * len(names)
    waiting = enrolled(session, *(f"w{number}" for number in range(URGENT_MAILS + 1)), activated=False, contract="C-3")
    assert set(answers(session, resend(*waiting, contract="C-3"))) == {"sent"}
    assert {queue for _, queue, _ in mails(session)} == {"emails_bulk"}


# The link


def test_asked_again_it_is_the_same_live_link_with_more_time_three_times(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    tokens = set()
    for times in range(MOST_RESENT + 1):
        assert answers(session, reset(anne)) == ["sent"]
        assert links(session, "anne")[1:] == [("password_reset", times, True)]
        [letter] = letters(session)
        assert letter.kind is EmailKind.PASSWORD_RESET
        tokens.add(token(letter))
        [(left,)] = query(session, "SELECT expires_at - now() FROM link WHERE purpose = 'password_reset'")
        assert left == timedelta(hours=1)
        later(session, 40)
    assert len(tokens) == 1
    [job] = do(session, reset(anne))
    [(ends_at,)] = query(session, "SELECT expires_at FROM link WHERE purpose = 'password_reset'")
    [person] = job["result"]["people"]
    assert (person["code"], person["detail"]) == ("throttled", {"from": ends_at.isoformat()})
    later(session, 20)  # it ends
    assert answers(session, reset(anne)) == ["sent"]
    assert [(resent, alive) for _, resent, alive in links(session, "anne")[1:]] == [(3, False), (0, True)]


@pytest.mark.parametrize("ended", ["consumed_at = now()", "voided_at = now()", "key_id = 'gone'"])
def test_a_link_that_was_used_or_ended_gives_place_to_a_new_one(session: Session, ended: str) -> None:
    (anne,) = enrolled(session, "anne")
    answers(session, reset(anne))
    session.execute(text(f"UPDATE link SET resent = 3, {ended} WHERE purpose = 'password_reset'"))
    assert answers(session, reset(anne)) == ["sent"]
    live = (
        "SELECT resent, key_id FROM link WHERE purpose = 'password_reset' AND consumed_at IS NULL AND voided_at IS NULL"
    )
    assert query(session, live) == [(0, "test")]


def rotate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer key signs from here on."""
    monkeypatch.setenv("LINK_KEYS", f"newer:{'6b' * 32},{get_settings().link_keys}")
    get_settings.cache_clear()
    signing_keys.cache_clear()


def test_a_reset_link_under_an_older_key_is_still_the_same(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    (anne,) = enrolled(session, "anne")
    answers(session, reset(anne))
    [first] = letters(session)
    later(session, 30)
    rotate(monkeypatch)
    answers(session, reset(anne))
    [second] = letters(session)
    assert second.context["link"] == first.context["link"]
    assert second.context["expires_at"] - first.context["expires_at"] == timedelta(minutes=0)
    assert isinstance(choose_password(session, signing_keys(), token(first), "new"), LinkView)


@pytest.mark.parametrize(("days_left", "same"), [(20, True), (6, False)])
def test_an_activation_link_never_outlives_its_older_key(
    session: Session, monkeypatch: pytest.MonkeyPatch, days_left: int, same: bool
) -> None:
    (luc,) = enrolled(session, "luc", activated=False)
    expires_at = "now() + make_interval(days => :days)"
    session.execute(text(f"UPDATE link SET expires_at = {expires_at}"), {"days": days_left})
    rotate(monkeypatch)
    assert answers(session, resend(luc)) == ["sent"]
    live = "SELECT key_id, resent, extract(day FROM expires_at - now()) FROM link WHERE voided_at IS NULL"
    assert query(session, live) == ([("test", 1, 20)] if same else [("newer", 0, 30)])


def test_somebody_enrolled_without_a_mail_gets_their_first_link(session: Session) -> None:
    (luc,) = enrolled(session, "luc", activated=False)
    session.execute(text("DELETE FROM link"))
    assert answers(session, reset(luc)) == ["activation_sent_instead"]
    assert links(session, "luc") == [("activation", 0, True)]
    [letter] = letters(session)
    assert (letter.kind, letter.unsent) == (EmailKind.INVITATION, None)
    assert isinstance(choose_password(session, keys(), token(letter), "new"), LinkView)


# Throttles


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
    assert answers(session, resend(luc)) == ["sent"]  # counted apart
    later(session, 30)
    session.execute(text("UPDATE link SET resent = 0"))
    assert answers(session, reset(anne)) == ["sent"]


def test_an_account_that_changes_its_address_keeps_its_throttle_and_so_does_the_address(session: Session) -> None:
    anne, zoe = enrolled(session, "anne", "zoe")
    for _ in range(3):
        answers(session, reset(anne))
    session.execute(text("UPDATE account SET email_norm = 'x@example.com' WHERE email_norm = 'anne@example.com'"))
    assert answers(session, reset(anne)) == ["throttled"]
    session.execute(text("UPDATE account SET email_norm = 'anne@example.com' WHERE email_norm = 'zoe@example.com'"))
    assert answers(session, reset(zoe)) == ["throttled"]


@pytest.mark.parametrize("scope", [Scope.RESET_COMPANY, Scope.RESET_PORTAL])
def test_a_company_and_a_portal_have_their_own(session: Session, monkeypatch: pytest.MonkeyPatch, scope: Scope) -> None:
    monkeypatch.setitem(LIMITS, scope, (Limit(3, timedelta(hours=1)),))
    ids = enrolled(session, "a", "b", "c", "d", "e")
    first, second = do(session, reset(*ids[:2]), reset(*ids[2:]))  # one batch: what the first took, the second lacks
    assert (codes(first), codes(second)) == (["sent"] * 2, ["sent", "throttled", "throttled"])
    assert answers(session, reset(ids[4])) == ["throttled"]
    assert query(session, "SELECT sum(times), count(*) FROM throttle WHERE scope = :s", s=scope) == [(3, 1)]
    assert query(session, "SELECT count(*) FROM throttle WHERE scope = :s", s=Scope.RESET_ACCOUNT) == [(3,)]


def test_no_address_is_kept_in_a_throttle(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    answers(session, reset(anne))
    kept = json.dumps(query(session, "SELECT CAST(t AS text) FROM throttle t"))
    assert "anne" not in kept
    scopes = {scope for (scope,) in query(session, "SELECT scope FROM throttle")}
    assert scopes == {Scope.RESET_ACCOUNT, Scope.RESET_ADDRESS, Scope.RESET_COMPANY, Scope.RESET_PORTAL}


# The mail


def test_the_mail_leaves_while_its_link_lives_or_not_at_all(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    answers(session, reset(anne))
    [(mail_left, link_left)] = query(
        session,
        "SELECT e.expires_at - now(), l.expires_at - now() FROM email e, link l WHERE l.purpose = 'password_reset'",
    )
    assert mail_left == timedelta(minutes=45)
    assert link_left - mail_left == timedelta(minutes=15)
    session.execute(text("UPDATE email SET expires_at = now()"))
    [letter] = letters(session)
    assert letter.unsent is EmailState.EXPIRED


def test_a_reset_mail_carries_the_reset_link_and_who_asked(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    answers(session, reset(anne))
    [letter] = letters(session)
    assert (letter.kind, letter.unsent, letter.context["company_name"]) == (EmailKind.PASSWORD_RESET, None, "Acmé")
    shown = render(letter.kind, "fr", letter.context)
    assert letter.context["link"] in shown.text
    assert "Acmé" in shown.text
    chosen = choose_password(session, keys(), token(letter), "new")
    assert isinstance(chosen, LinkView)
    assert query(session, "SELECT password_hash, credential_version FROM account") == [("new", 2)]


@pytest.mark.parametrize("kind", ["reset", "invitation"])
def test_a_mail_that_waits_is_dropped_once_a_password_was_chosen(session: Session, kind: str) -> None:
    (anne,) = enrolled(session, "anne", activated=kind == "reset")
    request = reset(anne) if kind == "reset" else resend(anne)
    answers(session, request)
    [first] = letters(session)
    answers(session, request)  # asked again before the first was used
    assert isinstance(choose_password(session, keys(), token(first), "new"), LinkView)
    [second] = letters(session)
    assert second.unsent is EmailState.CANCELLED


def test_a_live_reset_link_ends_when_the_password_changes(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    (luc,) = enrolled(session, "luc", activated=False)
    answers(session, reset(anne, luc))
    session.execute(text("UPDATE account SET activated_at = now() WHERE email_norm = 'luc@example.com'"))
    session.execute(text("DELETE FROM throttle"))
    answers(session, reset(luc))
    assert [(purpose, alive) for purpose, _, alive in links(session, "luc")] == [
        ("activation", True), ("password_reset", True)]  # fmt: skip
    by_kind = {
        letter.row.columns["kind"]: letter for letter in letters(session) if letter.row.columns["to_address"][0] == "l"
    }
    assert isinstance(choose_password(session, keys(), token(by_kind["password_reset"]), "new"), LinkView)
    assert not any(alive for _, _, alive in links(session, "luc"))
    assert query(session, "SELECT count(*) FROM link WHERE voided_at IS NOT NULL") == [(1,)]


def test_a_reset_link_that_lost_its_key_before_its_mail_left_is_replaced(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    answers(session, reset(anne))
    session.execute(text("UPDATE link SET key_id = 'gone' WHERE purpose = 'password_reset'"))
    [letter] = letters(session)
    assert letter.unsent is None
    assert isinstance(choose_password(session, keys(), token(letter), "new"), LinkView)


def test_nothing_secret_is_kept(session: Session) -> None:
    (anne,) = enrolled(session, "anne")
    answers(session, reset(anne))
    [letter] = letters(session)
    kept = json.dumps(everything(session))
    assert token(letter) not in kept
    assert "/links/" not in kept


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
