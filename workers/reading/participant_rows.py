"""The statements that read participants, a page at a time, and the records of their rows.

A page is found in two steps: the identifiers, by an index that gives them in the order of the page, then everything
that is shown of them. So a page costs the same whatever the size of the contract.
"""

from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.enrollment import LIVE
from models.words import Progress
from workers.corrections.facts import SHARED
from workers.enrollment.searching import SHOWN_NAMES
from workers.outbox.suppression import SUPPRESSED_SINCE

LAST_ID: Final = UUID(int=2**128 - 1)
"""The identifier before which the first page begins: the latest participants come first."""


class ShownContract(NamedTuple):
    """The contract of a page."""

    id: UUID
    company_id: UUID


# Finds a contract of a portal; a key may be limited to some companies.
FIND_CONTRACT = text("""
    SELECT c.id, c.company_id FROM contract c JOIN company co ON co.id = c.company_id
    WHERE c.portal_id = :portal AND c.reference = :reference
      AND (CAST(:companies AS text[]) IS NULL OR co.reference = ANY(CAST(:companies AS text[])))""")

_PAGE_OF: Final = f"""(SELECT e.id FROM enrollment e
      WHERE e.contract_id = :contract AND e.progress = '{{}}' AND {LIVE} AND e.id < :before
      ORDER BY e.id DESC LIMIT :size)"""

PAGES_BY_PROGRESS: Final = {progress: text(_PAGE_OF.format(progress.value)) for progress in Progress}
"""The next participants with a progress, the latest first."""

# The next participants of a contract, the latest first.
PAGE = text(" UNION ALL ".join(_PAGE_OF.format(one.value) for one in Progress) + " ORDER BY id DESC LIMIT :size")

# The next participants who have a mail in one of these states, the latest first; a later mail may have another state.
PAGE_BY_MAIL = text("""
    SELECT DISTINCT found.enrollment_id AS id FROM unnest(CAST(:states AS text[])) given CROSS JOIN LATERAL (
      SELECT DISTINCT m.enrollment_id FROM email m
      WHERE m.contract_id = :contract AND m.state = given AND m.state <> 'sent' AND m.enrollment_id < :before
      ORDER BY m.enrollment_id DESC LIMIT :size) found
    ORDER BY id DESC LIMIT :size""")


class FoundWord(NamedTuple):
    """A word of a participant that begins as the searched one does, and what else is compared."""

    word: str
    enrollment_id: UUID
    words: str
    progress: str


# How many participants have a word, up to a bound.
COUNT_WORD = text("""
    SELECT count(*) FROM (
      SELECT 1 FROM participant_word w WHERE w.contract_id = :contract AND w.word >= :first AND w.word < :last
      LIMIT :most) found""")

# The next words in their order, with their participants; those who left meanwhile have an empty text. The position is
# the only lower bound: beside another, PostgreSQL 18 begins at the position, though it may lie before the other.
NEXT_WORDS = text(f"""
    SELECT w.word, w.enrollment_id, CASE WHEN {LIVE} THEN coalesce(e.words, '') ELSE '' END AS words, e.progress
    FROM (
      SELECT w.word, w.enrollment_id FROM participant_word w
      WHERE w.contract_id = :contract AND w.word < :last
        AND (w.word, w.enrollment_id) > (CAST(:word AS text) COLLATE "C", CAST(:after AS uuid))
      ORDER BY w.word, w.enrollment_id LIMIT :size) w
    JOIN enrollment e ON e.id = w.enrollment_id ORDER BY w.word, w.enrollment_id""")


