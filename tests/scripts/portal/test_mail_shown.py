"""The state of the last mail in words: red or amber only when a manager must act, with the one next step."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scripts.portal.mail_shown import MailShown, MailWords
from scripts.portal.texts import Texts
from workers.portal_client import Mail, Participant

NOW = datetime(2026, 11, 30, 13, 0, tzinfo=UTC)
YES, NO = {"allowed": True, "code": "sent"}, {"allowed": False, "code": "throttled"}
TEXTS = Texts()


def shown(mail: dict[str, Any] | None, *, resend: bool = True, language: str = "fr", **more: Any) -> MailShown:
    """Returns what a row says of a mail."""
    can = dict.fromkeys(("withdraw", "reset", "correct", "duplicate"), YES) | {"resend": YES if resend else NO}
    fields: dict[str, Any] = {
        "enrollment_id": "01a22b84-f56b-7005-b7fe-341ee3c1a058",
        "account_id": "01a22b84-f56b-7005-b7fe-341ee3c1a058",
        "email": "ada@example.com",
        "first_name": "Ada",
        "last_name": "Byron",
        "external_id": None,
        "progress": "not_started",
        "since": NOW,
        "enrolled_at": NOW,
        "activated_at": None,
        "withdrawn_at": None,
        "detached_at": None,
        "mail": mail and {"kind": "invitation", "at": NOW - timedelta(days=3), "code": None, "next": None, **mail},
        "can": can,
        "invitation_ends_at": NOW + timedelta(days=9),
    }
    return MailWords(TEXTS, language, NOW).of(Participant.model_validate(fields | more))


@pytest.mark.parametrize(
    ("mail", "tone", "title", "step"),
    [
        ({"state": "sent"}, "", "Invitation envoyée", ""),
        ({"state": "sent", "kind": "duplicate"}, "", "Attestation envoyée", ""),
        ({"state": "sent", "kind": "of_a_newer_release"}, "", "Email envoyé", ""),
        ({"state": "sent", "next": "resend"}, "warn", "Invitation sans suite", "resend"),
        ({"state": "queued", "next": "wait"}, "wait", "Invitation en cours d’envoi", ""),
        ({"state": "deferred", "next": "wait", "code": "mailbox_full"}, "wait", "Boîte pleine, nouvel essai à ", ""),
        ({"state": "deferred", "next": "wait", "code": "timed_out"}, "wait", "Pas encore remis, nouvel essai à ", ""),
        (
            {"state": "undeliverable", "next": "correct", "code": "address_rejected"},
            "bad",
            "Email non remis",
            "correct",
        ),
        ({"state": "undeliverable", "next": "resend", "code": "policy"}, "bad", "Email non remis", "resend"),
        ({"state": "not_sent", "next": "correct", "code": "suppressed_address"}, "bad", "Email non remis", "correct"),
        ({"state": "not_sent", "next": "resend", "code": "expired"}, "bad", "Email non envoyé", "resend"),
        ({"state": "not_sent", "code": "cancelled"}, "wait", "Email annulé", ""),
        ({"state": "uncertain", "next": "resend"}, "warn", "Remise incertaine", "resend"),
        ({"state": "of_a_newer_release"}, "wait", "Email annulé", ""),
        (None, "wait", "Aucun email envoyé", "resend"),
    ],
)
def test_states_of_mails(mail: dict[str, Any] | None, tone: str, title: str, step: str) -> None:
    said = shown(mail)
    assert said.title.startswith(title)
    assert (said.tone, said.step, bool(said.step_label)) == (tone, step, bool(step))
    assert shown(mail, language="en").title


def test_a_correction_that_waits_goes_before_the_mail() -> None:
    later = NOW + timedelta(days=14)
    for field, title in (
        ("email_pending_until", "Changement d’adresse à confirmer"),
        ("name_pending_until", "Changement de nom à confirmer"),
    ):
        waits: dict[str, Any] = {field: later}
        said = shown({"state": "undeliverable", "next": "correct"}, **waits)
        assert (said.title, said.tone, said.step) == (title, "wait", "")
        assert "14\N{NO-BREAK SPACE}déc" in said.detail


def test_an_expired_invitation_says_when_its_link_ended() -> None:
    mail = {"state": "sent", "next": "resend"}
    said = shown(mail, invitation_ends_at=NOW - timedelta(days=4))
    assert (said.title, said.detail) == ("Invitation expirée", "Lien expiré le 26\N{NO-BREAK SPACE}nov.")
    assert shown(mail, invitation_ends_at=None).title == "Invitation expirée"


def test_a_step_that_matricule_would_refuse_has_no_button() -> None:
    said = shown({"state": "sent", "next": "resend"}, resend=False)
    assert (said.tone, said.step) == ("warn", "")


def test_a_password_reset_that_was_lost_is_sent_again_as_one() -> None:
    mail = {"state": "undeliverable", "next": "resend", "code": "policy", "kind": "password_reset"}
    assert shown(mail, resend=False, activated_at=NOW).step == "reset"


def test_a_deferred_mail_without_a_time_is_being_sent() -> None:
    assert shown({"state": "deferred", "next": "wait", "at": None}).title == "Invitation en cours d’envoi"
    assert isinstance(Mail.model_validate({"kind": "x", "state": "y", "at": None, "code": None, "next": None}), Mail)
