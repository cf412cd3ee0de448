"""Says in a sentence what became of a person: every fault with its column, and the facts that explain the code."""

from collections.abc import Mapping
from typing import Any, Final

from models.words import hints_of
from workers.i18n.catalogues import code_sentence, translate

FIELDS: Final = {
    "email": "Adresse e-mail",
    "first_name": "Prénom",
    "last_name": "Nom",
    "locale": "Langue",
    "external_id": "Matricule",
}
"""The French names of the fields of a person."""


def explain_result(
    code: str, detail: Mapping[str, Any] | None, locale: str, columns: Mapping[str, str] | None = None
) -> str:
    """Returns the sentence of a result in a language.

    Parameters:
      detail: the facts of ``PersonResult.detail``.
      columns: the names of the columns of a file, by field; else fields have names of ours.
    """
    known = detail or {}
    if faults := known.get("faults"):
        named = (f"{_field(one['field'], locale, columns)} – {_sentence(one['code'], known, locale)}" for one in faults)
        said = ". ".join(named)
    else:
        said = _sentence(code, known, locale)
    to_check = [*(code_sentence(hint, locale) for hint in hints_of(known)), ask_domain(known, locale)]
    return ". ".join([said, *filter(None, to_check)])


def ask_domain(detail: Mapping[str, Any] | None, locale: str) -> str:
    """Returns the question whether another mail domain was meant, or an empty text."""
    meant = (detail or {}).get("did_you_mean")
    return translate(locale, "Vouliez-vous écrire %(domain)s dans l’adresse ?") % {"domain": meant} if meant else ""


def every_code(code: str, detail: Mapping[str, Any] | None) -> str:
    """Returns the codes of all faults of a person, the first one first."""
    faults = (detail or {}).get("faults")
    return ", ".join(one["code"] for one in faults) if faults else code


def _sentence(code: str, detail: Mapping[str, Any], locale: str) -> str:
    said = code_sentence(code, locale)
    if code != "duplicate_in_file":
        return said
    if (line := detail.get("earlier_line")) is not None:
        return f"{said} ({translate(locale, 'voir la ligne %(line)s') % {'line': line}})"
    if (position := detail.get("earlier_position")) is not None:
        return f"{said} ({translate(locale, 'voir la personne n° %(number)s') % {'number': position + 1}})"
    return said


def _field(field: str, locale: str, columns: Mapping[str, str] | None) -> str:
    """Returns the name of a field for people; a field that a person has not is named as the portal sent it."""
    return (columns or {}).get(field) or (translate(locale, FIELDS[field]) if field in FIELDS else field)
