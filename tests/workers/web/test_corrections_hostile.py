"""The pages of a correction against link scanners, guesses, links of other people and hostile names."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from sqlalchemy import text

from models.password import FREE_TRIES
from models.words import Purpose
from tests.kit.builders.accounts import (
    PASSWORD,
    keys,
    make_link,
    token_of,
)
from tests.kit.builders.corrections import (
    NEW,
    OLD,
    account_id,
    answer_token,
    correct,
    participant,
    token,
)
from tests.kit.pages.corrections import (
    HASH,
    STATE,
    address,
    note_title,
    pending_correction,
    state,
    title,
)
from tests.kit.processes.support import change, rows
from workers.access import hashing
from workers.access.passwords import hash_password
from workers.database import transaction
from workers.web.rendering import TEXTS


def test_opening_changes_nothing_however_often_scanners_come(site: httpx.Client) -> None:
    confirmation, answer = pending_correction()
    before = rows(STATE)
    for path in (confirmation, answer):
        for _ in range(3):
            assert site.get(path).status_code == site.head(path).status_code == 200
    assert rows(STATE) == before


def test_a_wrong_password_is_told_and_uses_nothing_up(site: httpx.Client) -> None:
    confirmation, _ = pending_correction()
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


def test_guesses_are_locked_as_at_sign_in_and_a_plain_confirmation_works(site: httpx.Client) -> None:
    confirmation, _ = pending_correction()
    for number in range(FREE_TRIES):
        assert site.post(confirmation, data={"password": f"guess {number}"}).status_code == 422
    closed = site.post(confirmation, data={"password": PASSWORD})
    assert closed.status_code == 422
    assert TEXTS["fr"]["errors"]["sign_in_locked"] in closed.text
    assert (address(), state()) == (OLD, [("pending", None, NEW)])
    assert site.post(confirmation, data={"password": ""}).status_code == 200
    assert address() == OLD


@pytest.mark.parametrize("password", ["x" * 5000, "\u0000", "%ED%A0%80"])
def test_an_impossible_password_is_wrong(site: httpx.Client, password: str) -> None:
    confirmation, _ = pending_correction()
    body = f"password={password}" if "%" in password else None
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    sent = (
        site.post(confirmation, content=body, headers=form)
        if body
        else site.post(confirmation, data={"password": password})
    )
    assert sent.status_code == 422
    assert address() == OLD


def test_the_password_of_another_person_is_wrong_for_this_account(site: httpx.Client) -> None:
    confirmation, _ = pending_correction()
    with transaction() as session:
        participant(session, "luc@example.com")
        session.execute(
            text("UPDATE account SET password_hash = :hash WHERE email_norm LIKE 'luc%'"),
            {"hash": hash_password("cinq autres mots bien longs")},
        )
    fields = {"password": "cinq autres mots bien longs", "email": "luc@example.com"}
    assert site.post(confirmation, data=fields).status_code == 422
    assert address() == OLD


@pytest.mark.parametrize("fields", [{}, {"answer": ""}, {"answer": "yes"}, {"agree": "1"}])
def test_an_answer_that_is_none_changes_nothing(site: httpx.Client, fields: dict[str, str]) -> None:
    _, answer = pending_correction()
    before = rows(STATE)
    assert site.post(answer, data=fields).status_code == 400
    assert rows(STATE) == before


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
    paths = pending_correction()
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
    confirmation, answer = pending_correction()
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
    # A confirmation sets no password, and a reset confirms nothing.
    chosen = {"password": "six mots tout neufs et longs", "again": "six mots tout neufs et longs"}
    assert site.post(confirmation, data=chosen).status_code == 422
    assert site.post(answer, data=chosen).status_code == 400
    assert site.post(f"/links/{activation}", data={"answer": "agree"}).status_code == 422
    assert (rows("SELECT * FROM account ORDER BY id"), state()) == before


def test_many_at_the_same_moment_confirm_once(site: httpx.Client) -> None:
    confirmation, _ = pending_correction()
    together = threading.Barrier(4)

    def press(_: int) -> int:
        with httpx.Client(base_url=site.base_url, timeout=30) as client:
            together.wait()
            return client.post(confirmation, data={"password": PASSWORD}).status_code

    with ThreadPoolExecutor(4) as pool:
        answers = sorted(pool.map(press, range(4)))
    assert answers[0] == 200
    assert set(answers[1:]) <= {404, 410}  # used, or expired with the change of the address
    assert rows("SELECT count(*) FROM email WHERE kind = 'correction_applied'") == [(2,)]


def test_when_too_many_hash_people_are_asked_to_come_back(site: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    confirmation, _ = pending_correction()
    monkeypatch.setattr(hashing, "HASHES_WAITING", 0)
    before = rows(STATE)
    assert site.post(confirmation, data={"password": PASSWORD}).status_code == 503
    assert rows(STATE) == before
    assert site.post(confirmation, data={"password": ""}).status_code == 200  # no password, so no hash and no lock


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
