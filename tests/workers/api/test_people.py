"""People sign in through a portal: it knows its own participants alone, and locks out no person of another."""

import io
from uuid import UUID

import httpx2
import pytest

from models.password import FREE_TRIES
from models.portal import LOCAL_PORTAL_ID
from models.words import Purpose
from tests.kit.builders.accounts import PASSWORD, keys, make_link
from tests.kit.builders.contracts import add_contract, enrolled
from tests.kit.builders.erasure import other_portal
from tests.kit.processes.support import change, rows
from tests.workers.api.conftest import client_of, make_key, make_portal
from tests.workers.api.test_frame import problem
from workers.access import hashing
from workers.access.passwords import choose_password, hash_password
from workers.access.sign_ins import VerifiedCredentials
from workers.access.verifying import verify_credentials
from workers.database import transaction
from workers.logs import get_logger
from workers.security.lockouts import forget_everywhere, subjects_of

ADA = "ada@example.com"
WRONG = {
    "state": "refused",
    "code": "wrong_credentials",
    "account_id": None,
    "credential_version": None,
    "locked_until": None,
}


@pytest.fixture
def portal(fresh_database: str) -> UUID:
    """Makes a contract of `local` with an activated participant."""
    with transaction() as session:
        add_contract(session)
        enrolled(session, "ada")
    change("UPDATE account SET activated_at = now(), password_hash = :hash", hash=hash_password(PASSWORD))
    return LOCAL_PORTAL_ID


@pytest.fixture
def account(portal: UUID) -> UUID:
    """Gives the account of the participant."""
    [(account,)] = rows("SELECT id FROM account")
    assert isinstance(account, UUID)
    return account


def sign_in(client: httpx2.Client, email: str = ADA, password: str = PASSWORD) -> dict[str, object]:
    answer = client.post("/sign-ins", json={"email": email, "password": password})
    assert answer.status_code == 200, answer.text
    body: dict[str, object] = answer.json()
    return body


def test_the_right_password_gives_the_account(api: httpx2.Client, account: UUID) -> None:
    right = {"state": "succeeded", "code": None, "account_id": str(account), "credential_version": 1}
    assert sign_in(api) == right | {"locked_until": None}
    assert sign_in(api, " Ada@EXAMPLE.com")["state"] == "succeeded"
    assert rows("SELECT count(*) FROM sign_in") == [(0,)]


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (ADA, "wrong"),
        (ADA, ""),
        (ADA, "a\0b"),
        ("bob@example.com", PASSWORD),
        ("a\0b", "x"),
        ("", ""),
        (ADA, "x" * 99_999),
    ],
)
def test_anything_else_is_refused_alike(api: httpx2.Client, email: str, password: str) -> None:
    assert sign_in(api, email, password) == WRONG


def test_half_a_character_is_no_password(api: httpx2.Client) -> None:
    answer = api.post("/sign-ins", content=b'{"email": "ada@example.com", "password": "\\ud800"}')
    assert (answer.status_code, answer.json()) == (200, WRONG)


def test_a_person_of_another_portal_is_unknown_here(base_url: str, api: httpx2.Client) -> None:
    with client_of(base_url, make_key(make_portal("other"))) as other:
        assert sign_in(other) == WRONG
    assert sign_in(api)["state"] == "succeeded"


def test_failures_at_one_portal_lock_the_person_at_no_other(base_url: str, api: httpx2.Client, account: UUID) -> None:
    with transaction() as session:
        add_contract(session, "C-9")
        enrolled(session, "ada", contract="C-9")
        attacker = other_portal(session, "C-9")
    with client_of(base_url, make_key(attacker)) as other:
        assert sign_in(other)["state"] == "succeeded"
        for _ in range(FREE_TRIES):
            assert sign_in(other, password="wrong") == WRONG
        locked = sign_in(other)
        assert (locked["state"], locked["code"]) == ("refused", "sign_in_locked")
        assert str(locked["locked_until"]) > "2026"
        assert sign_in(api)["state"] == "succeeded"
        assert verify_credentials(ADA, PASSWORD) == VerifiedCredentials(account, 1)
        assert sign_in(other)["code"] == "sign_in_locked"  # what went well elsewhere opens nothing here
        with transaction() as session:
            _, token = make_link(session, account, purpose=Purpose.PASSWORD_RESET)
            choose_password(session, keys(), token, hash_password("cinq mots encore plus longs"))
        assert sign_in(other, password="cinq mots encore plus longs")["credential_version"] == 2


