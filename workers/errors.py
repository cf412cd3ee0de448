"""Errors that say what to do. A refusal is a value with a code, never one of these."""

from typing import Any, Final, NamedTuple

from models.words import Code

MAX_SHOWN: Final = 20
"""Problems of one request that are spelt out."""


class MatriculeError(Exception):
    """Root of the errors Matricule raises on purpose."""


class Permanent(MatriculeError):
    """Stop: doing it again cannot help. The work is recorded as dead with this error."""


class Transient(MatriculeError):
    """Try again later: the fault is around the work, not in it. Postpones the work without counting a failure.

    Parameters:
      seconds: how long to wait before the next attempt.
    """

    def __init__(self, message: str, *, seconds: float = 1.0) -> None:
        super().__init__(message)
        self.seconds = seconds


class Problem(NamedTuple):
    """One thing that is wrong with a request.

    Parameters:
      code: one of ``models.words.Code``.
      field: where, as a dotted path (``people.3.email``); empty for the request as a whole.
      detail: what is wrong, without the value itself.
    """

    code: Code
    field: str = ""
    detail: str = ""


class InvalidRequest(MatriculeError):
    """Bad input at a door: nothing was recorded, and every problem is named.

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
        """How the problems are recorded and shown: the first ones, and how many there are."""
        shown = [problem._asdict() for problem in self.problems[:MAX_SHOWN]]
        return {"code": self.code, "problems": shown, "problem_count": len(self.problems)}


class IdempotencyConflict(InvalidRequest):
    """The key was used before, with another body."""

    def __init__(self) -> None:
        super().__init__(Problem(Code.IDEMPOTENCY_CONFLICT, "key", "this key was used before with another body"))


class NotConfigured(MatriculeError):
    """A setting is missing or cannot be understood; says which and how to give it."""
