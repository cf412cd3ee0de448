"""The register of relays: mailers write what a relay accepted and refused, and read whether a refusal can be believed.

Its row is the last that a transaction locks, after mails and suppressed addresses.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.delivery import RelayEvidence
from models.email import Email
from models.relay import ACCEPTED_EVERY
from workers.database import Session
from workers.sql import Unnest, fetch

_EVERY: Final = f"interval '{ACCEPTED_EVERY.total_seconds():.0f} seconds'"


class RefusedMail(NamedTuple):
    """A mail that the relay refused, with the word of the reason."""

    id: UUID
    reason: str


class _Evidence(NamedTuple):
    id: UUID
    accepted_at: datetime | None
    doubted_at: datetime | None
    refused_at: datetime | None
    now: datetime


_REFUSED: Final = Unnest(RefusedMail, Email, alias="given", others={"reason": "text"})

ACCEPTANCE_IS_OLD: Final = f"""NOT EXISTS (
      SELECT 1 FROM mail_relay mr WHERE mr.name = :name AND mr.accepted_at > now() - {_EVERY}
        AND (mr.refused_at IS NULL OR mr.refused_at < mr.accepted_at))"""
"""An SQL condition: a mail that this relay accepts now has to be entered into the register."""

# An upsert locks the row even when it changes nothing. So the register is read first: else every outcome of every
# mailer would wait for the commit of another.
RECORD_ACCEPTED = text(f"""
    INSERT INTO mail_relay (name, accepted_at)
    SELECT CAST(:name AS text), now() WHERE {ACCEPTANCE_IS_OLD}
    ON CONFLICT (name) DO UPDATE SET accepted_at = now(), refused_words = NULL""")

# The relay refused a mail for a reason that may be ours.
RECORD_REFUSED = text("""
    INSERT INTO mail_relay (name, refused_at, refused_reason, refused_words)
    VALUES (:name, now(), :reason, :words)
    ON CONFLICT (name) DO UPDATE
    SET refused_at = now(), refused_reason = excluded.refused_reason, refused_words = excluded.refused_words""")

# When the relay last accepted and last refused any mail, and when it first refused each of these for the same reason.
# What it refused before an operator retried a mail does not count.
READ_EVIDENCE = text(f"""
    SELECT given.id, mr.accepted_at, mr.refused_at AS doubted_at, (
        SELECT min(a.created_at) FROM job_attempt a
        WHERE a.ledger = 'email' AND a.row_id = given.id AND a.error ->> 'reason' = given.reason AND a.claim > (
          SELECT coalesce(max(d.claim), 0) FROM job_attempt d WHERE d.row_id = given.id AND d.outcome = 'dead')
      ) AS refused_at, now() AS now
    FROM {_REFUSED} LEFT JOIN mail_relay mr ON mr.name = :name""")


def record_accepted(session: Session, name: str) -> None:
    """Records that this relay accepted a mail."""
    session.execute(RECORD_ACCEPTED, {"name": name})


def record_refused(session: Session, name: str, reason: str, words: str) -> None:
    """Records that this relay refused a mail for a reason that may be ours.

    Parameters:
      words: its answer, without mail addresses.
    """
    session.execute(RECORD_REFUSED, {"name": name, "reason": reason, "words": words})


def read_evidence(session: Session, name: str, mails: Sequence[RefusedMail]) -> Mapping[UUID, RelayEvidence]:
    """Returns, for each refused mail, the facts that tell whether its recipient is to blame."""
    if not mails:
        return {}
    found = fetch(session, _Evidence, READ_EVIDENCE, _REFUSED.parameters(mails) | {"name": name})
    return {row.id: RelayEvidence(*row[1:]) for row in found}
