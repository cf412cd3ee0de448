"""What an erasure changes, a statement per kind of row."""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.account import CertificateHolder
from models.address import ERASED_DOMAIN
from models.email import SuppressionReason
from models.enrollment import LIVE
from models.roster import RosterFile
from models.words import Progress
from workers.people.retention import SHORT_ERROR
from workers.sql import Unnest

# Their seats come back: only these contracts move.
LOCK_CONTRACTS = text(f"""
    SELECT c.id FROM contract c WHERE c.id IN (SELECT e.contract_id FROM enrollment e
      WHERE e.account_id = :account AND e.progress = 'not_started' AND {LIVE})
    ORDER BY c.id FOR NO KEY UPDATE""")


class AccountNames(NamedTuple):
    """The names of an account, while it is held."""

    first_name: str
    last_name: str


# The whole row, as whoever chooses a password: an enrollment that holds the address waits, and then finds nobody.
LOCK_ACCOUNT = text("""
    SELECT a.first_name, a.last_name FROM account a
    WHERE a.id = :account AND a.email_norm = :email AND a.erased_at IS NULL FOR UPDATE""")


class ErasedEnrollment(NamedTuple):
    """An enrollment of the person, while it is held.

    Parameters:
      completed_at: as far as it is known when.
      now: the time of the transaction.
    """

    id: UUID
    contract_id: UUID
    progress: str
    completed_at: datetime
    withdrawn_at: datetime | None
    now: datetime

    @property
    def leaves(self) -> bool:
        """Whether its seat comes back."""
        return self.progress == Progress.NOT_STARTED and self.withdrawn_at is None


# All of the account, also what it was withdrawn from, in the order every transaction locks them in.
LOCK_ENROLLMENTS = text("""
    SELECT e.id, e.contract_id, e.progress, coalesce(e.completed_at, e.progress_at, now()) AS completed_at,
      e.withdrawn_at, now() AS now
    FROM enrollment e WHERE e.account_id = :account ORDER BY e.id FOR NO KEY UPDATE""")


class KeptNames(NamedTuple):
    """The names that stay on the certificate of an enrollment, and until when."""

    enrollment_id: UUID
    first_name: str
    last_name: str
    kept_until: datetime


KEPT_NAMES: Final = Unnest(KeptNames, CertificateHolder, alias="given")

# What an earlier erasure kept of the same enrollment stays.
KEEP_NAMES: Final = text(f"""
    INSERT INTO certificate_holder ({KEPT_NAMES.columns}) SELECT {KEPT_NAMES.columns} FROM {KEPT_NAMES}
    ON CONFLICT (enrollment_id) DO NOTHING""")

# The number the company has for the person tells who they are, and nobody is reminded any more.
BLANK_ENROLLMENTS = text("""
    UPDATE enrollment SET external_id = NULL, next_reminder_at = NULL WHERE account_id = :account
      AND (external_id IS NOT NULL OR next_reminder_at IS NOT NULL)""")


class BlankedMails(NamedTuple):
    """How many mails were emptied, and how many of them will not be sent."""

    mails: int
    cancelled: int


# A mail that a mailer holds is emptied too: it was read when it was claimed, and the mailer asks once more before it
# sends whether it may (``workers/mail/letters/writing.py``).
BLANK_MAILS: Final = text(f"""
    WITH theirs AS MATERIALIZED (
      SELECT m.id, m.due_at IS NOT NULL AND m.leased_until IS NULL AS owed FROM email m
      WHERE m.account_id = :account OR m.id = ANY(CAST(:addressed AS uuid[]))
      ORDER BY m.id FOR NO KEY UPDATE),
    blanked AS (
      UPDATE email m SET to_address = '', context = NULL, result = NULL,
        error = CASE WHEN m.error IS NOT NULL THEN {SHORT_ERROR.replace("error", "m.error")} END,
        state = CASE WHEN theirs.owed THEN 'cancelled' ELSE m.state END,
        due_at = CASE WHEN NOT theirs.owed THEN m.due_at END,
        finished_at = CASE WHEN theirs.owed THEN now() ELSE m.finished_at END
      FROM theirs WHERE m.id = theirs.id),
    tried AS (UPDATE job_attempt ja SET error = NULL FROM theirs WHERE ja.row_id = theirs.id AND ja.error IS NOT NULL)
    SELECT count(*) AS mails, count(*) FILTER (WHERE owed) AS cancelled FROM theirs""")

