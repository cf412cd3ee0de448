"""The pages of a correction: what each mailbox sees, what scanners cannot do, what nobody can take over."""

import html
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import redis
from sqlalchemy import text

from models.sign_in import FREE_TRIES
from models.words import Purpose
from tests.accounts import PASSWORD, keys, make_link, token_of
from tests.contracts import did
from tests.corrections import (
    NEW,
    OLD,
    account_id,
    answer_token,
    correct,
    corrections,
    enrol_also,
    notice_sent,
    participant,
    sweep,
    token,
)
from tests.support import change, rows, wait_until
from tests.ticked import reset
from workers.database import transaction
from workers.queues import Queue
from workers.services.passwords import hash_password
from workers.settings import get_settings
from workers.web import hashing
from workers.web.rendering import TEXTS

STATE = """
    SELECT a.*, l.*, c.* FROM account a LEFT JOIN link l ON l.account_id = a.id
    LEFT JOIN email_correction c ON c.account_id = a.id ORDER BY a.id, l.id"""
HASH = hash_password(PASSWORD)


def asked() -> tuple[str, str]:
    """A pending correction; the paths of the new address and of the old one."""
    with transaction() as session:
        correct(session, participant(session))
        session.execute(text("UPDATE account SET password_hash = :hash"), {"hash": HASH})
        return f"/links/{token(session)}", f"/links/{answer_token(session)}"


def title(answer: httpx.Response) -> str:
    found = re.search("<title>(.*?)</title>", answer.text)
    assert found
    return html.unescape(found[1]).rpartition(" – ")[0]


def note_title(name: str, locale: str = "fr") -> str:
    return str(TEXTS[locale]["notes"][name]["title"])


def address() -> object:
    return rows("SELECT email_norm FROM account ORDER BY created_at, id LIMIT 1")[0][0]


def state() -> list[tuple[Any, ...]]:
    with transaction() as session:
        return corrections(session)


def test_opening_changes_nothing_however_often_scanners_come(site: httpx.Client) -> None:
    confirmation, answer = asked()
    before = rows(STATE)
    for path in (confirmation, answer):
        for _ in range(3):
            assert site.get(path).status_code == site.head(path).status_code == 200
    assert rows(STATE) == before


def test_the_new_address_sees_what_it_confirms_and_nothing_of_the_account(site: httpx.Client) -> None:
    confirmation, _ = asked()
    page = site.get(confirmation).text
    for shown in (NEW, "Acmé", "Formation", "facultatif", 'autocomplete="current-password"'):
        assert shown in page
    for hidden in (OLD, "Zoé", "Le Dû"):
        assert hidden not in page
    assert "required" not in page
    assert site.get(confirmation, params={"lang": "en"}).text.count("Confirm your email address") == 2


def test_the_old_address_sees_the_company_and_little_of_the_new_one(site: httpx.Client) -> None:
    _, answer = asked()
    page = site.get(answer).text
    assert "a***@example.org" in page
    assert "Acmé" in page
    assert NEW not in page
    assert page.count("<button") == 2
    assert 'name="answer" value="refuse"' in page
    assert 'name="answer" value="agree"' in page
    assert all(f'id="{name}"' in page for name in re.findall('aria-describedby="([^"]+)"', page))


def rung() -> bool:
    """Whether the bell of urgent mails was rung."""
    with redis.Redis.from_url(get_settings().redis_url) as opened:
        return bool(opened.llen(f"{get_settings().redis_namespace}:{Queue.EMAILS}"))


@pytest.mark.parametrize("how", ["password", "agreement", "refusal"])
def test_the_mails_an_answer_owes_leave_at_once(site: httpx.Client, how: str) -> None:
    confirmation, answer = asked()
    if how != "password":
        assert site.post(confirmation, data={"password": ""}).status_code == 200
    assert not rung()
    if how == "password":
        site.post(confirmation, data={"password": PASSWORD})
    else:
        site.post(answer, data={"answer": "agree" if how == "agreement" else "refuse"})
    wait_until(rung)


def test_confirmed_with_the_password_it_is_applied_at_once(site: httpx.Client) -> None:
    confirmation, answer = asked()
    done = site.post(confirmation, data={"password": PASSWORD})
    assert (done.status_code, title(done)) == (200, note_title("correction_applied"))
    assert NEW in done.text
    assert "hreflang" not in done.text  # this page cannot be shown again
    assert (address(), state()) == (NEW, [("applied", "password", NEW)])
    assert rows("SELECT count(*) FROM sign_in") == [(0,)]
    again = site.get(confirmation)
    assert (again.status_code, title(again)) == (410, note_title("correction_made"))
    late = site.post(answer, data={"answer": "refuse"})
    assert (late.status_code, title(late)) == (404, note_title("invalid_link_correction_answer"))
    assert address() == NEW


