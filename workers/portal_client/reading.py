"""Portals read with these functions, over HTTP alone: contracts, participants, jobs and files.

They check the password of a person as well.
"""

import json
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, BinaryIO, Final, TypeVar

from pydantic import BaseModel
from typing_extensions import Unpack

from models.words import Code, JobState, Progress
from workers.portal_client.addresses import path_of
from workers.portal_client.asking import job_id
from workers.portal_client.errors import NeedsHttp, PortalError, Unanswered, UnreadableAnswer
from workers.portal_client.http_door import HttpDoor, read
from workers.portal_client.options import Identifier, SelectionOptions
from workers.portal_client.repeating import repeat
from workers.portal_client.results import (
    AccountEnrollment,
    AccountEnrollments,
    CertificateVersion,
    Contract,
    Job,
    JobPerson,
    JudgedSelection,
    Page,
    Participant,
    ParticipantCounts,
    ParticipantProgress,
    RosterRow,
    RosterUndo,
    SignIn,
)

ItemType = TypeVar("ItemType", bound=BaseModel)

PAGE: Final = 200
"""The items of a page; lists ask for the next one when it is needed."""

FIRST_LOOK: Final = 0.05
LAST_LOOK: Final = 1.0
"""Seconds between the first and between later looks at a job that is waited for."""


