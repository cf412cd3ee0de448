"""The answers of Matricule to portals, typed. A field or word of a newer release is kept and harms nothing."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from models.words import JobState, Progress, WebhookState

T = TypeVar("T")


class Answered(BaseModel):
    """The base class of answers; fields that this release does not know are attributes as well."""

    model_config = ConfigDict(extra="allow", frozen=True)


class JobPerson(Answered):
    """The result of one person, at their place in the request, from 0."""

    position: int
    code: str
    field: str | None = None
    account_id: UUID | None = None
    enrollment_id: UUID | None = None
    detail: Mapping[str, Any] | None = None


class JobResult(Answered):
    """The result of a job.

    Parameters:
      people: the first two hundred; ``Portal.people`` goes on.
      code: of a refused job, why nothing was changed.
      counts: the number of people by code.
    """

    people: tuple[JobPerson, ...] = ()
    people_next: str | None = None
    code: str | None = None
    counts: Mapping[str, int] | None = None


class JobError(Answered):
    """Why a job was refused before it was read, or gave up."""

    code: str | None = None


class Job(Answered):
    """A request that was accepted, and how it went.

    Parameters:
      state: None when it came over the queue, which says only that it was accepted.
      finished: whether the state is final.
      repeated: whether an earlier request under the same key had made it.
      error: why it was refused before it was read, or gave up.
      progress, file: of an import.
    """

    id: UUID
    kind: str
    state: JobState | str | None = None
    finished: bool = False
    requested_by: str = ""
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: JobResult = JobResult()
    error: JobError | None = None
    progress: Mapping[str, Any] | None = None
    file: Mapping[str, Any] | None = None
    repeated: bool = False


class Contract(Answered):
    """A contract with the counters that managers read."""

    reference: str
    company: str
    company_name: str
    training: str
    training_title: str
    planned_seats: int
    enrolled_count: int
    remaining: int
    starts_on: date | None
    ends_on: date | None
    manager_email: str | None
    manager_locale: str
    reminders: bool
    release_after_days: int | None


class Mail(Answered):
    """The latest mail about a participant.

    Parameters:
      state: `queued`, `deferred`, `sent`, `uncertain`, `undeliverable`, `complained` or `not_sent`.
      next: what a manager does about it: `wait`, `correct` the address, `resend`.
    """

    kind: str
    state: str
    at: datetime | None
    code: str | None
    next: str | None


class Permission(Answered):
    """Whether something may be done now; the code is what a request would answer."""

    allowed: bool
    code: str


class Permissions(Answered):
    """The permissions of a participant."""

    withdraw: Permission
    reset: Permission
    resend: Permission
    correct: Permission
    duplicate: Permission


class Participant(Answered):
    """A person on a contract. Contract and company are told of one that was asked for by its identifier.

    Parameters:
      email_pending_until, name_pending_until: until when a correction that waits may be confirmed; None without one.
      invitation_ends_at: when the link of the invitation ends or ended; None without one, and of an activated account.
    """

    enrollment_id: UUID
    account_id: UUID
    email: str
    first_name: str
    last_name: str
    external_id: str | None
    progress: Progress | str
    since: datetime
    enrolled_at: datetime
    activated_at: datetime | None
    withdrawn_at: datetime | None
    detached_at: datetime | None
    mail: Mail | None
    can: Permissions
    email_pending_until: datetime | None = None
    name_pending_until: datetime | None = None
    invitation_ends_at: datetime | None = None
    contract: str | None = None
    company: str | None = None


class BoundedCount(Answered):
    """A number of participants; `more` when there are, or may be, more of them."""

    number: int
    more: bool


class ParticipantCounts(Answered):
    """How many participants a contract has.

    Parameters:
      to_do: those for whom a manager has something to do.
    """

    not_started: BoundedCount
    in_progress: BoundedCount
    completed: BoundedCount
    to_do: BoundedCount


class SelectedParticipants(Answered):
    """A part of a selection.

    Parameters:
      enrollment_ids: all of it.
      participants: as many as were asked for; `can` says why an action is refused.
    """

    enrollment_ids: tuple[UUID, ...]
    participants: tuple[Participant, ...]


class JudgedSelection(Answered):
    """A selection of participants, by whether an action may be taken about them.

    Parameters:
      codes: how many have each code of `can`.
      unknown: identifiers of no participant of the contract.
      complete: False when there may be more than were looked for, or more than one request takes.
    """

    codes: Mapping[str, int]
    allowed: SelectedParticipants
    refused: SelectedParticipants
    unknown: tuple[UUID, ...]
    complete: bool


class AccountEnrollment(Answered):
    """An enrollment of a person who signed in.

    Parameters:
      access_url: where they reach the training.
      credential_version: of the account; a session that began with another one ends.
    """

    enrollment_id: UUID
    contract: str
    company: str
    company_name: str
    training: str
    training_title: str
    access_url: str | None
    progress: Progress | str
    started_at: datetime | None
    completed_at: datetime | None
    enrolled_at: datetime
    credential_version: int | None = None


class AccountEnrollments(Answered):
    """The enrollments of a person who signed in, the latest first."""

    items: tuple[AccountEnrollment, ...]


class RosterRow(Answered):
    """A row of an imported file, its result, and the participant as they are now.

    Parameters:
      email, first_name, last_name: as the file says them; None when it is kept no longer.
      participant: None for a refused row, and for one who left.
    """

    position: int
    line: int | None
    email: str | None
    first_name: str | None
    last_name: str | None
    code: str
    field: str | None
    detail: Mapping[str, Any] | None
    account_id: UUID | None
    enrollment_id: UUID | None
    participant: Participant | None


class KeepingPerson(Answered):
    """A person who keeps their seat when an import is undone."""

    line: int | None
    enrollment_id: UUID
    email: str
    first_name: str
    last_name: str
    code: str
    detail: Mapping[str, Any] | None


class RosterUndo(Answered):
    """The effect of undoing an import now.

    Parameters:
      counts: people by the code that undoing would answer.
      keeping: the first two hundred who keep their seat.
    """

    counts: Mapping[str, int]
    keeping: tuple[KeepingPerson, ...]


class SignIn(Answered):
    """The check of a person's address and password.

    Parameters:
      account_id: the account; None when the password is wrong or nothing has this address.
      credential_version: a session that was started with it ends when it moves.
      code: why it was refused: `wrong_credentials` or `sign_in_locked`.
    """

    state: JobState | str | None = None
    account_id: UUID | None = None
    credential_version: int | None = None
    code: str | None = None
    locked_until: datetime | None = None


class CertificateVersion(Answered):
    """A version of a certificate; a corrected one takes the place of the one before."""

    id: UUID
    number: str
    version: int
    status: str


class ParticipantProgress(Answered):
    """The progress of a participant, with every version of their certificate."""

    enrollment_id: UUID
    contract: str
    company: str
    training: str
    training_title: str
    account_id: UUID
    email: str
    first_name: str
    last_name: str
    external_id: str | None
    progress: Progress | str
    started_at: datetime | None
    completed_at: datetime | None
    progress_at: datetime | None
    score: float | None
    time_spent_seconds: int
    enrolled_at: datetime
    withdrawn_at: datetime | None
    detached_at: datetime | None
    certificate_held: str | None
    certificates: tuple[CertificateVersion, ...]


class Endpoint(Answered):
    """An endpoint at which the portal is told of events.

    Parameters:
      events: None for all.
      secret: `whsec_…`, only of a new endpoint and when it is rotated.
      held: webhooks that wait until it is enabled.
    """

    reference: str
    url: str
    events: tuple[str, ...] | None
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: str | None
    failing_since: datetime | None
    failures: int
    next_try_at: datetime | None
    previous_until: datetime | None
    secret_version: int
    secret: str | None
    held: int
    created_at: datetime
    updated_at: datetime


class ToldWebhook(Answered):
    """An event that an endpoint was told or is owed; `tried_at`, `status` and `error` are those of its last try.

    Parameters:
      id: the `webhook-id`.
    """

    id: UUID
    event: str
    resource: str
    sequence: int
    state: WebhookState | str
    created_at: datetime
    finished_at: datetime | None
    due_at: datetime | None
    failures: int
    tried_at: datetime | None
    status: int | None
    error: str | None


class WebhookTry(Answered):
    """One try, and the beginning of the answer."""

    at: datetime
    status: int | None
    milliseconds: int
    error: str | None
    answer: str | None


class WebhookTries(ToldWebhook):
    """An event with its tries, which are kept for 30 days."""

    tries: tuple[WebhookTry, ...]


class ReplayedWebhooks(Answered):
    """The events that are told again; `last` goes on as `after` where there may be more."""

    number: int
    last: UUID | None


class Page(Answered, Generic[T]):
    """A page of a list; `next` is the cursor of the next one."""

    items: tuple[T, ...]
    next: str | None
