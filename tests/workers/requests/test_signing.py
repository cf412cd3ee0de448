"""The signature of queue messages: the same text in each language, and no field that can be read as another."""

import base64
import hashlib
import hmac
from typing import Any

import pytest

from workers.requests.signing import SignedFields, sign

SECRET = "mqs_secret"
FIELDS: dict[str, Any] = {
    "portal": "acme",
    "key_id": "Ab3dEf7h",
    "kind": "enroll",
    "version": 1,
    "key": "commande 4711 é",
    "sent_at": 1_796_000_000,
    "body": '{"contract": "C-1",\n "people": []}',
}


def signed(**changes: Any) -> SignedFields:
    fields = FIELDS | changes
    return SignedFields(**{name: str(value) for name, value in fields.items()})


def test_the_signature_is_that_of_seven_lines_and_the_body() -> None:
    text = "matricule-queue-v1\nacme\nAb3dEf7h\nenroll\n1\ncommande 4711 é\n1796000000\n" + FIELDS["body"]
    expected = base64.b64encode(hmac.new(SECRET.encode(), text.encode(), hashlib.sha256).digest()).decode()
    assert sign(SECRET, **FIELDS) == f"v1,{expected}"


def test_the_published_example_is_signed_as_documented() -> None:
    """OpenSSL made the same one: developers compare theirs in another language with it."""
    assert sign(SECRET, **FIELDS) == "v1,zSZTCzLsKuxZmUkqWxXpL5D6t/YpIubc1z6kW9p+WCI="


def test_a_message_is_signed_by_its_secret_alone() -> None:
    signature = sign(SECRET, **FIELDS)
    assert signed().is_signed_by(SECRET, signature)
    assert not signed().is_signed_by("mqs_other", signature)


@pytest.mark.parametrize("field", FIELDS)
def test_a_change_of_any_field_spoils_the_signature(field: str) -> None:
    changed = 2 if field in ("version", "sent_at") else f"{FIELDS[field]}x"
    assert not signed(**{field: changed}).is_signed_by(SECRET, sign(SECRET, **FIELDS))


@pytest.mark.parametrize("damage", ["", "v1,", "v1", "v2,{}", "{}", "v1,{}=", "v1,{} ", "v1, {}", "v1,é"])
def test_a_signature_of_another_form_is_wrong(damage: str) -> None:
    right = sign(SECRET, **FIELDS).removeprefix("v1,")
    assert not signed().is_signed_by(SECRET, damage.format(right))


@pytest.mark.parametrize("field", ["portal", "key_id", "kind", "key"])
def test_a_field_with_a_line_end_cannot_be_read_as_two(field: str) -> None:
    broken = f"{FIELDS[field]}\nenroll"
    with pytest.raises(ValueError, match="line end"):
        sign(SECRET, **FIELDS | {field: broken})
    forged = signed(**{field: broken})
    assert not forged.is_signed_by(SECRET, forged._signature(SECRET).decode())
