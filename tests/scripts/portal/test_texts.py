"""The texts of the pages: whole in both languages, in French typography, and all of them used."""

import re
from datetime import date
from pathlib import Path

import pytest

from models.delivery import DeliveryReason
from models.words import Code
from scripts.portal.moments import short_day
from scripts.portal.texts import FOLDER, NARROW, NO_BREAK, IncompleteTexts, Texts, spaced

TEMPLATES = sorted((FOLDER.parent / "templates").glob("*.html"))
PLURALS = (".one", ".many")
BLAME_OR_GENDER = re.compile(r"\b([Ee]rreur|[Éé]chec|[Ee]-mail|boîte mail|[Dd]éjà (inscrit|retiré)e?)\b|\(e\)")


@pytest.fixture(scope="module")
def texts() -> Texts:
    return Texts()


def test_every_code_a_portal_can_be_answered_has_a_sentence(texts: Texts) -> None:
    assert {code.value for code in Code} <= texts.codes()
    assert texts.sentence("fr", "a_code_of_a_newer_release") == texts.sentence("fr", "unknown")


def test_refusals_have_a_cure(texts: Texts) -> None:
    codes = [code.value for code in Code]
    for code in codes[codes.index(Code.NOT_FOUND) :]:
        assert f"{NARROW}: " in texts.sentence("fr", code), code
        assert ": " in texts.sentence("en", code), code


def test_no_text_blames_or_tells_the_gender_of_a_person(texts: Texts) -> None:
    french = {**texts._texts["fr"], **{code: texts.sentence("fr", code) for code in texts.codes()}}
    told = {key for key, text in french.items() if BLAME_OR_GENDER.search(text)}
    assert told == {"importing.preview.known.one"}  # the word for a line of a file, not for one person


@pytest.mark.parametrize("language", ["fr", "en"])
def test_a_sentence_that_ends_with_an_abbreviation_has_one_point(tmp_path: Path, language: str) -> None:
    (tmp_path / "page.toml").write_text(
        "".join(f'[{one}]\na = "{{day}}. Rien."\nb = "{{day}} : {{day}}."\nc = "{{day}}.fr"\n' for one in ("fr", "en"))
    )
    texts, day = Texts(tmp_path), short_day(date(2026, 11, 12), "fr", today=date(2026, 1, 1))
    assert texts.text(language, "page.a", day=day) == f"12{NO_BREAK}nov. Rien."
    assert texts.text(language, "page.b", day=day).endswith(f"12{NO_BREAK}nov.")
    assert texts.text(language, "page.c", day=day) == f"12{NO_BREAK}nov..fr"
    assert texts.text(language, "page.a", day="12 mai") == "12 mai. Rien."


def test_every_text_takes_numbers_and_names_that_end_with_a_point(texts: Texts) -> None:
    for key in sorted(texts.keys()):
        for language in ("fr", "en"):
            names = set(re.findall(r"\{(\w+)\}", texts._texts[language][key]))
            assert texts.text(language, key, **dict.fromkeys(names, 5)), key
            said = texts.text(language, key, **dict.fromkeys(names, "S.A."))
            assert not re.search(r"\.\.(\s|$)", said), key


def test_every_text_that_a_template_names_is_there(texts: Texts) -> None:
    known_keys = texts.keys()
    for template in TEMPLATES:
        for key in re.findall(r'\bt\("([a-z_.]+)"', template.read_text()):
            known = {key, *(f"{key}{plural}" for plural in PLURALS)} & known_keys
            prefix = key.endswith((".", "_")) and any(one.startswith(key) for one in known_keys)
            assert known or prefix, f"{template.name}: {key}"


def test_a_text_is_chosen_by_its_number(texts: Texts) -> None:
    for number, french, english in ((0, "0 participant ", "0 participants "), (1, "1 participant ", "1 participant ")):
        assert texts.text("fr", "participants.shown", n=number).startswith(french)
        assert texts.text("en", "participants.shown", n=number).startswith(english)
    assert texts.text("fr", "participants.shown", n=2) == "2 participants affichés"


def test_values_are_escaped_and_braces_in_them_are_text(texts: Texts) -> None:
    shown = texts.text("fr", "participants.empty.not_found", q="<b>{0}</b>")
    assert "&lt;b&gt;{0}&lt;/b&gt;" in shown


def test_french_has_its_spaces_and_its_apostrophes(texts: Texts) -> None:
    assert spaced("« Oui » : non ? 5 %") == f"«{NARROW}Oui{NARROW}»{NARROW}: non{NARROW}? 5{NARROW}%"
    assert spaced("N° 5, 10 000 personnes, 72 heures") == (
        f"N°{NO_BREAK}5, 10{NARROW}000 personnes, 72{NO_BREAK}heures"
    )
    assert spaced("{h} h {m}, {n} s, {n} s’y trouvent") == (
        f"{{h}}{NO_BREAK}h{NO_BREAK}{{m}}, {{n}}{NO_BREAK}s, {{n}} s’y trouvent"
    )
    for key in sorted(texts.keys()):
        french = texts._texts["fr"][key]
        assert not re.search(r"'| [;:!?%»]|« ", french), key


def test_the_reasons_of_mails_that_blame_an_address_are_told(texts: Texts) -> None:
    for reason in (DeliveryReason.ADDRESS_REJECTED, DeliveryReason.RECIPIENT_REFUSED, DeliveryReason.MAILBOX_FULL):
        assert texts.has(f"mail.reason.{reason.value}")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ('[fr]\na = "x"\n[en]\n', "in one language only: page.a"),
        ('[fr]\na = "x {n}"\n[en]\na = "y"\n', "with other placeholders in English: page.a"),
    ],
)
def test_a_text_that_is_missing_is_told_at_the_start(tmp_path: Path, written: str, told: str) -> None:
    (tmp_path / "page.toml").write_text(written)
    with pytest.raises(IncompleteTexts, match=told):
        Texts(tmp_path)