class ParticipantRow(NamedTuple):
    """Everything that is shown of a participant, or decides what may be done.

    Parameters:
      shared: another company or portal has enrolled the person too.
      suppressed: since when no mail is sent to the address, or None.
      certificate_id, certificate_revoked_at, certificate_kept: of the current certificate; None without one.
      has_organisation: an organisation signs the certificates of the portal.
      link_…: of the unused link to the choice of a password, of the kind that the person would be sent now; it may have
        ended.
      email_asked_at, name_asked_at: when this company asked for a correction that waits; None without one.
      mail_…: of the latest mail about this enrollment; None when there was none, or when it is no longer kept.
    """

    id: UUID
    contract_id: UUID
    contract: str
    company_id: UUID
    company: str
    account_id: UUID
    email: str
    first_name: str
    last_name: str
    external_id: str | None
    progress: str
    started_at: datetime | None
    completed_at: datetime | None
    progress_at: datetime | None
    score: float | None
    time_spent_seconds: int
    enrolled_at: datetime
    withdrawn_at: datetime | None
    detached_at: datetime | None
    activated_at: datetime | None
    certificate_held: str | None
    certificate_id: UUID | None
    certificate_revoked_at: datetime | None
    certificate_kept: bool | None
    has_organisation: bool
    shared: bool
    suppressed: datetime | None
    link_resent: int | None
    link_ends_at: datetime | None
    email_asked_at: datetime | None
    name_asked_at: datetime | None
    mail_kind: str | None
    mail_state: str | None
    mail_failures: int | None
    mail_due_at: datetime | None
    mail_finished_at: datetime | None
    mail_created_at: datetime | None
    mail_error: dict[str, Any] | None


class JudgedRow(NamedTuple):
    """The facts of a participant that decide what may be done; each is as in ``ParticipantRow``."""

    id: UUID
    account_id: UUID
    email: str
    progress: str
    started_at: datetime | None
    completed_at: datetime | None
    withdrawn_at: datetime | None
    detached_at: datetime | None
    activated_at: datetime | None
    certificate_held: str | None
    certificate_id: UUID | None
    certificate_revoked_at: datetime | None
    certificate_kept: bool | None
    has_organisation: bool
    shared: bool
    suppressed: datetime | None
    link_resent: int | None
    link_ends_at: datetime | None


_JUDGED_BY: Final = f"""a.activated_at, e.certificate_held, ce.id AS certificate_id,
      ce.revoked_at AS certificate_revoked_at, ce.snapshot IS NOT NULL AS certificate_kept,
      po.organisation_id IS NOT NULL AS has_organisation,
      {SHARED.format(company="c.company_id", portal="c.portal_id")} AS shared,
      {SUPPRESSED_SINCE.format(address="a.email_norm")} AS suppressed,
      l.resent AS link_resent, l.expires_at AS link_ends_at"""

_JOINED: Final = """FROM enrollment e JOIN contract c ON c.id = e.contract_id JOIN company co ON co.id = c.company_id
    JOIN portal po ON po.id = c.portal_id JOIN account a ON a.id = e.account_id
    LEFT JOIN certificate ce ON ce.enrollment_id = e.id AND ce.replaced_by IS NULL
    LEFT JOIN link l ON l.account_id = e.account_id AND l.consumed_at IS NULL AND l.voided_at IS NULL
      AND l.subject_id IS NULL
      AND l.purpose = CASE WHEN a.activated_at IS NULL THEN 'activation' ELSE 'password_reset' END"""

_ASKED_AT: Final = """(SELECT p.asked_at FROM {table} p WHERE p.account_id = e.account_id AND p.state = 'pending'
        AND p.company_id = c.company_id AND p.portal_id = c.portal_id)"""

_SHOWN: Final = f"""
    SELECT e.id, e.contract_id, c.reference AS contract, c.company_id, co.reference AS company, e.account_id,
      a.email_norm AS email, {SHOWN_NAMES}, e.external_id, e.progress, e.started_at, e.completed_at, e.progress_at,
      e.score, e.time_spent_seconds, e.enrolled_at, e.withdrawn_at, e.detached_at, {_JUDGED_BY},
      {_ASKED_AT.format(table="email_correction")} AS email_asked_at,
      {_ASKED_AT.format(table="name_correction")} AS name_asked_at,
      m.kind AS mail_kind, m.state AS mail_state, m.failures AS mail_failures, m.due_at AS mail_due_at,
      m.ended_at AS mail_finished_at, m.created_at AS mail_created_at, m.error AS mail_error
    {_JOINED}
    LEFT JOIN LATERAL (
      SELECT em.kind, em.state, em.failures, em.due_at, coalesce(em.returned_at, em.finished_at) AS ended_at,
        em.created_at, em.error
      FROM email em
      WHERE em.account_id = e.account_id AND em.enrollment_id = e.id ORDER BY em.id DESC LIMIT 1) m ON true"""

