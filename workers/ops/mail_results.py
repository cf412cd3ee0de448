"""Reads how many mails of the last minutes ended in which state, as the clock has counted them."""

from typing import Final, NamedTuple

from sqlalchemy import text

from models.words import EmailState
from workers.database import Session
from workers.sql import fetch

# Adds up the rows of a ledger that ended in the last minutes, by state.
READ_STATES: Final = text("""
    SELECT lm.state, CAST(sum(lm.rows) AS int) AS rows FROM ledger_minute lm
    WHERE lm.ledger = :ledger AND lm.minute > now() - make_interval(mins => :minutes) AND lm.minute <= now()
    GROUP BY lm.state""")


class _StateCount(NamedTuple):
    state: str
    rows: int


class MailResults(NamedTuple):
    """The mails that ended lately: sent, refused for good, and given up."""

    sent: int
    failed: int
    given_up: int


def read_mail_results(session: Session, ledger: str, minutes: int) -> MailResults:
    """Reads the results of the last minutes."""
    found = {
        one.state: one.rows for one in fetch(session, _StateCount, READ_STATES, {"ledger": ledger, "minutes": minutes})
    }
    given_up = sum(found.get(state, 0) for state in (EmailState.EXPIRED, EmailState.UNCERTAIN))
    return MailResults(found.get(EmailState.SENT, 0), found.get(EmailState.FAILED, 0), given_up)


__all__ = ["MailResults", "read_mail_results"]
