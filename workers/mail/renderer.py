"""Renders a kind of mail in a locale, with plain values, to subject, text, HTML and attachment.

A mail is a folder of ``email_templates``: ``subject.txt``, ``body.txt``, ``body.html``. Values that people typed are
made inert before any template sees them (``workers.mail.values``); HTML escapes them as well.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, TemplateError
from markupsafe import Markup

from models.person import full_name, printed_name
from models.words import LOCALES, Code, EmailKind, hints_of
from workers.errors import Permanent
from workers.i18n.catalogues import TEMPLATES, code_sentence, translate
from workers.i18n.results import ask_domain, explain_result
from workers.mail.attachments import ZIP, MailAttachment, document_file, errors_file, people_file
from workers.mail.marks import FORMATS, ValueMark
from workers.mail.values import inert_file_name, inert_name, inert_reference, shown_address, visible

PEOPLE_IN_BODY = 100
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
        "accented",
        "doubtful",
        "doubtful_count",
        "failed_count",
        "again",
        "hints",
    }
)
DELIMITER_NAMES = {";": "point-virgule", ",": "virgule", "\t": "tabulation", "|": "barre verticale"}
NAMES = frozenset(
    {"first_name", "last_name", "old_first_name", "old_last_name", "new_first_name", "new_last_name", "company_name"}
    | {"training_title", "contract_reference", "file_name", "sheet", "endpoint_reference", "portal_name"}
)
INERT: Final[Mapping[str, Callable[[str], str]]] = {
    "contract_reference": inert_reference,
    "endpoint_reference": inert_reference,
    "portal_name": inert_reference,
    "sheet": inert_reference,
    "file_name": inert_file_name,
}
"""How names that people copy are made inert; the others are by ``inert_name``."""

ADDRESSES = frozenset({"new_address", "old_address", "person_email"})


@dataclass(frozen=True, slots=True)
class RenderedMail:
    """The content of a mail for one person, before it becomes a message."""

    subject: str
    text: str
    html: str
    locale: str
    attachments: tuple[MailAttachment, ...] = ()


Presentation = tuple[dict[str, Any], MailAttachment | None]
"""The values that templates get besides those of the context, and the file that the mail carries."""


def render(kind: EmailKind, locale: str, context: Mapping[str, Any]) -> RenderedMail:
    """Renders the mail of this kind in this locale; an unknown locale is taken for French.

    Parameters:
      context: the values its templates name; datetimes carry a time zone.

    Raises:
      Permanent: a value is missing or of the wrong type, or a template is wrong; another attempt would fail too.
    """
    locale = known_locale(locale)
    try:
        values, attachments = _values(kind, locale, context)
        subject = one_line(template(locale, kind, "subject.txt").render(values))
        text = whole_lines(template(locale, kind, "body.txt").render(values))
        html = template(locale, kind, "body.html").render(values, subject=subject)
    except (TemplateError, KeyError, TypeError, ValueError, AttributeError) as wrong:
        # The message gives the kind of error and the missing name, but no value: it may be a person's name.
        missed = f": {wrong}" if isinstance(wrong, TemplateError | KeyError) else ""
        raise Permanent(f"mail {kind} ({locale}) cannot be rendered: {type(wrong).__name__}{missed}") from wrong
    return RenderedMail(subject, text, html, locale, attachments)


def known_locale(locale: str) -> str:
    """Returns the locale, or French for one that has no catalogue."""
    return locale if locale in LOCALES else LOCALES[0]


def one_line(subject: str) -> str:
    """Returns a rendered subject on one line."""
    return " ".join(subject.split())


def whole_lines(text: str) -> str:
    """Returns a rendered text without space around it, ending with a line end."""
    return text.strip() + "\n"


def _values(
    kind: EmailKind, locale: str, context: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[MailAttachment, ...]]:
    values = {name: shown_value(name, value) for name, value in context.items()}
    more, attachments = present(kind, locale, context)
    return values | more, attachments


def present(
    kind: EmailKind, locale: str, context: Mapping[str, Any]
) -> tuple[dict[str, Any], tuple[MailAttachment, ...]]:
    """Returns the values that templates of this kind get besides those of the context, and the files of the mail."""
    if kind not in PRESENTERS:
        return {}, ()
    more, file = PRESENTERS[kind](locale, context)
    return more, (file,) if file else ()


def _present_duplicate(_: str, context: Mapping[str, Any]) -> Presentation:
    return {}, document_file(context) if context["attached"] else None


def _present_release_report(_: str, context: Mapping[str, Any]) -> Presentation:
    shown = [_shown_holder(person) | {"refused": person["refused"]} for person in context["people"][:PEOPLE_IN_BODY]]
    return {"shown_people": shown, "hidden": context["total"] > len(shown)}, None


def _present_undeliverable(_: str, context: Mapping[str, Any]) -> Presentation:
    shown = [shown_address(address) for address in context["addresses"][:PEOPLE_IN_BODY]]
    return {"shown_addresses": shown, "hidden": context["total"] > len(shown)}, None


def _present_enrollment_report(locale: str, context: Mapping[str, Any]) -> Presentation:
    people = context["people"]
    hidden = max(0, len(people) - PEOPLE_IN_BODY)
    file = people_file(people, locale) if hidden else None
    hints = Counter(hint for person in people for hint in hints_of(person.get("detail")))
    return {
        "tallies": _tallies(locale, context["counts"] | hints),
        "shown_people": [_shown_person(person, locale) for person in people[:PEOPLE_IN_BODY]],
        "hidden": hidden,
        "total": len(people),
        "zipped": file is not None and file.content_type == ZIP,
    }, file


def _present_import_report(locale: str, context: Mapping[str, Any]) -> Presentation:
    if missed := IMPORT_FACTS - context.keys():  # some are shown for some imports only, but all must be given
        raise KeyError(*sorted(missed))
    file = errors_file(locale, context) if context["failed"] else None
    return {
        "tallies": _tallies(locale, context["counts"]),
        "file_reason": code_sentence(context["file_code"], locale) if context["file_code"] else None,
        "encoding": ENCODINGS.get(context["encoding"]),
        "delimiter_name": translate(locale, DELIMITER_NAMES.get(context["delimiter"], "")),
        "doubtful": [{"line": one["line"], "question": ask_domain(one, locale)} for one in context["doubtful"]],
        "accented": ", ".join(map(inert_name, context["accented"])),
        "attached": file is not None,
        "zipped": file is not None and file.content_type == ZIP,
        "to_check": [_shown_hint(hint, locale) for hint in context["hints"]],
    }, file


PRESENTERS: Final[Mapping[EmailKind, Callable[[str, Mapping[str, Any]], Presentation]]] = {
    EmailKind.DUPLICATE: _present_duplicate,
    EmailKind.ENROLLMENT_REPORT: _present_enrollment_report,
    EmailKind.IMPORT_REPORT: _present_import_report,
    EmailKind.RELEASE_REPORT: _present_release_report,
    EmailKind.UNDELIVERABLE: _present_undeliverable,
}
"""The mails that show more than their values: lists of people, counts by code, and a file."""


def _tallies(locale: str, counts: Mapping[str, int]) -> list[dict[str, Any]]:
    return [
        {"sentence": code_sentence(code, locale), "number": counts[code]}
        for code in [*Code, *sorted(set(counts) - set(Code))]
        if counts.get(code)
    ]


def _shown_hint(hint: Mapping[str, Any], locale: str) -> dict[str, Any]:
    """Returns what is to be checked in an imported file, with the first lines it is about."""
    more = hint["number"] - len(hint["lines"])
    return {"sentence": code_sentence(hint["code"], locale), "lines": ", ".join(map(str, hint["lines"])), "more": more}


def shown_value(name: str, value: object) -> object:
    """Returns one value of the context in the form that templates may show."""
    if not isinstance(value, str):
        return value
    if name in ADDRESSES:
        return shown_address(value)
    return INERT.get(name, inert_name)(value) if name in NAMES else visible(value)


def _shown_person(person: Mapping[str, Any], locale: str) -> dict[str, Any]:
    sentence = explain_result(person["code"], person.get("detail"), locale)
    return _shown_holder(person) | {"position": person["position"], "sentence": sentence}


def _shown_holder(person: Mapping[str, Any]) -> dict[str, Any]:
    names = (inert_name(printed_name(person[part] or "")) for part in ("first_name", "last_name"))
    return {
        "name": full_name(*names),
        "email": shown_address(person["email"] or ""),
    }


@cache
def _environment(locale: str, *, html: bool) -> Environment:
    """Makes one environment per language and format, so that each template is looked up once."""
    from workers.mail.inlining import InliningLoader  # noqa: PLC0415 - it takes 2 MB, which only mailers need

    environment = Environment(
        loader=InliningLoader(TEMPLATES) if html else FileSystemLoader(TEMPLATES),
        autoescape=html,  # noqa: S701 - plain text has nothing to escape; its values are made inert
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals["lang"] = locale
    # It is a filter and not a function: Jinja calls it directly, and translates a sentence without values when the
    # template is compiled.
    environment.filters["t"] = _html_sentence(locale) if html else _text_sentence(locale)
    environment.filters |= {form: _showing(form, locale) for form in FORMATS}
    return environment


def _showing(form: str, locale: str) -> Callable[[Any], Any]:
    show = FORMATS[form]
    return lambda value: value.through(form) if isinstance(value, ValueMark) else show(value, locale)


def _text_sentence(locale: str) -> Callable[..., str]:
    translated = lru_cache(maxsize=None)(lambda sentence: translate(locale, sentence))
    return lambda sentence, **values: translated(sentence) % values if values else translated(sentence)


def _html_sentence(locale: str) -> Callable[..., Markup]:
    """Makes the filter for HTML: our sentences hold no markup; values are escaped unless a macro made them markup."""
    translated = lru_cache(maxsize=None)(lambda sentence: Markup.escape(translate(locale, sentence)))
    return lambda sentence, **values: translated(sentence) % values if values else translated(sentence)


@cache
def template(locale: str, kind: EmailKind, name: str) -> Template:
    """Returns a template of a mail, compiled once for each language."""
    return _environment(locale, html=name.endswith(".html")).get_template(f"{kind}/{name}")
