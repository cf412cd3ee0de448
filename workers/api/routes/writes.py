"""Requests that become jobs: each operation is a class of ``workers.requests`` at an address."""

from typing import Final

from starlette.responses import Response

from models.words import Scope
from workers.api.bodies import read_body, read_request
from workers.api.calls import Call
from workers.api.operation import Operation
from workers.api.submitting import body_of, own_enrollment, record, required_key, submit
from workers.requests.accounts import (
    CorrectEmail,
    CorrectName,
    ErasePerson,
    ExportPerson,
    RequestPasswordReset,
    ResendInvitations,
    ResetPasswords,
)
from workers.requests.base import Request
from workers.requests.catalog import PutCompany, PutContract, PutPortal, PutTraining
from workers.requests.certificates import (
    CorrectCertificate,
    DuplicateCertificates,
    DuplicateOwnCertificate,
    RevokeCertificate,
)
from workers.requests.enrollment import Enroll, RecordProgress, Withdraw

CATALOG: Final = "Companies, trainings, contracts"
PARTICIPANTS: Final = "Participants"
CERTIFICATES: Final = "Certificates"
PEOPLE: Final = "People"


def _job(address: str, request: type[Request], scope: Scope, summary: str, tag: str, **given: str) -> Operation:
    """Makes the operation of a request; `given` are its fields that the address gives, and their parameters."""
    method, path = address.split()
    return Operation(
        method, path, request.kind, submit, scope, summary, tag, body=body_of(request, **given), keyed=True
    )


async def duplicate_one(call: Call) -> Response:
    """Makes a numbered duplicate of the certificate of one participant."""
    key = required_key(call)
    enrollment = await own_enrollment(call, "enrollment")
    given = {"contract": enrollment.contract, "enrollment_ids": [str(enrollment.id)]}
    body = await read_body(call.http, call.operation.most)
    return await record(call, key, *read_request(DuplicateCertificates, body, given))


CATALOG_OPERATIONS: Final = (
    _job(
        "PUT /companies/{company}",
        PutCompany,
        Scope.ADMIN,
        "Record a company, or change it",
        CATALOG,
        reference="company",
    ),
    _job(
        "PUT /trainings/{training}",
        PutTraining,
        Scope.ADMIN,
        "Record a training, or change it",
        CATALOG,
        reference="training",
    ),
    _job(
        "PUT /contracts/{contract}",
        PutContract,
        Scope.ADMIN,
        "Record a contract, or change it",
        CATALOG,
        reference="contract",
    ),
    _job("PUT /portal", PutPortal, Scope.ADMIN, "Say where people reach the trainings of this portal", CATALOG),
)

PARTICIPANT_OPERATIONS: Final = (
    _job(
        "POST /contracts/{contract}/enrollments",
        Enroll,
        Scope.ENROLL,
        "Enrol people on a contract",
        PARTICIPANTS,
        contract="contract",
    ),
    _job(
        "POST /contracts/{contract}/withdrawals",
        Withdraw,
        Scope.ENROLL,
        "Withdraw people from a contract",
        PARTICIPANTS,
        contract="contract",
    ),
    _job(
        "POST /contracts/{contract}/password-resets",
        ResetPasswords,
        Scope.ACCOUNTS,
        "Send people of a contract a password reset",
        PARTICIPANTS,
        contract="contract",
    ),
    _job(
        "POST /contracts/{contract}/invitations",
        ResendInvitations,
        Scope.ACCOUNTS,
        "Send people of a contract their invitation again",
        PARTICIPANTS,
        contract="contract",
    ),
    _job(
        "POST /enrollments/{enrollment}/email-correction",
        CorrectEmail,
        Scope.ENROLL,
        "Correct the address of a participant",
        PARTICIPANTS,
        enrollment_id="enrollment",
    ),
    _job(
        "POST /enrollments/{enrollment}/name-correction",
        CorrectName,
        Scope.ENROLL,
        "Correct the name of a participant",
        PARTICIPANTS,
        enrollment_id="enrollment",
    ),
    _job("POST /progress", RecordProgress, Scope.PROGRESS, "Report the progress of participants", PARTICIPANTS),
)

CERTIFICATE_OPERATIONS: Final = (
    _job(
        "POST /contracts/{contract}/certificate-duplicates",
        DuplicateCertificates,
        Scope.CERTIFICATES,
        "Make duplicates of certificates of a contract",
        CERTIFICATES,
        contract="contract",
    ),
    Operation(
        "POST",
        "/enrollments/{enrollment}/certificate-duplicates",
        "duplicate_certificate",
        duplicate_one,
        Scope.CERTIFICATES,
        "Make a duplicate of the certificate of a participant",
        CERTIFICATES,
        body=body_of(DuplicateCertificates, contract="", enrollment_ids=""),
        keyed=True,
    ),
    _job(
        "POST /enrollments/{enrollment}/own-certificate-duplicates",
        DuplicateOwnCertificate,
        Scope.CERTIFICATES,
        "Make a duplicate for the learner who is signed in",
        CERTIFICATES,
        enrollment_id="enrollment",
    ),
    _job(
        "POST /enrollments/{enrollment}/certificate-correction",
        CorrectCertificate,
        Scope.CERTIFICATES,
        "Issue a certificate anew because it says something wrong",
        CERTIFICATES,
        enrollment_id="enrollment",
    ),
    _job(
        "POST /enrollments/{enrollment}/certificate-revocation",
        RevokeCertificate,
        Scope.CERTIFICATES,
        "Revoke a certificate",
        CERTIFICATES,
        enrollment_id="enrollment",
    ),
)

PEOPLE_OPERATIONS: Final = (
    _job(
        "POST /password-reset-requests",
        RequestPasswordReset,
        Scope.SIGN_IN,
        "Send a password reset to the person with an address, if there is one",
        PEOPLE,
    ),
    _job("POST /person-exports", ExportPerson, Scope.ACCOUNTS, "Export what is known of a person", PEOPLE),
    _job("POST /person-erasures", ErasePerson, Scope.ACCOUNTS, "Erase what is known of a person", PEOPLE),
)

OPERATIONS: Final = (*CATALOG_OPERATIONS, *PARTICIPANT_OPERATIONS, *CERTIFICATE_OPERATIONS, *PEOPLE_OPERATIONS)
