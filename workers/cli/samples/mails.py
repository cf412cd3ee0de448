"""Sample values for every mail: what `matricule mail preview` shows and tests render."""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from models.words import EmailKind
from workers.rosters.columns import RosterColumn, RosterHeader

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
_RESET = {
    name: value for name, value in (_PERSON | _LINK).items() if name not in {"company_name", "training_title"}
} | {"corrected": False}
_ACCESS = {"access_url": "https://formation.example/cours/prevention-des-risques-electriques"}
_NOWHERE = {"access_url": None}
_NOT_ME = {"not_me_link": "https://formation.example/links/AZjwwn0-fBGaVT8rjw8qEQ.k1.cGFzLW1vaS1leGVtcGxlLWRlLWxpZW4"}
_DETACHED = {name: value for name, value in _PERSON.items() if name != "platform_name"} | {
    "last_name": "Lefèvre",
    "person_email": "anne-sophie.lefevre@menuiserie.example",
    "contract_reference": "CTR-2026-001",
    "seat_free": True,
}
_PEOPLE = [
    ("Anne-Sophie", "Lefèvre", "anne-sophie.lefevre@menuiserie.example"),
    ("Stéphane", "N’Guyen", "stephane@menuiserie.example"),
    ("Zoé", "Müller", "zoe.muller@menuiserie.example"),
    ("Karim", "", "karim@menuiserie"),
    ("Gagnez http://evil.example", "Ici", "gagnez@evil.example"),
]
_WRITTEN = {name: _PERSON[name] for name in ("company_name", "platform_name", "support_address")}
_CORRECTION = _WRITTEN | {"new_address": "anne-sophie.lefevre@menuiserie.example"}
_MASKED = _WRITTEN | {"new_address": "a***@menuiserie.example", "first_name": _PERSON["first_name"]}
_APPLIED = _MASKED | {"password_kept": True}
_BY_OPS = _MASKED | {"password_kept": False, "company_name": None}
_NOTICE = _MASKED | {"link": _LINK["link"], "answer_before": _LINK["expires_at"]}
_ENDED = _CORRECTION | {"ending": "refusal", "to_manager": False}
_ENDED_TO_MANAGER = _ENDED | {
    "to_manager": True,
    "old_address": "a.lefevre@menuiserie.example",
    "contract_reference": "CTR-2026-001",
    "training_title": _PERSON["training_title"],
}
_UNDELIVERABLE = {name: value for name, value in _PERSON.items() if name not in ("first_name", "platform_name")} | {
    "contract_reference": "CTR-2026-001",
    "addresses": [email for _, _, email in _PEOPLE[:3]],
    "total": 3,
}
_REPLACED = _WRITTEN | {"link": None}
_NEW_NAME = _WRITTEN | {"new_first_name": _PERSON["first_name"], "new_last_name": "Lefèvre-Martin"}
_RENAMED = _NEW_NAME | {"old_first_name": "Anne Sofie", "old_last_name": "Lefevre"}
_NAME_ANSWER = _NEW_NAME | {
    "contract_reference": "CTR-2026-001",
    "training_title": _PERSON["training_title"],
    "ending": "confirmed",
}


def _report(*codes: str, times: int = 1, **more: Any) -> dict[str, Any]:
    """A report in which these became of the people, in order."""
    people = [
        {"position": position, "first_name": first, "last_name": last, "email": email, "code": code}
        | {"detail": {"names_differ": True} if code == "attached" else None}
        for position, ((first, last, email), code) in enumerate(list(zip(_PEOPLE, codes, strict=True)) * times, start=1)
    ]
    facts = {
        "company_name": _PERSON["company_name"],
        "training_title": _PERSON["training_title"],
        "contract_reference": "CTR-2026-001",
        "planned_seats": 25,
        "enrolled_count": 25,
        "remaining": 0,
        "counts": Counter(person["code"] for person in people),
        "people": people,
        "job_id": "0198f0c2-7d3e-7c11-9a55-3f2b8f0f2a11",
        "state": "succeeded",
    }
    return facts | more


_RELEASED_FROM = datetime(2026, 4, 2, 22, 30, tzinfo=UTC)  # the third of April in Paris


def _release_report(times: int, released_from: datetime | None) -> dict[str, Any]:
    """A report of seats that will be given back, or were; at most a hundred people are told by name."""
    people = [
        {"first_name": first, "last_name": last, "email": email, "refused": email == "karim@menuiserie"}
        for first, last, email in _PEOPLE
    ] * times
    return {
        "company_name": _PERSON["company_name"],
        "training_title": _PERSON["training_title"],
        "contract_reference": "CTR-2026-001",
        "released_from": released_from,
        "people": people[:100],
        "total": len(people),
        "total_refused": times,
    }


_MIXED = ("enrolled", "attached", "already_enrolled", "invalid_email", "no_seat_left")
_UNDONE = ("not_carried_out", "not_carried_out", "already_enrolled", "invalid_email", "not_carried_out")
_UNKNOWN: dict[str, Any] = {
    "state": "refused",
    "company_name": None,
    "training_title": None,
    "enrolled_count": 0,
    "planned_seats": 0,
}

