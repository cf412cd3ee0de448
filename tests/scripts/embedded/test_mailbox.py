import asyncio
import re
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import httpx
import pytest

from scripts.embedded.mail_folder import MailFolder
from scripts.embedded.mailbox_process import Mailbox
from scripts.embedded.mailbox_smtp import fault_of
from scripts.embedded.places import places

pytestmark = pytest.mark.heavy

HOSTILE_HTML = """<!doctype html><html><head><title>x</title></head><body onload="steal()">
<script>steal()</script><img src="https://tracker.invalid/1.gif" onerror="steal()">
<a href="javascript:steal()">one</a><a href="https://example.fr/activation">two</a>
<form action="https://thief.invalid"><input name="password"></form></body></html>"""


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailbox]:
    where = places(tmp_path_factory.mktemp("var"))
    server = Mailbox(where, smtp_port=0, web_port=0)
    server.start()
    yield server
    server.stop()
    for folder in {where.short, where.postgres_short}:
        for file in folder.glob("mailbox.pid"):
            file.unlink()
        for inside in folder.iterdir():
            inside.rmdir()
        folder.rmdir()


@pytest.fixture
def web(mailbox: Mailbox) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=mailbox.url) as client:
        yield client


def send(mailbox: Mailbox, to: str, subject: str = "Bonjour", html: str = "") -> None:
    message = EmailMessage()
    message["From"] = "Formation <formation@example.fr>"
    message["To"] = to
    message["Subject"] = subject
    message["Message-ID"] = "<one@example.fr>"
    message.set_content("Bonjour, voici https://example.fr/lien\n<script>steal()</script>\n")
    if html:
        message.add_alternative(html, subtype="html")
    port = int(mailbox.smtp_url.rpartition(":")[2].partition("?")[0])
    asyncio.run(aiosmtplib.send(message, hostname="127.0.0.1", port=port, start_tls=False, timeout=10))


def deliver(mailbox: Mailbox, content: bytes, to: str) -> str:
    return MailFolder(mailbox.folder).deliver("formation@example.fr", [to], content)


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("anna@example.fr", ""),
        ("anna+451@example.fr", "451"),
        ("anna+550@example.fr", "550"),
        ("anna+drop@example.fr", "drop"),
        ("anna+DROP@example.fr", "drop"),
        ("anna+250@example.fr", ""),
        ("anna+451x@example.fr", ""),
        ("anna451@example.fr", ""),
        ("anna+4510@example.fr", ""),
    ],
)
def test_which_addresses_ask_for_a_fault(address: str, fault: str) -> None:
    assert fault_of(address) == fault


@pytest.mark.parametrize(("code", "said"), [(451, "4.7.1"), (550, "5.1.1"), (452, "4.0.0")])
def test_a_code_in_the_address_is_answered_at_rcpt(mailbox: Mailbox, web: httpx.Client, code: int, said: str) -> None:
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
        send(mailbox, f"anna+{code}@example.fr")
    assert refused.value.recipients[0].code == code
    assert refused.value.recipients[0].message.startswith(said)
    assert web.get("/mails.json", params={"to": f"anna+{code}"}).json() == []


def test_a_drop_leaves_the_sender_in_doubt_but_keeps_the_mail(mailbox: Mailbox, web: httpx.Client) -> None:
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        send(mailbox, "anna+drop@example.fr")
    assert len(web.get("/mails.json", params={"to": "anna+drop"}).json()) == 1


def test_mails_are_listed_newest_first_and_found_by_address(mailbox: Mailbox, web: httpx.Client) -> None:
    send(mailbox, "Élodie <elodie@example.fr>", "Première")
    send(mailbox, "elodie@example.fr", "Seconde")
    send(mailbox, "other@example.fr", "Autre")
    found = web.get("/mails.json", params={"to": "ELODIE@"}).json()
    assert [mail["subject"] for mail in found] == ["Seconde", "Première"]
    assert found[1]["to"] == "Élodie <elodie@example.fr>"
    assert found[1]["from"] == "Formation <formation@example.fr>"
    assert found[1]["message_id"] == "<one@example.fr>"
    page = web.get("/", params={"to": "elodie"}).text
    assert "Première" in page
    assert "Autre" not in page
    assert '<meta http-equiv="refresh"' in page


