"""Counts what requests tell about addresses for nothing, so that no portal asks for a million of them.

A dry run says `attached` where an account exists, whatever company made it, and costs no seat. It is answered as long
as the company and the portal have not been told of too many addresses in 24 hours (``models/enrollment.py`` says which
answers count); then it is refused with the moment when it may be asked again. Lock order: contracts, accounts, then
these throttles.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from models.throttle import DAY, Allowance, RateLimit, ThrottleScope
from workers.database import Session
from workers.security.throttles import ThrottleSubject, count, hold, read_allowances
from workers.settings import get_settings


class FreeQuestion(NamedTuple):
    """One request, and about how many addresses its answer tells for nothing."""

    portal_id: UUID
    company_id: UUID
    told: int

    @property
    def subjects(self) -> tuple[ThrottleSubject, ThrottleSubject]:
        """The company and the portal that it counts against."""
        return (
            ThrottleSubject(ThrottleScope.DRY_RUN_COMPANY, self.company_id),
            ThrottleSubject(ThrottleScope.DRY_RUN_PORTAL, self.portal_id),
        )


def closed_questions(session: Session, questions: Sequence[FreeQuestion | None]) -> list[datetime | None]:
    """Counts these requests, in order; returns for each the moment when it may be asked again, None if it is answered.

    A request that is refused counts nothing.
    """
    subjects = {subject for one in questions if one is not None and one.told for subject in one.subjects}
    if not subjects:
        return [None] * len(questions)
    hold(session, subjects)
    allowances = read_allowances(session, subjects, _limits())
    closed = [_ask(one, allowances) if one is not None and one.told else None for one in questions]
    count(session, allowances)
    return closed


def _ask(one: FreeQuestion, allowances: dict[ThrottleSubject, Allowance]) -> datetime | None:
    closed = [moment for subject in one.subjects if (moment := allowances[subject].closed_until(one.told)) is not None]
    if closed:
        return max(closed)
    allowances.update({subject: allowances[subject].after(one.told) for subject in one.subjects})
    return None


def _limits() -> Mapping[ThrottleScope, Sequence[RateLimit]]:
    settings = get_settings()
    return {
        ThrottleScope.DRY_RUN_COMPANY: (RateLimit(settings.dry_run_company_limit, DAY),),
        ThrottleScope.DRY_RUN_PORTAL: (RateLimit(settings.dry_run_portal_limit, DAY),),
    }
