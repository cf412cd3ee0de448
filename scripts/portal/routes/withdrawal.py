"""Supprimer: people leave the contract, and the seats come back of those who have not begun the training."""

from collections.abc import Sequence
from typing import Final

from scripts.portal.bulk import BulkAction
from scripts.portal.forms import Form
from scripts.portal.visitors import Visitor
from workers.portal_client import Job


def withdraw(visitor: Visitor, ids: Sequence[str], form: Form) -> Job:
    """Asks for the withdrawal; the people are told by mail if the manager wants it."""
    return visitor.portal.withdraw(visitor.contract, ids, key=form.key, notify=form.ticked("notify"))


WITHDRAWAL: Final = BulkAction(
    "withdraw", "withdraw", "/participants/supprimer", "withdrawal", {"withdrawn", "already_withdrawn"}, withdraw
)

ROUTES: Final = WITHDRAWAL.routes