# Participants by their identifiers; the page has their order.
READ_PARTICIPANTS = text(f"{_SHOWN} WHERE e.id = ANY(CAST(:ids AS uuid[])) AND {LIVE} AND a.erased_at IS NULL")

# Those of these participants who are of this contract, also those who left.
READ_OF_CONTRACT = text(f"""{_SHOWN}
    WHERE e.id = ANY(CAST(:ids AS uuid[])) AND e.contract_id = :contract AND a.erased_at IS NULL""")

# What decides about those of these participants who are of this contract, also those who left.
READ_JUDGED = text(f"""
    SELECT e.id, e.account_id, a.email_norm AS email, e.progress, e.started_at, e.completed_at, e.withdrawn_at,
      e.detached_at, {_JUDGED_BY}
    {_JOINED}
    WHERE e.id = ANY(CAST(:ids AS uuid[])) AND e.contract_id = :contract AND a.erased_at IS NULL""")

# Those of these participants whose latest mail has one of these states.
FIND_MAILED = text("""
    SELECT e.id FROM enrollment e CROSS JOIN LATERAL (
      SELECT em.state FROM email em
      WHERE em.account_id = e.account_id AND em.enrollment_id = e.id ORDER BY em.id DESC LIMIT 1) m
    WHERE e.id = ANY(CAST(:ids AS uuid[])) AND m.state = ANY(CAST(:states AS text[]))""")

# One participant of a portal, also one who left.
READ_PARTICIPANT = text(f"""{_SHOWN}
    WHERE e.id = :enrollment AND c.portal_id = :portal AND a.erased_at IS NULL
      AND (CAST(:companies AS text[]) IS NULL OR co.reference = ANY(CAST(:companies AS text[])))""")


class CountedRequest(NamedTuple):
    """A request that counts against a person; `now` is the time of the database."""

    scope: str
    subject: UUID
    at: datetime
    times: int
    now: datetime


# What was counted against people, in the scopes that mails and corrections use.
READ_THROTTLES = text("""
    SELECT t.scope, t.subject, t.at, t.times, now() AS now
    FROM unnest(CAST(:scopes AS text[])) given CROSS JOIN LATERAL (
      SELECT th.scope, th.subject, th.at, th.times FROM throttle th
      WHERE th.scope = given AND th.subject = ANY(CAST(:subjects AS uuid[]))
        AND th.at > now() - CAST(:longest AS interval)) t
    ORDER BY t.at""")


class InvitedPerson(NamedTuple):
    """A participant who has not begun; `waiting` when they have no password and were enrolled a while ago."""

    id: UUID
    waiting: bool


# The next participants who have not begun, the latest first, and who of them may need another invitation.
NEXT_INVITED = text(f"""
    SELECT e.id, a.activated_at IS NULL AND e.enrolled_at <= now() - CAST(:least AS interval) AS waiting
    FROM (
      SELECT e.id, e.account_id, e.enrolled_at FROM enrollment e
      WHERE e.contract_id = :contract AND e.progress = 'not_started' AND {LIVE} AND e.id < :before
      ORDER BY e.id DESC LIMIT :size) e
    JOIN account a ON a.id = e.account_id ORDER BY e.id DESC""")


class CountedProgress(NamedTuple):
    """How many participants have a progress, up to a bound."""

    progress: str
    number: int


_COUNTED: Final = f"""(SELECT '{{0}}' AS progress, CAST(count(*) AS int) AS number FROM (
      SELECT 1 FROM enrollment e WHERE e.contract_id = :contract AND e.progress = '{{0}}' AND {LIVE}
      ORDER BY e.id DESC LIMIT :most) found)"""

# How many participants of a contract have each progress, up to a bound.
COUNT_PROGRESS = text(" UNION ALL ".join(_COUNTED.format(one.value) for one in Progress))
