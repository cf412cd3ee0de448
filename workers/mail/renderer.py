"""From a kind of mail, a locale and plain values to subject, text, HTML and attachments.

A mail is a folder of ``email_templates``: ``subject.txt``, ``body.txt``, ``body.html``. Values people typed are made
inert before any template sees them (``workers.mail.values``); HTML escapes them as well.
"""

import csv
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from babel.numbers import format_decimal
from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError
from markupsafe import Markup

from models.words import LOCALES, Code, EmailKind
from workers.errors import Permanent
from workers.i18n.catalogues import TEMPLATES, code_sentence, translate
from workers.i18n.moments import shown_day, shown_moment
from workers.i18n.values import LOCALES_OF_BABEL
from workers.mail.values import inert_name, safe_cell, shown_address, visible
from workers.rosters.errors_file import FailedRow, write_errors
from workers.rosters.refused import RosterRefused

PEOPLE_IN_BODY = 100
LARGEST_PLAIN_FILE = 1_000_000
"""Bytes of an attached file that is not zipped. Relays take about ten million of a whole mail, in base64 (Postfix:
10,240,000); 200,000 people are 27 million bytes of CSV, and under four zipped."""

LARGEST_FILE = 5_000_000
"""Bytes of an attached file of rows, zipped: half of what relays take."""

LARGEST_TEXT = 30_000_000
"""Bytes of it before it is zipped, held in memory: rows of people shrink to a fifth at least."""

ZIP = "application/zip"
ENCODINGS = {
    "utf-8": "UTF-8",
    "utf-8-sig": "UTF-8",
    "utf-16-le": "UTF-16",
    "utf-16-be": "UTF-16",
    "windows-1252": "Windows-1252",
    "iso-8859-15": "ISO-8859-15",
}
IMPORT_FACTS = frozenset(
    {
        "state",
        "encoding",
        "delimiter",
        "sheet",
        "planned_seats",
        "enrolled_count",
        "remaining",
        "failed",
        "header",
        "failed_count",
        "again",
    }
)
DELIMITER_NAMES = {";": "point-virgule", ",": "virgule", "\t": "tabulation", "|": "barre verticale"}
NAMES = frozenset(
    {"first_name", "last_name", "company_name", "training_title", "contract_reference", "file_name", "sheet"}
)
ADDRESSES = frozenset({"new_address", "old_address", "person_email"})


@dataclass(frozen=True, slots=True)
class MailAttachment:
    """A file carried by a mail; ``filename`` is ASCII and ours, never typed by a person."""

    filename: str
    content_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """What one person reads, before it becomes a message."""

    subject: str
    text: str
    html: str
    locale: str
    attachments: tuple[MailAttachment, ...] = ()


def render(kind: EmailKind, locale: str, context: Mapping[str, Any]) -> RenderedMail:
    """The mail of this kind in this locale (an unknown one is read as French).

    Parameters:
      context: the values its templates name; datetimes carry a time zone.

    Raises:
      Permanent: a value is missing or of the wrong type, or a template is wrong; doing it again cannot help.
    """
    locale = locale if locale in LOCALES else LOCALES[0]
    try:
        values, attachments = _values(kind, locale, context)
        subject = " ".join(_template(locale, kind, "subject.txt").render(values).split())
        text = _template(locale, kind, "body.txt").render(values).strip() + "\n"
        html = _template(locale, kind, "body.html").render(values, subject=subject)
    except (TemplateError, KeyError, TypeError, ValueError, AttributeError) as wrong:
        # Only the kind of error and, for a template, the name it missed: never a value, which may be a person's.
        missed = f": {wrong}" if isinstance(wrong, TemplateError | KeyError) else ""
        raise Permanent(f"mail {kind} ({locale}) cannot be rendered: {type(wrong).__name__}{missed}") from wrong
    return RenderedMail(subject, text, html, locale, attachments)


def _values(
    kind: EmailKind, locale: str, context: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[MailAttachment, ...]]:
    values = {name: _shown(name, value) for name, value in context.items()}
    if kind is EmailKind.RELEASE_REPORT:
        values["shown_people"] = [
            _shown_holder(person) | {"refused": person["refused"]} for person in context["people"][:PEOPLE_IN_BODY]
        ]
        values["hidden"] = context["total"] > len(values["shown_people"])
    if kind is EmailKind.DUPLICATE:
        return values, (_document(context),) if context["attached"] else ()
    if kind is EmailKind.IMPORT_REPORT:
        return _import_values(locale, context, values)
    if kind is not EmailKind.ENROLLMENT_REPORT:
        return values, ()
    people = context["people"]
    values["tallies"] = _tallies(locale, context)
    values["shown_people"] = [_shown_person(person, locale) for person in people[:PEOPLE_IN_BODY]]
    values["hidden"] = max(0, len(people) - PEOPLE_IN_BODY)
    values["total"] = len(people)
    files = (_zipped_if_large(_people_file(people, locale)),) if values["hidden"] else ()
    values["zipped"] = any(file.content_type == ZIP for file in files)
    return values, files


def _document(context: Mapping[str, Any]) -> MailAttachment:
    """A document, or a zip of them, as it lies in the store."""
    content_type = ZIP if context["kind"] == "zip" else "application/pdf"
    return MailAttachment(context["file_name"], content_type, context["content"])


def _tallies(locale: str, context: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"sentence": code_sentence(code, locale), "number": context["counts"][code]}
        for code in [*Code, *sorted(set(context["counts"]) - set(Code))]
        if context["counts"].get(code)
    ]


