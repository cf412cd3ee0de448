"""The page "this is not me": its content for people, and that neither link scanners nor strangers can
detach a person.
"""

import re
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from models.words import Code, Purpose
from scripts.embedded.mailbox_process import free_port
from tests.kit.builders.accounts import make_account, make_enrollment, make_link
from tests.kit.builders.attachments import (
    Attached,
    attach,
    enrollment_state,
    start_trainings,
)
from tests.kit.processes.support import (
    Processes,
    change,
    rows,
    wait_until,
)
from tests.kit.relay.relay import Relay
from workers.database import transaction
from workers.web.forms import FORM_TYPE
from workers.web.rendering import POLICY, TEXTS

STATE = """
    SELECT CAST(e AS text), CAST(l AS text), CAST(c AS text), (SELECT count(*) FROM email),
      (SELECT count(*) FROM audit), (SELECT count(*) FROM seat_movement)
    FROM enrollment e JOIN contract c ON c.id = e.contract_id LEFT JOIN link l ON l.subject_id = e.id ORDER BY e.id"""

HOSTILE = [
    "<script>alert(1)</script>",
    "</p></main><form action='https://evil.example'>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}{% raw %}",
    "{company} {0} %s",
    "\u202eevil.example",
    "x" * 190,
]


def attached(**more: bool | str | None) -> tuple[Attached, str]:
    """Creates an attached person; returns them and the path of their link."""
    with transaction() as session:
        anne = attach(session, **more)  # type: ignore[arg-type]
    return anne, f"/links/{anne.token}"


def now(anne: Attached) -> tuple[object, ...]:
    with transaction() as session:
        return enrollment_state(session, anne.enrollment_id)


def press(site: httpx.Client, path: str, **asked: str) -> httpx.Response:
    """Posts a form that is only a button, as a browser does."""
    return site.post(path, params=asked, content=b"", headers={"Content-Type": FORM_TYPE})


def title(answer: httpx.Response) -> str:
    found = re.search("<title>(.*?) – ", answer.text)
    assert found
    return found[1].replace("\u00a0", " ")


def note(name: str, locale: str = "fr") -> str:
    return str(TEXTS[locale]["notes"][name]["title"]).replace("\u00a0", " ")


def test_opening_changes_nothing_and_the_button_detaches(site: httpx.Client) -> None:
    anne, path = attached()
    before = rows(STATE)
    for _ in range(2):  # a link scanner comes first, and again
        assert site.get(path).status_code == site.head(path).status_code == 200
    assert site.head(path).content == b""
    assert rows(STATE) == before
    page = site.get(path)
    assert title(page) == "Cette formation n’est pas pour vous ?"
    for said in ("Acmé", "Sécurité", "anne@example.com", "Détacher mon compte", "fermez cette page"):
        assert said in page.text
    for unsaid in ("<script", "http-equiv", "onclick", "seat", "Annabelle", "Dupond"):
        assert unsaid not in page.text
    assert page.headers["Content-Security-Policy"] == POLICY

    done = press(site, path)
    assert (done.status_code, title(done)) == (200, "Votre compte est détaché de cette formation")
    assert "place" not in done.text.lower()
    assert now(anne) == ("not_started", True, True, 0, 0, 1, 1)
    for used in (site.get(path), press(site, path)):
        assert (used.status_code, title(used)) == (410, "Ce lien a déjà servi")
        assert "mot de passe" not in used.text
    assert now(anne) == ("not_started", True, True, 0, 0, 1, 1)


@pytest.mark.parametrize(
    ("report_to", "manager", "promised"),
    [("chef@example.com", None, True), (None, "rh@example.com", True), (None, None, False)],
)
def test_a_mail_to_the_manager_is_promised_when_one_is_known(
    site: httpx.Client, report_to: str | None, manager: str | None, promised: bool
) -> None:
    anne, path = attached(report_to=report_to)
    change("UPDATE contract SET manager_email = :manager", manager=manager)
    assert ("ce sera signalé à" in site.get(path).text) is promised
    assert press(site, path).status_code == 200
    assert now(anne)[5] == promised  # number of mails to managers
    assert rows("SELECT CAST(detail ->> 'told' AS bool) FROM audit WHERE action = 'detach'") == [(promised,)]


def test_the_answer_is_the_same_for_who_has_begun(site: httpx.Client) -> None:
    anne, path = attached()
    with transaction() as session:
        start_trainings(session)
    done = press(site, path)
    assert (done.status_code, title(done)) == (200, note("detached"))
    assert now(anne) == ("in_progress", False, True, 1, 1, 1, 1)


@pytest.mark.parametrize("language", [{"params": {"lang": "en"}}, {"account": "en"}])
def test_in_english(site: httpx.Client, language: dict[str, dict[str, str]]) -> None:
    _, path = attached(locale=language.get("account", "fr"))  # type: ignore[arg-type]
    asked = language.get("params", {})
    page = site.get(path, params=asked)
    assert title(page) == "Is this training not for you?"
    assert 'lang="en"' in page.text
    assert title(press(site, path, **asked)) == note("detached", "en")
    assert title(site.get(path, params=asked)) == note("used_link_not_me", "en")


