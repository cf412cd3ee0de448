"""The shapes of answers, for the description of the API; a test compares them with what is really answered."""

from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from models.participant import NextStep
from models.words import Code, DeliveryState, JobState, Policy, Progress, WebhookState

T = TypeVar("T")


class Shape(BaseModel):
    """The base class of shapes: every field is always there, and there are no others."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)


class FieldProblem(Shape):
    """A wrong field of a call; the value itself is never repeated."""

    field: str = Field(description="its dotted path, `people.3.email`; empty for the body as a whole")
    code: str
    detail: str = ""


class Problem(BaseModel):
    """A call that was not accepted (RFC 9457)."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="an address that describes the problem")
    title: str
    status: int
    code: str
    request_id: str = Field(description="also in the header `X-Request-Id`: tell it to the support")
    detail: str | None = None
    errors: list[FieldProblem] | None = None


class JobPerson(Shape):
    """The result of one person, at their place in the request (from 0)."""

    position: int
    code: str
    field: str | None = Field(description="the field to correct")
    account_id: str | None
    enrollment_id: str | None
    detail: dict[str, Any] | None = Field(description="facts that explain the code")


class JobResult(BaseModel):
    """The result of a job: counts by code, the code of a refusal, and a result for each person."""

    model_config = ConfigDict(extra="allow")

    people: list[JobPerson]
    code: str | None = None
    counts: dict[str, int] | None = None


class CountedResult(BaseModel):
    """The result of an import, without its people."""

    model_config = ConfigDict(extra="allow")

    code: str | None = None
    counts: dict[str, int] | None = None


class JobError(BaseModel):
    """Why a job was refused before it was read, or gave up."""

    model_config = ConfigDict(extra="allow")

    code: str | None = None


class Job(BaseModel):
    """A request that was accepted, and how it went."""

    model_config = ConfigDict(extra="allow")

    id: str
    kind: str
    state: JobState
    finished: bool
    requested_by: str
    created_at: str
    started_at: str | None
    finished_at: str | None
    result: JobResult
    error: JobError | None


class ListedJob(Shape):
    """A job in a list, without its result."""

    id: str
    kind: str
    state: JobState
    finished: bool
    requested_by: str
    created_at: str
    started_at: str | None
    finished_at: str | None


class RosterReport(Job):
    """The import of a file: how it was understood, how far it is, and the counts of results."""

    contract: str
    dry_run: bool
    policy: Policy
    notify: bool
    report_to: str | None
    report_locale: str
    result: CountedResult  # type: ignore[assignment]
    file: dict[str, Any]
    progress: dict[str, Any]


class CertificateVersion(Shape):
    """A version of a certificate; one that was replaced names its replacement."""

    model_config = ConfigDict(extra="allow")

    id: str
    enrollment_id: str
    contract: str
    number: str
    version: int
    issued_at: str
    revoked_at: str | None
    revocation_reason: str | None
    kept_until: str
    replaced_by: str | None
    replaced_at: str | None
    code: str = Field(description="the code with which a reader verifies it, in groups of four")
    verify_url: str
    status: Literal["valid", "replaced", "revoked"]
    since: str | None = Field(description="when it was replaced or revoked")


class Certificate(CertificateVersion):
    """A certificate, what it says, and its latest duplicates."""

    says: dict[str, Any] | None = Field(description="null once it is kept no longer, or the person was erased")
    duplicates: list[dict[str, Any]]


class ParticipantProgress(Shape):
    """The progress of a participant, with every version of their certificate."""

    enrollment_id: str
    contract: str
    company: str
    training: str
    training_title: str
    account_id: str
    email: str
    first_name: str
    last_name: str
    external_id: str | None
    progress: Progress
    started_at: str | None
    completed_at: str | None
    progress_at: str | None = Field(description="when the latest event happened that is known")
    score: float | None = Field(description="percent")
    time_spent_seconds: int
    enrolled_at: str
    withdrawn_at: str | None
    detached_at: str | None
    certificate_held: str | None = Field(description="why the certificate cannot be printed")
    certificates: list[CertificateVersion]


class SignInAnswer(Shape):
    """The answer to an address and a password."""

    state: Literal[JobState.SUCCEEDED, JobState.REFUSED]
    code: Literal[Code.WRONG_CREDENTIALS, Code.SIGN_IN_LOCKED] | None = Field(description="why it is refused")
    account_id: str | None
    credential_version: int | None = Field(description="moves when sessions of the account must end")
    locked_until: str | None


class WebhookEndpoint(Shape):
    """An endpoint at which the portal is told of events."""

    reference: str
    url: str
    events: list[str] | None = Field(description="null: all")
    enabled: bool
    disabled_at: str | None
    disabled_reason: str | None
    failing_since: str | None
    failures: int = Field(description="failed tries since the last success")
    next_try_at: str | None
    previous_until: str | None = Field(description="until then the earlier secret signs too")
    secret_version: int
    secret: str | None = Field(description="`whsec_…`, only of a new endpoint and when it is rotated")
    held: int = Field(description="webhooks that wait until it is enabled, counted to 10,000")
    created_at: str
    updated_at: str


class ToldWebhook(Shape):
    """A webhook, and its last try."""

    id: str
    event: str
    resource: str
    sequence: int
    state: WebhookState
    created_at: str
    finished_at: str | None
    due_at: str | None
    failures: int
    tried_at: str | None
    status: int | None = Field(description="what the endpoint answered")
    error: str | None = Field(description="why it did not answer")