def test_the_source_comes_back_as_it_was_sent(mailbox: Mailbox, web: httpx.Client) -> None:
    send(mailbox, "source@example.fr")
    (mail,) = web.get("/mails.json", params={"to": "source@"}).json()
    answer = web.get(f"/mails/{mail['id']}.eml")
    assert answer.headers["content-type"] == "message/rfc822"
    assert b"Delivered-To: source@example.fr\r\n" in answer.content
    assert b"\r\nMessage-ID: <one@example.fr>\r\n" in answer.content


def test_a_hostile_mail_is_inert(mailbox: Mailbox, web: httpx.Client) -> None:
    send(mailbox, "victim@example.fr", '"><script>steal()</script>', HOSTILE_HTML)
    (mail,) = web.get("/mails.json", params={"to": "victim@"}).json()
    for path in ("/", "/?to=%22%3E%3Cscript%3Esteal()", f"/mails/{mail['id']}"):
        answer = web.get(path)
        assert not re.search(r"<script|<img|<[^>]*\son\w+=|href=\"?javascript", answer.text)
        assert "&lt;script&gt;" in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'; style-src 'unsafe-inline';")
        assert "script-src" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    page = web.get(f"/mails/{mail['id']}").text
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page
    assert '<a href="https://example.fr/lien" rel="noopener noreferrer" target="_blank">' in page


def test_the_html_part_is_sandboxed_even_when_opened_by_itself(mailbox: Mailbox, web: httpx.Client) -> None:
    send(mailbox, "frame@example.fr", html=HOSTILE_HTML)
    (mail,) = web.get("/mails.json", params={"to": "frame@"}).json()
    answer = web.get(f"/mails/{mail['id']}/html")
    policy = answer.headers["content-security-policy"].split("; ")
    assert policy[:4] == [
        "sandbox allow-popups allow-popups-to-escape-sandbox",
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
    ]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.text.startswith('<!doctype html><html><head><base target="_blank">')


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no header at all",
        b"Subject: =?utf-8?b?broken?=\r\nContent-Type: text/html; charset=nobody-knows\r\n\r\n<b>\xff",
        b"Subject: =?no-charset?q?x?=\r\n\r\nbody",
        b"Subject: raw \xe9 bytes \xff\r\nTo: <script>@x\r\n\r\nbody \x00 \xff",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!=",
        b'Content-Type: text/html; charset="\r\n <script>"\r\n\r\nbody',
        b"Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\ninner",
        b"Subject: " + b"x" * 500_000 + b"\r\n\r\nbody",
    ],
)
def test_a_broken_mail_is_shown_all_the_same(mailbox: Mailbox, web: httpx.Client, content: bytes) -> None:
    mail_id = deliver(mailbox, content, "broken@example.fr")
    assert web.get("/", params={"to": "broken"}).status_code == 200
    assert mail_id in [mail["id"] for mail in web.get("/mails.json").json()]
    answer = web.get(f"/mails/{mail_id}")
    assert answer.status_code == 200
    assert "<script" not in answer.text


@pytest.mark.parametrize("host", ["evil.invalid", "127.0.0.1.evil.invalid", "localhost.evil.invalid:80", ""])
def test_another_host_name_is_refused(web: httpx.Client, host: str) -> None:
    answer = web.get("/mails.json", headers={"Host": host})
    assert answer.status_code == 400
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_localhost_is_a_name_too(web: httpx.Client) -> None:
    assert web.get("/mails.json", headers={"Host": "localhost:8026"}).status_code == 200


@pytest.mark.parametrize("mail_id", ["nope", "..%2f..%2fports.json", "%2e%2e", "1795473488407426446.0_1.mailbox"])
def test_an_unknown_mail_is_not_found(web: httpx.Client, mail_id: str) -> None:
    for path in (f"/mails/{mail_id}", f"/mails/{mail_id}.eml", f"/mails/{mail_id}/html"):
        assert web.get(path).status_code == 404


def test_mails_and_ports_survive_a_kill(mailbox: Mailbox, web: httpx.Client) -> None:
    send(mailbox, "kept@example.fr")
    before = (mailbox.url, mailbox.smtp_url)
    mailbox.kill()
    mailbox.start()
    assert (mailbox.url, mailbox.smtp_url) == before
    assert len(httpx.get(f"{mailbox.url}/mails.json", params={"to": "kept@"}).json()) == 1


def test_only_the_owner_can_read_the_folder(mailbox: Mailbox) -> None:
    assert Path(mailbox.folder).stat().st_mode & 0o077 == 0
