"""The learner who asks for a page, and their trainings. Their account is the one that Matricule answered at sign-in."""

from dataclasses import dataclass
from uuid import UUID

from starlette.requests import Request

from scripts.portal.sessions import LEARNER, SignInNeeded
from scripts.portal.site import site_of
from workers.portal_client import AccountEnrollment, Job, NotFound, Portal


@dataclass(frozen=True)
class Learner:
    """A person who is signed in.

    Parameters:
      account_id: their account.
      version: the version of their credentials with which they signed in.
      portal: the client with the key of the learner's side.
    """

    account_id: UUID
    version: str
    portal: Portal

    def trainings(self) -> tuple[AccountEnrollment, ...]:
        """Returns their trainings, the latest first.

        Raises: SignInNeeded when the password is another one since they signed in; PortalError.
        """
        found = self.portal.account_enrollments(self.account_id)
        if any(str(one.credential_version) != self.version for one in found):
            raise SignInNeeded(LEARNER, ended=True)
        return found

    def training(self, enrollment_id: UUID) -> AccountEnrollment:
        """Returns a training of theirs.

        Raises: NotFound for one of another person; PortalError.
        """
        found = next((one for one in self.trainings() if one.enrollment_id == enrollment_id), None)
        if found is None:
            raise NotFound("not_found")
        return found

    def job(self, job_id: str, kind: str, enrollment_id: UUID | None = None) -> Job:
        """Returns a job that was about this person alone.

        The key of the learner's side sees the jobs of all learners, so the account in the result decides. One that has
        no result yet tells nothing.

        Parameters:
          enrollment_id: the training that it must be about; None for any of theirs.

        Raises: NotFound for a job about another person, or of another kind; PortalError.
        """
        try:
            UUID(job_id)
        except ValueError:
            raise NotFound("not_found") from None
        job = self.portal.job(job_id)
        mine = {one.enrollment_id for one in self.trainings()} if enrollment_id is None else {enrollment_id}
        if job.kind != kind or any(one.enrollment_id not in mine for one in job.result.people):
            raise NotFound("not_found")
        return job


def learner_of(request: Request) -> Learner:
    """Returns the learner who is signed in.

    Raises: SignInNeeded.
    """
    site = site_of(request)
    values = site.sessions.live(request, LEARNER)
    try:
        return Learner(UUID(values.get("account", "")), values.get("version", ""), site.learners)
    except ValueError:
        raise SignInNeeded(LEARNER, ended=True) from None
