"""Requests about certificates: duplicates, corrections, revocations, and the organisations that sign."""

from math import ceil
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from models.document import MOST_LOGO_BYTES, MOST_LOGO_PIXELS, Document, clean_activity_number, clean_siret
from models.words import LOCALES, Code, Scope
from workers.requests.base import (
    AccountId,
    BulkEnrollmentRequest,
    EnrollmentId,
    Label,
    Language,
    MaintenanceRequest,
    PersonAddress,
    PersonName,
    PlainText,
    Reason,
    Reference,
    Request,
    checked,
)
from workers.requests.personal import Personal
from workers.requests.queues import FEW_DUPLICATES, Queue
from workers.requests.subjects import NamedSubjects

Siret = Annotated[str, checked(clean_siret), Personal.NOTHING]
ActivityNumber = Annotated[str, checked(clean_activity_number), Personal.NOTHING]


def _of_allowed_size(picture: str) -> str | Code:
    return Code.IMAGE_TOO_LARGE if len(picture) > 4 * ceil(MOST_LOGO_BYTES / 3) else picture


Picture = Annotated[str, checked(_of_allowed_size), Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$"), Personal.NOTHING]
"""A PNG, JPEG or WebP in base64."""

PICTURE: Final = (
    f"PNG, JPEG or WebP in base64, at most {MOST_LOGO_BYTES // 1000} kB and {MOST_LOGO_PIXELS} pixels a side"
)


class DuplicateCertificates(BulkEnrollmentRequest):
    """Make numbered duplicates of the certificates of people of a contract who completed the training.

    One person's duplicate is a document, several are a zip with an index. The answer has one result per enrollment, in
    the order of the request, and says where to fetch the file. The same key again gives the same duplicate.
    """

    kind: ClassVar[str] = "duplicate_certificates"
    scope: ClassVar[Scope | None] = Scope.CERTIFICATES
    beyond_database: ClassVar[bool] = True

    document: Document = Field(
        default=Document.ATTESTATION,
        strict=False,
        description="attestation (attestation de fin de formation) or realisation (certificat de réalisation)",
    )
    locale: Language = Field(default=LOCALES[0], description="language of the document: fr or en")
    deliver_to: PersonAddress | None = Field(
        default=None, description="mail the file there: attached up to 5 MB, else behind a link of 7 days"
    )

    @property
    def queue(self) -> Queue:
        """Few duplicates have the fast queue, because the manager waits for them; many have the bulk queue."""
        return Queue.CERTIFICATES_BULK if len(self.enrollment_ids) > FEW_DUPLICATES else Queue.CERTIFICATES


class _EnrollmentRequest(Request):
    enrollment_id: EnrollmentId

    @property
    def queue(self) -> Queue:
        """The fast queue for certificates, because a person waits."""
        return Queue.CERTIFICATES

    @property
    def lane(self) -> str:
        """The enrollment, so that certificates of different people do not wait for each other."""
        return f"enrollment:{self.enrollment_id}"

    @property
    def subjects(self) -> NamedSubjects:
        """The enrollment."""
        return NamedSubjects(enrollments=(self.enrollment_id,))


class DuplicateOwnCertificate(_EnrollmentRequest):
    """Make a duplicate for a learner that the portal has signed in: the account must be the one of the enrollment."""

    kind: ClassVar[str] = "duplicate_own_certificate"
    scope: ClassVar[Scope | None] = Scope.CERTIFICATES
    beyond_database: ClassVar[bool] = True

    account_id: AccountId = Field(description="the account that is signed in, as verify_credentials answered")
    document: Document = Field(default=Document.ATTESTATION, strict=False)
    locale: Language = Field(default=LOCALES[0], description="language of the document: fr or en")
    deliver: bool = Field(default=False, description="mail the file to the account's address")


class CorrectCertificate(_EnrollmentRequest):
    """Issue a new certificate because the earlier one has an error; the earlier one then names its replacement.

    The given names are only printed on the certificate: the account keeps its own. A certificate that was not issued
    because the fonts cannot print the name (`name_not_printable`) is issued with the given ones.
    """

    kind: ClassVar[str] = "correct_certificate"
    scope: ClassVar[Scope | None] = Scope.CERTIFICATES

    first_name: PersonName | None = None
    last_name: PersonName | None = None
    reread: bool = Field(
        default=False,
        description="take company, training, dates and organisation as they are recorded now, and the name of the"
        " account if it was corrected since",
    )
    reason: Reason = Field(description="why, for the audit trail; no name, no address")

    @model_validator(mode="after")
    def _corrects_something(self) -> Self:
        if not (self.first_name or self.last_name or self.reread):
            raise PydanticCustomError(Code.INVALID_REQUEST.value, "says neither a name nor reread: nothing to correct")
        return self


class RevokeCertificate(_EnrollmentRequest):
    """Revoke a certificate; its verification page then shows that it is revoked, and since when."""

    kind: ClassVar[str] = "revoke_certificate"
    scope: ClassVar[Scope | None] = Scope.CERTIFICATES

    reason: Reason = Field(description="why, for the audit trail and the verification page; no name, no address")


class PutOrganisation(MaintenanceRequest):
    """Record a training organisation that signs certificates, or change it, and name the portals it signs for.

    A field left out stays as it is. Certificates issued before do not change. Trainings completed before get their
    certificate now.
    """

    kind: ClassVar[str] = "put_organisation"
    unchanged_if_left_out: ClassVar[frozenset[str]] = frozenset(
        {"address", "siret", "activity_number", "activity_region", "colour", "logo"}
    )

    reference: Reference
    legal_name: Label
    address: list[Label] = Field(default=[], max_length=5, description="the lines of its address")
    siret: Siret | None = None
    activity_number: ActivityNumber | None = Field(default=None, description="number of its declaration (L. 6351-1)")
    activity_region: Label | None = Field(default=None, description="region of the prefect it is declared to")
    signatory_name: Annotated[Label, Personal.CONTACT]
    signatory_quality: Label
    place: Label = Field(description="the town where it signs")
    colour: PlainText | None = Field(
        default=None, max_length=20, description="#rrggbb, dark enough to be read on white"
    )
    logo: Picture | None = Field(default=None, description=PICTURE)
    portals: list[Label] = Field(default=[], description="names of the portals it signs certificates for")


class CatchUpCertificates(MaintenanceRequest):
    """Issue the certificates of trainings completed before an organisation could sign them, a part at a time."""

    kind: ClassVar[str] = "catch_up_certificates"
    routine: ClassVar[bool] = True


class PurgeDocuments(MaintenanceRequest):
    """Delete the bytes of documents at the end of their retention."""

    kind: ClassVar[str] = "purge_documents"
    routine: ClassVar[bool] = True
    beyond_database: ClassVar[bool] = True


DUPLICATE_KINDS: Final = frozenset({DuplicateCertificates.kind, DuplicateOwnCertificate.kind})
"""Kinds with a file of duplicates as their result."""
