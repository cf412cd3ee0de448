"""Portals in Python ask Matricule with this client, over HTTP or through Redis; it needs neither database nor actors.

    with Portal("https://matricule.example/v1", key="mtr_…") as portal:
        job = portal.enroll("C-2026-7", [{"email": …, "first_name": …, "last_name": …}], key="order-4711")
        print(portal.wait_for(job).result.people)

    portal = Portal("redis://localhost:6379/0", portal="shop", key_id="Ab3dEf7h", secret="mqs_…")   # the same functions

``pip install --no-deps`` of the wheel and ``requirements-client.lock`` are all it needs. docs/portals.md begins with a
first enrollment. ``PortalClient`` sends many requests through the queue without waiting for an answer to each.
"""

from workers.errors import InvalidRequest
from workers.portal_client.errors import (
    InsufficientScope,
    KeyUsedBefore,
    NeedsHttp,
    NotAccepted,
    NotFound,
    PortalError,
    RateLimited,
    Unanswered,
    Unauthorized,
    Unavailable,
    UnreadableAnswer,
    WebhookRefused,
)
from workers.portal_client.messages import Door, PortalClient, SentAnswer
from workers.portal_client.options import ProgressFields
from workers.portal_client.portal import Portal
from workers.portal_client.results import (
    AccountEnrollment,
    BoundedCount,
    Contract,
    Job,
    JobPerson,
    JudgedSelection,
    Mail,
    Page,
    Participant,
    ParticipantCounts,
    ParticipantProgress,
    RosterRow,
    RosterUndo,
    SignIn,
)
from workers.portal_client.webhooks import ReceivedWebhook, verify_webhook

__all__ = [
    "AccountEnrollment",
    "BoundedCount",
    "Contract",
    "Door",
    "InsufficientScope",
    "InvalidRequest",
    "Job",
    "JobPerson",
    "JudgedSelection",
    "KeyUsedBefore",
    "Mail",
    "NeedsHttp",
    "NotAccepted",
    "NotFound",
    "Page",
    "Participant",
    "ParticipantCounts",
    "ParticipantProgress",
    "Portal",
    "PortalClient",
    "PortalError",
    "ProgressFields",
    "RateLimited",
    "ReceivedWebhook",
    "RosterRow",
    "RosterUndo",
    "SentAnswer",
    "SignIn",
    "Unanswered",
    "Unauthorized",
    "Unavailable",
    "UnreadableAnswer",
    "WebhookRefused",
    "verify_webhook",
]
