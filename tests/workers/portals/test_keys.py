"""Keys of portals: their form, what finds them, and when they end."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from models.portal_key import is_portal_name, make_key, read_key_id
from models.words import Scope
from tests.kit.processes.support import forget, rows
from workers.database import Session, transaction
from workers.errors import NotConfigured
from workers.portals.keys import HTTP_KEYS, KnownKey, add_key, find_key, find_key_by_id
from workers.portals.secrets import queue_secret, webhook_secret


def test_a_key_has_the_form_that_scanners_of_secrets_look_for() -> None:
    made = make_key()
    assert re.fullmatch(r"mtr_[A-Za-z0-9]{8}_[A-Za-z0-9_-]{43}_[0-9a-f]{8}", made.text)
    assert read_key_id(made.text) == made.key_id == made.text[4:12]


@pytest.mark.parametrize(
    "damage", [lambda key: key[:-1], lambda key: key[:20] + "~" + key[21:], str.upper, lambda _: ""]
)
def test_a_key_that_was_cut_or_mistyped_is_no_key(damage) -> None:  # type: ignore[no-untyped-def]
    assert read_key_id(damage(make_key().text)) is None


@pytest.mark.parametrize("digit", "0123456789abcdef")
def test_a_wrong_checksum_is_told_from_a_right_one(digit: str) -> None:
    key = make_key()
    changed = key.text[:-1] + digit
    assert (read_key_id(changed) is not None) == (changed == key.text)


@pytest.mark.parametrize("name", ["acme", "a", "0-9", "a" * 32])
def test_names_a_portal_may_have(name: str) -> None:
    assert is_portal_name(name)


@pytest.mark.parametrize("name", ["", "-a", "Acme", "a_b", "a b", "é", "a\n", "a" * 33, "a:b"])
def test_names_no_portal_may_have(name: str) -> None:
    assert not is_portal_name(name)


def add(session: Session, **options: Any) -> tuple[str, str]:
    made = add_key(session, LOCAL_PORTAL_ID, scopes={Scope.READ, Scope.ENROLL}, **options)
    return made.key_id, made.text


def test_a_key_is_found_by_its_text_and_by_its_id(session: Session) -> None:
    key_id, key = add(session, companies=["ACME"], master_id="test")
    known = find_key(session, key)
    assert known is not None
    assert known == find_key_by_id(session, key_id)
    assert (known.portal, known.scopes, known.companies) == ("local", ["enroll", "read"], ["ACME"])
    assert (known.master_id, known.requests_per_minute) == ("test", 6_000)
    assert known.may(Scope.READ)
    assert not known.may(Scope.ADMIN)
    assert known.may_name("ACME")
    assert not known.may_name("OTHER")


def test_only_the_hash_of_a_key_is_kept(session: Session) -> None:
    _, key = add(session)
    kept = session.execute(text("SELECT CAST(k AS text) FROM portal_key k")).scalars().all()
    assert not any(key[13:] in row for row in kept)


@pytest.mark.parametrize("ended", ["revoked_at = now()", "expires_at = now() - interval '1 second'"])
def test_a_key_that_ended_is_not_found(session: Session, ended: str) -> None:
    key_id, key = add(session)
    session.execute(text(f"UPDATE portal_key SET {ended}"))
    assert find_key(session, key) is None
    assert find_key_by_id(session, key_id) is None


def test_a_key_with_an_end_in_the_future_is_found(session: Session) -> None:
    _, key = add(session, expires_at=datetime.now(UTC) + timedelta(days=1))
    assert find_key(session, key) is not None


def test_a_revoked_key_is_dead_within_the_seconds_of_the_cache(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction() as session:
        _, key = add(session)
    now = 1_000.0
    monkeypatch.setattr("workers.portals.keys.time.monotonic", lambda: now)
    assert isinstance(HTTP_KEYS.get(key), KnownKey)
    with transaction() as session:
        session.execute(text("UPDATE portal_key SET revoked_at = now()"))
    assert HTTP_KEYS.get(key) is not None
    now += 4.1
    assert HTTP_KEYS.get(key) is None
    assert rows("SELECT count(*) FROM portal_key WHERE revoked_at IS NOT NULL") == [(1,)]


def test_secrets_derive_from_the_master_secret_and_what_they_are_for(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = LOCAL_PORTAL_ID
    secrets = {
        queue_secret("test", "aaaaaaaa"),
        queue_secret("test", "aaaaaaab"),
        webhook_secret("test", endpoint, 1),
        webhook_secret("test", endpoint, 2),
    }
    assert len(secrets) == 4
    assert queue_secret("test", "aaaaaaaa") in secrets
    monkeypatch.setenv("PORTAL_KEYS", "test:" + "4d" * 32)
    forget()
    assert queue_secret("test", "aaaaaaaa") not in secrets


def test_a_withdrawn_master_secret_is_named(fresh_database: str) -> None:
    with pytest.raises(NotConfigured, match="PORTAL_KEYS lacks the key 'gone'"):
        queue_secret("gone", "aaaaaaaa")
