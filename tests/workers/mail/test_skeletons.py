"""A mail made from its skeleton is the mail that its templates make: it decodes to the same, to the byte."""

import email
import re
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.words import LOCALES, EmailKind
from tests.kit.pages.mails import INVITATION
from workers.cli.samples.mails import SAMPLES
from workers.errors import Permanent
from workers.i18n import catalogues
from workers.i18n.catalogues import TEMPLATES
from workers.mail import placing, renderer, skeleton
from workers.mail.message import SenderIdentity, build
from workers.mail.pieces import quoted
from workers.mail.placing import places_only
from workers.mail.renderer import render
from workers.mail.skeleton import fill_skeleton, make_message
from workers.settings import Settings

REPORTS = {
    *(EmailKind.ENROLLMENT_REPORT, EmailKind.IMPORT_REPORT),
    *(EmailKind.RELEASE_REPORT, EmailKind.UNDELIVERABLE),
}
PLACING = {name: sample for name, sample in SAMPLES.items() if sample[0] not in REPORTS}
SENDER: dict[str, Any] = {"mail_from": "Formation <formation@example.fr>", "mail_reply_to": "aide@example.fr"}
ENVELOPE: dict[str, Any] = {
    "to_address": "anne@client.example",
    "message_id": "<0198f0c2.invitation@mail.example.fr>",
    "date": datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC),
    "identity": SenderIdentity.from_settings(Settings(database_url="x", redis_url="redis://h", **SENDER)),
}

HOSTILE = [
    "a\r\nBcc: evil@x.fr", "x\r\n.\r\nMAIL FROM:<evil@x.fr>", "line\n\nnext", "=?utf-8?q?x=0D=0ABcc:_evil?=",
    "\u202emoc.live\u202c\u200b\u2066x", "\ud800 \udfff", "%s %(company)s %(x)d %", "{{ 7 * 7 }}{% raw %}{# x #}",
    "\ue000company_name:\ue001", "\ue000subject:\ue001", "\ue000", "\ue001 \uf8ff \U000f0000", ".", "..", ".com",
    "From x", "From: x", "-- ", "--=_boundary", "w" * 5000, "é" * 5000, "." * 5000, "mot " * 300, "🎓" * 90,
    "👩\u200d👩\u200d👧", "\x00nul\x07", "e\u0301" * 40, "<script>alert(1)</script>", "&amp; &lt; ' \"", "=3D", "=",
    "=\r\n", "a=\n", "=20", "  a \t b ", "tab\tend\t", "\u00a0x\u202f", "\u2028y\u2029", "x\x85\x0b\x0c",
    "jinja0x <!--jinja1x-->", "e.com/?x=1&y=2",
    *("x" * length for length in (74, 75, 76)), *("x" * length + "é" for length in (70, 72, 73)),
]  # fmt: skip


def parts(message: bytes) -> list[tuple[list[tuple[str, str]], object]]:
    """Returns the headers of each part as they stand, and its content decoded."""
    parsed: Message = email.message_from_bytes(message)
    assert not parsed.defects
    return [(list(part.items()), part.get_payload(decode=True)) for part in parsed.walk()]


def assert_made_alike(kind: EmailKind, locale: str, context: Mapping[str, Any], *, kept: bool = True) -> None:
    """Checks that both ways make the same mail, and that the skeleton was used."""
    made = make_message(kind, locale, context, **ENVELOPE)
    assert parts(made) == parts(build(render(kind, locale, context), **ENVELOPE))
    assert (fill_skeleton(kind, locale, context) is not None) is kept
    assert_travels(made)


def assert_travels(message: bytes) -> None:
    """Checks for 7-bit lines that end in CRLF; in the two bodies they hold at most 76 octets and end in no space."""
    assert message.isascii()
    assert b"\0" not in message
    assert not any(b"\r" in line or b"\n" in line for line in message.split(b"\r\n"))
    bodies = [part for part in email.message_from_bytes(message).walk() if part.get_content_maintype() == "text"]
    for body in bodies[:2]:
        assert body["Content-Transfer-Encoding"] == "quoted-printable"
        lines = str(body.get_payload()).split("\r\n")
        assert max(map(len, lines)) <= 76
        assert not any(line.endswith((" ", "\t")) for line in lines)
        assert not any(re.search("=(?!$|[0-9A-F]{2})", line) for line in lines)


