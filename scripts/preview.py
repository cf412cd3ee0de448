"""Renders every mail in every language with sample values into ``var/preview``, and prints the paths."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.words import LOCALES, EmailKind
from workers.mail.renderer import render

FOLDER = Path(__file__).resolve().parents[1] / "var" / "preview"

_PERSON = {
    "first_name": "Anne-Sophie",
    "company_name": "Menuiserie Lefèvre & Fils",
    "training_title": "Prévention des risques électriques",
    "platform_name": "Formation Pro",
    "support_address": "support@formation.example",
}
_LINK = {
    "link": "https://formation.example/activation/0198f0c2-7d3e-7c11-9a55-3f2b8f0f2a11.k1.Zm9ybWF0aW9uLXByby1leGVtcGxl",
    "expires_at": datetime(2026, 3, 14, 8, 30, tzinfo=UTC),
}
_PEOPLE = [
    ("Anne-Sophie", "Lefèvre", "anne-sophie.lefevre@menuiserie.example", "enrolled"),
    ("Stéphane", "N’Guyen", "stephane@menuiserie.example", "attached"),
    ("Zoé", "Müller", "zoe.muller@menuiserie.example", "already_enrolled"),
    ("Karim", "", "karim@menuiserie", "invalid_email"),
    ("Gagnez http://evil.example", "Ici", "gagnez@evil.example", "no_seat_left"),
]
_REPORT = {
    "company_name": _PERSON["company_name"],
    "training_title": _PERSON["training_title"],
    "planned_seats": 25,
    "enrolled_count": 25,
    "remaining": 0,
    "counts": {"enrolled": 1, "attached": 1, "already_enrolled": 1, "invalid_email": 1, "no_seat_left": 1},
    "people": [
        {"position": position, "first_name": first, "last_name": last, "email": email, "code": code}
        for position, (first, last, email, code) in enumerate(_PEOPLE, start=1)
    ],
    "job_id": "0198f0c2-7d3e-7c11-9a55-3f2b8f0f2a11",
    "dry_run": False,
    "state": "succeeded",
}

SAMPLES: Mapping[str, tuple[EmailKind, Mapping[str, Any]]] = {
    "invitation": (EmailKind.INVITATION, _PERSON | _LINK),
    "attachment": (EmailKind.ATTACHMENT, _PERSON | {"link": None, "expires_at": None}),
    "attachment-not-activated": (EmailKind.ATTACHMENT, _PERSON | _LINK),
    "enrollment_report": (EmailKind.ENROLLMENT_REPORT, _REPORT),
    "enrollment_report-dry-run": (EmailKind.ENROLLMENT_REPORT, _REPORT | {"dry_run": True}),
    "enrollment_report-refused": (
        EmailKind.ENROLLMENT_REPORT,
        _REPORT | {"state": "refused", "counts": {"not_carried_out": 5}, "people": []},
    ),
}
"""Name of the preview → kind and values; tests render the same ones."""


def main() -> None:
    """Write the previews."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (kind, context) in SAMPLES.items():
        for locale in LOCALES:
            rendered = render(kind, locale, context)
            for suffix, content in (("html", rendered.html), ("txt", f"{rendered.subject}\n\n{rendered.text}")):
                path = FOLDER / f"{name}.{locale}.{suffix}"
                path.write_text(content, encoding="utf-8")
                print(path)


if __name__ == "__main__":
    main()
