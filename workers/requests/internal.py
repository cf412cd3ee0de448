"""What Matricule asks of itself: requests no portal may send, from schedules, from other jobs, from ops."""

from typing import ClassVar, Final

from pydantic import Field

from models.words import LOCALES, Policy
from workers.requests.base import (
    AccountId,
    BulkEnrollmentRequest,
    ContactAddress,
    EnrollmentId,
    Label,
    Language,
    MaintenanceRequest,
    Moment,
    OtherId,
    PersonAddress,
    PlainText,
    Reason,
    Reference,
    Request,
)
from workers.requests.queues import Queue

IN_DAYTIME: Final = "do nothing but on working days from 8 to 20 in Paris: a slot missed then is made up by the next"


class SendPasswordReset(Request):
    """What a `request_password_reset` owes: the look-up of its address, when nobody waits for the answer."""

    kind: ClassVar[str] = "send_password_reset"
    internal: ClassVar[bool] = True

    job: OtherId = Field(description="the job that was asked for; the address stays there")

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
        """Nobody waits in person for the first copy."""
        return Queue.CERTIFICATES

    @property
    def lane(self) -> str:
        """The enrollment: certificates do not wait for each other."""
        return f"enrollment:{self.enrollment_id}"

    @property
    def key(self) -> str:
        """One certificate per enrollment, whatever else is said of it; no portal can use such a key."""
        return f"certificate:{self.enrollment_id}"


class ReleaseSeats(BulkEnrollmentRequest):
    """Give back the seats of people of a contract who were warned and still have not activated their account."""

    kind: ClassVar[str] = "release_seats"
    internal: ClassVar[bool] = True


class CorrectEmailByOps(Request):
    """Put another address on an account at once, whoever it belongs to: what ops do, with a reason."""

    kind: ClassVar[str] = "correct_email_by_ops"
    internal: ClassVar[bool] = True

    account_id: AccountId
    email: PersonAddress = Field(description="the right address")
    reason: Reason = Field(description="why, for the audit trail; no name, no address")

    @property
    def lane(self) -> str:
        """The account."""
        return f"account:{self.account_id}"


class ReconcileSeats(MaintenanceRequest):
    """Compare seat ledger, enrollments and counter of every contract; report drift, repair nothing."""

    kind: ClassVar[str] = "reconcile_seats"
    routine: ClassVar[bool] = True


class Purge(MaintenanceRequest):
    """Delete what is kept for a time only, once that time has passed."""

    kind: ClassVar[str] = "purge"
    routine: ClassVar[bool] = True


class ApplyCorrections(MaintenanceRequest):
    """Apply the corrections of addresses whose time has come, end those that were not confirmed in time."""

    kind: ClassVar[str] = "apply_corrections"
    routine: ClassVar[bool] = True


class SendReminders(MaintenanceRequest):
    """Remind people of the invitation they did not follow."""

    kind: ClassVar[str] = "send_reminders"
    routine: ClassVar[bool] = True

    daytime: bool = Field(default=False, description=IN_DAYTIME)


class PlanReleases(MaintenanceRequest):
    """Warn people whose unused seat will be given back, and owe the release of those who were warned in time.

    The one that is scheduled names no contract: it owes another of each contract where there is something to do.
    """

    kind: ClassVar[str] = "plan_releases"
    routine: ClassVar[bool] = True

    daytime: bool = Field(default=False, description=IN_DAYTIME)
    contract_id: OtherId | None = None
    since: Moment | None = Field(default=None, description="when the scheduled one began; what is warned since goes in"
                                                           " one report")  # fmt: skip


class PutInbox(MaintenanceRequest):
    """Set up an inbox: a folder whose files are imported on a contract; or change one."""

    kind: ClassVar[str] = "put_inbox"

    portal: Label = Field(description="whose contract it is")
    reference: Reference = Field(description="the name of the inbox")
    contract: Reference
    url: PlainText = Field(
        min_length=1, max_length=1_000, description="the folder, as fsspec reads it, without a password"
    )
    policy: Policy = Field(default=Policy.UNTIL_FULL, strict=False)
    notify: bool = Field(default=True, description="send each enrolled person a mail")
    report_to: ContactAddress | None = Field(default=None, description="where to send the summary of each file")
    report_locale: Language = Field(default=LOCALES[0], description="language of the reports: fr or en")
    most_changed_percent: int | None = Field(
        default=None, ge=1, le=10_000, description="refuse a file that would add more than this of the participants"
    )
    full_sync: bool = Field(default=False, description="report participants that are missing from the file")
    paused: bool = Field(default=False, description="leave the folder alone")


class ScanInboxes(MaintenanceRequest):
    """Look into every inbox: import what was dropped, put away what is done."""

    kind: ClassVar[str] = "scan_inboxes"
    routine: ClassVar[bool] = True
    beyond_database: ClassVar[bool] = True

    @property
    def lane(self) -> str:
        """Its own: a folder that is slow keeps nothing else waiting."""
        return "inboxes"