def test_a_wrong_password_is_told_and_uses_nothing_up(site: httpx.Client) -> None:
    confirmation, _ = asked()
    before = rows(STATE)
    wrong = site.post(confirmation, data={"password": PASSWORD + "!"})
    assert wrong.status_code == 422
    assert title(wrong).startswith("Erreur")
    assert wrong.text.count(TEXTS["fr"]["errors"]["wrong_credentials"]) == 2
    assert 'aria-invalid="true" autofocus' in wrong.text
    assert '<a href="#password">' in wrong.text
    assert PASSWORD not in wrong.text
    assert rows(STATE) == before
    assert rows("SELECT DISTINCT failures FROM sign_in") == [(1,)]
    assert site.post(confirmation, data={"password": PASSWORD}).status_code == 200


def test_guessing_is_closed_like_at_the_sign_in_and_confirming_without_stays_open(site: httpx.Client) -> None:
    confirmation, _ = asked()
    for number in range(FREE_TRIES):
        assert site.post(confirmation, data={"password": f"guess {number}"}).status_code == 422
    closed = site.post(confirmation, data={"password": PASSWORD})
    assert closed.status_code == 422
    assert TEXTS["fr"]["errors"]["sign_in_locked"] in closed.text
    assert (address(), state()) == (OLD, [("pending", None, NEW)])
    assert site.post(confirmation, data={"password": ""}).status_code == 200
    assert address() == OLD


@pytest.mark.parametrize("password", ["x" * 5000, "\u0000", "%ED%A0%80"])
def test_what_nobody_has_as_a_password_is_wrong(site: httpx.Client, password: str) -> None:
    confirmation, _ = asked()
    body = f"password={password}" if "%" in password else None
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    sent = (
        site.post(confirmation, content=body, headers=form)
        if body
        else site.post(confirmation, data={"password": password})
    )
    assert sent.status_code == 422
    assert address() == OLD


def test_the_password_of_somebody_else_is_no_password_of_this_account(site: httpx.Client) -> None:
    confirmation, _ = asked()
    with transaction() as session:
        participant(session, "luc@example.com")
        session.execute(
            text("UPDATE account SET password_hash = :hash WHERE email_norm LIKE 'luc%'"),
            {"hash": hash_password("cinq autres mots bien longs")},
        )
    fields = {"password": "cinq autres mots bien longs", "email": "luc@example.com"}
    assert site.post(confirmation, data=fields).status_code == 422
    assert address() == OLD


@pytest.mark.parametrize(
    ("before", "name", "said"),
    [
        (lambda: None, "correction_waits_message", "72 heures"),
        (lambda: change("UPDATE email SET state = 'sent', finished_at = now() WHERE kind = 'correction_notice'"),
         "correction_waits_until", "heure de Paris"),
        (lambda: change("""
            INSERT INTO email_correction (id, account_id, portal_id, job_id, old_email, new_email, state, ground,
              ended_at)
            SELECT portal_id, account_id, portal_id, job_id, '', '', 'cancelled', 'refusal', now()
            FROM email_correction"""),
         "correction_waits_agreement", "heure de Paris"),
    ],
)  # fmt: skip
def test_confirmed_without_the_password_it_says_what_it_waits_for(
    site: httpx.Client, before: Callable[[], None], name: str, said: str
) -> None:
    confirmation, _ = asked()
    before()
    done = site.post(confirmation, data={"password": ""})
    assert (done.status_code, title(done)) == (200, note_title(name))
    assert said in done.text
    assert address() == OLD
    assert title(site.post(confirmation, data={"password": PASSWORD})) == note_title(
        "used_link_correction_confirmation"
    )
    assert address() == OLD


def test_the_old_address_agrees_and_then_the_new_one_confirms(site: httpx.Client) -> None:
    confirmation, answer = asked()
    agreed = site.post(answer, data={"answer": "agree"})
    assert (agreed.status_code, title(agreed)) == (200, note_title("correction_agreed"))
    assert NEW not in agreed.text
    assert address() == OLD
    assert title(site.post(confirmation, data={"password": ""})) == note_title("correction_applied")
    assert (address(), state()) == (NEW, [("applied", "agreement", NEW)])
    assert title(site.get(answer)) == note_title("used_link_correction_answer")


