"""Every mail in every language is complete, equal in text and HTML, and uses the words and signs of that language."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from models.mails import MAILS, MailSubject
from models.words import LOCALES, Code, EmailKind
from tests.kit.pages.mails import INVITATION, Page
from workers.cli.samples.mails import SAMPLES
from workers.errors import Permanent
from workers.i18n.catalogues import (
    TEMPLATES,
    code_sentence,
    code_sentences,
    sentences,
    typeset,
)
from workers.i18n.results import FIELDS
from workers.mail.inlining import inline_template
from workers.mail.renderer import render

NAMED_IN_CODE = {"Prénom", "Nom", "Adresse e-mail", "Code", "inscriptions.csv", "lignes-a-corriger.csv"}
NAMED_IN_CODE |= {"point-virgule", "virgule", "tabulation", "barre verticale"}
NAMED_IN_CODE |= {"Attestation", "Duplicata", "Code de vérification", "Fichier", "index.csv", "duplicatas.zip"}
NAMED_IN_CODE |= {*FIELDS.values(), "Vouliez-vous écrire %(domain)s dans l’adresse ?"}
NAMED_IN_CODE |= {"voir la ligne %(line)s", "voir la personne n° %(number)s"}


def words(text: str) -> set[str]:
    return {word.strip(".:") for word in re.findall(r"[\w’'.@:/-]+", text)}


def text_and_html_say_the_same(kind: EmailKind, locale: str, context: Mapping[str, Any]) -> None:
    mail = render(kind, locale, context)
    page = Page(mail.html)
    said = words(mail.text)
    shown = words(" ".join(page.words))
    # The HTML adds a brand, a heading, a button, column titles; the text adds nothing but its signature mark.
    assert said - shown <= {"--"}
    links = {href for href, _ in page.links if href.startswith("http")}
    assert links == {context[name] for name in ("link", "not_me_link", "access_url") if context.get(name)}
    for link in links:
        assert f"\n{link}\n" in mail.text
        assert (link, link) in page.links


def structure_is_as_a_screen_reader_and_a_dark_screen_need(
    kind: EmailKind, locale: str, context: Mapping[str, Any]
) -> None:
    mail = render(kind, locale, context)
    page = Page(mail.html)
    assert page.open == []
    assert page.attributes("html")[0]["lang"] == page.attributes("div")[0]["lang"] == locale
    assert page.attributes("html")[0]["dir"] == page.attributes("div")[0]["dir"] == "ltr"
    assert len(page.attributes("h1")) == 1
    assert "img" not in dict(page.tags)
    captions = len(page.attributes("caption"))
    data_tables = [table for table in page.attributes("table") if table.get("role") is None]
    assert len(data_tables) == captions
    assert all(table.get("role") in (None, "presentation") for table in page.attributes("table"))
    assert all(head.get("scope") in ("row", "col") for head in page.attributes("th"))
    assert all("font-size: 16px" in (paragraph["style"] or "") for paragraph in page.attributes("p"))
    assert "prefers-color-scheme: dark" in mail.html
    assert not re.search(r"font-size: (\d|1[0-5])px", mail.html)
    assert "jinja" not in mail.html


def subject_names_what_it_is_about(kind: EmailKind, locale: str, context: Mapping[str, Any]) -> None:
    mail = render(kind, locale, context)
    subject_of = {MailSubject.PLATFORM: "platform_name", MailSubject.TRAINING: "training_title"}
    named = (
        context[subject_of[MAILS[kind].subject]]
        or {"fr": "contrat n’est pas connu", "en": "contract is not known"}[locale]
    )
    assert named in mail.subject
    assert "Anne" not in mail.subject
    assert mail.subject.isprintable() or "\u00a0" in mail.subject
    assert len(mail.subject) < 200


def a_missing_value_is_an_error_not_a_hole(kind: EmailKind, locale: str, context: Mapping[str, Any]) -> None:
    unused = {"expires_at"} if context.get("link", "") is None else set()
    if context.get("company_name", "") is None:  # an unknown contract has no seats
        unused = {"planned_seats", "enrolled_count", "remaining"}
    if context.get("attached") is False:
        unused = {"file_name"}
    for name in context.keys() - unused:
        try:
            render(kind, locale, {key: value for key, value in context.items() if key != name})
        except Permanent as error:
            assert f"mail {kind}" in str(error)  # noqa: PT017 - what is not raised gets a sentence of its own
        else:
            pytest.fail(f"no sentence uses {name}: take it out of SAMPLES in workers/cli/samples/mails.py")


@pytest.mark.parametrize("check", [
    text_and_html_say_the_same, structure_is_as_a_screen_reader_and_a_dark_screen_need,
    subject_names_what_it_is_about, a_missing_value_is_an_error_not_a_hole,
])  # fmt: skip
def test_every_mail(subtests: pytest.Subtests, check: Callable[[EmailKind, str, Mapping[str, Any]], None]) -> None:
    for name, (kind, context) in SAMPLES.items():
        for locale in LOCALES:
            with subtests.test(mail=name, locale=locale):
                check(kind, locale, context)


def test_the_error_names_no_value() -> None:
    with pytest.raises(Permanent) as caught:
        render(EmailKind.INVITATION, "fr", INVITATION | {"expires_at": datetime(2026, 1, 1)})  # noqa: DTZ001
    assert "2026" not in str(caught.value)
    with pytest.raises(Permanent) as caught:
        render(EmailKind.INVITATION, "fr", {"first_name": "Anne"})
    assert "Anne" not in str(caught.value)


def test_english_is_complete_and_holds_no_french() -> None:
    templates = [*TEMPLATES.rglob("*.txt"), *TEMPLATES.rglob("*.html")]
    used = {
        found for path in templates for found in re.findall(r'"((?:[^"\\])*)" \| t\b', path.read_text(encoding="utf-8"))
    }
    english = sentences("en")
    assert used
    assert used <= english.keys()
    assert english.keys() - used <= NAMED_IN_CODE
    for french, translated in english.items():
        assert set(re.findall(r"%\(\w+\)s", french)) == set(re.findall(r"%\(\w+\)s", translated))
        assert not re.search(r"\b(vous|votre|votre|pour|formation|inscription)\b", translated, re.IGNORECASE)


def test_french_spacing() -> None:
    assert typeset("Qui ? Moi ! Voici : « lui » ; oui") == (
        "Qui\u202f? Moi\u202f! Voici\u00a0: «\u00a0lui\u00a0»\u202f; oui"
    )
    assert typeset("12:30 https://x.fr") == "12:30 https://x.fr"
    text = render(EmailKind.INVITATION, "fr", INVITATION).text
    assert not re.search(r" [:;!?»]|« ", text)


@pytest.mark.parametrize("locale", LOCALES)
def test_every_code_has_its_sentence(locale: str) -> None:
    assert code_sentences(locale).keys() == set(Code)
    assert not any("@" in sentence or sentence.endswith(".") for sentence in code_sentences(locale).values())
    assert code_sentence("from_a_newer_worker", locale) == "from_a_newer_worker"


def test_expiry_is_told_in_paris_time() -> None:
    winter = INVITATION | {"expires_at": datetime(2026, 12, 31, 23, 30, tzinfo=UTC)}
    assert "vendredi 1 janvier 2027 à 00:30 (heure de Paris)" in render(EmailKind.INVITATION, "fr", winter).text
    assert "Friday 1 January 2027 at 00:30 (Paris time)" in render(EmailKind.INVITATION, "en", winter).text


def test_an_unknown_locale_is_french() -> None:
    assert render(EmailKind.INVITATION, "de", INVITATION) == render(EmailKind.INVITATION, "fr", INVITATION)


def test_optional_values() -> None:
    without = INVITATION | {"first_name": "", "support_address": ""}
    mail = render(EmailKind.INVITATION, "fr", without)
    assert mail.text.startswith("Bonjour,\n")
    assert "mailto:" not in mail.html


def test_the_platform_is_named_as_its_settings_say() -> None:
    mail = render(EmailKind.INVITATION, "fr", INVITATION | {"platform_name": "formation.example\u200b"})
    assert "votre compte sur formation.example\u00a0:" in mail.text
    assert ">formation.example</p>" in mail.html


def test_writing_the_css_into_templates_changes_no_tag() -> None:
    css = "p { color: red } .x { margin: 0 } td { padding: 0 }"
    source = (
        '{% macro m(a) %}<table class="x"><tbody>{% for b in a %}<tr><td title="{{ b > 1 }}">{{ b }}</td></tr>'
        "{% endfor %}</tbody></table>{# <p> #}<p>é &amp; {{ a | t(x=1) }}</p>{% endmacro %}"
    )
    inlined = inline_template(source, css)
    assert re.sub(r' style="[^"]*"', "", inlined) == source
    assert 'style="color: red' in inlined


@pytest.mark.parametrize(
    "source",
    [
        "<table><tr>{% if a %}<td></td>{% endif %}</tr></table>",  # the parser adds a tbody
        "<p><div>{{ a }}</div></p>",
        "<ul>{% for a in b %}<li>{{ a }}{% endfor %}</ul>",
    ],
)
def test_a_template_the_html_parser_would_change_is_refused(source: str) -> None:
    with pytest.raises(ValueError, match="HTML parser"):
        inline_template(source, "p { color: red }")