def test_an_unknown_address_is_locked_like_a_known_one(base_url: str, api: httpx2.Client) -> None:
    with client_of(base_url, make_key(make_portal("other"))) as other:
        for email in (ADA, "nobody@example.com"):
            answers = [sign_in(other, email)["code"] for _ in range(FREE_TRIES + 1)]
            assert answers == ["wrong_credentials"] * FREE_TRIES + ["sign_in_locked"]
    assert sign_in(api)["state"] == "succeeded"


def test_who_said_this_is_not_me_is_unknown_and_who_was_withdrawn_is_not(api: httpx2.Client) -> None:
    change("UPDATE enrollment SET withdrawn_at = now()")
    assert sign_in(api)["state"] == "succeeded"
    change("UPDATE enrollment SET detached_at = now()")
    assert sign_in(api) == WRONG


def test_a_key_of_one_company_signs_in_its_people_alone(base_url: str, portal: UUID) -> None:
    for companies, state in ((["acme", "x"], "succeeded"), (["autre"], "refused")):
        with client_of(base_url, make_key(portal, companies=companies)) as client:
            assert sign_in(client)["state"] == state


def test_a_key_of_one_company_locks_nobody_of_another(base_url: str, api: httpx2.Client, portal: UUID) -> None:
    with client_of(base_url, make_key(portal, companies=["autre"])) as other:
        answers = [sign_in(other)["code"] for _ in range(FREE_TRIES + 1)]
        assert answers == ["wrong_credentials"] * FREE_TRIES + ["sign_in_locked"]
        assert sign_in(api)["state"] == "succeeded"
    with client_of(base_url, make_key(portal, companies=["acme"])) as own:
        for _ in range(FREE_TRIES):
            assert sign_in(own, password="wrong") == WRONG
        assert sign_in(api)["code"] == "sign_in_locked"  # the person of its own company is one person at the portal


def test_an_erasure_forgets_what_any_key_has_counted(base_url: str, api: httpx2.Client, portal: UUID) -> None:
    with client_of(base_url, make_key(portal, companies=["autre"])) as other:
        assert sign_in(other) == WRONG
    assert sign_in(api, password="wrong") == WRONG
    [(account,)] = rows("SELECT id FROM account")
    assert isinstance(account, UUID)
    with transaction() as session:
        forget_everywhere(session, subjects_of(ADA, account))
    assert rows("SELECT count(*) FROM sign_in") == [(0,)]


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"email": "ada@example.com"}', b'{"email": 1, "password": "geheim-7"}', b'["geheim-7"]',
             b'{"email": "a", "password": "geheim-7", "portal": "other"}'],
)  # fmt: skip
def test_a_body_that_is_no_sign_in_is_named_without_what_it_said(api: httpx2.Client, body: bytes) -> None:
    answer = api.post("/sign-ins", content=body)
    assert problem(answer, 400, "invalid_request")["errors"]
    assert "geheim" not in answer.text


def test_a_queue_of_passwords_that_is_too_long_is_told(api: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "HASHES_WAITING", 0)
    answer = api.post("/sign-ins", json={"email": ADA, "password": PASSWORD})
    problem(answer, 503, "unavailable")
    assert answer.headers["retry-after"] == "60"
    assert rows("SELECT count(*) FROM sign_in") == [(0,)]


def test_neither_address_nor_password_is_logged(
    api: httpx2.Client, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("workers.access.verifying", "workers.api.app"):
        monkeypatch.setattr(f"{module}.log", get_logger())
    sign_in(api, ADA, "geheim-7")
    sign_in(api)
    lines = logged.getvalue()
    assert lines.count("call.answered") == 2
    assert not any(said in lines for said in (ADA, "geheim-7", PASSWORD))
