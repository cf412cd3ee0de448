"""Requests about roster files: import a file, stop its import, undo its import."""

from typing import Annotated, ClassVar

from pydantic import Field

from models.words import LOCALES, Policy, Scope
from workers.requests.base import (
    ContactAddress,
    Label,
    Language,
    OtherId,
    Reference,
    Request,
)
from workers.requests.personal import Personal
from workers.requests.queues import Queue
from workers.requests.subjects import NamedSubjects

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$"), Personal.NOTHING]


class ImportRoster(Request):
    """Enrol the people of a file on a contract; the file itself was stored before.

    The answer has one result per row of the file, in order, with its line number. While a file is being imported, the
    same file for the same contract is the same job. Afterwards it is imported again; people already enrolled use no
    further seat.
    """

    kind: ClassVar[str] = "import_roster"
    scope: ClassVar[Scope | None] = Scope.ENROLL
    beyond_database: ClassVar[bool] = True

    contract: Reference
    file: Digest = Field(description="SHA-256 of the file, in hexadecimal digits")
    file_name: Label
    policy: Policy = Field(
        default=Policy.UNTIL_FULL, strict=False, description="what to do when not all people can be enrolled"
    )
    notify: bool = Field(default=True, description="send each enrolled person a mail")
    dry_run: bool = Field(default=False, description="answer what would happen, change nothing")
    report_to: ContactAddress | None = Field(
        default=None, description="address for the summary, with the refused rows in a file to correct"
    )
    report_locale: Language = Field(default=LOCALES[0], description="language of that summary: fr or en")

    @property
    def queue(self) -> Queue:
        """The queue of large requests, so that a small one never waits behind a file."""
        return Queue.ROSTERS

    @property
    def lane(self) -> str:
        """The contract."""
        return f"contract:{self.contract}"

    @property
    def subjects(self) -> NamedSubjects:
        """The contract."""
        return NamedSubjects(contracts=(self.contract,))


class _ImportRequest(Request):
    job: OtherId = Field(description="the job of the import")

    @property
    def lane(self) -> str:
        """The import itself, so that stopping or undoing it does not wait for the lane of its contract."""
        return f"import:{self.job}"

    @property
    def subjects(self) -> NamedSubjects:
        """The import."""
        return NamedSubjects(jobs=(self.job,))


class CancelImport(_ImportRequest):
    """Stop the import of a file where it stands; people enrolled so far stay enrolled."""

    kind: ClassVar[str] = "cancel_import"
    scope: ClassVar[Scope | None] = Scope.ENROLL


class UndoImport(_ImportRequest):
    """Withdraw the people an import enrolled, unless they have begun the training. One result per enrollment."""

    kind: ClassVar[str] = "undo_import"
    scope: ClassVar[Scope | None] = Scope.ENROLL
    beyond_database: ClassVar[bool] = True

    notify: bool = Field(default=True, description="send each withdrawn person a mail")

    @property
    def queue(self) -> Queue:
        """The queue of large requests, because it is as large as the file."""
        return Queue.ROSTERS
