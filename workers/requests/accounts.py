"""Requests about accounts: links sent again, corrected addresses, export and erasure of a person."""

from collections.abc import Collection
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from models.words import Scope
from workers.requests.base import (
    AccountName,
    BulkEnrollmentRequest,
    EnrollmentId,
    PersonAddress,
    Reason,
    Reference,
    Request,
    names_one,
)
from workers.requests.personal import Personal
from workers.requests.queues import Queue
from workers.requests.subjects import ALL_COMPANIES, NamedSubjects

MOST_COMPANIES: Final = 10_000
"""The most companies of which a request may speak; a key may be limited to as many."""


class ResetPasswords(BulkEnrollmentRequest):
    """Send a password reset to people of a contract; a person without a password gets the invitation's link instead.

    The answer has one result per enrollment, in the order of the request. The mails are urgent, however many they are.
    """

    kind: ClassVar[str] = "reset_passwords"
    scope: ClassVar[Scope | None] = Scope.ACCOUNTS


class ResendInvitations(BulkEnrollmentRequest):
    """Send their invitation again to people of a contract who never chose a password: the same link, with more time.

    The answer has one result per enrollment, in the order of the request.
    """

    kind: ClassVar[str] = "resend_invitations"
    scope: ClassVar[Scope | None] = Scope.ACCOUNTS


class RequestPasswordReset(Request):
    """Send a password reset to the person with this address, if this portal has enrolled them.

    The answer does not tell whether an account has the address. The request of a key that is limited to companies is
    about the people of these alone, and keys of other companies do not see its job.
    """

    kind: ClassVar[str] = "request_password_reset"
    scope: ClassVar[Scope | None] = Scope.SIGN_IN

    email: PersonAddress
    companies: Annotated[list[Reference], Personal.NOTHING] | None = Field(
        default=None,
        max_length=MOST_COMPANIES,
        description="only a person enrolled for one of these companies; null: for any of the portal",
    )

    @property
    def lane(self) -> str:
        """The address, so that one person's request does not wait for another's."""
        return f"address:{self.email}"

    @property
    def subjects(self) -> NamedSubjects:
        """The companies of the people that may be written to."""
        return NamedSubjects(companies=tuple(self.companies)) if self.companies else ALL_COMPANIES

    def limited_to(self, companies: Collection[str]) -> Self:
        """Returns the request for the people of these companies, unless it names some itself."""
        if self.companies is not None:
            return self
        return self.model_copy(update={"companies": sorted(companies)})


class CorrectEmail(Request):
    """Put the right address on a participant's account.

    An account that was never activated and belongs to this company alone has the new address at once, and the
    invitation goes there. An activated account keeps its address until the new address confirms, and the old one
    agrees or does not answer within 72 hours.
    """

    kind: ClassVar[str] = "correct_email"
    scope: ClassVar[Scope | None] = Scope.ENROLL

    enrollment_id: EnrollmentId
    email: PersonAddress = Field(description="the right address")

    @property
    def lane(self) -> str:
        """The enrollment, so that the latest correction of a person is also the last one done."""
        return f"enrollment:{self.enrollment_id}"

    @property
    def subjects(self) -> NamedSubjects:
        """The enrollment."""
        return NamedSubjects(enrollments=(self.enrollment_id,))


class CorrectName(Request):
    """Put the right name on a participant's account; a name left out stays.

    An account that was never activated and belongs to this company alone has the new name at once. In every other case
    the person is sent a link, and the account keeps its name until they confirm, within 14 days. Certificates keep the
    name they were issued with: send `correct_certificate` with `reread` to have one issued again.
    """

    kind: ClassVar[str] = "correct_name"
    scope: ClassVar[Scope | None] = Scope.ENROLL

    enrollment_id: EnrollmentId
    first_name: AccountName | None = Field(default=None, description="the right first name")
    last_name: AccountName | None = Field(default=None, description="the right last name")

    _names_one = model_validator(mode="after")(names_one)

    @property
    def lane(self) -> str:
        """The enrollment, so that the latest correction of a person is also the last one done."""
        return f"enrollment:{self.enrollment_id}"

    @property
    def subjects(self) -> NamedSubjects:
        """The enrollment."""
        return NamedSubjects(enrollments=(self.enrollment_id,))


class _PersonRequest(Request):
    email: PersonAddress = Field(description="the address the person's account has now")

    @property
    def queue(self) -> Queue:
        """Maintenance, one job at a time in its own transaction: it reads all stored requests, so no enrollment may
        wait for it in the same batch.
        """
        return Queue.MAINTENANCE

    @property
    def lane(self) -> str:
        """The address."""
        return f"address:{self.email}"


class ExportPerson(_PersonRequest):
    """Export all data about a person (GDPR, article 15), as JSON in the result, which is kept 30 days.

    A portal receives the data of its own companies, and the account's names and language if it was the first to enroll
    the person; the portal `local` receives everything.
    """

    kind: ClassVar[str] = "export_person"
    scope: ClassVar[Scope | None] = Scope.ACCOUNTS


class ErasePerson(_PersonRequest):
    """Erase a person's data (GDPR, article 17); the data certificates need is kept for as long as the law requires.

    A portal may erase a person that no other portal ever enrolled; the portal `local` may erase every person. A portal
    refused with `shared_account` can still withdraw the person, and ask ops to erase them (`matricule person erase`).
    """

    kind: ClassVar[str] = "erase_person"
    scope: ClassVar[Scope | None] = Scope.ACCOUNTS

    reason: Reason = Field(description="why, for the audit trail; no name, no address")
