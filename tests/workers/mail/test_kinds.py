"""Every kind of mail has all its parts: properties, a writer, templates in each language, a sample."""

import re
from collections.abc import Iterable

import pytest

from models.mails import MAILS
from models.words import LOCALES, EmailKind
from workers.cli.samples.mails import SAMPLES
from workers.i18n.catalogues import SOURCE_LOCALE, TEMPLATES, sentences
from workers.mail.letters.writing import WRITERS

FILES = ("subject.txt", "body.txt", "body.html")
SENTENCE = re.compile(r'"((?:[^"\\])*)" \| t\b')


def _listed(missing: Iterable[str]) -> str:
    return "".join(f"; email_templates/locales lacks {sentence!r}" for sentence in sorted(missing))


def lacking(kind: str) -> list[str]:
    """The parts this kind of mail lacks."""
    templates = [TEMPLATES / kind / name for name in FILES]
    parts = {
        "properties": kind in MAILS,
        "writer": kind in WRITERS,
        "sample (workers/cli/samples/mails.py)": any(kind == sampled for sampled, _ in SAMPLES.values()),
    } | {template.name: template.is_file() for template in templates}
    used = {
        found
        for template in templates
        if template.is_file()
        for found in SENTENCE.findall(template.read_text(encoding="utf-8"))
    }
    parts |= {
        f"sentences in {locale}{_listed(used - sentences(locale).keys())}": bool(used)
        and used <= sentences(locale).keys()
        for locale in LOCALES
        if locale != SOURCE_LOCALE
    }
    return [part for part, there in parts.items() if not there]


@pytest.mark.parametrize("kind", EmailKind)
def test_every_kind_of_mail_has_all_its_parts(kind: EmailKind) -> None:
    assert lacking(kind) == []


def test_a_new_kind_of_mail_lacks_all_of_them() -> None:
    assert lacking("birthday") == [
        "properties",
        "writer",
        "sample (workers/cli/samples/mails.py)",
        *FILES,
        "sentences in en",
    ]