def _import_values(
    locale: str, context: Mapping[str, Any], values: dict[str, Any]
) -> tuple[dict[str, Any], tuple[MailAttachment, ...]]:
    if missed := IMPORT_FACTS - context.keys():  # some are only shown of some imports; none may be forgotten
        raise KeyError(*sorted(missed))
    values["tallies"] = _tallies(locale, context)
    values["file_reason"] = code_sentence(context["file_code"], locale) if context["file_code"] else None
    values["encoding"] = ENCODINGS.get(context["encoding"])
    values["delimiter_name"] = translate(locale, DELIMITER_NAMES.get(context["delimiter"], ""))
    file = _errors_file(locale, context) if context["failed"] else None
    files = (file,) if file else ()
    values["attached"] = bool(files)
    values["zipped"] = any(file.content_type == ZIP for file in files)
    return values, files


def _errors_file(locale: str, context: Mapping[str, Any]) -> MailAttachment | None:
    """The refused rows, to be corrected and dropped again as they are; None when they are too many for a mail, or take
    too long to read: the mail is worth sending without.
    """
    failed = (
        FailedRow(line, cells, Code(code), code_sentence(code, locale)) for line, cells, code in context["failed"]
    )
    lines = write_errors(context["header"], failed, delimiter=context["delimiter"] or ";", locale=locale)
    content = io.BytesIO()
    try:
        for written in lines:
            content.write(written.encode("utf-8", "replace"))
            if content.tell() > LARGEST_TEXT:
                return None
    except (RosterRefused, OSError):
        return None
    name = translate(locale, "lignes-a-corriger.csv")
    file = _zipped_if_large(MailAttachment(name, "text/csv", content.getvalue()))
    return file if len(file.content) <= LARGEST_FILE else None


def _shown(name: str, value: Any) -> Any:
    """One value of the context as templates may show it."""
    if not isinstance(value, str):
        return value
    if name in ADDRESSES:
        return shown_address(value)
    return inert_name(value) if name in NAMES else visible(value)


def _shown_person(person: Mapping[str, Any], locale: str) -> dict[str, Any]:
    sentence = code_sentence(person["code"], locale)
    return _shown_holder(person) | {"position": person["position"], "sentence": sentence}


def _shown_holder(person: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": " ".join(inert_name(person[part] or "") for part in ("first_name", "last_name")).strip(),
        "email": shown_address(person["email"] or ""),
    }


def _people_file(people: list[Mapping[str, Any]], locale: str) -> MailAttachment:
    """Everybody, for Excel as it is set up in France: BOM, semicolons, CRLF, and no cell that runs as a formula."""
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, delimiter=";", lineterminator="\r\n")
    columns = ("N°", "Prénom", "Nom", "Adresse e-mail", "Code", "Résultat")
    writer.writerow([translate(locale, column) for column in columns])
    for person in people:
        typed = (safe_cell(person[name] or "") for name in ("first_name", "last_name", "email"))
        code = person["code"]
        writer.writerow([person["position"], *typed, code, code_sentence(code, locale)])
    content = "\ufeff" + lines.getvalue()
    return MailAttachment(translate(locale, "inscriptions.csv"), "text/csv", content.encode("utf-8", "replace"))


def _zipped_if_large(file: MailAttachment) -> MailAttachment:
    """The file, or a zip of it; the same bytes each time, as the mail is the same each time it is tried."""
    if len(file.content) <= LARGEST_PLAIN_FILE:
        return file
    entry = zipfile.ZipInfo(file.filename)  # dated 1980: when it was made must not show
    entry.compress_type = zipfile.ZIP_DEFLATED
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compresslevel=9) as archive:
        archive.writestr(entry, file.content)
    return MailAttachment(file.filename.removesuffix(".csv") + ".zip", ZIP, packed.getvalue())


@cache
def _environment(locale: str, *, html: bool) -> Environment:
    """One environment per language and format, so that nothing about a mail is looked up twice."""
    from workers.mail.inlining import InliningLoader  # noqa: PLC0415 - 2 MB in every process, for those that mail

    environment = Environment(
        loader=InliningLoader(TEMPLATES) if html else FileSystemLoader(TEMPLATES),
        autoescape=html,  # noqa: S701 - plain text has nothing to escape; its values are made inert
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["lang"] = locale
    # A filter, not a function: Jinja calls it without a detour, and a sentence without values is looked up when the
    # template is compiled.
    environment.filters["t"] = _html_sentence(locale) if html else _text_sentence(locale)
    environment.filters["moment"] = lambda moment: shown_moment(moment, locale)
    environment.filters["day"] = lambda moment: shown_day(moment, locale)
    environment.filters["number"] = lambda number: format_decimal(number, locale=LOCALES_OF_BABEL[locale])
    return environment


def _text_sentence(locale: str) -> Callable[..., str]:
    translated = lru_cache(maxsize=None)(lambda sentence: translate(locale, sentence))
    return lambda sentence, **values: translated(sentence) % values if values else translated(sentence)


def _html_sentence(locale: str) -> Callable[..., Markup]:
    """Sentences are ours and hold no markup; values are escaped unless a macro made them markup."""
    translated = lru_cache(maxsize=None)(lambda sentence: Markup.escape(translate(locale, sentence)))
    return lambda sentence, **values: translated(sentence) % values if values else translated(sentence)


@cache
def _template(locale: str, kind: EmailKind, name: str) -> Any:
    return _environment(locale, html=name.endswith(".html")).get_template(f"{kind}/{name}")