# The document of one person is named after them. A zip is not, and what stands in it is deleted with its link.
RENAME_FILES = text("""
    UPDATE certificate_file SET name = single.number || '.pdf' FROM (
      SELECT f.id, d.number FROM enrollment e JOIN certificate k ON k.enrollment_id = e.id
      JOIN certificate_duplicate d ON d.certificate_id = k.id JOIN certificate_file f ON f.job_id = d.job_id
      WHERE e.account_id = :account AND f.kind = 'pdf' ORDER BY f.id FOR NO KEY UPDATE OF f) single
    WHERE certificate_file.id = single.id""")


class HeldFile(NamedTuple):
    """A roster file, while it is held."""

    portal_id: UUID
    sha256: bytes


# Held before they are looked at: a statement that waits for a file sees, once it has it, none of the imports that were
# accepted meanwhile. The next one does.
LOCK_FILES = text("""
    SELECT rf.portal_id, rf.sha256 FROM roster_file rf WHERE EXISTS (
      SELECT 1 FROM roster ro WHERE ro.sha256 = rf.sha256 AND ro.portal_id = rf.portal_id
        AND (ro.job_id = ANY(CAST(:jobs AS uuid[])) OR EXISTS (
          SELECT 1 FROM job_person p WHERE p.job_id = ro.job_id AND p.account_id = :account)))
    ORDER BY rf.portal_id, rf.sha256 FOR UPDATE""")

HELD_FILES: Final = Unnest(HeldFile, RosterFile, alias="given")

# A file is kept by its content, which cannot be emptied in part. Not that of an import that is not done yet.
DELETE_FILES: Final = text(f"""
    DELETE FROM roster_file rf USING {HELD_FILES}
    WHERE rf.portal_id = given.portal_id AND rf.sha256 = given.sha256 AND NOT EXISTS (
      SELECT 1 FROM roster ro JOIN job j ON j.id = ro.job_id
      WHERE ro.sha256 = rf.sha256 AND ro.portal_id = rf.portal_id AND j.finished_at IS NULL)""")

# A correction that waits ends: there is nobody left whose address it would correct.
BLANK_CORRECTIONS = text("""
    UPDATE email_correction SET old_email = '', new_email = '',
      state = CASE state WHEN 'pending' THEN 'cancelled' ELSE state END, ended_at = coalesce(ended_at, now())
    WHERE account_id = :account""")

# What ops listed stays, and with it the address: somebody decided that no mail goes there, often because its owner
# asked, and whoever erases them has not decided otherwise.
FORGET_SUPPRESSION: Final = text(f"""
    DELETE FROM suppression
    WHERE email_norm = ANY(CAST(:emails AS text[])) AND reason = '{SuppressionReason.HARD_BOUNCE}'""")

# Counts against the account and against the hash of each of its addresses.
FORGET_THROTTLES = text("""
    DELETE FROM throttle WHERE scope = ANY(CAST(:scopes AS text[])) AND subject = ANY(CAST(:subjects AS uuid[]))""")

# Never one that somebody else emptied meanwhile.
BLANK_REQUEST = text("UPDATE job SET request = CAST(:request AS json) WHERE id = :job AND request IS NOT NULL")

# A message that was refused could not be read as a request, so nobody knows which part of it speaks of whom: all of
# it goes, but for why it was refused.
BLANK_MESSAGES = text("""
    UPDATE job SET message = NULL FROM (
      SELECT j.id FROM job j WHERE j.id = ANY(CAST(:jobs AS uuid[])) AND j.message IS NOT NULL
      ORDER BY j.id FOR NO KEY UPDATE) refused
    WHERE job.id = refused.id""")

# The result of an export is all that is known of a person.
BLANK_RESULTS = text("""
    UPDATE job SET result = NULL FROM (
      SELECT j.id FROM job j WHERE j.id = ANY(CAST(:jobs AS uuid[])) AND j.kind = 'export_person'
        AND j.finished_at IS NOT NULL AND j.result IS NOT NULL ORDER BY j.id FOR NO KEY UPDATE) theirs
    WHERE job.id = theirs.id""")

# An address nobody can have, type or guess.
ERASE_ACCOUNT: Final = text(f"""
    UPDATE account SET first_name = '', last_name = '', password_hash = NULL,
      credential_version = credential_version + 1, erased_at = now(),
      email_norm = CAST(gen_random_uuid() AS text) || '@{ERASED_DOMAIN}'
    WHERE id = :account""")