def texts(context: Mapping[str, Any]) -> list[str]:
    """Returns the names of the texts; only a file's name is always ours."""
    return [name for name, value in context.items() if isinstance(value, str) and name != "file_name"]


def test_only_reports_are_rendered_whole_each_time() -> None:
    assert {kind for kind in EmailKind if not places_only(kind)} == REPORTS


def test_every_mail_is_made_alike_both_ways(subtests: pytest.Subtests) -> None:
    for name, (kind, context) in SAMPLES.items():
        for locale in (*LOCALES, "de"):
            with subtests.test(mail=name, locale=locale):
                assert_made_alike(kind, locale, context, kept=kind not in REPORTS)


def test_hostile_values_are_made_alike(subtests: pytest.Subtests) -> None:
    for name, (kind, context) in PLACING.items():
        for locale in LOCALES:
            with subtests.test(mail=name, locale=locale):
                for hostile in HOSTILE:
                    assert_made_alike(kind, locale, dict(context) | dict.fromkeys(texts(context), hostile))


def test_each_value_alone_may_be_hostile(subtests: pytest.Subtests) -> None:
    for name, (kind, context) in PLACING.items():
        for changed in texts(context):
            with subtests.test(mail=name, value=changed):
                for hostile in HOSTILE[::7]:
                    assert_made_alike(kind, "fr", dict(context) | {changed: hostile})


