"""Turns a certificate into the plain texts that the template of a document puts in place."""

import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final

import segno

from models.document import (
    CertificateIssuer,
    CertificateSnapshot,
    Document,
    PrintedCertificate,
    TrainingModality,
)
from models.person import full_name
from workers.documents.printable import (
    REPLACEMENT,
    breakable,
    printable,
    words_of,
)
from workers.i18n.values import (
    read_texts,
    shown_date,
    shown_duration,
    shown_percent,
)

TEXTS: Final = read_texts(Path(__file__).parent / "texts.toml")
DEFAULT_COLOUR: Final = "#1b3a5f"

NAMES: Final = ("learner", "issuer", "employer", "title", "signatory", "quality")
MANY: Final = 250
"""From so many characters of these names on, a page may be too full: the template then measures and shrinks it."""

MASK: Final = 3
"""The number of the mask pattern of QR codes (ISO/IEC 18004, 7.8); this one has no long runs of its own."""

_DARK: Final = re.compile(b"\x01+")


def contents(printed: PrintedCertificate, document: Document, locale: str, logos: Mapping[str, str]) -> dict[str, Any]:
    """Returns the data of a template. Every text is made printable; nothing in it is markup.

    Parameters:
      logos: the path of each picture below the root of the templates, by its hash.
    """
    texts, snapshot = TEXTS[locale], printed.snapshot
    colour, issuer_logo = snapshot.colour or snapshot.issuer.colour, logos.get(snapshot.issuer.logo or "")
    values = {
        "lang": locale,
        "labels": _labels(document, texts),
        "colour": colour or DEFAULT_COLOUR,
        "issuer_logo": issuer_logo,
        "logo": logos.get(snapshot.logo or ""),
        **_names(snapshot),
        **_register(printed, locale),
        **_of_the_training(snapshot, texts, locale),
        "legal": list(_legal(snapshot.issuer, texts)),
        "qr": _square(snapshot.verify_url),
        "qr_alt": texts["qr_alt"].format(verify_url=printable(snapshot.verify_url)),
    }
    values["document_title"] = f"{texts[document.value]} {printed.number} – {values['learner']}"
    values["long"] = sum(len(str(values[name])) for name in NAMES) > MANY
    return values | _words(values)


def _labels(document: Document, texts: Mapping[str, Any]) -> dict[str, Any]:
    of_it = texts["duplicate_from_realisation" if document is Document.REALISATION else "duplicate_from"]
    return {**texts, "duplicate_from": of_it}


def _names(snapshot: CertificateSnapshot) -> dict[str, Any]:
    issuer = snapshot.issuer
    return {
        "author": printable(issuer.legal_name),
        "learner": printable(full_name(snapshot.first_name, snapshot.last_name)) or REPLACEMENT,
        "issuer": breakable(issuer.legal_name),
        "employer": breakable(snapshot.employer),
        "title": breakable(snapshot.title),
        "objectives": [breakable(one) for one in snapshot.objectives],
        "signatory": breakable(issuer.signatory_name),
        "quality": breakable(issuer.signatory_quality),
        "place": breakable(issuer.place),
        "verify_url": printable(snapshot.verify_url),
    }


def _register(printed: PrintedCertificate, locale: str) -> dict[str, Any]:
    """Returns the values that only the register has."""
    known = {
        "number": printed.number,
        "code": printed.code,
        "issued_on": shown_date(printed.issued_on, locale),
        "replaces": printed.replaces,
        "duplicate": None,
    }
    if printed.duplicate is None:
        return known
    return known | {
        "duplicate": True,
        "duplicate_number": printed.duplicate.number,
        "duplicate_on": shown_date(printed.duplicate.issued_on, locale),
    }