class Reading:
    """The functions that read. Through the queue they raise ``NeedsHttp``.

    All raise PortalError, ``NotFound`` for what is not there and for what is another portal's.
    """

    _door: Any

    @property
    def _http(self) -> HttpDoor:
        if not isinstance(self._door, HttpDoor):
            raise NeedsHttp("the queue takes requests only")
        return self._door

    def contracts(self) -> Iterator[Contract]:
        """Yields the contracts in the order of their references, with their counters."""
        return self._all(Contract, "/contracts")

    def contract(self, reference: str) -> Contract:
        """Returns a contract with its counters."""
        return self._http.ask(Contract, path_of("/contracts/{contract}", contract=reference))

    def participants(
        self, contract: str, *, q: str | None = None, progress: Progress | str | None = None, mail: str | None = None
    ) -> Iterator[Participant]:
        """Yields the participants of a contract, the latest first.

        Parameters:
          q: the beginning of names, of the address, of `external_id`.
          progress: only with this progress.
          mail: only with this state of the latest mail.
        """
        path = path_of("/contracts/{contract}/participants", contract=contract)
        return self._all(Participant, path, q=q, progress=progress, mail=mail)

    def participants_page(
        self,
        contract: str,
        *,
        q: str | None = None,
        progress: Progress | str | None = None,
        mail: str | None = None,
        to_do: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Participant]:
        """Returns one page of the participants of a contract, for a list that people read page by page.

        Parameters:
          q, progress, mail: as for ``participants``.
          to_do: only those for whom a manager has something to do.
          cursor: the `next` of the page before; None for the first one.
          limit: the most participants on it, 200 at most; there may be fewer although a page follows.
        """
        path = path_of("/contracts/{contract}/participants", contract=contract)
        query = {"q": q, "progress": progress, "mail": mail, "to_do": to_do or None, "cursor": cursor, "limit": limit}
        return self._http.ask(Page[Participant], path, query)

    def participant_counts(self, contract: str) -> ParticipantCounts:
        """Returns how many participants of a contract there are by progress, and to act on; bounded in large ones."""
        path = path_of("/contracts/{contract}/participant-counts", contract=contract)
        return self._http.ask(ParticipantCounts, path)

    def selection(
        self,
        contract: str,
        action: str,
        enrollment_ids: Iterable[Identifier] | None = None,
        **more: Unpack[SelectionOptions],
    ) -> JudgedSelection:
        """Says of several participants about whom an action may be taken, before it is asked for. It changes nothing.

        Parameters:
          action: `withdraw`, `reset`, `resend`, `correct` or `duplicate`.
          enrollment_ids: the selected ones, at most 10,000; None for all that the filter finds.
        """
        ids = None if enrollment_ids is None else [str(one) for one in enrollment_ids]
        content = json.dumps({"action": action, "enrollment_ids": ids, **more}).encode()
        path = path_of("/contracts/{contract}/selection", contract=contract)
        answer = repeat(lambda: self._http.call("POST", path, content=content), self._http.patience)
        return read(JudgedSelection, answer)

    def account_enrollments(self, account_id: Identifier) -> tuple[AccountEnrollment, ...]:
        """Returns the trainings of a person who signed in, the latest first."""
        path = path_of("/accounts/{account}/enrollments", account=account_id)
        return self._http.ask(AccountEnrollments, path).items

    def participant(self, enrollment_id: Identifier) -> Participant:
        """Returns a participant, also one who left the contract."""
        return self._http.ask(Participant, path_of("/enrollments/{enrollment}", enrollment=enrollment_id))

    def progress(self, enrollment_id: Identifier) -> ParticipantProgress:
        """Returns the progress of a participant with their certificates, also of one who left."""
        return self._http.ask(ParticipantProgress, path_of("/enrollments/{one}/progress", one=enrollment_id))

    def certificate(self, certificate_id: Identifier) -> CertificateVersion:
        """Returns a certificate: its status, its content as long as that is kept, and its duplicates."""
        return self._http.ask(CertificateVersion, path_of("/certificates/{one}", one=certificate_id))

    def roster(self, job: Identifier | Job) -> Job:
        """Returns the import of a file: how the file was understood, its progress, and the counts of results."""
        return self._http.ask(Job, path_of("/rosters/{job}", job=job_id(job)))

    def roster_rows(
        self, job: Identifier | Job, *, only: str | None = None, code: Code | str | None = None
    ) -> Iterator[RosterRow]:
        """Yields the rows of an imported file with their results, in order.

        Parameters:
          only: `accepted` or `refused` rows; of these the ones `to_correct`, which no further seat would help; or the
            first `accented` ones, where these tell how the file was read.
          code: only rows with this result.
        """
        return self._all(RosterRow, path_of("/rosters/{job}/rows", job=job_id(job)), only=only, code=code)

    def roster_page(
        self,
        job: Identifier | Job,
        *,
        only: str | None = None,
        code: Code | str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[RosterRow]:
        """Returns one page of these rows; `next` is the `cursor` of the following one.

        A page may have fewer rows than `limit` although another one follows.
        """
        asked = {"only": only, "code": code, "cursor": cursor, "limit": limit}
        return self._http.ask(Page[RosterRow], path_of("/rosters/{job}/rows", job=job_id(job)), asked)

    def roster_undo(self, job: Identifier | Job) -> RosterUndo:
        """Returns what undoing an import would do now."""
        return self._http.ask(RosterUndo, path_of("/rosters/{job}/undo", job=job_id(job)))

    def job(self, job: Identifier | Job) -> Job:
        """Returns a job as it is now."""
        return self._http.ask(Job, path_of("/jobs/{job}", job=job_id(job)))

    def jobs(self, *, state: JobState | str | None = None, kind: str | None = None) -> Iterator[Job]:
        """Yields the jobs of the portal, the latest first, without their results."""
        return self._all(Job, "/jobs", state=state, kind=kind)

    def people(self, job: Identifier | Job, *, code: Code | str | None = None) -> Iterator[JobPerson]:
        """Yields the results of all people of a job, in the order of the request; with a code only those with it."""
        return self._all(JobPerson, path_of("/jobs/{job}/people", job=job_id(job)), code=code)

    def wait_for(self, job: Identifier | Job, seconds: float = 60.0) -> Job:
        """Waits for a job, and returns it as it is then: look at `finished`. A refused job has finished too."""
        until, pause = time.monotonic() + seconds, FIRST_LOOK
        while not (found := self.job(job)).finished and (left := until - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(LAST_LOOK, pause * 1.5)
        return found

    def sign_in(self, email: str, password: str) -> SignIn:
        """Checks the address and the password of a person. It is not repeated once it was sent: a try counts."""
        content = json.dumps({"email": email, "password": password}).encode()
        return read(SignIn, self._http.call("POST", "/sign-ins", content=content))

    def save_roster_model(self, file: BinaryIO, *, kind: str = "csv", locale: str = "fr") -> int:
        """Writes the file that managers fill in, as `csv` or `xlsx`; returns its bytes."""
        return self._save(file, path_of("/roster-model.{kind}", kind=kind), locale=locale)

    def save_roster_errors(self, job: Identifier | Job, file: BinaryIO, *, locale: str | None = None) -> int:
        """Writes the rows that an import refused, to be corrected and imported again; returns the bytes."""
        return self._save(file, path_of("/rosters/{job}/errors.csv", job=job_id(job)), locale=locale)

    def save_participants(self, contract: str, file: BinaryIO, *, locale: str = "fr", delimiter: str = ",") -> int:
        """Writes all participants of a contract as CSV, to be corrected and imported again; returns the bytes."""
        path = path_of("/contracts/{contract}/participants.csv", contract=contract)
        return self._save(file, path, locale=locale, delimiter=delimiter)

    def save_duplicates(self, job: Identifier | Job, file: BinaryIO, *, kind: str = "pdf") -> int:
        """Writes what a job of duplicates made, one document as `pdf` and several as `zip`; returns the bytes."""
        return self._save(file, path_of("/certificate-duplicates/{job}.{kind}", job=job_id(job), kind=kind))

    def _all(self, shape: type[ItemType], path: str, **query: Any) -> Iterator[ItemType]:
        """Asks for the first page, and yields the items of all."""
        ask = partial(self._http.ask, Page[shape], path)  # type: ignore[valid-type]
        return _items(ask, {"limit": PAGE, **query})

    def _save(self, file: BinaryIO, path: str, **query: Any) -> int:
        """Writes a file as it arrives; only what has begun is not repeated.

        Raises: PortalError; the file then has a part.
        """
        written = 0

        def fetch() -> int:
            nonlocal written
            try:
                with self._http.opened("GET", path, query=query, headers={"Accept": "*/*"}) as answer:
                    for piece in answer.iter_bytes():
                        written += file.write(piece)
            except Unanswered as error:
                if written:
                    raise PortalError("incomplete_file", error.detail) from error
                raise
            return written

        return repeat(fetch, self._http.patience)


def _items(ask: Any, query: dict[str, Any]) -> Iterator[Any]:
    cursor: str | None = None
    while True:
        page = ask({**query, "cursor": cursor})
        yield from page.items
        if page.next is None:
            return
        if page.next == cursor:
            raise UnreadableAnswer("unreadable_answer", "a page that is followed by itself")
        cursor = page.next
