"""The statements of an erasure, one for each kind of row."""

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

# Locks only the contracts that get a seat back.
LOCK_CONTRACTS = text(f"""
    SELECT c.id FROM contract c WHERE c.id IN (SELECT e.contract_id FROM enrollment e
      WHERE e.account_id = :account AND e.progress = 'not_started' AND {LIVE})
    ORDER BY c.id FOR NO KEY UPDATE""")


class AccountNames(NamedTuple):
    """The names of a locked account."""

    first_name: str
    last_name: str


# Locks the whole row, as choosing a password does: an enrollment by this address waits, and then finds no account.
LOCK_ACCOUNT = text("""
    SELECT a.first_name, a.last_name FROM account a
    WHERE a.id = :account AND a.email_norm = :email AND a.erased_at IS NULL FOR UPDATE""")


class ErasedEnrollment(NamedTuple):
    """A locked enrollment of the person.

    Parameters:
      completed_at: the moment of completion, if it is known.
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
        """Tells whether its seat becomes free."""
        return self.progress == Progress.NOT_STARTED and self.withdrawn_at is None


# Locks all enrollments of the account, withdrawn ones too, in the order in which every transaction locks them.
LOCK_ENROLLMENTS = text("""
    SELECT e.id, e.contract_id, e.progress, coalesce(e.completed_at, e.progress_at, now()) AS completed_at,
      e.withdrawn_at, now() AS now
    FROM enrollment e WHERE e.account_id = :account ORDER BY e.id FOR NO KEY UPDATE""")


class KeptNames(NamedTuple):
    """The names kept for the certificate of an enrollment, and the moment they are deleted."""

    enrollment_id: UUID
    first_name: str
    last_name: str
    kept_until: datetime


KEPT_NAMES: Final = Unnest(KeptNames, CertificateHolder, alias="given")

# Names that an earlier erasure kept for the same enrollment stay.
KEEP_NAMES: Final = text(f"""
    INSERT INTO certificate_holder ({KEPT_NAMES.columns}) SELECT {KEPT_NAMES.columns} FROM {KEPT_NAMES}
    ON CONFLICT (enrollment_id) DO NOTHING""")

# The company's number for the person identifies them, so it is removed, with the names that were typed and the words by
# which the person was found. An erased person gets no reminder.
BLANK_ENROLLMENTS = text("""
    WITH theirs AS (SELECT e.id, e.contract_id, e.words FROM enrollment e WHERE e.account_id = :account),
    forgotten AS (
      DELETE FROM participant_word w
      USING theirs CROSS JOIN LATERAL unnest(string_to_array(theirs.words, ' ')) given
      WHERE w.contract_id = theirs.contract_id AND w.word = given AND w.enrollment_id = theirs.id)
    UPDATE enrollment SET external_id = NULL, next_reminder_at = NULL, first_name = NULL, last_name = NULL, words = ''
    WHERE account_id = :account
      AND (external_id IS NOT NULL OR next_reminder_at IS NOT NULL OR last_name IS NOT NULL OR words <> '')""")


class BlankedMails(NamedTuple):
    """The number of mails that were emptied, and the number of those that will not be sent."""

    mails: int
    cancelled: int


# A mail that a mailer has claimed is emptied too: the mailer has read it, and checks once more before it sends
# (``workers/mail/letters/writing.py``).
BLANK_MAILS: Final = text(f"""
    WITH theirs AS MATERIALIZED (
      SELECT m.id, m.due_at IS NOT NULL AND m.leased_until IS NULL AS owed FROM email m
      WHERE m.account_id = :account OR m.id = ANY(CAST(:addressed AS uuid[]))
      ORDER BY m.id FOR NO KEY UPDATE),
    blanked AS (
      UPDATE email m SET to_address = '', context = NULL, result = NULL, trouble = NULL,
        error = CASE WHEN m.error IS NOT NULL THEN {SHORT_ERROR.replace("error", "m.error")} END,
        state = CASE WHEN theirs.owed THEN 'cancelled' ELSE m.state END,
        due_at = CASE WHEN NOT theirs.owed THEN m.due_at END,
        finished_at = CASE WHEN theirs.owed THEN now() ELSE m.finished_at END
      FROM theirs WHERE m.id = theirs.id),
    tried AS (UPDATE job_attempt ja SET error = NULL FROM theirs WHERE ja.row_id = theirs.id AND ja.error IS NOT NULL)
    SELECT count(*) AS mails, count(*) FILTER (WHERE owed) AS cancelled FROM theirs""")

# The file of one person's document has their name. A zip has not, and its content is deleted with its link.
RENAME_FILES = text("""
    UPDATE certificate_file SET name = single.number || '.pdf' FROM (
      SELECT f.id, d.number FROM enrollment e JOIN certificate k ON k.enrollment_id = e.id
      JOIN certificate_duplicate d ON d.certificate_id = k.id JOIN certificate_file f ON f.job_id = d.job_id
      WHERE e.account_id = :account AND f.kind = 'pdf' ORDER BY f.id FOR NO KEY UPDATE OF f) single
    WHERE certificate_file.id = single.id""")


class HeldFile(NamedTuple):
    """A locked roster file."""

    portal_id: UUID
    sha256: bytes


# Files are locked by one statement and examined by the next: a statement that waited for a lock does not see imports
# that were accepted meanwhile; the next statement does.
LOCK_FILES = text("""
    SELECT rf.portal_id, rf.sha256 FROM roster_file rf WHERE EXISTS (
      SELECT 1 FROM roster ro WHERE ro.sha256 = rf.sha256 AND ro.portal_id = rf.portal_id
        AND (ro.job_id = ANY(CAST(:jobs AS uuid[])) OR EXISTS (
          SELECT 1 FROM job_person p WHERE p.job_id = ro.job_id AND p.account_id = :account)))
    ORDER BY rf.portal_id, rf.sha256 FOR UPDATE""")

HELD_FILES: Final = Unnest(HeldFile, RosterFile, alias="given")

# A file is deleted as a whole: its key is the hash of its content, which cannot be changed in part. The file of an
# unfinished import stays.
DELETE_FILES: Final = text(f"""
    DELETE FROM roster_file rf USING {HELD_FILES}
    WHERE rf.portal_id = given.portal_id AND rf.sha256 = given.sha256 AND NOT EXISTS (
      SELECT 1 FROM roster ro JOIN job j ON j.id = ro.job_id
      WHERE ro.sha256 = rf.sha256 AND ro.portal_id = rf.portal_id AND j.finished_at IS NULL)""")

# A pending correction ends, because the account no longer has an address to correct.
BLANK_CORRECTIONS = text("""
    UPDATE email_correction SET old_email = '', new_email = '',
      state = CASE state WHEN 'pending' THEN 'cancelled' ELSE state END, ended_at = coalesce(ended_at, now())
    WHERE account_id = :account""")

# The same for names.
BLANK_NAME_CORRECTIONS = text("""
    UPDATE name_correction SET old_first_name = '', old_last_name = '', new_first_name = '', new_last_name = '',
      state = CASE state WHEN 'pending' THEN 'cancelled' ELSE state END, ended_at = coalesce(ended_at, now())
    WHERE account_id = :account""")

# Two kinds of addresses stay on the suppression list: those that ops put there, and those of people who reported a mail
# as spam. An erasure does not change the decision that no mail goes to them.
FORGET_SUPPRESSION: Final = text(f"""
    DELETE FROM suppression
    WHERE email_norm = ANY(CAST(:emails AS text[])) AND reason = '{SuppressionReason.HARD_BOUNCE}'""")

# Rate limit counters are kept for the account and for the hash of each of its addresses, some for each portal.
FORGET_THROTTLES = text("""
    DELETE FROM throttle WHERE scope = ANY(CAST(:scopes AS text[])) AND subject = ANY(CAST(:subjects AS uuid[]))""")

# A request that another transaction emptied meanwhile stays empty.
BLANK_REQUEST = text("UPDATE job SET request = CAST(:request AS json) WHERE id = :job AND request IS NOT NULL")

# The address of the person's own request to be erased is no longer found, also when that request is refused.
FORGET_OWN_TOKENS = text("DELETE FROM job_address WHERE token = ANY(CAST(:tokens AS uuid[])) AND job_id = :job")

# The person's addresses are no more found in finished requests, nor in messages that were refused.
FORGET_TOKENS = text("""
    DELETE FROM job_address ja USING job j
    WHERE ja.token = ANY(CAST(:tokens AS uuid[])) AND j.id = ja.job_id AND j.finished_at IS NOT NULL""")

# A refused message could not be read as a request, so it is unknown which part is about whom: all of it is removed.
# The reason for its refusal stays.
BLANK_MESSAGES = text("""
    UPDATE job SET message = NULL FROM (
      SELECT j.id FROM job j WHERE j.id = ANY(CAST(:jobs AS uuid[])) AND j.message IS NOT NULL
      ORDER BY j.id FOR NO KEY UPDATE) refused
    WHERE job.id = refused.id""")

# The result of an export holds all the person's data.
BLANK_RESULTS = text("""
    UPDATE job SET result = NULL FROM (
      SELECT j.id FROM job j WHERE j.id = ANY(CAST(:jobs AS uuid[])) AND j.kind = 'export_person'
        AND j.finished_at IS NOT NULL AND j.result IS NOT NULL ORDER BY j.id FOR NO KEY UPDATE) theirs
    WHERE job.id = theirs.id""")

# The account gets an address that no person can have, type or guess.
ERASE_ACCOUNT: Final = text(f"""
    UPDATE account SET first_name = '', last_name = '', password_hash = NULL,
      credential_version = credential_version + 1, erased_at = now(),
      email_norm = CAST(gen_random_uuid() AS text) || '@{ERASED_DOMAIN}'
    WHERE id = :account""")
