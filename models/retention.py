"""Data is kept for the times in one table, which the nightly `purge` carries out and docs/retention.md explains.

Sources: GDPR, article 5(1)(e) (no longer than needed); the evidence of trainings that financing bodies may ask for, six
years (OCAPIAT, « pièces justificatives : 6 ans »).
"""

from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from models.paris import PARIS

CERTIFICATE_YEARS: Final = 6
"""Names on certificates are kept for so many calendar years after the year of completion: « certificat : 3 ans, pièces
justificatives : 6 ans » (OCAPIAT). The longer time counts, because a duplicate is issued from evidence."""

PART: Final = 10_000
"""A statement of the purge changes at most this many rows, so that its transactions stay short."""


class RetentionClass(StrEnum):
    """A kind of data that is kept for a limited time."""

    REQUEST = "job.request"
    DEAD_REQUEST = "job.request, dead"
    EXPORT = "job.result, export"
    PEOPLE = "job_person"
    JOB = "job"
    MAIL_WORDS = "email.context"
    MAIL_ADDRESS = "email.to_address"
    MAIL = "email"
    LINK = "link"
    CORRECTION = "email_correction"
    NAME_CORRECTION = "name_correction"
    HOLDER = "certificate_holder"
    CERTIFICATE = "certificate.snapshot"
    DUPLICATES_FILE = "certificate_file"
    AUDIT = "audit"
    KEY = "idempotency"
    ATTEMPT = "job_attempt"
    WEBHOOK_ATTEMPT = "webhook_attempt"
    WEBHOOK = "webhook"
    HELD_WEBHOOK = "webhook, held"
    SIGN_IN = "sign_in"
    THROTTLE = "throttle"
    CORRECTION_THROTTLE = "throttle, correction"
    SUPPRESSION = "suppression"
    ROSTER_FILE = "roster_file"
    ROSTER_UPLOAD = "roster_file, upload"
    ROSTER_NAME = "roster.file_name"
    ROSTER = "roster"
    ROSTER_ADDRESS = "roster_address"
    INBOX_FILE = "inbox_file"
    ROUTINE = "job, routine"
    PROCESS = "process"
    LEDGER_MINUTE = "ledger_minute"
    LEDGER_HOUR = "ledger_hour"
    LEDGER_DEPTH = "ledger_depth"
    RELEASE_RUN = "release_run"
    QUEUE_PAUSE = "queue_pause"
    SHOWN_ROW = "ops_action_row, shown"
    SHOWN_ACTION = "ops_action, shown"
    ACTION_ROW = "ops_action_row"
    ACTION = "ops_action"
    OPS_SESSION = "ops_session"


class RetentionRule(NamedTuple):
    """The time for which one kind of data is kept, as docs/retention.md states it.

    Parameters:
      what: the name that people use.
      keeps: the time, as PostgreSQL reads an interval.
      since: the event from which the time counts.
      then: the end of the data after that time.
      why: the reason for this time.
    """

    what: str
    keeps: str
    since: str
    then: str
    why: str


