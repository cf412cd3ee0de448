"""The page a mail leads to: what people see, what scanners cannot do, what nobody can take over."""

import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from models.link import PASSWORD_PURPOSES
from models.words import Code, Purpose
from tests.accounts import PASSWORD, make_account, make_link, token_of
from tests.support import Processes, rows, wait_until
from workers import database
from workers.database import transaction
from workers.services.passwords import HASHER
from workers.settings import get_settings
from workers.web import hashing, links, passwords
from workers.web.forms import MAX_BODY, MAX_DISCARDED
from workers.web.rendering import TEXTS

GOOD = {"password": PASSWORD, "again": PASSWORD}
STATE = "SELECT a.*, l.* FROM account a LEFT JOIN link l ON l.account_id = a.id ORDER BY a.id, l.id"


def make(*, first_name: str = "Élodie", locale: str = "fr", purpose: Purpose = Purpose.ACTIVATION) -> str:
    """The path of a live link of a new account."""
    with transaction() as session:
        account_id = make_account(session, first_name=first_name, locale=locale)
        return f"/links/{make_link(session, account_id, purpose=purpose)[1]}"


def change(statement: str) -> None:
    with transaction() as session:
        session.execute(text(statement))


def title(answer: httpx.Response) -> str:
    found = re.search("<title>(.*?)</title>", answer.text)
    assert found
    return found[1]


def password_hash() -> object:
    return rows("SELECT password_hash FROM account")[0][0]


def field(answer: httpx.Response, name: str) -> str:
    """The tag of an input."""
    found = re.search(f'<input [^>]*name="{name}"[^>]*>', answer.text)
    assert found
    return found[0]


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


def test_a_reset_link_uses_the_same_page_in_its_own_words(site: httpx.Client) -> None:
    path = make(purpose=Purpose.PASSWORD_RESET)
    change("UPDATE account SET activated_at = '2020-01-01Z', password_hash = 'old'")
    with transaction() as session:
        account_id: UUID = session.execute(text("SELECT id FROM account")).scalar_one()
        _, other = make_link(session, account_id)
    before = rows(STATE)
    for _ in range(2):  # a scanner comes first, and comes back
        assert site.get(path).status_code == site.head(path).status_code == 200
    assert rows(STATE) == before
    page = site.get(path)
    assert title(page).startswith("Choisissez un nouveau mot de passe")
    assert "Il remplacera l’ancien" in page.text
    assert site.post(path, data=GOOD).status_code == 200
    assert HASHER.verify(PASSWORD, str(password_hash()))
    assert rows("SELECT credential_version, extract(year FROM activated_at) FROM account") == [(2, 2020)]
    assert site.get(path).status_code == 410
    assert site.post(f"/links/{other}", data=GOOD).status_code == 404  # voided with the change


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
def test_nobody_sets_the_password_of_another_account(site: httpx.Client, purpose: Purpose) -> None:
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


def test_garbage_costs_no_hash(site: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    monkeypatch.setattr(passwords, "hash_password", hashed.append)
    make()
    assert site.post(f"/links/{'A' * 64}", data=GOOD).status_code == 404
    assert hashed == []


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


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"password": "", "again": ""}, Code.PASSWORD_TOO_SHORT),
        ({"password": "court", "again": "court"}, Code.PASSWORD_TOO_SHORT),
        ({"password": "x" * 257, "again": "x" * 257}, Code.PASSWORD_TOO_LONG),
        ({"password": PASSWORD, "again": PASSWORD + "!"}, Code.PASSWORDS_DIFFER),
        ({"password": PASSWORD, "again": ""}, Code.PASSWORDS_DIFFER),
        ({"password": "1234567890azerty", "again": "1234567890azerty"}, Code.PASSWORD_TOO_COMMON),
        ({"password": "Élodie Durand 123", "again": "Élodie Durand 123"}, Code.PASSWORD_TOO_PERSONAL),
        ({"password": "elodie@acme.test", "again": "elodie@acme.test"}, Code.PASSWORD_TOO_PERSONAL),
    ],
)
def test_an_error_is_shown_beside_its_field(site: httpx.Client, fields: dict[str, str], code: Code) -> None:
    path = make()
    answer = site.post(path, data=fields)
    assert answer.status_code == 422
    assert title(answer).startswith("Erreur\u00a0: ")
    tag = field(answer, "password")
    assert 'aria-invalid="true" autofocus' in tag
    described = re.search('aria-describedby="([^"]*)"', tag)
    assert described
    assert described[1].split()[0] == "password-error"
    assert all(f'id="{name}"' in answer.text for name in described[1].split())
    assert '<a href="#password">' in answer.text
    assert 'role="alert"' in answer.text
    assert answer.text.count("aria-invalid") == answer.text.count("autofocus") == 1
    assert "value=" not in field(answer, "password") + field(answer, "again")
    assert PASSWORD not in answer.text
    shown = TEXTS["fr"]["errors"][code].format(shortest=15, longest=256)
    assert answer.text.count(shown) == 2
    assert password_hash() is None
    assert site.post(path, data=GOOD).status_code == 200


@pytest.mark.parametrize("bytes_", ["%ED%A0%80", "%FF", "\udcff"])
def test_what_no_keyboard_sends_is_refused_by_name(site: httpx.Client, bytes_: str) -> None:
    encoded = f"quatre+mots+bien+longs+{bytes_}".encode("utf-8", "surrogateescape")
    body = b"password=" + encoded + b"&again=" + encoded
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    answer = site.post(make(), content=body, headers=headers)
    assert answer.status_code == 422
    assert TEXTS["fr"]["errors"]["unsafe_value"] in answer.text
    assert password_hash() is None


