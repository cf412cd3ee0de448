"""The bytes of a sent mail, read back by the standard library."""

import base64
import email
from datetime import UTC, datetime
from email import policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.words import LOCALES, EmailKind
from workers.cli.samples.mails import SAMPLES
from workers.errors import NotConfigured, Permanent
from workers.mail.attachments import MailAttachment
from workers.mail.message import SenderIdentity, build
from workers.mail.renderer import RenderedMail, render
from workers.mail.values import BREAK
from workers.settings import Settings

DATE = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
MESSAGE_ID = "<0198f0c2.invitation@mail.example.fr>"
HEADERS = [
    "From", "To", "Reply-To", "Subject", "Date", "Message-ID", "MIME-Version", "Content-Language", "Auto-Submitted",
    "X-Auto-Response-Suppress", "Content-Type",
]  # fmt: skip


def identity(**changed: str) -> SenderIdentity:
    values = {"mail_from": "Formation <formation@example.fr>", "mail_reply_to": "support@example.fr"} | changed
    return SenderIdentity.from_settings(Settings(database_url="x", redis_url="redis://h", **values))  # type: ignore[arg-type]


def built(rendered: RenderedMail, **changed: Any) -> bytes:
    arguments: dict[str, Any] = {
        "to_address": "anne@client.example",
        "message_id": MESSAGE_ID,
        "date": DATE,
        "identity": identity(),
    }
    return build(rendered, **(arguments | changed))


def parsed(message: bytes) -> EmailMessage:
    return email.message_from_bytes(message, policy=policy.default)


def lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def test_a_mail_survives_the_journey(subtests: pytest.Subtests) -> None:
    for name, (kind, context) in SAMPLES.items():
        for locale in LOCALES:
            with subtests.test(mail=name, locale=locale):
                assert_arrives(render(kind, locale, context), locale)


def assert_arrives(rendered: RenderedMail, locale: str) -> None:
    """Checks that every header and both bodies are read back as they were written."""
    written = built(rendered)
    message = parsed(written)
    assert message.keys() == HEADERS
    assert not message.defects
    assert message["Subject"] == rendered.subject
    assert message["To"] == "anne@client.example"
    assert message["From"].addresses[0].display_name == "Formation"
    assert message["Message-ID"] == MESSAGE_ID
    assert message["Content-Language"] == locale
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Auto-Response-Suppress"] == "All"
    assert parsedate_to_datetime(message["Date"]) == DATE
    alternative: Any = next(message.iter_parts()) if rendered.attachments else message
    assert message.get_content_type() == ("multipart/mixed" if rendered.attachments else "multipart/alternative")
    assert alternative.get_content_type() == "multipart/alternative"
    text, html = alternative.iter_parts()
    assert [part.get_content_type() for part in (text, html)] == ["text/plain", "text/html"]
    assert lines(cast(EmailMessage, text).get_content()).rstrip("\n") == rendered.text.rstrip("\n")
    assert lines(cast(EmailMessage, html).get_content()).rstrip("\n") == rendered.html.rstrip("\n")
    assert_travels(written)


def assert_travels(written: bytes) -> None:
    """Checks 7-bit bytes, CRLF only, lines of at most 76 octets (998 allowed), and a final line end."""
    assert written.isascii()
    assert b"\r" not in written.replace(b"\r\n", b"")
    assert b"\n" not in written.replace(b"\r\n", b"")
    assert max(map(len, written.split(b"\r\n"))) <= 998
    assert b"\0" not in written
    assert written.endswith(b"--\r\n")


def test_the_same_mail_is_the_same_bytes() -> None:
    rendered = render(EmailKind.INVITATION, "fr", SAMPLES["invitation"][1])
    assert built(rendered) == built(rendered)
    assert built(rendered) != built(rendered, message_id="<other@mail.example.fr>")


INJECTIONS = [
    "=?utf-8?q?x=0D=0ABcc:_evil=40x.fr?=",
    "x\r\nBcc: evil@x.fr",
    "x\nBcc: evil@x.fr",
    "x\r\n\r\n<html>",
    "x\x0bBcc: evil@x.fr\x85y\u2028z",
    "=?utf-8?b?eA0KQmNjOiBldmlsQHguZnI=?=",
    "e" * 60 + "\r\nBcc: evil@x.fr",
    "é\r\nBcc: evil@x.fr",
]


@pytest.mark.parametrize("injection", INJECTIONS)
def test_no_value_becomes_a_header(injection: str) -> None:
    context = dict(SAMPLES["invitation"][1]) | {"company_name": injection, "training_title": injection}
    for rendered in (render(EmailKind.INVITATION, "fr", context), RenderedMail(injection, injection, injection, "fr")):
        message = parsed(built(rendered))
        assert message.keys() == HEADERS
        assert "evil@x.fr" not in str(message["To"])
        assert message["Bcc"] is None


