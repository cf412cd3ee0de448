"""Mails to ticked people: the reset of their password, their invitation once more."""

from collections.abc import Sequence
from typing import Final

from scripts.portal.bulk import BulkAction
from scripts.portal.forms import Form
from scripts.portal.visitors import Visitor
from workers.portal_client import Job


def reset(visitor: Visitor, ids: Sequence[str], form: Form) -> Job:
    """Asks for a password reset; a person without a password gets the invitation's link instead."""
    return visitor.portal.reset_passwords(visitor.contract, ids, key=form.key)


def resend(visitor: Visitor, ids: Sequence[str], form: Form) -> Job:
    """Asks for the invitation once more."""
    return visitor.portal.resend_invitations(visitor.contract, ids, key=form.key)


RESET: Final = BulkAction(
    "reset",
    "reset_passwords",
    "/participants/reinitialisations",
    "reset",
    {"sent", "activation_sent_instead"},
    reset,
)

RESEND: Final = BulkAction("resend", "resend_invitations", "/participants/invitations", "resend", {"sent"}, resend)

ROUTES: Final = [*RESET.routes, *RESEND.routes]
