"""Checking credentials: who may sign in, who must wait, and that an attacker cannot tell whether an account exists."""

import io
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median, pstdev
from uuid import UUID

import pytest
from pwdlib.hashers.argon2 import Argon2Hasher

from models.password import FREE_TRIES
from models.portal import LOCAL_PORTAL_ID
from models.words import Code, Purpose
from tests.kit.builders.accounts import (
    PASSWORD,
    keys,
    make_account,
    make_link,
)
from tests.kit.processes.support import change, forget, rows
from workers.access.passwords import choose_password, hash_password
from workers.access.sign_ins import (
    PasswordCheck,
    SignInAttempt,
    SignInDoor,
    SignInRefused,
    VerifiedCredentials,
    check,
)
from workers.access.verifying import verify_credentials
from workers.database import transaction
from workers.logs import get_logger

EMAIL = "elodie@acme.test"
WRONG = SignInRefused(Code.WRONG_CREDENTIALS)


@pytest.fixture
def account(fresh_database: str) -> UUID:
    """Creates an activated account with a password."""
    with transaction() as session:
        account_id = make_account(session, EMAIL)
    change(
        "UPDATE account SET password_hash = :hash, activated_at = now() WHERE id = :id",
        hash=hash_password(PASSWORD),
        id=account_id,
    )
    return account_id


def failures() -> list[object]:
    return [count for (count,) in rows("SELECT failures FROM sign_in ORDER BY failures")]


def unlock() -> None:
    """Ends the lock of the account."""
    change("UPDATE sign_in SET locked_until = now() - interval '1 second' WHERE locked_until IS NOT NULL")


@pytest.mark.parametrize("spelt", [EMAIL, " Elodie@ACME.test", "<elodie@acme.test>\u00a0"])
def test_the_right_password_comes_in_however_the_address_is_spelt(account: UUID, spelt: str) -> None:
    assert verify_credentials(spelt, PASSWORD) == VerifiedCredentials(account, 1)
    assert failures() == []


def test_the_same_keys_on_another_system_are_the_same_password(account: UUID) -> None:
    change("UPDATE account SET password_hash = :hash", hash=hash_password("mots très bien accentués"))
    assert verify_credentials(EMAIL, "mots tre\u0300s bien accentue\u0301s") == VerifiedCredentials(account, 1)


@pytest.mark.parametrize(
    ("email", "password"),
    [
        (EMAIL, PASSWORD + "!"),
        (EMAIL, ""),
        (EMAIL, "x" * 100_000),
        (EMAIL, "\ud800" * 20),
        (EMAIL, "a\x00b"),
        ("nobody@acme.test", PASSWORD),
        ("no address", PASSWORD),
        ("' OR 1=1 --@acme.test", PASSWORD),
    ],
)
def test_anything_else_is_refused_in_the_same_words(account: UUID, email: str, password: str) -> None:
    assert verify_credentials(email, password) == WRONG


def test_an_account_that_was_never_activated_answers_like_an_unknown_one(fresh_database: str) -> None:
    with transaction() as session:
        make_account(session, EMAIL)
    assert verify_credentials(EMAIL, "") == WRONG
    assert verify_credentials(EMAIL, UUID(int=0).hex) == WRONG
    assert verify_credentials("nobody@acme.test", UUID(int=0).hex) == WRONG


@pytest.mark.parametrize("email", [EMAIL, "nobody@acme.test"])
def test_too_many_failures_in_a_row_close_the_address_known_or_not(account: UUID, email: str) -> None:
    for _ in range(FREE_TRIES):
        assert verify_credentials(email, "wrong") == WRONG
    locked = verify_credentials(email, PASSWORD)
    assert isinstance(locked, SignInRefused)
    assert (locked.code, locked.locked_until is not None) == (Code.SIGN_IN_LOCKED, True)
    assert set(failures()) == {FREE_TRIES}  # tries during the lock are not counted
    unlock()
    assert verify_credentials(email, "wrong") == WRONG
    [(seconds,)] = rows("SELECT DISTINCT round(extract(epoch FROM locked_until - failed_at)) FROM sign_in")
    assert int(str(seconds)) == 300


def test_a_success_forgets_the_failures(account: UUID) -> None:
    for _ in range(FREE_TRIES - 1):
        verify_credentials(EMAIL, "wrong")
    assert verify_credentials(EMAIL, PASSWORD) == VerifiedCredentials(account, 1)
    assert failures() == []