RETENTION: Final[dict[RetentionClass, RetentionRule]] = {
    RetentionClass.REQUEST: RetentionRule(
        *("Requests as they were sent (rows of rosters, addresses), messages that were refused", "90 days"),
        *("the end of the job", "emptied", "a portal repeats a request under its key for as long"),
    ),
    RetentionClass.DEAD_REQUEST: RetentionRule(
        *("Requests of jobs that gave up", "1 year"),
        *("the end of the job", "emptied", "what was asked for can still be done by retrying it"),
    ),
    RetentionClass.EXPORT: RetentionRule(
        *("Results of exports of a person", "30 days"),
        *("the end of the job", "emptied", "time to hand them over (GDPR, article 12(3): one month)"),
    ),
    RetentionClass.PEOPLE: RetentionRule(
        *("Results per person of a job (identifiers and codes)", "3 years"),
        *("the end of the job", "deleted", "explains a seat for as long as the certificate it led to is checked"),
    ),
    RetentionClass.JOB: RetentionRule(
        *("Jobs (who asked, when, how it ended)", "3 years"),
        *("the end of the job", "deleted", "the same"),
    ),
    RetentionClass.MAIL_WORDS: RetentionRule(
        *("What a mail was about beside its identifiers, the answers of mail servers", "30 days"),
        *("the end of the mail", "emptied, but for the class of an error", "complaints about a mail come within weeks"),
    ),
    RetentionClass.MAIL_ADDRESS: RetentionRule(
        *("Addresses mails were sent to", "1 year"),
        *("the end of the mail", "emptied", "shows where an invitation went while its contract runs"),
    ),
    RetentionClass.MAIL: RetentionRule(
        *("Mails (kind, date, state; never their text)", "3 years"),
        *("the end of the mail", "deleted", "as long as the job that owed them"),
    ),
    RetentionClass.LINK: RetentionRule(
        *("Links in mails (never the token)", "1 year"),
        *("their use or end", "deleted", "tells a reader of an old mail what became of its link"),
    ),
    RetentionClass.CORRECTION: RetentionRule(
        *("Addresses in corrections of an address", "1 year"),
        *("the end of the correction", "emptied", "time to notice an account taken over and to undo it"),
    ),
    RetentionClass.NAME_CORRECTION: RetentionRule(
        *("Names in corrections of a name", "1 year"),
        *("the end of the correction", "emptied", "time to notice a name put wrong and to undo it"),
    ),
    RetentionClass.HOLDER: RetentionRule(
        *("Names of an erased person on certificates", f"{CERTIFICATE_YEARS} years"),
        *("the end of the year of completion", "deleted"),
        "evidence of a training that was paid for (OCAPIAT: 6 years), of which a duplicate may be asked for",
    ),
    RetentionClass.CERTIFICATE: RetentionRule(
        *("What certificates of erased persons say, and the documents made of them", f"{CERTIFICATE_YEARS} years"),
        *("the end of the year of completion", "emptied; the documents are deleted", "the same"),
    ),
    RetentionClass.DUPLICATES_FILE: RetentionRule(
        *("Links to files of duplicates, and the names of those files", "90 days"),
        *("the file was made", "deleted", "they end after 7 days, and the zip with them; a portal may ask until then"),
    ),
    RetentionClass.AUDIT: RetentionRule(
        *("Audit trail (identifiers, never names or addresses)", "6 years"),
        *("the entry", "deleted", "as long as the evidence of a training, which it explains"),
    ),
    RetentionClass.KEY: RetentionRule(
        *("Keys of requests, with a hash of what was asked", "90 days"),
        *("the request", "deleted", "a repeat within that time is done once"),
    ),
    RetentionClass.ATTEMPT: RetentionRule(
        *("Failed attempts and their errors", "90 days"),
        *("the attempt", "deleted", "to find the cause of a fault"),
    ),
    RetentionClass.WEBHOOK_ATTEMPT: RetentionRule(
        *("Attempts to tell a portal of an event, and what it answered", "30 days"),
        *("the attempt", "deleted", "to find the cause of a fault; a portal asks within weeks"),
    ),
    RetentionClass.WEBHOOK: RetentionRule(
        *("Events that portals were told of (identifiers, codes, counters)", "30 days"),
        *("they were delivered or given up", "deleted", "a portal that lost them has them told again until then"),
    ),
    RetentionClass.HELD_WEBHOOK: RetentionRule(
        *("Events held for an endpoint that is disabled", "90 days"),
        *("the event", "deleted", "a portal repairs its endpoint within weeks; later it reads anew how things stand"),
    ),
    RetentionClass.SIGN_IN: RetentionRule(
        *("Counts of wrong passwords", "1 day"),
        *("the last one", "deleted", "guessing is slowed down (NIST SP 800-63B-4, 3.2.2)"),
    ),
    RetentionClass.THROTTLE: RetentionRule(
        *("Counts of requests, for each address, account, company and portal they count for", "1 day"),
        *("the request", "deleted", "the longest window in which they are counted"),
    ),
    RetentionClass.CORRECTION_THROTTLE: RetentionRule(
        *("The same of corrections of one person's address or name", "30 days"),
        *("the request", "deleted", "the window in which they are counted"),
    ),
    RetentionClass.SUPPRESSION: RetentionRule(
        *("Addresses that bounced", "7 days"),
        *("the bounce", "deleted", "a mailbox that did not exist may be made meanwhile (a new employee's)"),
    ),
    RetentionClass.ROSTER_FILE: RetentionRule(
        *("Roster files", "90 days"),
        *(
            "they were last handed over",
            "deleted",
            "as long as other requests; the refused rows are asked for until then",
        ),
    ),
    RetentionClass.ROSTER_UPLOAD: RetentionRule(
        *("Parts of roster files that never arrived as a whole", "1 day"),
        *("the first of them arrived", "deleted", "a process was killed while it took the file in"),
    ),
    RetentionClass.ROSTER_NAME: RetentionRule(
        *("Names of roster files and of their columns", "90 days"),
        *("they were handed over", "emptied", "as long as the files"),
    ),
    RetentionClass.ROSTER: RetentionRule(
        *("What else an import was (contract, how many rows)", "3 years"),
        *("the file was handed over", "deleted", "as long as its job"),
    ),
    RetentionClass.ROSTER_ADDRESS: RetentionRule(
        *("Addresses met in a roster file, as hashes, of an import that gave up", "90 days"),
        *("the end of the job", "deleted", "an import that is retried must know them, as long as it has its file"),
    ),
    RetentionClass.INBOX_FILE: RetentionRule(
        *("Names of files seen in inboxes", "90 days"),
        *("they were put away", "deleted", "as long as the files"),
    ),
    RetentionClass.ROUTINE: RetentionRule(
        *("Jobs Matricule does by the clock", "7 days"),
        *("the end of the job", "deleted", "no personal data; thousands a day"),
    ),
    RetentionClass.PROCESS: RetentionRule(
        *("Processes of Matricule", "1 hour"),
        *("they were last heard of", "deleted", "no personal data"),
    ),
    RetentionClass.LEDGER_MINUTE: RetentionRule(
        *("Counts of ended jobs and mails by minute (no identifiers)", "2 days"),
        *("the minute", "deleted", "curves of a day; then the counts of hours do"),
    ),
    RetentionClass.LEDGER_HOUR: RetentionRule(
        *("The same counts by hour", "400 days"),
        *("the hour", "deleted", "compares a week with that of a year before"),
    ),
    RetentionClass.LEDGER_DEPTH: RetentionRule(
        *("How much waited in each minute, and how much came", "2 days"),
        *("the minute", "deleted", "curves of a day"),
    ),
    RetentionClass.RELEASE_RUN: RetentionRule(
        *("Which releases ran, and when", "400 days"),
        *("they were last seen", "deleted", "as long as the counts of hours, in which deployments are marked"),
    ),
    RetentionClass.QUEUE_PAUSE: RetentionRule(
        *("Pauses of queues (who paused what, why)", "400 days"),
        *("the end of the pause", "deleted", "as long as the counts of hours, in which a pause is a gap"),
    ),
    RetentionClass.SHOWN_ROW: RetentionRule(
        *("Which jobs and mails an action of operators would have changed (identifiers only)", "1 day"),
        *("they were shown", "deleted", "a set that was shown may be confirmed for an hour"),
    ),
    RetentionClass.SHOWN_ACTION: RetentionRule(
        *("Actions of operators that were shown and not confirmed", "1 day"),
        *("they were shown", "deleted", "the same"),
    ),
    RetentionClass.ACTION_ROW: RetentionRule(
        *("Which jobs and mails an action of operators changed (identifiers and states)", "30 days"),
        *("it was shown", "deleted, once the action has ended", "to undo it; the audit trail keeps what was done"),
    ),
    RetentionClass.ACTION: RetentionRule(
        *("Actions of operators on many jobs and mails (filter, counts, who asked, why)", "400 days"),
        *("they were shown", "deleted", "compares with the counts of hours"),
    ),
    RetentionClass.OPS_SESSION: RetentionRule(
        *("Sessions of users of the console (name, times, hash of the token)", "1 day"),
        *("the sign-in", "deleted", "a session lasts twelve hours at most; the audit trail keeps the sign-in"),
    ),
}
"""Each kind of data and its time. Data that is kept for as long as a customer stays is in docs/retention.md only."""


def names_kept_until(completed_at: datetime) -> datetime:
    """Returns the moment until which the names of an erased person are kept for a certificate: the end, in France, of
    the sixth year after the year of completion.
    """
    year = completed_at.astimezone(PARIS).year
    return datetime(year + CERTIFICATE_YEARS + 1, 1, 1, tzinfo=PARIS)


def first_id(moment: datetime) -> UUID:
    """Returns the smallest identifier of this moment: those made earlier are smaller (UUID version 7, RFC 9562, 5.7).

    Old rows are found with it by their primary key, so tables that are written all the time need no further index.
    """
    return UUID(int=int(moment.timestamp() * 1000) << 80)
