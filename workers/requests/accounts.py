"""Requests about accounts: links sent again, corrected addresses, and what is known of a person."""

from typing import ClassVar

from pydantic import Field

from workers.requests.base import BulkEnrollmentRequest, EnrollmentId, PersonAddress, Reason, Request
from workers.requests.queues import Queue


class ResetPasswords(BulkEnrollmentRequest):
    """Send a password reset to people of a contract; to who never chose a password, the invitation's link instead.

    The answer has one result per enrollment, in the order of the request. The mails are urgent whatever their number.
    """

    kind: ClassVar[str] = "reset_passwords"


class ResendInvitations(BulkEnrollmentRequest):
    """Send their invitation again to people of a contract who never chose a password: the same link, with more time.

    The answer has one result per enrollment, in the order of the request.
    """

    kind: ClassVar[str] = "resend_invitations"


class RequestPasswordReset(Request):
    """Send a password reset to whoever has this address. The answer is the same whether or not anybody has."""

    kind: ClassVar[str] = "request_password_reset"

    email: PersonAddress

    @property
    def lane(self) -> str:
        """The address, so that nobody waits for anybody else."""
        return f"address:{self.email}"


class CorrectEmail(Request):
    """Put the right address on a participant's account.

    An account never activated and of this company alone has it at once, and the invitation goes there. One that was
    activated keeps its address until the new one confirmed and the old one agreed, or kept silent for 72 hours.
    """

    kind: ClassVar[str] = "correct_email"

    enrollment_id: EnrollmentId
    email: PersonAddress = Field(description="the right address")

    @property
    def lane(self) -> str:
        """The enrollment: what is asked later for the same person counts."""
        return f"enrollment:{self.enrollment_id}"


class _PersonRequest(Request):
    email: PersonAddress = Field(description="the address the person's account has now")

    @property
    def queue(self) -> Queue:
        """One at a time, in a transaction of its own: it reads all that is kept of requests, and nobody's enrollment
        stands in the same batch.
        """
        return Queue.MAINTENANCE

    @property
    def lane(self) -> str:
        """The address."""
        return f"address:{self.email}"


class ExportPerson(_PersonRequest):
    """Everything that is known of a person (GDPR, article 15), as JSON in the result, which is kept 30 days.

    A portal is told what concerns its own companies, and the account's names and language if it was the first to
    enroll the person; the portal `local` everything.
    """

    kind: ClassVar[str] = "export_person"


class ErasePerson(_PersonRequest):
    """Forget who a person was (GDPR, article 17); what certificates need is kept as long as the law has it kept.

    A portal may have somebody erased whom no other portal ever enrolled; the portal `local` anybody. Refused with
    `shared_account` it can still withdraw them, and have ops erase them (`matricule person erase`).
    """

    kind: ClassVar[str] = "erase_person"

    reason: Reason = Field(description="why, for the audit trail; no name, no address")
