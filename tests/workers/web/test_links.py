"""The page of a link in a mail: its content for people, and that neither link scanners nor attackers can use it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from models.link import PASSWORD_PURPOSES
from models.words import Code, Purpose
from tests.kit.builders.accounts import (
    PASSWORD,
    make_account,
    make_link,
    token_of,
)
from tests.kit.pages.links import (
    GOOD,
    field,
    make,
    password_hash,
    title,
)
from tests.kit.processes.support import change, rows
from workers import database
from workers.access.passwords import HASHER
from workers.database import transaction
from workers.settings import get_settings
from workers.web.rendering import TEXTS

STATE = "SELECT a.*, l.* FROM account a LEFT JOIN link l ON l.account_id = a.id ORDER BY a.id, l.id"


def test_opening_changes_nothing_and_then_choosing_works(site: httpx.Client) -> None:
    path = make()
    before = rows(STATE)
    for _ in range(10):
        assert site.get(path).status_code == 200
        assert site.head(path).status_code == 200
    assert site.head(path).content == b""
    assert rows(STATE) == before
    page = site.get(path)
    assert title(page).startswith("Choisissez votre mot de passe")
    assert 'value="elodie@acme.test" autocomplete="username" readonly' in field(page, "email")
    assert 'autocomplete="new-password"' in field(page, "password")
    assert 'autocomplete="new-password"' in field(page, "again")
    assert "au moins 15 caractères, par exemple quatre mots" in page.text.lower()

    done = site.post(path, data=GOOD)
    assert (done.status_code, title(done).split(" – ")[0]) == (200, "Votre mot de passe est enregistré")
    assert "elodie@acme.test" in done.text
    assert HASHER.verify(PASSWORD, str(password_hash()))
    for used in (site.get(path), site.post(path, data=GOOD)):
        assert (used.status_code, title(used).split(" – ")[0]) == (410, "Ce lien a déjà servi")


def test_a_link_that_only_a_newer_release_knows_can_be_tried_again(site: httpx.Client) -> None:
    path = make()
    change("ALTER TABLE link DROP CONSTRAINT ck_link_purpose")  # as the newer release has
    change("UPDATE link SET purpose = 'single_sign_on'")
    for answer in (site.get(path), site.post(path, data=GOOD)):
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    change("UPDATE link SET purpose = 'activation'")
    assert site.get(path).status_code == 200


def test_a_reset_link_uses_the_same_page_in_its_own_words(site: httpx.Client) -> None:
    path = make(purpose=Purpose.PASSWORD_RESET)
    change("UPDATE account SET activated_at = '2020-01-01Z', password_hash = 'old'")
    with transaction() as session:
        account_id: UUID = session.execute(text("SELECT id FROM account")).scalar_one()
        _, other = make_link(session, account_id)
    before = rows(STATE)
    for _ in range(2):  # a link scanner comes first, and again
        assert site.get(path).status_code == site.head(path).status_code == 200
    assert rows(STATE) == before
    page = site.get(path)
    assert title(page).startswith("Choisissez un nouveau mot de passe")
    assert "Il remplacera l’ancien" in page.text
    assert site.post(path, data=GOOD).status_code == 200
    assert HASHER.verify(PASSWORD, str(password_hash()))
    assert rows("SELECT credential_version, extract(year FROM activated_at) FROM account") == [(2, 2020)]
    assert site.get(path).status_code == 410
    assert site.post(f"/links/{other}", data=GOOD).status_code == 404  # voided by the change


def test_an_expired_reset_says_to_ask_for_a_reset(site: httpx.Client) -> None:
    reset, invitation = make(purpose=Purpose.PASSWORD_RESET), None
    with transaction() as session:
        invitation = f"/links/{make_link(session, make_account(session, 'luc@acme.test'))[1]}"
    change("UPDATE link SET expires_at = now()")
    said = {path: site.get(path).text for path in (reset, invitation)}
    assert "Demandez une nouvelle réinitialisation" in said[reset]
    assert "qui gère votre inscription" in said[invitation]
    assert "Demandez une nouvelle réinitialisation" in site.post(reset, data=GOOD).text
    assert "Ask for another password reset" in site.get(reset, params={"lang": "en"}).text


@pytest.mark.parametrize(
    ("change_to", "status", "code"),
    [
        ("consumed_at = now()", 410, Code.USED_LINK),
        ("voided_at = now()", 404, Code.INVALID_LINK),
        ("expires_at = now()", 410, Code.EXPIRED_LINK),
        ("version = 2", 404, Code.INVALID_LINK),
        ("purpose = CASE purpose WHEN 'activation' THEN 'password_reset' ELSE 'activation' END", 404,
         Code.INVALID_LINK),
        ("key_id = 'withdrawn'", 404, Code.INVALID_LINK),
    ],
)  # fmt: skip
@pytest.mark.parametrize("purpose", PASSWORD_PURPOSES)
def test_a_link_that_is_over_sets_no_password(
    site: httpx.Client, purpose: Purpose, change_to: str, status: int, code: Code
) -> None:
    path = make(purpose=purpose)
    change(f"UPDATE link SET {change_to}")
    for answer in (site.get(path), site.post(path, data=GOOD)):
        assert answer.status_code == status
        assert TEXTS["fr"]["notes"][code]["title"] in answer.text
        assert "elodie" not in answer.text
    assert password_hash() is None


@pytest.mark.parametrize("purpose", PASSWORD_PURPOSES)
def test_no_link_sets_the_password_of_another_account(site: httpx.Client, purpose: Purpose) -> None:
    victim, attacker = make(purpose=purpose), None
    with transaction() as session:
        attacker_account = make_account(session, "attaquant@acme.test")
        link_id, attacker = make_link(session, attacker_account, purpose=purpose)
        victims_id: UUID = session.execute(text("SELECT id FROM account WHERE email_norm LIKE 'elodie%'")).scalar_one()
    tokens = [
        token_of(link_id, victims_id, purpose=purpose),
        *(token_of(link_id, attacker_account, purpose=other) for other in Purpose if other is not purpose),
        victim.removeprefix("/links/")[:22] + attacker[22:],
        victim.removeprefix("/links/")[:-1],
        attacker[:-1] + "~",
        "A" * 64,
        "a" * 4000,
        "%00",
        "%ED%A0%80",
        "..%2f..%2f" + attacker,
    ]
    for token in tokens:
        assert site.get(f"/links/{token}").status_code == 404
        assert site.post(f"/links/{token}", data=GOOD).status_code == 404
    site.post(f"/links/{attacker}", data=GOOD | {"email": "elodie@acme.test", "account_id": str(victims_id)})
    assert rows("SELECT password_hash IS NULL FROM account ORDER BY email_norm") == [(False,), (True,)]


def test_many_at_the_same_moment_one_wins_and_few_hash(site: httpx.Client) -> None:
    path = make()
    together = threading.Barrier(6)

    def choose(number: int) -> tuple[int, str]:
        password = f"quatre mots bien longs {number}"
        with httpx.Client(base_url=site.base_url, timeout=30) as client:
            together.wait()
            return client.post(path, data={"password": password, "again": password}).status_code, password

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(choose, range(6)))
    assert sorted(status for status, _ in answers) == [200, 410, 410, 410, 410, 410]
    (winner,) = [password for status, password in answers if status == 200]
    assert HASHER.verify(winner, str(password_hash()))
    assert rows("SELECT credential_version FROM account") == [(2,)]


def test_the_language_is_the_accounts_unless_asked_otherwise(site: httpx.Client) -> None:
    path = make(locale="en")
    assert '<html lang="en">' in site.get(path).text
    assert '<html lang="fr">' in site.get(path, params={"lang": "fr"}).text
    assert '<html lang="en">' in site.get(path, params={"lang": "<x>"}).text
    assert '<html lang="fr">' in site.post(path, params={"lang": "fr"}, data={"password": "court"}).text
    chosen = site.post(path, data=GOOD).text
    assert '<html lang="en">' in chosen
    assert "?lang=" not in chosen
    assert '<html lang="en">' in site.get(path, headers={"Accept-Language": "fr"}).text
    assert '<html lang="fr">' in site.get("/links/x").text
    assert '<html lang="en">' in site.get("/links/x", headers={"Accept-Language": "en-GB,fr;q=0.5"}).text


def test_both_languages_say_the_same_things() -> None:
    def keys(node: object, path: str = "") -> set[str]:
        if not isinstance(node, dict):
            return {path}
        return {key for name, value in node.items() for key in keys(value, f"{path}.{name}")}

    assert keys(TEXTS["fr"]) == keys(TEXTS["en"])


@pytest.mark.parametrize("lacking", ["DROP SCHEMA public CASCADE", "UPDATE alembic_version SET version_num = '0001'"])
def test_a_database_without_the_tables_of_this_release_is_not_ready(site: httpx.Client, lacking: str) -> None:
    assert site.get("/readyz").status_code == 200
    change(lacking)
    answer = site.get("/readyz")
    assert (answer.status_code, "matricule migrate" in answer.text) == (503, True)


def test_a_database_of_a_later_release_is_ready(site: httpx.Client) -> None:
    change("UPDATE alembic_version SET version_num = '9999'")
    assert site.get("/readyz").status_code == 200


def test_a_database_that_is_away_is_told(site: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make()
    assert site.get("/readyz").status_code == 200
    database.dispose_engine()
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://nobody@127.0.0.1:1/none")
    get_settings.cache_clear()
    assert site.get("/livez").status_code == 200
    assert site.get("/readyz").status_code == 503
    away = site.get(path)
    assert (away.status_code, away.headers["Retry-After"]) == (503, "60")
    assert TEXTS["fr"]["notes"]["busy"]["title"] in away.text