def test_the_old_address_refuses(site: httpx.Client) -> None:
    confirmation, answer = asked()
    site.post(confirmation, data={"password": ""})
    refused = site.post(answer, data={"answer": "refuse"})
    assert (refused.status_code, title(refused)) == (200, note_title("correction_refused"))
    with transaction() as session:
        notice_sent(session, hours=100)
        assert sweep(session) == {}
    assert (address(), state()) == (OLD, [("cancelled", "refusal", NEW)])
    again = site.get(confirmation)  # nothing is awaited any more
    assert (again.status_code, title(again)) == (410, note_title("correction_declined"))
    assert title(site.post(answer, data={"answer": "agree"})) == note_title("used_link_correction_answer")


@pytest.mark.parametrize("support", ["", "support@formation.example"])
def test_nobody_is_sent_to_a_support_there_is_none_of(
    site: httpx.Client, monkeypatch: pytest.MonkeyPatch, support: str
) -> None:
    confirmation, _ = asked()
    monkeypatch.setenv("SUPPORT_ADDRESS", support)
    get_settings.cache_clear()
    with transaction() as session:
        enrol_also(session)
    told = site.post(confirmation, data={"password": ""}).text
    assert ("support" in told) is bool(support)
    assert "gère votre inscription" in told


@pytest.mark.parametrize("fields", [{}, {"answer": ""}, {"answer": "yes"}, {"agree": "1"}])
def test_an_answer_that_is_none_changes_nothing(site: httpx.Client, fields: dict[str, str]) -> None:
    _, answer = asked()
    before = rows(STATE)
    assert site.post(answer, data=fields).status_code == 400
    assert rows(STATE) == before


def test_what_changed_meanwhile_is_told(site: httpx.Client) -> None:
    confirmation, _ = asked()
    with transaction() as session:
        enrol_also(session)
    shared = site.post(confirmation, data={"password": PASSWORD})
    assert (shared.status_code, title(shared)) == (200, note_title("correction_shared"))
    assert title(site.get(confirmation)) == note_title("correction_shared")
    assert address() == OLD


def test_an_address_taken_meanwhile_is_told(site: httpx.Client) -> None:
    confirmation, answer = asked()
    with transaction() as session:
        participant(session, NEW)
    assert title(site.post(answer, data={"answer": "agree"})) == note_title("correction_taken")
    assert site.get(confirmation).status_code == 404
    assert state() == [("cancelled", "taken", NEW)]


@pytest.mark.parametrize(
    ("change_to", "status", "names"),
    [
        ("consumed_at = now()", 410, ("used_link_correction_confirmation", "used_link_correction_answer")),
        ("voided_at = now()", 404, ("invalid_link_correction_confirmation", "invalid_link_correction_answer")),
        ("expires_at = now()", 410, ("expired_link_correction_confirmation", "expired_link_correction_answer")),
        ("version = 2", 404, ("invalid_link", "invalid_link")),
        ("key_id = 'withdrawn'", 404, ("invalid_link", "invalid_link")),
        ("purpose = 'activation', subject_id = NULL, account_id = '{other}', consumed_at = now()", 404,
         ("invalid_link", "invalid_link")),
    ],
)  # fmt: skip
def test_a_link_that_is_over_changes_nothing(
    site: httpx.Client, change_to: str, status: int, names: tuple[str, str]
) -> None:
    paths = asked()
    with transaction() as session:
        participant(session, "luc@example.com")
        other = account_id(session, "luc@example.com")
    change(f"UPDATE link SET {change_to.format(other=other)} WHERE subject_id IS NOT NULL")
    before = rows("SELECT * FROM email_correction"), rows("SELECT * FROM account ORDER BY id")
    for path, name, fields in zip(paths, names, ({"password": PASSWORD}, {"answer": "agree"}), strict=True):
        for answered in (site.get(path), site.post(path, data=fields)):
            assert (answered.status_code, title(answered)) == (status, note_title(name))
    assert (rows("SELECT * FROM email_correction"), rows("SELECT * FROM account ORDER BY id")) == before


