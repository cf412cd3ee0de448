"""Portals ask with these functions: one per request, the same through both doors.

Each answers with the job, once Matricule has accepted the request, and repeats until then under the same key. The key
is the portal's own: one for each request, the same for its repeats, such as the number of an order. A request that
records something (`put_…`) may be made again at any time, and needs none.
"""

from collections.abc import Iterable
from typing import Protocol
from uuid import uuid4

from typing_extensions import Unpack

from workers.portal_client import options
from workers.portal_client.building import build
from workers.portal_client.options import Identifier, PersonFields, ProgressFields
from workers.portal_client.results import Job
from workers.requests import accounts, catalog, certificates, enrollment, imports
from workers.requests.base import Request


class PortalDoor(Protocol):
    """A way to Matricule."""

    def submit(self, request: Request, key: str) -> Job:
        """Sends a request until it is answered; returns its job."""
        ...

    def close(self) -> None:
        """Closes the connections."""
        ...


class Asking:
    """The functions that ask for something. Every option is described in docs/requests.md.

    All raise:
      InvalidRequest: a field is wrong; nothing was sent.
      PortalError: it was not accepted, or not answered (``Unanswered``: repeat it later under the same key).
    """

    _door: PortalDoor

    def submit(self, request: Request, *, key: str) -> Job:
        """Sends a request that was made before."""
        return self._door.submit(request, key)

    def _ask(self, shape: type[Request], key: str | None, **fields: object) -> Job:
        return self.submit(build(shape, fields), key=key or f"put-{uuid4()}")

    def put_company(
        self, reference: str, *, name: str, key: str | None = None, **more: Unpack[options.CompanyOptions]
    ) -> Job:
        """Records a company under the portal's own reference, or changes it; an option left out stays as it is."""
        return self._ask(catalog.PutCompany, key, reference=reference, name=name, **more)

    def put_training(
        self, reference: str, *, title: str, key: str | None = None, **more: Unpack[options.TrainingOptions]
    ) -> Job:
        """Records a training under the portal's own reference, or changes it; an option left out stays as it is."""
        return self._ask(catalog.PutTraining, key, reference=reference, title=title, **more)

    def put_contract(
        self,
        reference: str,
        *,
        company: str,
        training: str,
        planned_seats: int,
        key: str | None = None,
        **more: Unpack[options.ContractOptions],
    ) -> Job:
        """Records a contract under the portal's own reference, or changes its seats, its dates and its options."""
        named = {"company": company, "training": training, "planned_seats": planned_seats}
        return self._ask(catalog.PutContract, key, reference=reference, **named, **more)

    def put_portal(self, *, access_url: str | None, key: str | None = None, **more: Unpack[options.Asked]) -> Job:
        """Records where people reach the trainings of this portal that name no address of their own."""
        return self._ask(catalog.PutPortal, key, access_url=access_url, **more)

    def enroll(
        self,
        contract: str,
        people: Iterable[PersonFields | enrollment.PersonToEnroll],
        *,
        key: str,
        **more: Unpack[options.EnrollOptions],
    ) -> Job:
        """Enrols people on a contract: one, several, or a whole list; a file goes through ``upload_roster``."""
        return self._ask(enrollment.Enroll, key, contract=contract, people=people, **more)

    def withdraw(
        self,
        contract: str,
        enrollment_ids: Iterable[Identifier],
        *,
        key: str,
        **more: Unpack[options.WithdrawOptions],
    ) -> Job:
        """Withdraws people from a contract: their seats are free again, unless they have begun the training."""
        return self._ask(enrollment.Withdraw, key, contract=contract, enrollment_ids=enrollment_ids, **more)

    def record_progress(
        self,
        events: Iterable[ProgressFields | enrollment.ProgressEvent],
        *,
        key: str,
        **more: Unpack[options.Asked],
    ) -> Job:
        """Reports events of the LMS about participants; they may come late, twice or in any order."""
        return self._ask(enrollment.RecordProgress, key, events=events, **more)

    def reset_passwords(
        self, contract: str, enrollment_ids: Iterable[Identifier], *, key: str, **more: Unpack[options.Asked]
    ) -> Job:
        """Sends people of a contract a password reset."""
        return self._ask(accounts.ResetPasswords, key, contract=contract, enrollment_ids=enrollment_ids, **more)

    def resend_invitations(
        self, contract: str, enrollment_ids: Iterable[Identifier], *, key: str, **more: Unpack[options.Asked]
    ) -> Job:
        """Sends people of a contract their invitation again."""
        return self._ask(accounts.ResendInvitations, key, contract=contract, enrollment_ids=enrollment_ids, **more)

    def correct_email(self, enrollment_id: Identifier, *, email: str, key: str, **more: Unpack[options.Asked]) -> Job:
        """Puts the right address on a participant's account, at once or after both addresses were asked."""
        return self._ask(accounts.CorrectEmail, key, enrollment_id=enrollment_id, email=email, **more)

    def correct_name(self, enrollment_id: Identifier, *, key: str, **more: Unpack[options.NameOptions]) -> Job:
        """Puts the right name on a participant's account, at once or after the person confirms it."""
        return self._ask(accounts.CorrectName, key, enrollment_id=enrollment_id, **more)

    def duplicate_certificates(
        self,
        contract: str,
        enrollment_ids: Iterable[Identifier],
        *,
        key: str,
        **more: Unpack[options.DuplicateOptions],
    ) -> Job:
        """Makes numbered duplicates of certificates; ``save_duplicates`` fetches the file."""
        named = {"contract": contract, "enrollment_ids": enrollment_ids}
        return self._ask(certificates.DuplicateCertificates, key, **named, **more)

    def duplicate_own_certificate(
        self,
        enrollment_id: Identifier,
        *,
        account_id: Identifier,
        key: str,
        **more: Unpack[options.OwnDuplicateOptions],
    ) -> Job:
        """Makes a duplicate for a learner whom the portal has signed in."""
        named = {"enrollment_id": enrollment_id, "account_id": account_id}
        return self._ask(certificates.DuplicateOwnCertificate, key, **named, **more)

    def correct_certificate(
        self, enrollment_id: Identifier, *, reason: str, key: str, **more: Unpack[options.CertificateOptions]
    ) -> Job:
        """Issues a new certificate because the earlier one has an error."""
        return self._ask(certificates.CorrectCertificate, key, enrollment_id=enrollment_id, reason=reason, **more)

    def revoke_certificate(
        self, enrollment_id: Identifier, *, reason: str, key: str, **more: Unpack[options.Asked]
    ) -> Job:
        """Revokes a certificate; its verification page then shows it."""
        return self._ask(certificates.RevokeCertificate, key, enrollment_id=enrollment_id, reason=reason, **more)

    def request_password_reset(self, email: str, *, key: str, **more: Unpack[options.ResetOptions]) -> Job:
        """Sends a password reset to the person with an address, if there is one; the answer does not tell."""
        return self._ask(accounts.RequestPasswordReset, key, email=email, **more)

    def export_person(self, email: str, *, key: str, **more: Unpack[options.Asked]) -> Job:
        """Exports all data about a person; the result has it for 30 days."""
        return self._ask(accounts.ExportPerson, key, email=email, **more)

    def erase_person(self, email: str, *, reason: str, key: str, **more: Unpack[options.Asked]) -> Job:
        """Erases a person's data; certificates keep what the law requires."""
        return self._ask(accounts.ErasePerson, key, email=email, reason=reason, **more)

    def cancel_import(self, job: Identifier | Job, *, key: str, **more: Unpack[options.Asked]) -> Job:
        """Stops the import of a file where it stands."""
        return self._ask(imports.CancelImport, key, job=job_id(job), **more)

    def undo_import(self, job: Identifier | Job, *, key: str, **more: Unpack[options.WithdrawOptions]) -> Job:
        """Withdraws the people that an import enrolled, unless they have begun the training."""
        return self._ask(imports.UndoImport, key, job=job_id(job), **more)


def job_id(job: Identifier | Job) -> str:
    """Returns the identifier of a job."""
    return str(job.id if isinstance(job, Job) else job)
