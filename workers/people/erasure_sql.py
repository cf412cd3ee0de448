"""What an erasure changes, a statement per kind of row."""

from typing import Final

from sqlalchemy import text

from models.address import ERASED_DOMAIN
from models.email import SuppressionReason
from workers.people.retention import SHORT_ERROR

# Their seats come back: only these contracts move.
LOCK_CONTRACTS = text("""
    SELECT id FROM contract WHERE id IN (SELECT contract_id FROM enrollment
      WHERE account_id = :account AND progress = 'not_started' AND withdrawn_at IS NULL)
    ORDER BY id FOR NO KEY UPDATE""")

# The whole row, as whoever chooses a password: an enrollment that holds the address waits, and then finds nobody.
LOCK_ACCOUNT = text("""
    SELECT first_name, last_name FROM account WHERE id = :account AND email_norm = :email AND erased_at IS NULL
    FOR UPDATE""")

VOID_LINKS = text("""
    UPDATE link SET voided_at = now() FROM (
      SELECT id FROM link WHERE account_id = :account AND consumed_at IS NULL AND voided_at IS NULL
      ORDER BY id FOR NO KEY UPDATE) live
    WHERE link.id = live.id""")

LOCK_ENROLLMENTS = text("""
    SELECT id, contract_id, progress, coalesce(completed_at, progress_at, now()) AS completed_at, withdrawn_at,
      now() AS now
    FROM enrollment WHERE account_id = :account ORDER BY id FOR NO KEY UPDATE""")

KEEP_NAMES = text("""
    INSERT INTO certificate_holder (enrollment_id, first_name, last_name, kept_until)
    SELECT t.id, :first_name, :last_name, t.kept_until
    FROM unnest(CAST(:ids AS uuid[]), CAST(:kept_until AS timestamptz[])) t (id, kept_until)
    ON CONFLICT (enrollment_id) DO NOTHING""")

BLANK_ENROLLMENTS = text("""
    UPDATE enrollment SET external_id = NULL, next_reminder_at = NULL WHERE account_id = :account
      AND (external_id IS NOT NULL OR next_reminder_at IS NOT NULL)""")

# A mail that a mailer holds is emptied too: it was read when it was claimed, and the mailer asks once more before it
# sends whether it may (``workers/mail/letters/reading.py``).
BLANK_MAILS: Final = text(f"""
    WITH theirs AS MATERIALIZED (
      SELECT id, due_at IS NOT NULL AND leased_until IS NULL AS owed FROM email
      WHERE account_id = :account OR id = ANY(CAST(:addressed AS uuid[]))
      ORDER BY id FOR NO KEY UPDATE),
    blanked AS (
      UPDATE email e SET to_address = '', context = NULL, result = NULL,
        error = CASE WHEN e.error IS NOT NULL THEN {SHORT_ERROR.replace("error", "e.error")} END,
        state = CASE WHEN theirs.owed THEN 'cancelled' ELSE e.state END,
        due_at = CASE WHEN NOT theirs.owed THEN e.due_at END,
        finished_at = CASE WHEN theirs.owed THEN now() ELSE e.finished_at END
      FROM theirs WHERE e.id = theirs.id),
    tried AS (UPDATE job_attempt a SET error = NULL FROM theirs WHERE a.row_id = theirs.id AND a.error IS NOT NULL)
    SELECT count(*) AS mails, count(*) FILTER (WHERE owed) AS cancelled FROM theirs""")

# The document of one person is named after them. A zip is not, and what stands in it is deleted with its link.
RENAME_FILES = text("""
    UPDATE certificate_file SET name = single.number || '.pdf' FROM (
      SELECT f.id, d.number FROM enrollment e JOIN certificate k ON k.enrollment_id = e.id
      JOIN certificate_duplicate d ON d.certificate_id = k.id JOIN certificate_file f ON f.job_id = d.job_id
      WHERE e.account_id = :account AND f.kind = 'pdf' ORDER BY f.id FOR NO KEY UPDATE OF f) single
    WHERE certificate_file.id = single.id""")

# Held before they are looked at: a statement that waits for a file sees, once it has it, none of the imports that were
# accepted meanwhile. The next one does.
HOLD_FILES = text("""
    SELECT portal_id, sha256 FROM roster_file f WHERE EXISTS (
      SELECT 1 FROM roster r WHERE r.sha256 = f.sha256 AND r.portal_id = f.portal_id
        AND (r.job_id = ANY(CAST(:jobs AS uuid[])) OR EXISTS (
          SELECT 1 FROM job_person p WHERE p.job_id = r.job_id AND p.account_id = :account)))
    ORDER BY portal_id, sha256 FOR UPDATE""")

# A file is kept by its content, which cannot be emptied in part. Not that of an import that is not done yet.
DELETE_FILES = text("""
    DELETE FROM roster_file f USING unnest(CAST(:portals AS uuid[]), CAST(:files AS bytea[])) t (portal_id, sha256)
    WHERE f.portal_id = t.portal_id AND f.sha256 = t.sha256 AND NOT EXISTS (
      SELECT 1 FROM roster r JOIN job j ON j.id = r.job_id
      WHERE r.sha256 = f.sha256 AND r.portal_id = f.portal_id AND j.finished_at IS NULL)""")

BLANK_CORRECTIONS = text("""
    UPDATE email_correction SET old_email = '', new_email = '',
      state = CASE state WHEN 'pending' THEN 'cancelled' ELSE state END, ended_at = coalesce(ended_at, now())
    WHERE account_id = :account""")

# What ops listed stays, and with it the address: somebody decided that no mail goes there, often because its owner
# asked, and whoever erases them has not decided otherwise.
FORGET_SUPPRESSION: Final = text(f"""
    DELETE FROM suppression
    WHERE email_norm = ANY(CAST(:emails AS text[])) AND reason = '{SuppressionReason.HARD_BOUNCE}'""")

FORGET_THROTTLES = text("""
    DELETE FROM throttle WHERE scope = ANY(CAST(:scopes AS text[])) AND subject = ANY(CAST(:subjects AS uuid[]))""")

# Never one that somebody else emptied meanwhile.
BLANK_REQUEST = text("UPDATE job SET request = CAST(:request AS json) WHERE id = :job AND request IS NOT NULL")

# A message that was refused could not be read as a request, so nobody knows which part of it speaks of whom: all of
# it goes, but for why it was refused.
BLANK_MESSAGES = text("""
    UPDATE job SET message = NULL FROM (
      SELECT id FROM job WHERE id = ANY(CAST(:jobs AS uuid[])) AND message IS NOT NULL
      ORDER BY id FOR NO KEY UPDATE) refused
    WHERE job.id = refused.id""")

BLANK_RESULTS = text("""
    UPDATE job SET result = NULL FROM (
      SELECT id FROM job WHERE id = ANY(CAST(:jobs AS uuid[])) AND kind = 'export_person'
        AND finished_at IS NOT NULL AND result IS NOT NULL ORDER BY id FOR NO KEY UPDATE) theirs
    WHERE job.id = theirs.id""")

# An address nobody can have, type or guess.
ERASE_ACCOUNT: Final = text(f"""
    UPDATE account SET first_name = '', last_name = '', password_hash = NULL,
      credential_version = credential_version + 1, erased_at = now(),
      email_norm = CAST(gen_random_uuid() AS text) || '@{ERASED_DOMAIN}'
    WHERE id = :account""")
