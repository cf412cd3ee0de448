"""The address of each request over HTTP; a test compares it with what Matricule answers there."""

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

from workers.requests import accounts, catalog, certificates, enrollment, imports
from workers.requests.base import Request


class RequestAddress(NamedTuple):
    """The method and path of a request.

    Parameters:
      path: below ``/v1``; each field of the request in braces is given there and not in the body.
    """

    method: str
    path: str

    @property
    def given(self) -> frozenset[str]:
        """The fields that the path gives."""
        return frozenset(part[1:-1] for part in self.path.split("/") if part.startswith("{"))

    def of(self, request: Request) -> str:
        """Returns the path of a request."""
        return path_of(self.path, **{name: getattr(request, name) for name in self.given})


def path_of(template: str, **values: object) -> str:
    """Fills a path; a value with a slash or of dots alone stays one segment."""
    return template.format(**{name: _segment(str(value)) for name, value in values.items()})


def _segment(value: str) -> str:
    quoted = quote(value, safe="")
    return quoted.replace(".", "%2E") if quoted.strip(".") == "" else quoted


ADDRESSES: Final[Mapping[type[Request], RequestAddress]] = {
    catalog.PutCompany: RequestAddress("PUT", "/companies/{reference}"),
    catalog.PutTraining: RequestAddress("PUT", "/trainings/{reference}"),
    catalog.PutContract: RequestAddress("PUT", "/contracts/{reference}"),
    catalog.PutPortal: RequestAddress("PUT", "/portal"),
    enrollment.Enroll: RequestAddress("POST", "/contracts/{contract}/enrollments"),
    enrollment.Withdraw: RequestAddress("POST", "/contracts/{contract}/withdrawals"),
    enrollment.RecordProgress: RequestAddress("POST", "/progress"),
    accounts.ResetPasswords: RequestAddress("POST", "/contracts/{contract}/password-resets"),
    accounts.ResendInvitations: RequestAddress("POST", "/contracts/{contract}/invitations"),
    accounts.CorrectEmail: RequestAddress("POST", "/enrollments/{enrollment_id}/email-correction"),
    accounts.CorrectName: RequestAddress("POST", "/enrollments/{enrollment_id}/name-correction"),
    accounts.RequestPasswordReset: RequestAddress("POST", "/password-reset-requests"),
    accounts.ExportPerson: RequestAddress("POST", "/person-exports"),
    accounts.ErasePerson: RequestAddress("POST", "/person-erasures"),
    certificates.DuplicateCertificates: RequestAddress("POST", "/contracts/{contract}/certificate-duplicates"),
    certificates.DuplicateOwnCertificate: RequestAddress(
        "POST", "/enrollments/{enrollment_id}/own-certificate-duplicates"
    ),
    certificates.CorrectCertificate: RequestAddress("POST", "/enrollments/{enrollment_id}/certificate-correction"),
    certificates.RevokeCertificate: RequestAddress("POST", "/enrollments/{enrollment_id}/certificate-revocation"),
    imports.CancelImport: RequestAddress("POST", "/rosters/{job}/cancel"),
    imports.UndoImport: RequestAddress("POST", "/rosters/{job}/undo"),
}