class WebhookTry(Shape):
    """One try, and the beginning of the answer."""

    at: str
    status: int | None
    milliseconds: int
    error: str | None
    answer: str | None


class WebhookTries(ToldWebhook):
    """A webhook with its tries, which are kept for 30 days."""

    tries: list[WebhookTry]


class ReplayedWebhooks(Shape):
    """The webhooks that are told again; `last` goes on as `after` when there may be more."""

    number: int
    last: str | None


class Contract(Shape):
    """A contract with the counters that managers read."""

    reference: str
    company: str = Field(description="the reference of the company")
    company_name: str
    training: str = Field(description="the reference of the training")
    training_title: str
    planned_seats: int = Field(description="Inscriptions prévues")
    enrolled_count: int = Field(description="Participants inscrits")
    remaining: int = Field(description="Places restantes")
    starts_on: str | None
    ends_on: str | None
    manager_email: str | None
    manager_locale: str
    reminders: bool
    release_after_days: int | None


class Mail(Shape):
    """The latest mail about a participant."""

    kind: str
    state: DeliveryState
    at: str | None = Field(description="when it came to this state; of one that is tried again, when that will be")
    code: str | None = Field(description="why it was not sent")
    next: NextStep | None = Field(description="what a manager does about it")


class Permission(Shape):
    """Whether something may be done now."""

    allowed: bool
    code: str = Field(description="what a request would answer; of a correction `at_once` or `needs_confirmation`")


class Permissions(Shape):
    """The permissions of a participant."""

    withdraw: Permission
    reset: Permission
    resend: Permission
    correct: Permission
    duplicate: Permission


class Participant(Shape):
    """A person on a contract."""

    enrollment_id: str
    account_id: str
    email: str
    first_name: str
    last_name: str
    external_id: str | None
    progress: Progress
    since: str = Field(description="when the participant came to this progress")
    enrolled_at: str
    activated_at: str | None
    withdrawn_at: str | None
    detached_at: str | None = Field(description="when the person said “this is not me”")
    mail: Mail | None
    can: Permissions
    email_pending_until: str | None = Field(
        description="until when a correction of the address that this company asked for may be confirmed"
    )
    name_pending_until: str | None = Field(description="the same of a correction of the name")
    invitation_ends_at: str | None = Field(
        description="when the link of the invitation ends or ended; null without one, or when the account is activated"
    )


class BoundedCount(Shape):
    """A number of participants."""

    number: int
    more: bool = Field(description="whether there are, or may be, more than this number")


class ParticipantCounts(Shape):
    """How many participants of a contract there are."""

    not_started: BoundedCount
    in_progress: BoundedCount
    completed: BoundedCount
    to_do: BoundedCount = Field(description="those for whom a manager has something to do")


class ParticipantOfContract(Participant):
    """A participant with the references of their contract and company."""

    contract: str
    company: str


class SelectedParticipants(Shape):
    """A part of a selection: all of its identifiers, and as many participants as were asked for."""

    enrollment_ids: list[str]
    participants: list[Participant]


class JudgedSelection(Shape):
    """A selection of participants, by whether an action may be taken about them."""

    codes: dict[str, int] = Field(description="how many have each code of `can`")
    allowed: SelectedParticipants
    refused: SelectedParticipants = Field(description="each participant says in `can` why")
    unknown: list[str] = Field(description="identifiers of no participant of this contract")
    complete: bool = Field(description="false: there may be more than were looked for, or more than one request takes")


class AccountEnrollment(Shape):
    """An enrollment of a person who signed in."""

    enrollment_id: str
    contract: str
    company: str
    company_name: str
    training: str
    training_title: str
    access_url: str | None = Field(description="where the person reaches the training")
    progress: Progress
    started_at: str | None
    completed_at: str | None
    enrolled_at: str
    credential_version: int = Field(description="of the account: end the sessions that began with another one")


class AccountEnrollments(Shape):
    """The enrollments of a person who signed in, the latest first, at most 100."""

    items: list[AccountEnrollment]


class RosterRow(Shape):
    """A row of an imported file, its result, and the participant as they are now."""

    position: int = Field(description="its place in the file, from 0, without blank rows")
    line: int | None
    email: str | None = Field(description="as the file says it, like the names; null when the file is kept no longer")
    first_name: str | None
    last_name: str | None
    code: str
    field: str | None = Field(description="the field to correct")
    detail: dict[str, Any] | None = Field(description="facts that explain the code")
    account_id: str | None
    enrollment_id: str | None
    participant: Participant | None = Field(description="null for a refused row, and for one who left")


class KeepingPerson(Shape):
    """A person who would keep their seat."""

    line: int | None
    enrollment_id: str
    email: str
    first_name: str
    last_name: str
    code: str
    detail: dict[str, Any] | None


class RosterUndo(Shape):
    """The effect of undoing an import now."""

    counts: dict[str, int] = Field(description="people by the code that undoing would answer")
    keeping: list[KeepingPerson] = Field(description="the first 200 who would keep their seat")


class Page(Shape, Generic[T]):
    """A page of a list; `next` is the cursor of the next page, null after the last."""

    items: list[T]
    next: str | None
