"""Addresses are hashed with a secret, in the spelling of accounts, so that jobs are found by them."""

import pytest

from workers.errors import NotConfigured
from workers.security import address_tokens, throttles
from workers.security.address_tokens import new_tokens, tokens_of
from workers.security.throttles import address_subjects
from workers.security.tokens import SigningKeys

ANNE = "anne@example.com"
OLD, NEW = "old:" + "1a" * 32, "new:" + "2b" * 32


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives each test a key."""
    for module in (address_tokens, throttles):
        monkeypatch.setattr(module, "signing_keys", lambda: SigningKeys.parse(OLD))


def use_keys(monkeypatch: pytest.MonkeyPatch, keys: str) -> None:
    monkeypatch.setattr(address_tokens, "signing_keys", lambda: SigningKeys.parse(keys))


@pytest.mark.parametrize(
    "typed", ["Anne@Example.com", " anne@example.com ", "Anne <anne@example.com>", "mailto:" + ANNE]
)
def test_every_spelling_of_an_address_has_one_token(typed: str) -> None:
    assert [*new_tokens([typed]).values()] == tokens_of([ANNE]) == tokens_of([typed])


@pytest.mark.parametrize("typed", ["anne@example,com", "anne", "a@b@c", "x" * 5_000, "\udc80@example.com", "é\x00"])
def test_what_is_no_address_is_found_as_it_was_typed(typed: str) -> None:
    assert [*new_tokens([typed]).values()] == tokens_of([f" {typed.upper() if typed.isascii() else typed} "])
    assert tokens_of([typed]) != tokens_of([ANNE])


def test_nothing_typed_has_no_token() -> None:
    assert (new_tokens(["", "  "]), tokens_of([" "])) == ({}, [])


def test_a_token_is_no_other_hash_of_the_address() -> None:
    assert tokens_of([ANNE]) != [*address_subjects([ANNE]).values()]


def test_a_token_of_an_older_key_is_found_until_the_key_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    use_keys(monkeypatch, OLD)
    [before] = new_tokens([ANNE]).values()
    use_keys(monkeypatch, f"{NEW},{OLD}")
    [after] = new_tokens([ANNE]).values()
    assert before != after
    assert {before, after} == {*tokens_of([ANNE])}
    use_keys(monkeypatch, NEW)
    assert tokens_of([ANNE]) == [after]


def test_a_process_without_keys_makes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    use_keys(monkeypatch, "")
    assert new_tokens([ANNE]) == {}
    with pytest.raises(NotConfigured):
        tokens_of([ANNE])
