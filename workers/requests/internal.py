"""Internal requests, which no portal may send: schedules, other jobs and ops make them."""

from typing import ClassVar, Final

from pydantic import Field, model_validator

from models.words import LOCALES, Policy
from workers.requests.base import (
    AccountId,
    AccountName,
    BulkEnrollmentRequest,
    ContactAddress,
    EnrollmentId,
    Label,
    Language,
    MaintenanceRequest,
    Moment,
    Number,
    OtherId,
    PersonAddress,
    PlainText,
    Reason,
    Reference,
    Request,
    names_one,
)
from workers.requests.queues import Queue

IN_DAYTIME: Final = "work only on working days from 8 to 20 in Paris: the next slot does what a skipped one did not"


class SendPasswordReset(Request):
    """Look up the address of a `request_password_reset` and send the mail, after its answer has been given."""

    kind: ClassVar[str] = "send_password_reset"
    internal: ClassVar[bool] = True

    job: OtherId = Field(description="the job of the request_password_reset, which holds the address")

    @property
    def lane(self) -> str:
        """The job that owes it."""
        return f"job:{self.job}"


class IssueCertificate(Request):
    """Issue the certificate of a training that was completed."""

    kind: ClassVar[str] = "issue_certificate"
    internal: ClassVar[bool] = True

    enrollment_id: EnrollmentId

    @property
    def queue(self) -> Queue:
        """The queue of certificates; no person waits for the first copy."""
        return Queue.CERTIFICATES

    @property
    def lane(self) -> str:
        """The enrollment, so that certificates of different people do not wait for each other."""
        return f"enrollment:{self.enrollment_id}"

    @property
    def key(self) -> str:
        """The idempotency key, which allows one certificate per enrollment; no portal can use such a key."""
        return f"certificate:{self.enrollment_id}"


class ReleaseSeats(BulkEnrollmentRequest):
    """Release the seats of people of a contract who were warned and still have not activated their account."""

    kind: ClassVar[str] = "release_seats"
    internal: ClassVar[bool] = True


class CorrectEmailByOps(Request):
    """Put another address on an account at once. Only ops may, with a reason, and on an account of any portal."""

    kind: ClassVar[str] = "correct_email_by_ops"
    internal: ClassVar[bool] = True

    account_id: AccountId
    email: PersonAddress = Field(description="the right address")
    reason: Reason = Field(description="why, for the audit trail; no name, no address")

    @property
    def lane(self) -> str:
        """The account."""
        return f"account:{self.account_id}"


class CorrectNameByOps(Request):
    """Put another name on an account at once. Only ops may, with a reason, and on an account of any portal."""

    kind: ClassVar[str] = "correct_name_by_ops"
    internal: ClassVar[bool] = True

    account_id: AccountId
    first_name: AccountName | None = Field(default=None, description="the right first name")
    last_name: AccountName | None = Field(default=None, description="the right last name")
    reason: Reason = Field(description="why, for the audit trail; no name, no address")

    _names_one = model_validator(mode="after")(names_one)

    @property
    def lane(self) -> str:
        """The account."""
        return f"account:{self.account_id}"


class ReconcileSeats(MaintenanceRequest):
    """Compare seat history, enrollments and counter of every contract; report differences, repair nothing."""

    kind: ClassVar[str] = "reconcile_seats"
    routine: ClassVar[bool] = True


class Purge(MaintenanceRequest):
    """Delete or empty rows at the end of their retention."""

    kind: ClassVar[str] = "purge"
    routine: ClassVar[bool] = True


class ApplyCorrections(MaintenanceRequest):
    """Apply the corrections of addresses that are due; end those, also of names, that were not confirmed in time."""

    kind: ClassVar[str] = "apply_corrections"
    routine: ClassVar[bool] = True


class FindWords(MaintenanceRequest):
    """Write the words by which participants are found, for those that an older release enrolled."""

    kind: ClassVar[str] = "find_words"
    routine: ClassVar[bool] = True


class SendReminders(MaintenanceRequest):
    """Remind people who have not followed their invitation."""

    kind: ClassVar[str] = "send_reminders"
    routine: ClassVar[bool] = True

    daytime: bool = Field(default=False, description=IN_DAYTIME)


class PlanReleases(MaintenanceRequest):
    """Warn people that their unused seat will be released, and owe the release of seats after the warning.

    The scheduled request names no contract: it owes one request for each contract that has something to do.
    """

    kind: ClassVar[str] = "plan_releases"
    routine: ClassVar[bool] = True

    daytime: bool = Field(default=False, description=IN_DAYTIME)
    contract_id: OtherId | None = None
    since: Moment | None = Field(default=None, description="when the scheduled request began; warnings since then go in"
                                                           " one report")  # fmt: skip


class PutInbox(MaintenanceRequest):
    """Set up or change an inbox: a folder from which files are imported on a contract."""

    kind: ClassVar[str] = "put_inbox"

    portal: Label = Field(description="the portal of the contract")
    reference: Reference = Field(description="the name of the inbox")
    contract: Reference
    url: PlainText = Field(
        min_length=1, max_length=1_000, description="the folder, as fsspec reads it, without a password"
    )
    policy: Policy = Field(default=Policy.UNTIL_FULL, strict=False)
    notify: bool = Field(default=True, description="send each enrolled person a mail")
    report_to: ContactAddress | None = Field(default=None, description="address for the summary of each file")
    report_locale: Language = Field(default=LOCALES[0], description="language of the reports: fr or en")
    most_changed_percent: Number | None = Field(
        default=None, ge=1, le=10_000, description="refuse a file that would add more than this share of participants"
    )
    full_sync: bool = Field(default=False, description="report participants that are missing from the file")
    paused: bool = Field(default=False, description="do not look into the folder")
    expected: PlainText | None = Field(
        default=None, max_length=100, description="when a file is expected: a cron expression, read in Europe/Paris"
    )
    grace_seconds: Number = Field(
        default=3_600, ge=0, le=604_800, description="how long after that time it may come before it is missing"
    )


class ScanInboxes(MaintenanceRequest):
    """Look into every inbox: import new files, and put away finished ones."""

    kind: ClassVar[str] = "scan_inboxes"
    routine: ClassVar[bool] = True
    beyond_database: ClassVar[bool] = True

    @property
    def lane(self) -> str:
        """A lane of its own, so that a slow folder delays no other job."""
        return "inboxes"
