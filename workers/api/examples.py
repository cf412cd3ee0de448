"""An example of the body of each request, as the description shows it; a test reads each by its class."""

from collections.abc import Mapping
from typing import Any, Final

ENROLLMENT: Final = "0198f0c2-7d40-7b02-8c1d-5a2f9e0c4b77"
ACCOUNT: Final = "0198f0c2-7d3e-7c11-9a55-3f2b8f0f2a11"

EXAMPLES: Final[Mapping[str, Mapping[str, Any]]] = {
    "put_company": {"name": "Atelier Dubois"},
    "put_training": {"title": "Sécurité au travail", "planned_minutes": 420},
    "put_contract": {"company": "DUBOIS", "training": "SEC-1", "planned_seats": 25},
    "put_portal": {"access_url": "https://campus.example/"},
    "enroll": {
        "people": [
            {"email": "zoe.muller@example.com", "first_name": "Zoé", "last_name": "Müller", "external_id": "00042"}
        ],
        "policy": "until_full",
        "notify": True,
    },
    "cancel_import": {},
    "undo_import": {"notify": True},
    "withdraw": {"enrollment_ids": [ENROLLMENT]},
    "reset_passwords": {"enrollment_ids": [ENROLLMENT]},
    "resend_invitations": {"enrollment_ids": [ENROLLMENT]},
    "correct_email": {"email": "zoe.mueller@example.com"},
    "correct_name": {"last_name": "Mueller"},
    "record_progress": {
        "events": [{"enrollment_id": ENROLLMENT, "progress": "completed", "occurred_at": "2026-03-01T08:30:00+01:00"}]
    },
    "duplicate_certificates": {"enrollment_ids": [ENROLLMENT], "document": "attestation"},
    "duplicate_own_certificate": {"account_id": ACCOUNT, "document": "attestation"},
    "correct_certificate": {"last_name": "Mueller", "reason": "faute de frappe"},
    "revoke_certificate": {"reason": "émis par erreur"},
    "request_password_reset": {"email": "zoe.muller@example.com"},
    "export_person": {"email": "zoe.muller@example.com"},
    "erase_person": {"email": "zoe.muller@example.com", "reason": "demande de la personne"},
}