def test_withdrawn_meanwhile_there_is_nothing_left(site: httpx.Client) -> None:
    anne, path = attached()
    change("UPDATE enrollment SET withdrawn_at = now()")
    before = rows(STATE)
    for answer in (site.get(path), press(site, path)):
        assert (answer.status_code, title(answer)) == (410, note("nothing_to_detach"))
    assert rows(STATE) == before
    assert now(anne)[2] is False


@pytest.mark.parametrize(
    ("change_to", "status", "code"),
    [
        ("consumed_at = now()", 410, "used_link_not_me"),
        ("voided_at = now()", 404, Code.INVALID_LINK),
        ("expires_at = now()", 410, "expired_link_not_me"),
        ("version = 2", 404, Code.INVALID_LINK),
        ("purpose = 'activation', subject_id = NULL", 404, Code.INVALID_LINK),
        ("purpose = 'correction_answer'", 404, Code.INVALID_LINK),
        ("key_id = 'withdrawn'", 404, Code.INVALID_LINK),
    ],
)
def test_an_expired_link_detaches_no_one(site: httpx.Client, change_to: str, status: int, code: str) -> None:
    anne, path = attached()
    change(f"UPDATE link SET {change_to} WHERE purpose = 'not_me'")
    for answer in (site.get(path), press(site, path)):
        assert (answer.status_code, title(answer)) == (status, note(code))
        assert "anne" not in answer.text
        assert "Acmé" not in answer.text
    assert now(anne)[1:3] == (False, False)


def test_a_token_that_was_tampered_with_detaches_no_one(site: httpx.Client) -> None:
    anne, path = attached()
    another = "A" if path[-2] != "A" else "B"
    for wrong in (f"{path[:-2]}{another}{path[-1]}", path[:-1], path + "A", path[:9] + path[8:]):
        assert press(site, wrong).status_code == 404
    assert now(anne)[1:3] == (False, False)


def test_a_link_about_another_persons_enrollment_detaches_no_one(site: httpx.Client) -> None:
    anne, _ = attached()
    with transaction() as session:
        luc = make_account(session, "luc@acme.test")
        make_enrollment(session, luc)
        link_id, token = make_link(session, luc, purpose=Purpose.NOT_ME)
    change("UPDATE link SET voided_at = now() WHERE purpose = 'not_me' AND id <> :id", id=link_id)
    change("UPDATE link SET subject_id = :subject WHERE id = :id", subject=anne.enrollment_id, id=link_id)
    for answer in (site.get(f"/links/{token}"), press(site, f"/links/{token}")):
        assert (answer.status_code, title(answer)) == (410, note("nothing_to_detach"))
        assert "Acmé" not in answer.text
    assert now(anne)[1:3] == (False, False)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_names_are_inert(site: httpx.Client, hostile: str) -> None:
    _, path = attached()
    plain = re.findall("<[/a-z0-9]+", site.get(path).text)
    change("UPDATE company SET name = :name", name=hostile)
    change("UPDATE training SET title = :name", name=hostile)
    change("UPDATE account SET first_name = :name", name=hostile)
    page = site.get(path)
    assert page.status_code == 200
    assert re.findall("<[/a-z0-9]+", page.text) == plain
    assert "49" not in page.text.replace(POLICY, "")
    assert press(site, path).status_code == 200


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [(b"", "text/plain", 400), (b"a=" + b"x" * 20_000, "application/x-www-form-urlencoded", 413)],
)
def test_a_form_that_cannot_be_read_detaches_no_one(site: httpx.Client, content: bytes, kind: str, status: int) -> None:
    anne, path = attached()
    assert site.post(path, content=content, headers={"Content-Type": kind}).status_code == status
    assert now(anne)[1:3] == (False, False)


def test_pressed_many_times_at_once_it_is_done_once(site: httpx.Client) -> None:
    anne, path = attached()
    with ThreadPoolExecutor(8) as pool:
        statuses = sorted(answer.status_code for answer in pool.map(lambda _: press(site, path), range(8)))
    assert statuses == [200] + [410] * 7
    assert now(anne) == ("not_started", True, True, 0, 0, 1, 1)


def test_the_manager_is_told_at_once_and_nothing_secret_is_logged(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    anne, path = attached()
    change("UPDATE email SET state = 'cancelled', due_at = NULL")
    with Relay() as relay:
        monkeypatch.setenv("SMTP_URL", relay.url)
        port = free_port(0)
        processes.start("workers.cli", "serve", PORT=str(port), LOG_LEVEL="DEBUG")
        processes.worker("emails")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:

            def alive() -> bool:
                try:
                    return client.get("/livez").status_code == 200
                except httpx.TransportError:
                    return False

            wait_until(alive, say=processes.logs)
            assert client.get(path).status_code == press(client, path).status_code == 200
            wait_until(lambda: relay.mails, say=processes.logs)
        processes.stop_all()
        [mail] = relay.mails
    assert mail.recipients == ("chef@example.com",)
    assert "Annabelle Dupond <anne@example.com>" in mail.text
    assert now(anne)[2] is True
    logs = processes.logs()
    assert "person.detached" in logs
    for secret in (anne.token, anne.token[22:40], "anne@example", "chef@example", "Annabelle", "HTTP/1.1"):
        assert secret not in logs
