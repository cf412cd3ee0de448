"""The options of requests: what may be left out. A test compares them with the classes of the requests."""

from collections.abc import Iterable
from datetime import date, datetime
from typing import NotRequired, TypedDict
from uuid import UUID

Identifier = UUID | str


class PersonFields(TypedDict):
    """A person to enrol."""

    email: str
    first_name: str
    last_name: str
    locale: NotRequired[str | None]
    external_id: NotRequired[str | None]


class ProgressFields(TypedDict):
    """An event that the LMS reports; its times have an offset."""

    enrollment_id: Identifier
    progress: str
    occurred_at: datetime | str
    score: NotRequired[float | None]
    time_spent_seconds: NotRequired[int | None]
    completed_at: NotRequired[datetime | str | None]


class Asked(TypedDict, total=False):
    """The option of every request: who asks, in the portal's own words."""

    requested_by: str


class ResetOptions(Asked, total=False):
    """Options of ``request_password_reset``."""

    companies: Iterable[str] | None


class CompanyOptions(Asked, total=False):
    """Options of ``put_company``."""

    colour: str | None
    logo: str | None


class TrainingOptions(Asked, total=False):
    """Options of ``put_training``."""

    nature: str
    objectives: Iterable[str]
    modality: str | None
    planned_minutes: int | None
    access_url: str | None


class ContractOptions(Asked, total=False):
    """Options of ``put_contract``."""

    starts_on: date | str | None
    ends_on: date | str | None
    manager_email: str | None
    manager_locale: str
    reminders: bool
    release_after_days: int | None


class EnrollOptions(Asked, total=False):
    """Options of ``enroll``."""

    policy: str
    notify: bool
    dry_run: bool
    report_to: str | None
    report_locale: str


class WithdrawOptions(Asked, total=False):
    """Options of ``withdraw`` and ``undo_import``."""

    notify: bool


class NameOptions(Asked, total=False):
    """Options of ``correct_name``, of which one name is needed."""

    first_name: str | None
    last_name: str | None


class DuplicateOptions(Asked, total=False):
    """Options of ``duplicate_certificates``."""

    document: str
    locale: str
    deliver_to: str | None


class OwnDuplicateOptions(Asked, total=False):
    """Options of ``duplicate_own_certificate``."""

    document: str
    locale: str
    deliver: bool


class CertificateOptions(NameOptions, total=False):
    """Options of ``correct_certificate``."""

    reread: bool


class UploadOptions(EnrollOptions, total=False):
    """Options of ``upload_roster``: the name of the file besides those of ``enroll``."""

    filename: str


class SelectionOptions(TypedDict, total=False):
    """Options of ``selection``: the filter, and which participants of each group are shown."""

    q: str
    progress: str | None
    mail: str | None
    to_do: bool
    limit: int
    allowed_from: int
    refused_from: int