_IMPORT: dict[str, Any] = {
    "company_name": _PERSON["company_name"],
    "training_title": _PERSON["training_title"],
    "contract_reference": "CTR-2026-001",
    "job_id": "0198f0c2-7d3e-7c11-9a55-3f2b8f0f2a11",
    "state": "succeeded",
    "file_code": None,
    "file_name": "export RH mars 2026.csv",
    "encoding": "windows-1252",
    "delimiter": ";",
    "sheet": None,
    "planned_seats": 250,
    "enrolled_count": 250,
    "remaining": 0,
    "counts": {"enrolled": 186, "attached": 12, "already_enrolled": 31, "invalid_email": 2, "no_seat_left": 9},
    "hints": [{"code": "names_differ", "number": 52, "lines": [4, 17, 1_205]}],
    "failed_count": 11,
    "again": False,
    "failed": [(14, ["Lefèvre", "Zoé", "zoe@menuiserie"], "invalid_email", None)],
    "doubtful": [{"line": 31, "did_you_mean": "gmail.com"}, {"line": 77, "did_you_mean": "orange.fr"}],
    "doubtful_count": 2,
    "accented": ["Žára", "Hélène"],
    "header": RosterHeader(
        1,
        {"last_name": RosterColumn(1, "Nom"), "first_name": RosterColumn(2, "Nom"), "email": RosterColumn(3, "Mél")},
        (),
    ),
}
_CLOSED: dict[str, Any] = {
    "state": "refused",
    "counts": {"contract_expired": 240},
    "hints": [],
    "failed_count": 240,
    "again": True,
    "failed": None,
    "header": None,
}
_UNREADABLE: dict[str, Any] = {
    "state": "refused",
    "file_code": "encoding_not_recognised",
    "encoding": None,
    "planned_seats": None,
    "enrolled_count": None,
    "remaining": None,
    "counts": {},
    "hints": [],
    "failed_count": 0,
    "failed": None,
    "header": None,
}

_DUPLICATE: dict[str, Any] = {
    "company_name": _PERSON["company_name"],
    "training_title": _PERSON["training_title"],
    "job_id": "0198f0c2-7d3e-7c11-9a55-3f2b8f0f2a11",
    "document": "attestation",
    "made": 1,
    "refused": 0,
    "file_name": "attestation-Lefevre-Anne-Sophie-2026-000042-D1.pdf",
    "kind": "pdf",
    "attached": True,
    "content": b"%PDF-1.7",
    "link": "https://formation.example/files/AZjwwn0-fBGaVT8rjw8qEQ.k1.ZHVwbGljYXRhLWV4ZW1wbGUtZGUtbGllbg",
    "expires_at": datetime(2026, 3, 14, 8, 30, tzinfo=UTC),
}
_DUPLICATES = {name: value for name, value in _DUPLICATE.items() if name != "content"} | {
    "made": 186,
    "refused": 3,
    "file_name": "duplicatas.zip",
    "kind": "zip",
    "attached": False,
}

_FAILING = {name: _PERSON[name] for name in ("platform_name", "support_address")} | {
    "portal_name": "lms-horizon",
    "endpoint_reference": "suivi",
    "disabled": None,
    "failing_since": datetime(2026, 3, 14, 8, 30, tzinfo=UTC),
    "last_answer": "HTTP 500",
    "waiting": 1_250,
}