def test_a_new_password_opens_what_wrong_ones_closed(account: UUID) -> None:
    for _ in range(FREE_TRIES + 1):
        answer = verify_credentials(EMAIL, "wrong")
    assert isinstance(answer, SignInRefused)
    assert answer.code is Code.SIGN_IN_LOCKED
    with transaction() as session:
        _, token = make_link(session, account, purpose=Purpose.PASSWORD_RESET)
        choose_password(session, keys(), token, hash_password("cinq mots encore plus longs"))
    assert verify_credentials(EMAIL, "cinq mots encore plus longs") == VerifiedCredentials(account, 2)


def test_failures_of_another_day_are_forgotten(account: UUID) -> None:
    verify_credentials(EMAIL, "wrong")
    change("UPDATE sign_in SET failures = 40, failed_at = now() - interval '25 hours'")
    assert verify_credentials(EMAIL, "wrong") == WRONG
    assert failures() == [1, 1]


def test_guesses_at_the_same_moment_count_each(account: UUID) -> None:
    with ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda n: verify_credentials(EMAIL, f"guess {n}"), range(12)))
    codes = [answer.code for answer in answers if isinstance(answer, SignInRefused)]
    assert codes.count(Code.WRONG_CREDENTIALS) == FREE_TRIES
    assert codes.count(Code.SIGN_IN_LOCKED) == 12 - FREE_TRIES


def test_a_password_chosen_meanwhile_ends_the_try(account: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    def change_and_check(attempt: SignInAttempt, password: str) -> PasswordCheck:
        change("UPDATE account SET credential_version = credential_version + 1")
        return check(attempt, password)

    monkeypatch.setattr("workers.access.verifying.check", change_and_check)
    assert verify_credentials(EMAIL, PASSWORD) == WRONG


def test_a_hash_of_older_parameters_is_renewed_once(account: UUID) -> None:
    older = Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)
    change("UPDATE account SET password_hash = :hash", hash=older)
    assert verify_credentials(EMAIL, PASSWORD) == VerifiedCredentials(account, 1)
    [(renewed,)] = rows("SELECT password_hash FROM account")
    assert renewed != older
    assert verify_credentials(EMAIL, PASSWORD) == VerifiedCredentials(account, 1)
    assert rows("SELECT password_hash FROM account") == [(renewed,)]
    assert rows("SELECT action, count(*) FROM audit GROUP BY action") == [("rehash_password", 1)]


@pytest.mark.serial
def test_known_and_unknown_take_the_same_time(true_hash_cost: None, account: UUID) -> None:
    """The difference of the medians is below the noise of repeated equal calls."""

    def spent(email: str) -> float:
        change("DELETE FROM sign_in")
        begun = time.process_time()
        assert verify_credentials(email, "wrong") == WRONG
        return time.process_time() - begun

    spent("nobody@acme.test")  # the first call makes the dummy hash
    pairs = [(spent(EMAIL), spent("nobody@acme.test")) for _ in range(15)]
    known, unknown = ([pair[side] for pair in pairs] for side in (0, 1))
    assert abs(median(known) - median(unknown)) < max(pstdev(known), pstdev(unknown), 0.1 * median(known))


def test_a_stored_address_cannot_be_found_without_the_key(account: UUID, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under another key the same address has another hash, so a search for an address needs the key."""
    verify_credentials("somebody.else@acme.test", "wrong")
    monkeypatch.setenv("LINK_KEYS", "other:" + "6b" * 32)
    forget()
    verify_credentials("somebody.else@acme.test", "wrong")
    assert failures() == [1, 1]


def test_no_address_and_no_password_is_logged(
    account: UUID, logged: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.access.verifying.log", get_logger())
    for email in (EMAIL, "somebody.else@acme.test"):
        verify_credentials(email, "wrong but mine")
    lines = logged.getvalue()
    assert lines.count("sign_in.refused") == 2
    assert "acme.test" not in lines
    assert "wrong but mine" not in lines


@pytest.mark.serial
def test_a_portal_learns_of_no_account_of_another_by_the_time(true_hash_cost: None, account: UUID) -> None:
    """The right password of an account that is not enrolled here takes as long as one of an unknown address."""
    door = SignInDoor(LOCAL_PORTAL_ID)

    def spent(email: str) -> float:
        change("DELETE FROM sign_in")
        begun = time.process_time()
        assert verify_credentials(email, PASSWORD, door) == WRONG
        return time.process_time() - begun

    spent("nobody@acme.test")  # the first call makes the dummy hash
    pairs = [(spent(EMAIL), spent("nobody@acme.test")) for _ in range(15)]
    elsewhere, unknown = ([pair[side] for pair in pairs] for side in (0, 1))
    assert abs(median(elsewhere) - median(unknown)) < max(pstdev(elsewhere), pstdev(unknown), 0.1 * median(unknown))
