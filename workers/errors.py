"""Errors that tell the caller what to do. A refusal is a value with a code, never one of these."""

from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from models.words import Code, UnknownWordError

MAX_SHOWN: Final = 20
"""The number of problems of one request that are listed."""


class MatriculeError(Exception):
    """The base of all errors that Matricule raises on purpose."""


class Permanent(MatriculeError):
    """A retry cannot help. The work is recorded as dead with this error."""


class Transient(MatriculeError):
    """The cause is outside the work: try again later. The work is postponed and no failure is counted.

    Parameters:
      seconds: the time to wait before the next attempt.
    """

    def __init__(self, message: str, *, seconds: float = 1.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class Problem(NamedTuple):
    """One error in a request.

    Parameters:
      code: one of ``models.words.Code``.
      field: its place as a dotted path (``people.3.email``); empty for the request as a whole.
      detail: a description of the error, without the value itself.
    """

    code: Code
    field: str = ""
    detail: str = ""


class InvalidRequest(MatriculeError):
    """The input is invalid: nothing was recorded, and every problem is named.

    Parameters:
      problems: at least one.
    """

    def __init__(self, *problems: Problem) -> None:
        shown = "; ".join(": ".join(part for part in problem if part) for problem in problems[:MAX_SHOWN])
        super().__init__(shown)
        self.problems = problems

    @property
    def code(self) -> Code:
        """The code of the first problem."""
        return self.problems[0].code

    def as_json(self) -> dict[str, Any]:
        """Returns the problems as they are recorded and shown: the first ones, and the total number."""
        shown = [problem._asdict() for problem in self.problems[:MAX_SHOWN]]
        return {"code": self.code, "problems": shown, "problem_count": len(self.problems)}


class IdempotencyConflict(InvalidRequest):
    """The key was used before for another body."""

    def __init__(self) -> None:
        super().__init__(Problem(Code.IDEMPOTENCY_CONFLICT, "key", "this key was used before with another body"))


class NotConfigured(MatriculeError):
    """A setting is missing or cannot be understood; the error names the setting and the cure."""


def cannot_read(error: BaseException) -> bool:
    """Tells whether stored work holds a field, a word or a version that this release does not know.

    What was stored was read before, so a newer release wrote it, or an older one that knew more. A business answer is a
    value with a code and never such an error.
    """
    if isinstance(error, InvalidRequest):
        return error.code not in (Code.IDEMPOTENCY_CONFLICT, Code.UNKNOWN_PORTAL)
    return isinstance(error, UnknownWordError | ValidationError)