SAMPLES: Mapping[str, tuple[EmailKind, Mapping[str, Any]]] = {
    "invitation": (EmailKind.INVITATION, _PERSON | _LINK | _ACCESS),
    "invitation-without-access": (EmailKind.INVITATION, _PERSON | _LINK | _NOWHERE),
    "attachment": (EmailKind.ATTACHMENT, _PERSON | _NOT_ME | _ACCESS | {"link": None, "expires_at": None}),
    "attachment-not-activated": (EmailKind.ATTACHMENT, _PERSON | _NOT_ME | _LINK | _ACCESS),
    "attachment-without-not-me": (
        EmailKind.ATTACHMENT,
        _PERSON | _NOWHERE | {"link": None, "expires_at": None, "not_me_link": None},
    ),
    "password_reset": (EmailKind.PASSWORD_RESET, _RESET | {"company_name": _PERSON["company_name"]}),
    "password_reset-self-service": (EmailKind.PASSWORD_RESET, _RESET | {"company_name": None}),
    "password_reset-corrected": (EmailKind.PASSWORD_RESET, _RESET | {"company_name": None, "corrected": True}),
    "withdrawal": (EmailKind.WITHDRAWAL, _PERSON),
    "detachment": (EmailKind.DETACHMENT, _DETACHED),
    "detachment-begun": (EmailKind.DETACHMENT, _DETACHED | {"seat_free": False}),
    "detachment-nameless": (EmailKind.DETACHMENT, _DETACHED | {"first_name": "", "last_name": ""}),
    "correction_confirmation": (EmailKind.CORRECTION_CONFIRMATION, _CORRECTION | _LINK),
    "correction_notice": (EmailKind.CORRECTION_NOTICE, _NOTICE | {"silence_counts": True}),
    "correction_notice-refused-before": (EmailKind.CORRECTION_NOTICE, _NOTICE | {"silence_counts": False}),
    "correction_notice-never-activated": (EmailKind.CORRECTION_NOTICE, _REPLACED),
    "correction_notice-by-ops": (EmailKind.CORRECTION_NOTICE, _REPLACED | {"company_name": None}),
    "correction_applied": (EmailKind.CORRECTION_APPLIED, _APPLIED | _CORRECTION | {"to_new": True}),
    "correction_applied-to-the-old-address": (EmailKind.CORRECTION_APPLIED, _APPLIED | {"to_new": False}),
    "correction_applied-by-ops": (EmailKind.CORRECTION_APPLIED, _BY_OPS | {"to_new": False}),
    "correction_ended": (EmailKind.CORRECTION_ENDED, _ENDED),
    "correction_ended-to-the-manager": (EmailKind.CORRECTION_ENDED, _ENDED_TO_MANAGER | {"ending": "expired"}),
    "correction_ended-shared": (EmailKind.CORRECTION_ENDED, _ENDED_TO_MANAGER | {"ending": "shared"}),
    "name_confirmation": (EmailKind.NAME_CONFIRMATION, _RENAMED | _LINK),
    "name_corrected": (EmailKind.NAME_CORRECTED, _NEW_NAME),
    "name_corrected-by-ops": (EmailKind.NAME_CORRECTED, _NEW_NAME | {"company_name": None}),
    "name_answer": (EmailKind.NAME_ANSWER, _NAME_ANSWER),
    "name_answer-refused": (EmailKind.NAME_ANSWER, _NAME_ANSWER | {"ending": "refusal"}),
    "name_answer-expired": (EmailKind.NAME_ANSWER, _NAME_ANSWER | {"ending": "expired"}),
    "name_answer-links-voided": (EmailKind.NAME_ANSWER, _NAME_ANSWER | {"ending": "links_voided"}),
    "import_report": (EmailKind.IMPORT_REPORT, _IMPORT),
    "import_report-workbook": (EmailKind.IMPORT_REPORT, _IMPORT | {"encoding": None, "sheet": "Session de mars"}),
    "import_report-many": (EmailKind.IMPORT_REPORT, _IMPORT | {"failed": None, "header": None}),
    "import_report-unreadable": (EmailKind.IMPORT_REPORT, _IMPORT | _UNREADABLE),
    "import_report-again": (EmailKind.IMPORT_REPORT, _IMPORT | _CLOSED),
    "import_report-cancelled": (EmailKind.IMPORT_REPORT, _IMPORT | {"state": "cancelled"}),
    "duplicate": (EmailKind.DUPLICATE, _DUPLICATE),
    "duplicate-zip": (EmailKind.DUPLICATE, _DUPLICATES),
    "duplicate-zip-attached": (EmailKind.DUPLICATE, _DUPLICATES | {"attached": True, "content": b"PK", "made": 12}),
    "duplicate-realisation": (EmailKind.DUPLICATE, _DUPLICATE | {"document": "realisation"}),
    "enrollment_report": (EmailKind.ENROLLMENT_REPORT, _report(*_MIXED)),
    "enrollment_report-refused": (
        EmailKind.ENROLLMENT_REPORT,
        _report(*_UNDONE, state="refused", enrolled_count=23, remaining=2),
    ),
    "enrollment_report-unknown-contract": (
        EmailKind.ENROLLMENT_REPORT,
        _report(*["unknown_contract"] * len(_PEOPLE), **_UNKNOWN),
    ),
    "enrollment_report-long": (EmailKind.ENROLLMENT_REPORT, _report(*_MIXED, times=30)),
    "undeliverable": (EmailKind.UNDELIVERABLE, _UNDELIVERABLE),
    "webhooks_failing": (EmailKind.WEBHOOKS_FAILING, _FAILING),
    "webhooks_failing-disabled": (EmailKind.WEBHOOKS_FAILING, _FAILING | {"disabled": "failing"}),
    "webhooks_failing-gone": (
        EmailKind.WEBHOOKS_FAILING,
        _FAILING | {"disabled": "gone", "failing_since": None, "last_answer": None},
    ),
    "reminder": (EmailKind.REMINDER, _PERSON | _LINK | _ACCESS | {"last": False, "released_from": None}),
    "reminder-last": (EmailKind.REMINDER, _PERSON | _LINK | _ACCESS | {"last": True, "released_from": _RELEASED_FROM}),
    "release_warning": (EmailKind.RELEASE_WARNING, _PERSON | _LINK | {"released_from": _RELEASED_FROM}),
    "release": (EmailKind.RELEASE, _PERSON),
    "release_report": (EmailKind.RELEASE_REPORT, _release_report(1, _RELEASED_FROM)),
    "release_report-released": (EmailKind.RELEASE_REPORT, _release_report(1, None)),
    "release_report-long": (EmailKind.RELEASE_REPORT, _release_report(600, _RELEASED_FROM)),
}
"""Name of the sample → kind and values."""