def shapes(context: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the context with each value in turn absent, empty, of another type or another number."""
    naive = datetime(2027, 1, 1)  # noqa: DTZ001
    others: list[Any] = [None, "", "\u200b", False, True, 0, 1, -2, 1_234, 1.5, b"x", ["x"], naive]
    for name in context:
        yield {key: value for key, value in context.items() if key != name}
        yield from (dict(context) | {name: other} for other in others)


def test_mails_of_every_shape_are_made_alike(subtests: pytest.Subtests) -> None:
    for name, (kind, context) in PLACING.items():
        with subtests.test(mail=name):
            for shape in shapes(context):
                assert outcome(make_message, kind, shape) == outcome(rendered_whole, kind, shape)


def rendered_whole(kind: EmailKind, locale: str, context: Mapping[str, Any], **envelope: Any) -> bytes:
    return build(render(kind, locale, context), **envelope)


def outcome(make: Any, kind: EmailKind, context: Mapping[str, Any]) -> object:
    """Returns the parts of the mail, or the words of its refusal."""
    try:
        message = make(kind, "fr", context, **ENVELOPE)
    except (Permanent, ArithmeticError, TypeError) as refused:
        return str(refused)
    return parts(message)


def test_each_word_and_number_chooses_its_own_sentences() -> None:
    for ending in ("refusal", "expired", "unconfirmed", "taken_back", "shared", "taken", "links_voided", "withdrawn"):
        for name in ("correction_ended", "correction_ended-to-the-manager", "name_answer"):
            assert_made_alike(SAMPLES[name][0], "fr", {**SAMPLES[name][1], "ending": ending})
    for made in (0, 1, 2, 3, 999, 1_000, 1_234_567):
        assert_made_alike(EmailKind.DUPLICATE, "fr", {**SAMPLES["duplicate-zip"][1], "made": made, "refused": made})


def test_moments_are_shown_in_paris_whatever_their_zone() -> None:
    for hours in (-11, 0, 5.5, 14):
        zone = timezone(timedelta(hours=hours))
        for moment in (datetime(2026, 12, 31, 23, 30, tzinfo=zone), datetime(2026, 3, 29, 1, 59, 59, 7, tzinfo=zone)):
            for name in ("invitation", "reminder-last", "release_warning"):
                kind, context = SAMPLES[name]
                changed = dict.fromkeys(context.keys() & {"expires_at", "released_from"}, moment)
                assert_made_alike(kind, "en", {**context, **changed})


NAMES = st.text(st.characters(), max_size=120)


@settings(max_examples=250, deadline=None)
@given(name=st.sampled_from(sorted(PLACING)), locale=st.sampled_from(LOCALES), typed=st.lists(NAMES, min_size=1))
def test_any_values_are_made_alike(name: str, locale: str, typed: list[str]) -> None:
    kind, context = PLACING[name]
    changed = {name: typed[index % len(typed)] for index, name in enumerate(texts(context))}
    assert_made_alike(kind, locale, {**context, **changed})


@settings(max_examples=500, deadline=None)
@given(before=st.text(max_size=200), value=st.text(max_size=200))
def test_an_encoded_piece_leaves_room_for_a_soft_break(before: str, value: str) -> None:
    for text in (before.replace("\r", ""), "From " + value.replace("\r", ""), "x" * 75 + value.replace("\r", "")):
        lines = quoted(text).split(b"\r\n")
        assert max(map(len, lines)) <= 76
        assert len(lines[-1]) <= 75
        assert not quoted(text).startswith((b".", b"From "))


@pytest.fixture
def templates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of templates of its own, read instead of ours."""
    folder = shutil.copytree(TEMPLATES, tmp_path / "templates")
    with monkeypatch.context() as changed:
        for module in (catalogues, placing, renderer):
            changed.setattr(module, "TEMPLATES", folder)
        forget_templates()
        yield folder
    forget_templates()


def forget_templates() -> None:
    kept_templates = (placing.places_only, placing._parsed, renderer._environment, renderer.template)
    for kept in (*kept_templates, catalogues.sentences, skeleton._skeleton):
        kept.cache_clear()


@pytest.mark.parametrize("longest", [20, 40])  # the first cuts a mark, the second only a value
def test_a_translation_that_cuts_a_value_makes_no_wrong_mail(templates: Path, longest: int) -> None:
    catalogue = templates / "locales" / "en" / "messages.po"
    text = catalogue.read_text(encoding="utf-8")
    cutting = text.replace('msgstr "%(company)s has', f'msgstr "%(company).{longest}s has')
    catalogue.write_text(cutting, encoding="utf-8")
    for company in ("a company with a name of more than forty letters", "Menuiserie"):  # the first is made both ways
        context = INVITATION | {"company_name": company}
        assert fill_skeleton(EmailKind.INVITATION, "en", context) is None
        assert f"{company[:longest]} has" in render(EmailKind.INVITATION, "en", context).text


COMPUTING = [
    "{{ training_title | upper }}",
    "{{ training_title | replace('a', 'b') }}",
    "{{ training_title | truncate(5) }}",
    "{{ training_title | length }}",
    "{% if training_title | length > 20 %}long{% endif %}",
    "{% if training_title == 'Excel' %}Excel{% endif %}",
    "{% if training_title != 'Excel' %}Word{% endif %}",
    "{% if [training_title, ''] | join == 'Excel' %}Excel{% endif %}",
    "{% if training_title in ['Excel'] %}Excel{% endif %}",
    "{% if training_title is string %}text{% endif %}",
    "{% if training_title is sameas 'Excel' %}Excel{% endif %}",
    "{% if training_title < 'F' %}early{% endif %}",
    "{{ training_title[:3] }}",
    "{{ training_title.title() }}",
    "{{ training_title * 2 }}",
    "{% for letter in training_title %}{{ letter }}-{% endfor %}",
    "{% set title = training_title %}{{ title }}",
    "{% macro m(x) %}{% if x == 'Excel' %}!{% endif %}{% endmacro %}{{ m(training_title) }}",
    "{{ expires_at.year }}",
    "{% if expires_at | day == 'x' %}x{% endif %}",
    "{{ '%(title).3s' | t(title=training_title) }}",
    "{{ [training_title] | select('equalto', 'Excel') | join }}",
    "{% filter upper %}{{ training_title }}{% endfilter %}",
]


@pytest.mark.parametrize("computing", COMPUTING)
@pytest.mark.parametrize("part", ["subject.txt", "body.txt", "body.html"])
def test_a_template_that_computes_is_rendered_whole(templates: Path, part: str, computing: str) -> None:
    file = templates / "invitation" / part
    source = file.read_text(encoding="utf-8")
    spot = "{% block footer %}\n" if part == "body.html" else ""
    file.write_text(source.replace(spot, spot + computing) if spot else source.rstrip() + computing, encoding="utf-8")
    assert fill_skeleton(EmailKind.INVITATION, "fr", INVITATION) is None
    for title in ("Excel", "A" * 60, "é"):
        changed = INVITATION | {"training_title": title}
        assert outcome(make_message, EmailKind.INVITATION, changed) == outcome(
            rendered_whole, EmailKind.INVITATION, changed
        )
