"""A link sets one password of one account, once; no other token does."""

import threading
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.link import PASSWORD_PURPOSES
from models.password import MAX_PASSWORD
from models.words import Code, Purpose
from tests.kit.builders.accounts import (
    PASSWORD,
    keys,
    make_account,
    make_email,
    make_enrollment,
    make_link,
    token_of,
)
from tests.kit.processes.support import rows, wait_until
from workers.access.passwords import HASHER, choose_password, hash_password
from workers.database import Session, transaction
from workers.security.link_views import LinkView, look_at_link, read_link_use


def row(session: Session, table: str, row_id: UUID) -> Any:
    return session.execute(text(f"SELECT * FROM {table} WHERE id = :id"), {"id": row_id}).one()


def void(session: Session, link_id: UUID) -> None:
    session.execute(text("UPDATE link SET voided_at = now() WHERE id = :id"), {"id": link_id})


@pytest.mark.parametrize("purpose", PASSWORD_PURPOSES)
def test_a_link_shows_its_account_and_sets_the_password(session: Session, purpose: Purpose) -> None:
    account_id = make_account(session)
    link_id, token = make_link(session, account_id, purpose=purpose)
    before = row(session, "link", link_id)
    for _ in range(3):
        assert look_at_link(session, keys(), token) == LinkView(
            link_id, purpose, account_id, None, "elodie@acme.test", "Élodie", "Durand", "fr", before.expires_at
        )
    assert row(session, "link", link_id) == before

    assert isinstance(choose_password(session, keys(), token, "hash"), LinkView)
    account = row(session, "account", account_id)
    assert (account.password_hash, account.credential_version) == ("hash", 2)
    assert account.activated_at is not None
    assert row(session, "link", link_id).consumed_at is not None
    assert row(session, "link", link_id).voided_at is None
    assert look_at_link(session, keys(), token) is Code.USED_LINK
    assert choose_password(session, keys(), token, "other") is Code.USED_LINK
    assert row(session, "account", account_id) == account


def test_an_account_stays_activated_since_the_first_time(session: Session) -> None:
    account_id = make_account(session)
    session.execute(text("UPDATE account SET activated_at = '2020-01-01Z' WHERE id = :id"), {"id": account_id})
    choose_password(session, keys(), make_link(session, account_id)[1], "hash")
    assert row(session, "account", account_id).activated_at.year == 2020


def test_only_the_other_links_of_the_same_account_are_voided(session: Session) -> None:
    account_id, neighbour = make_account(session), make_account(session, "autre@acme.test")
    _, token = make_link(session, account_id)
    other_id, other = make_link(session, account_id, purpose=Purpose.PASSWORD_RESET)
    _, theirs = make_link(session, neighbour)
    choose_password(session, keys(), token, "hash")
    assert row(session, "link", other_id).voided_at is not None
    assert choose_password(session, keys(), other, "taken over") is Code.INVALID_LINK
    assert isinstance(look_at_link(session, keys(), theirs), LinkView)
    assert row(session, "account", neighbour).password_hash is None


def refused_tokens(session: Session, account_id: UUID) -> list[tuple[str, Code]]:
    """Returns tokens that a person without a live link of this account could try, each with its refusal."""
    used_id, used = make_link(session, account_id)
    session.execute(text("UPDATE link SET consumed_at = now() WHERE id = :id"), {"id": used_id})
    voided_id, voided = make_link(session, account_id)
    void(session, voided_id)
    _, expired = make_link(session, account_id, purpose=Purpose.PASSWORD_RESET, lives="-1 second")
    live_id, live = make_link(session, account_id)
    neighbour = make_account(session, "attaquant@acme.test")
    attacker_id, attacker = make_link(session, neighbour)
    return [
        (used, Code.USED_LINK),
        (voided, Code.INVALID_LINK),
        (expired, Code.EXPIRED_LINK),
        (token_of(live_id, account_id, purpose=Purpose.PASSWORD_RESET), Code.INVALID_LINK),
        (token_of(live_id, account_id, version=2), Code.INVALID_LINK),
        (token_of(live_id, neighbour), Code.INVALID_LINK),
        (token_of(attacker_id, account_id), Code.INVALID_LINK),
        (live[:22] + attacker[22:], Code.INVALID_LINK),
        (live[:-1] + ("A" if live[-1] != "A" else "B"), Code.INVALID_LINK),
        (live[:-1], Code.INVALID_LINK),
        (live + "A", Code.INVALID_LINK),
        (live + "\n", Code.INVALID_LINK),
        (live.swapcase(), Code.INVALID_LINK),
        ("A" * 64, Code.INVALID_LINK),
        ("", Code.INVALID_LINK),
        ("é\x00\ud800", Code.INVALID_LINK),
    ]