@pytest.mark.parametrize(
    "address", ["", "a", "a@b\r\nBcc: c@d.fr", "Anne <a@b.fr>", "a@b.fr, c@d.fr", "é@b.fr", "a@é.fr"]
)
def test_an_address_that_is_none_is_refused_without_being_repeated(address: str) -> None:
    with pytest.raises(Permanent) as caught:
        built(RenderedMail("s", "t", "h", "fr"), to_address=address)
    assert "b.fr" not in str(caught.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"message_id": "<a@b>\r\nBcc: c@d.fr"},
        {"message_id": "a@b"},
        {"identity": SenderIdentity("x\r\nBcc: c@d.fr", "", "b@x.fr", "x.fr")},
        {"identity": SenderIdentity("é <a@b.fr>", "", "b@x.fr", "x.fr")},
        {"identity": SenderIdentity("a@b.fr\r\n\r\nbody", "", "b@x.fr", "x.fr")},
    ],
)
def test_the_message_read_back_must_equal_the_intended_one(changed: dict[str, Any]) -> None:
    with pytest.raises(Permanent):
        built(RenderedMail("s", "t", "h", "fr"), **changed)
    with pytest.raises(Permanent):
        built(RenderedMail("s", "t", "h", "fr\r\nBcc: c@d.fr"))


def test_files_travel_unchanged() -> None:
    content = bytes(range(256)) * 40
    rendered = RenderedMail("s", "texte é", "<p>é</p>", "fr", (MailAttachment("a.csv", "text/csv", content),))
    written = built(rendered)
    message = parsed(written)
    assert message.keys() == HEADERS
    assert message.get_content_type() == "multipart/mixed"
    alternative, file = message.iter_parts()
    texts = cast(EmailMessage, alternative).iter_parts()
    assert [part.get_content_type() for part in texts] == ["text/plain", "text/html"]
    assert file.get_filename() == "a.csv"
    assert base64.b64decode(str(file.get_payload())) == content
    assert_travels(written)
    with pytest.raises(Permanent):
        built(RenderedMail("s", "t", "h", "fr", (MailAttachment('a"\r\nX: y', "text/csv", b""),)))
    with pytest.raises(Permanent):
        built(RenderedMail("s", "t", "h", "fr", (MailAttachment("a.csv", "text/csv\r\nX: y", b""),)))


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=300), subject=st.text(max_size=200))
def test_any_text_arrives_as_it_was(text: str, subject: str) -> None:
    written = built(RenderedMail(subject, text, text, "fr"))
    message = parsed(written)
    assert message.keys() == HEADERS
    assert_travels(written)
    for part in message.iter_parts():
        octets = part.get_payload(decode=True)
        assert isinstance(octets, bytes)
        assert octets.decode() == "\r\n".join(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))


@pytest.mark.parametrize(
    "text", [".\r\n.", "a \n b\t\n", "-- \nsignature", "From x\n", "=3D=\n", "x" * 5000, "é" * 900]
)
def test_lines_mail_servers_change_are_encoded(text: str) -> None:
    message = parsed(built(RenderedMail("s", text, text, "fr")))
    for part in message.iter_parts():
        assert cast(bytes, part.get_payload(decode=True)).decode() == text.replace("\r\n", "\n").replace("\n", "\r\n")


def test_a_name_is_as_inert_in_the_subject_as_in_the_text() -> None:
    _, context = SAMPLES["invitation"]
    written = built(render(EmailKind.INVITATION, "fr", {**context, "company_name": "evil.com"}))
    assert f"evil.{BREAK}com" in parsed(written)["Subject"]


def test_long_subjects_are_folded_between_characters() -> None:
    subject = "Résumé de la formation « sécurité » 🎓 " * 5
    written = built(RenderedMail(subject, "t", "h", "fr"))
    assert parsed(written)["Subject"] == subject.strip()
    head = written.partition(b"\r\n\r\n")[0]
    assert max(map(len, head.split(b"\r\n"))) <= 84
    for word in head.split(b"Subject: ")[1].split(b"\r\nDate")[0].split(b"\r\n "):
        base64.b64decode(word[10:-2]).decode("utf-8")


@pytest.mark.parametrize(
    ("settings_", "from_header", "envelope", "domain"),
    [
        ({"mail_from": "formation@example.fr"}, "formation@example.fr", "formation@example.fr", "example.fr"),
        (
            {"mail_from": "École <x@éc.fr>", "mail_bounce_address": "bounce@b.example.fr", "message_id_domain": "m.fr"},
            "École <x@xn--c-9fa.fr>", "bounce@b.example.fr", "m.fr",
        ),
        ({"mail_from": '"A, B" <x@b.fr>'}, '"A, B" <x@b.fr>', "x@b.fr", "b.fr"),
    ],
)  # fmt: skip
def test_identity(settings_: dict[str, str], from_header: str, envelope: str, domain: str) -> None:
    who = identity(**settings_)
    assert (who.envelope_from, who.domain) == (envelope, domain)
    assert who.message_id("1.invitation") == f"<1.invitation@{domain}>"
    assert str(parsed(built(RenderedMail("s", "t", "h", "fr"), identity=who))["From"]) == from_header


@pytest.mark.parametrize("changed", [{"mail_from": ""}, {"message_id_domain": "a b"}])
def test_a_wrong_identity_names_the_setting(changed: dict[str, str]) -> None:
    with pytest.raises(NotConfigured, match=next(iter(changed)).upper()):
        identity(**changed)


def test_no_reply_to_when_none_is_set() -> None:
    message = parsed(built(RenderedMail("s", "t", "h", "fr"), identity=identity(mail_reply_to="")))
    assert message.keys() == [name for name in HEADERS if name != "Reply-To"]