def test_the_longest_password_fits(site: httpx.Client) -> None:
    password = "".join(chr(0x1F300 + 3 * number) for number in range(256))
    assert site.post(make(), data={"password": password, "again": password}).status_code == 200
    assert HASHER.verify(password, str(password_hash()))


@pytest.mark.parametrize("size", [MAX_BODY + 1, 300_000, MAX_DISCARDED])
def test_an_oversized_body_is_answered(site: httpx.Client, size: int) -> None:
    path = make()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    declared = site.post(path, content=b"password=" + b"x" * (size - 9), headers=form)
    streamed = site.post(path, content=iter([b"password=", b"x" * (size - 9)]), headers=form)
    assert (declared.status_code, streamed.status_code) == (413, 413)
    assert TEXTS["fr"]["notes"]["request_too_large"]["title"] in declared.text


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"password": "quatre mots bien longs"}', "application/json"),
        (b"password=x&again=x", "text/plain"),
        (b"&".join(b"f%d=1" % number for number in range(100)), "application/x-www-form-urlencoded"),
    ],
)
def test_what_is_no_form_is_refused(site: httpx.Client, body: bytes, kind: str) -> None:
    assert site.post(make(), content=body, headers={"Content-Type": kind}).status_code == 400
    assert password_hash() is None


def test_every_answer_keeps_the_address_to_itself(site: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make()
    answers = [
        site.get(path),
        site.head(path),
        site.post(path, data={"password": "court"}),
        site.post(path, content=b"x" * (MAX_BODY + 1)),
        site.post(path, data=GOOD),
        site.get(path),
        site.get("/links/x"),
        site.get(f"{path}/"),
        site.get("/nothing"),
        site.get("/docs"),
        site.get("/openapi.json"),
        site.delete(path),
        site.options(path),
        site.request("FROB", path),
        site.request("TRACE", path),
        site.get("/livez"),
        site.get("/readyz"),
    ]
    monkeypatch.setattr(links, "look_at_link", None)
    answers.append(site.get(path))
    assert [answer.status_code for answer in answers] == [
        *(200, 200, 422, 413, 200, 410, 404, 404, 404, 404, 404, 405, 405, 405, 405, 200, 200, 500),
    ]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'; style-src 'sha256-" in policy
        assert "unsafe" not in policy
        assert policy.endswith("form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "noindex" in answer.headers["X-Robots-Tag"]
        assert not {"set-cookie", "location", "server"} & set(answer.headers)
        assert "<script" not in answer.text
        assert path not in answer.text
        assert not re.search(r"""(src|href)=["']?(https?:)?//""", answer.text)
    assert sorted(answers[11].headers["Allow"].split(", ")) == ["GET", "HEAD", "POST"]


@pytest.mark.parametrize(
    "first_name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}{0}"]
)
@pytest.mark.parametrize("purpose", PASSWORD_PURPOSES)
def test_a_name_is_inert(site: httpx.Client, first_name: str, purpose: Purpose) -> None:
    page = site.get(make(first_name=first_name, purpose=purpose)).text
    assert first_name not in page or "{{" in first_name
    assert "<script" not in page
    assert "<img" not in page
    assert "49" not in re.sub("<style>.*</style>", "", page, flags=re.DOTALL)


def test_a_name_that_runs_the_other_way_is_kept_apart(site: httpx.Client) -> None:
    assert "Bonjour <bdi>\u202eאלודי</bdi>," in site.get(make(first_name="\u202eאלודי")).text


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


def test_when_too_many_wait_people_are_asked_to_come_back(site: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make()
    monkeypatch.setattr(hashing, "HASHES_WAITING", 0)
    answer = site.post(path, data=GOOD)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "60")
    assert password_hash() is None


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


def test_a_browser_that_leaves_harms_nobody(site: httpx.Client) -> None:
    path = make()
    with socket.create_connection((site.base_url.host, site.base_url.port or 80)) as leaving:
        leaving.sendall(
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n\r\npassword=".encode()
        )
    assert site.post(path, data=GOOD).status_code == 200


def test_the_process_logs_no_token_and_no_address(processes: Processes) -> None:
    path = make()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes.start("workers.web.app", PORT=str(port), LOG_LEVEL="DEBUG")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

        def answers() -> bool:
            try:
                return client.get("/livez").status_code == 200
            except httpx.TransportError:
                return False

        wait_until(answers, say=processes.logs)
        assert client.get(path, params={"x": "\x00"}).status_code == 200
        assert client.post(path, data={"password": "court"}).status_code == 422
        assert client.post(path, data=GOOD).status_code == 200
        assert client.post(path, data=GOOD).status_code == 410
        change("ALTER TABLE link RENAME TO gone")
        assert client.get(path).status_code in {500, 503}
    processes.stop_all()
    logs = processes.logs()
    token = path.removeprefix("/links/")
    assert "request.failed" in logs
    assert "password.chosen" in logs
    for secret in (
        token,
        token[22:40],
        "elodie",
        PASSWORD,
        PASSWORD.replace(" ", "+"),
        "$argon2",
        "HTTP/1.1",
        "[token]",
    ):
        assert secret not in logs


def test_the_process_says_what_is_missing(processes: Processes) -> None:
    process = processes.start("workers.web.app", LINK_KEYS="")
    assert process.wait(timeout=30) != 0
    assert "LINK_KEYS is empty: give it one key" in processes.logs()