def test_no_other_token_gives_a_password(session: Session) -> None:
    account_id = make_account(session)
    for token, code in refused_tokens(session, account_id):
        assert look_at_link(session, keys(), token) is code
        assert choose_password(session, keys(), token, "taken over") is code
    account = row(session, "account", account_id)
    assert (account.password_hash, account.activated_at, account.credential_version) == (None, None, 1)
    assert session.execute(text("SELECT count(*) FROM audit")).scalar() == 0


def test_the_language_is_told_to_the_holder_of_a_true_token_only(session: Session) -> None:
    account_id = make_account(session, locale="en")
    link_id, token = make_link(session, account_id, lives="-1 second")
    use = read_link_use(session, keys(), token)
    assert use is not None
    assert (use.locale, use.purpose) == ("en", Purpose.ACTIVATION)
    assert read_link_use(session, keys(), token_of(link_id, account_id, version=2)) is None


def test_a_withdrawn_key_ends_its_links(session: Session) -> None:
    _, token = make_link(session, make_account(session))
    others = type(keys()).parse("other:" + "6b" * 32)
    assert look_at_link(session, others, token) is Code.INVALID_LINK


def test_mails_that_wait_are_left_to_tell_what_may_be_news(session: Session) -> None:
    account_id = make_account(session)
    enrollment_id = make_enrollment(session, account_id)
    owed = [
        make_email(session, enrollment_id, account_id),
        make_email(session, enrollment_id, account_id, state="uncertain"),
        make_email(session, enrollment_id, account_id, kind="attachment"),
        make_email(session, enrollment_id, account_id, leased=True, state="sending"),
    ]
    before = [row(session, "email", email_id) for email_id in owed]
    choose_password(session, keys(), make_link(session, account_id)[1], "hash")
    assert [row(session, "email", email_id) for email_id in owed] == before


def test_one_audit_row_without_a_secret(session: Session) -> None:
    account_id = make_account(session)
    link_id, token = make_link(session, account_id)
    choose_password(session, keys(), token, "hash")
    (audit,) = session.execute(text("SELECT * FROM audit")).all()
    assert (audit.action, audit.account_id, audit.subject_id) == ("choose_password", account_id, link_id)
    assert audit.detail == {"purpose": "activation", "links_voided": 0}


def test_two_at_the_same_moment_one_wins(fresh_database: str) -> None:
    with transaction() as session:
        account_id = make_account(session)
        _, token = make_link(session, account_id)
    answers: list[object] = []

    def second() -> None:
        with transaction() as session:
            answers.append(choose_password(session, keys(), token, "second"))

    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    thread = threading.Thread(target=second)
    with transaction() as session:
        assert isinstance(choose_password(session, keys(), token, "first"), LinkView)
        thread.start()
        wait_until(lambda: rows(waiting))
    thread.join()
    assert answers == [Code.USED_LINK]
    assert rows("SELECT password_hash, credential_version FROM account") == [("first", 2)]
    assert rows("SELECT count(*) FROM audit") == [(1,)]


def test_a_hash_costs_what_rfc_9106_recommends(true_hash_cost: None) -> None:
    assert hash_password(PASSWORD).startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_the_same_password_typed_on_two_keyboards_has_one_hash() -> None:
    hashed = hash_password("caf\u00e9 caf\u00e9 caf\u00e9 noir")
    assert hashed.startswith("$argon2id$")
    assert HASHER.verify("caf\u00e9 caf\u00e9 caf\u00e9 noir", hashed)
    assert HASHER.verify("cafe\u0301 cafe\u0301 cafe\u0301 noir".replace("e\u0301", "\u00e9"), hashed)
    assert HASHER.verify("é" * MAX_PASSWORD, hash_password("e\u0301" * MAX_PASSWORD))
    assert PASSWORD not in hash_password(PASSWORD)


@pytest.mark.parametrize("purpose", [one for one in Purpose if one not in PASSWORD_PURPOSES])
def test_a_link_for_something_else_sets_no_password(session: Session, purpose: Purpose) -> None:
    account_id = make_account(session)
    link_id, token = make_link(session, account_id, purpose=purpose)
    before = row(session, "account", account_id), row(session, "link", link_id)
    assert choose_password(session, keys(), token, "hash") is Code.INVALID_LINK
    assert (row(session, "account", account_id), row(session, "link", link_id)) == before
