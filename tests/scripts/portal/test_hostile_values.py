"""Hostile names, addresses and parameters: a page shows them as text, and goes nowhere else."""

import re

from sqlalchemy import text

from scripts.portal.answers import follow, see_other, within
from scripts.portal.held import HeldForm
from tests.kit.builders.contracts import enrolled, someone
from tests.scripts.portal.conftest import SITE, Browser
from workers.database import transaction
from workers.portal_client import Job

ELSEWHERE = [
    "https://evil.example",
    "//evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/a\\..\\b",
    "javascript:alert(1)",
    "participants",
    "",
    "/x\r\nSet-Cookie: a=b",
    "/x y",
    "/é",
    "/\t/evil.example",
]


def test_no_address_but_ours_is_one_within() -> None:
    job = Job.model_validate({"id": "01a22b84-f56b-7005-b7fe-341ee3c1a058", "kind": "enroll"})
    for url in ELSEWHERE:
        assert within(url) == "/participants", url
        assert see_other(url).headers["location"] == "/participants"
        assert follow(job, url).headers["location"].endswith("?suite=%2Fparticipants")


def test_no_parameter_leads_to_another_site(browser: Browser) -> None:
    for url in ELSEWHERE:
        html = browser.get("/connexion", params={"suite": url}).text
        assert 'name="after" value="/participants"' in html, url
        fields = browser.hidden("/connexion") | {"company": "acme", "after": url}
        answer = browser.client.post("/connexion", data=fields, follow_redirects=False)
        assert answer.headers["location"] == "/participants"
        assert "a=b" not in str(answer.headers)


def test_a_page_within_is_kept() -> None:
    assert within("/participants?q=l%C3%A9a&filtre=todo") == "/participants?q=l%C3%A9a&filtre=todo"


def test_names_and_addresses_with_markup_are_text(manager: Browser) -> None:
    name = '"><img src=x onerror=alert(1)>'
    with transaction() as session:
        enrolled(session, someone("x@example.com", "Eve", "Dû"))
        for column in ("first_name", "last_name"):
            session.execute(text(f"UPDATE account SET {column} = :name"), {"name": name})
        session.execute(text("UPDATE training SET title = :name"), {"name": name})
        session.execute(text("UPDATE company SET name = :name"), {"name": name})
    for url in ("/participants", "/formations", "/participants?lang=en"):
        html = manager.get(url).text
        assert "<img" not in html
        assert "&lt;img" in html


def test_a_search_with_markup_is_text(manager: Browser) -> None:
    for typed in ("<script>alert(1)</script>", '"><b>', "' OR 1=1 --", "a\r\nb", "\0", "é" * 300, "{{7*7}}"):
        answer = manager.get("/participants", params={"q": typed, "filtre": typed, "apres": ""})
        assert answer.status_code == 200
        assert not re.search(r"<script>|<b>|«\s49\s»|\0", answer.text.replace("\n", ""))


def test_a_cursor_that_is_none_is_told(manager: Browser) -> None:
    answer = manager.get("/participants", params={"apres": "<x>"})
    assert answer.status_code == 400
    assert "<x>" not in answer.text


def test_a_kept_form_of_another_shape_is_none() -> None:
    for text_ in ("", "null", "[]", "[1,2]", '["/a",[["x"]],false]', '["//evil",[],false]', "{", "[" * 10_000):
        held = HeldForm.of_text(text_)
        assert held is None or held.action == "/participants"


def test_another_name_of_the_host_is_refused(browser: Browser) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil", "", "[::2]", "127.0.0.1:80:90"):
        answer = browser.get("/connexion", headers={"Host": host})
        assert answer.status_code == 421
        assert "Horizon" not in answer.text


def test_every_answer_has_the_headers_of_security(manager: Browser) -> None:
    for url in ("/connexion", "/participants", "/rien", "/static/site.css", "/static/rien", "/webhooks"):
        headers = manager.get(url).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert headers["referrer-policy"] == "same-origin"


def test_no_page_has_inline_script_or_style(manager: Browser) -> None:
    for url in ("/connexion", "/participants", "/formations", "/rien", "/participants?q=nobody"):
        html = manager.get(url).text
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?! src=)", html)
        assert SITE not in html