def _of_the_training(snapshot: CertificateSnapshot, texts: Mapping[str, Any], locale: str) -> dict[str, Any]:
    done, planned = snapshot.done_minutes, snapshot.planned_minutes
    score = None if snapshot.score is None else shown_percent(snapshot.score, locale)
    return {
        "starts_on": shown_date(snapshot.starts_on, locale),
        "ends_on": shown_date(snapshot.ends_on, locale),
        "facts": list(_facts(snapshot, texts, locale)),
        "natures": [(label, key == snapshot.nature.value) for key, label in texts["natures"].items()],
        "hours_known": bool(done or planned),
        "hours": _hours(done, planned, texts),
        "modality": texts["modalities"][snapshot.modality.value] if snapshot.modality else None,
        "remote": snapshot.modality in (TrainingModality.REMOTE, TrainingModality.BLENDED),
        "score": score,
    }


def _facts(snapshot: CertificateSnapshot, texts: Mapping[str, Any], locale: str) -> Iterator[tuple[str, str]]:
    labels = texts["facts"]
    yield labels["dates"], _dates(snapshot.starts_on, snapshot.ends_on, labels, locale)
    if snapshot.planned_minutes:
        yield labels["planned"], shown_duration(snapshot.planned_minutes)
    if snapshot.done_minutes:
        yield labels["done"], shown_duration(snapshot.done_minutes)
    if snapshot.modality:
        yield labels["modality"], texts["modalities"][snapshot.modality.value]
    yield labels["nature"], texts["natures"][snapshot.nature.value]
    if snapshot.score is not None:
        yield labels["score"], shown_percent(snapshot.score, locale)


def _dates(starts_on: date, ends_on: date, labels: Mapping[str, str], locale: str) -> str:
    sentence = labels["one_day"] if starts_on == ends_on else labels["from_to"]
    return sentence.format(starts_on=shown_date(starts_on, locale), ends_on=shown_date(ends_on, locale))


def _hours(done: int | None, planned: int | None, texts: Mapping[str, Any]) -> str:
    if done and planned:
        return str(texts["done_and_planned"].format(done=shown_duration(done), planned=shown_duration(planned)))
    return shown_duration(done or planned or 0)


def _legal(issuer: CertificateIssuer, texts: Mapping[str, Any]) -> Iterator[str]:
    """Yields what the law requires of the issuer: R. 6351-6, and L. 6352-12 for the sentence on approval."""
    issued_by = ", ".join(breakable(part) for part in (issuer.legal_name, *issuer.address)) + "."
    yield f"{issued_by} {texts['siret'].format(siret=_grouped(issuer.siret))}." if issuer.siret else issued_by
    if issuer.activity_number:
        sentence = texts["activity_region" if issuer.activity_region else "activity"]
        region = breakable(issuer.activity_region or "")
        declared = sentence.format(activity_number=issuer.activity_number, activity_region=region)
        yield f"{declared} {texts['no_approval']}"


def _grouped(siret: str) -> str:
    return "\N{NO-BREAK SPACE}".join((siret[:3], siret[3:6], siret[6:9], siret[9:]))


def _words(values: Mapping[str, Any]) -> dict[str, list[str]]:
    """Returns the words of each text that shrinks to its space: no line can break inside a word."""
    facts = [value for _, value in values["facts"]]
    return {
        "learner_words": words_of(values["learner"]),
        "issuer_words": words_of(values["issuer"]),
        "employer_words": words_of(values["employer"]),
        "title_words": words_of(values["title"]),
        "place_words": words_of(values["place"]),
        "signatory_words": words_of(values["signatory"], values["quality"]),
        "fact_words": words_of(*facts),
        "objective_words": words_of(*values["objectives"]),
        "undersigned_words": words_of(values["signatory"], values["quality"], values["issuer"]),
        "legal_words": words_of(*values["legal"], values["verify_url"]),
    }


def _square(url: str) -> str:
    """Returns the QR code as SVG; with a quarter of it damaged (level Q) it still leads to the page.

    The mask is fixed: choosing the best of eight takes four milliseconds, a third of a document, and every reader
    accepts any of them (ISO/IEC 18004, 7.8).
    """
    rows = segno.make(url, error="q", micro=False, mask=MASK).matrix
    dark = "".join(f"M{run.start()} {y}.5H{run.end()}" for y, row in enumerate(rows) for run in _DARK.finditer(row))
    size = len(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}"><path stroke="#000" d="{dark}"/></svg>'
    )