def test_no_token_opens_another_page_or_account(site: httpx.Client) -> None:
    confirmation, answer = asked()
    with transaction() as session:
        luc = participant(session, "luc@example.com")
        correct(session, luc, "luc.new@example.org")
        theirs, mine = account_id(session, "luc@example.com"), account_id(session)
        [(link_id,)] = session.execute(
            text("SELECT id FROM link WHERE account_id = :a AND purpose = 'correction_confirmation'"), {"a": theirs}
        ).all()
        own = token(session)
        _, activation = make_link(session, mine, purpose=Purpose.PASSWORD_RESET)
    tokens = [
        token_of(link_id, mine, purpose=Purpose.CORRECTION_CONFIRMATION),
        *(token_of(link_id, theirs, purpose=one) for one in Purpose if one is not Purpose.CORRECTION_CONFIRMATION),
        confirmation.removeprefix("/links/")[:22] + own[22:],
        own[:-1] + "~",
    ]
    before = rows("SELECT * FROM account ORDER BY id"), state()
    for one in tokens:
        assert site.get(f"/links/{one}").status_code == 404
        assert site.post(f"/links/{one}", data={"password": PASSWORD, "answer": "agree"}).status_code == 404
    # A confirmation chooses no password, and a reset confirms nothing.
    chosen = {"password": "six mots tout neufs et longs", "again": "six mots tout neufs et longs"}
    assert site.post(confirmation, data=chosen).status_code == 422
    assert site.post(answer, data=chosen).status_code == 400
    assert site.post(f"/links/{activation}", data={"answer": "agree"}).status_code == 422
    assert (rows("SELECT * FROM account ORDER BY id"), state()) == before


def test_a_reset_after_confirming_still_goes_to_the_old_address(site: httpx.Client) -> None:
    confirmation, answer = asked()
    site.post(confirmation, data={"password": ""})
    with transaction() as session:
        [(enrollment_id,)] = session.execute(text("SELECT id FROM enrollment")).all()
        did(session, reset(enrollment_id))
    assert rows("SELECT to_address FROM email WHERE kind = 'password_reset'") == [(OLD,)]
    with transaction() as session:
        path = f"/links/{token(session, Purpose.PASSWORD_RESET)}"
    fields = {"password": "six mots tout neufs et longs", "again": "six mots tout neufs et longs"}
    assert site.post(path, data=fields).status_code == 200
    with transaction() as session:
        notice_sent(session, hours=100)
        assert sweep(session) == {"cancelled": 1}
    assert title(site.post(answer, data={"answer": "agree"})) == note_title("invalid_link_correction_answer")
    assert address() == OLD


def test_many_at_the_same_moment_confirm_once(site: httpx.Client) -> None:
    confirmation, _ = asked()
    together = threading.Barrier(4)

    def press(_: int) -> int:
        with httpx.Client(base_url=site.base_url, timeout=30) as client:
            together.wait()
            return client.post(confirmation, data={"password": PASSWORD}).status_code

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(press, range(4)))
    assert answers[0] == 200
    assert set(answers[1:]) <= {404, 410}  # used, or over when the address was no longer the account's to check against
    assert rows("SELECT count(*) FROM email WHERE kind = 'correction_applied'") == [(2,)]


def test_when_too_many_hash_people_are_asked_to_come_back(site: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    confirmation, _ = asked()
    monkeypatch.setattr(hashing, "HASHES_WAITING", 0)
    before = rows(STATE)
    assert site.post(confirmation, data={"password": PASSWORD}).status_code == 503
    assert rows(STATE) == before
    assert site.post(confirmation, data={"password": ""}).status_code == 200  # no password, no hash, no waiting


HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}{0}", "\u202eאלודי"]


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("new", [NEW, "=?utf-8?q?x?={}'@example.org"])
def test_names_and_addresses_are_inert(site: httpx.Client, name: str, new: str) -> None:
    with transaction() as session:
        enrollment_id = participant(session)
        session.execute(text("UPDATE company SET name = :name"), {"name": name})
        session.execute(text("UPDATE account SET first_name = :name"), {"name": name})
        session.execute(text("UPDATE account SET password_hash = :hash"), {"hash": HASH})
        assert correct(session, enrollment_id, new)[0] == "confirmation_sent"
        paths = f"/links/{token(session)}", f"/links/{answer_token(session)}"
    pages = [site.get(path) for path in paths]
    pages += [site.post(paths[0], data={"password": "x"}), site.post(paths[1], data={"answer": "agree"})]
    for page in pages:
        assert page.status_code in {200, 422}
        body = re.sub("<style>.*</style>", "", page.text, flags=re.DOTALL)
        assert "<script" not in body
        assert "<img" not in body
        assert ">49" not in body
        if name in body:
            assert name.startswith("{{") or f"<bdi>{name}</bdi>" in body
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert page.headers["Referrer-Policy"] == "no-referrer"
    assert keys().newest == "test"
