"""Tokens of links in mails are always the same for the same row, and valid for one purpose only."""

import base64
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.words import Purpose
from workers.errors import NotConfigured
from workers.security.tokens import (
    SigningKeys,
    check_token,
    make_token,
    read_token,
)

OLD, NEW = "11" * 32, "aB" * 32
KEYS = SigningKeys.parse(f"new:{NEW}, old:{OLD}")
LINK = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
ACCOUNT = UUID("01890a5d-ac96-774b-bcce-b302099a8058")
ROW: dict[str, Any] = {
    "key_id": "new",
    "link_id": LINK,
    "purpose": Purpose.ACTIVATION,
    "version": 3,
    "account_id": ACCOUNT,
}
TOKEN = make_token(KEYS, **ROW)


def test_the_newest_key_comes_first() -> None:
    assert KEYS.newest == "new"
    assert KEYS.secret("old") == bytes.fromhex(OLD)
    assert KEYS.secret("gone") is None


def test_a_secret_is_never_shown() -> None:
    assert NEW.lower() not in repr(KEYS).lower()
    assert repr(bytes.fromhex(NEW)) not in repr(KEYS)


SECRET = "c0ffee" * 10


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "empty"),
        (" ", "empty"),
        (SECRET, "key 1"),
        (f"new:{NEW},{SECRET}", "key 2"),
        (f"new:{NEW},", "key 2"),
        (f":{NEW}", "key 1"),
        (f"{SECRET}:{NEW}", "key 1"),
        (f"clé:{NEW}", "key 1"),
        (f"new:{SECRET}", "64 hexadecimal"),
        (f"new:{NEW}00", "64 hexadecimal"),
        (f"new:{NEW[:-1]}é", "64 hexadecimal"),
        (f"new:{NEW}:{SECRET}", "64 hexadecimal"),
        (f"new:{NEW},new:{OLD}", "ids must differ"),
    ],
)
def test_keys_that_cannot_be_read_are_told_by_their_place(text: str, told: str) -> None:
    with pytest.raises(NotConfigured, match=told) as caught:
        SigningKeys.parse(text)
    message = str(caught.value)
    assert not any(secret in message for secret in (NEW, OLD, SECRET, NEW[:-1]))


def test_a_mail_sent_again_carries_the_same_link() -> None:
    assert make_token(SigningKeys.parse(f"newest:{OLD},new:{NEW}"), **ROW) == TOKEN


def test_the_form_of_a_token_does_not_change_between_versions() -> None:
    # Fixed values: links in mails already sent must stay valid after a deployment.
    assert TOKEN == "AYkKXayWd0u8zrMCCZqAV0Xs-p9qtNobOCIVXI-v_EPdaA1OVf6OkpIAilARSzlK"


def test_a_token_is_64_characters_safe_in_an_address() -> None:
    assert len(TOKEN) == 64
    assert not set(TOKEN) & set("+/=")
    assert read_token(TOKEN) == LINK
    assert check_token(KEYS, TOKEN, **ROW)


def test_a_key_that_was_withdrawn_signs_nothing_and_opens_nothing() -> None:
    keys = SigningKeys.parse(f"old:{OLD}")
    assert not check_token(keys, TOKEN, **ROW)
    with pytest.raises(NotConfigured, match="'new'"):
        make_token(keys, **ROW)


@pytest.mark.parametrize(
    "change",
    [
        {"key_id": "old"},
        {"link_id": ACCOUNT},
        {"purpose": Purpose.PASSWORD_RESET},
        {"version": 4},
        {"account_id": LINK},
    ],
)
def test_a_token_opens_only_what_it_was_made_for(change: dict[str, Any]) -> None:
    assert not check_token(KEYS, TOKEN, **{**ROW, **change})


def test_a_token_with_one_bit_changed_opens_nothing() -> None:
    raw = base64.urlsafe_b64decode(TOKEN)
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        assert not check_token(KEYS, base64.urlsafe_b64encode(changed).decode(), **ROW)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        TOKEN[:-1],
        TOKEN + "A",
        TOKEN + "=",
        TOKEN + "\n",
        " " + TOKEN[1:],
        TOKEN[:-1] + "+",
        TOKEN[:-1] + "/",
        TOKEN[:-1] + "é",
        TOKEN[:-1] + "\0",
        TOKEN[:-1] + "\ud800",
        TOKEN[:32] + "\n" + TOKEN[32:],
        "Ａ" * 64,
        "A" * 1_000_000,
    ],
)
def test_garbage_is_no_token(token: str) -> None:
    assert read_token(token) is None
    assert not check_token(KEYS, token, **ROW)


@given(st.text())
def test_any_text_gets_an_answer(token: str) -> None:
    assert read_token(token) is None or len(token) == 64
    assert not check_token(KEYS, token, **ROW)


@given(st.uuids(), st.uuids(), st.sampled_from(Purpose), st.integers(0, 2**63 - 1), st.sampled_from(["new", "old"]))
def test_every_token_is_read_and_checked(
    link_id: UUID, account_id: UUID, purpose: Purpose, version: int, key_id: str
) -> None:
    row: dict[str, Any] = {
        "key_id": key_id,
        "link_id": link_id,
        "purpose": purpose,
        "version": version,
        "account_id": account_id,
    }
    token = make_token(KEYS, **row)
    assert read_token(token) == link_id
    assert check_token(KEYS, token, **row)
