"""Errors that the client of portals raises, each with a code that programs decide by.

A refused job is no error: it is an answer, and its result says why. A wrong field is found before anything is sent:
``workers.errors.InvalidRequest`` names it.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, NamedTuple

from models.words import Code
from workers.errors import MatriculeError


class FieldFault(NamedTuple):
    """A field that Matricule did not take: its dotted path, `people.3.email`, and why."""

    field: str
    code: str
    detail: str = ""


class PortalError(MatriculeError):
    """The base of the errors of a portal's client.

    Parameters:
      code: stable; a word of ``models.words.Code``, or one of this module.
      detail: a sentence for developers; it holds no key and nothing of an answer that could not be read.
      request_id: names the call in the logs of Matricule: tell it to the support. Empty when nothing was answered.
      status: of the answer over HTTP; 0 without one.
      faults: the wrong fields.
      retry_after: seconds that Matricule asks to wait.
    """

    repeatable: ClassVar[bool] = False
    """Whether the same request under the same key may be answered otherwise in a moment."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        request_id: str = "",
        status: int = 0,
        faults: Sequence[FieldFault] = (),
        retry_after: float = 0.0,
    ) -> None:
        named = [f"{fault.field}: {fault.code} {fault.detail}".strip() for fault in faults]
        told = "; ".join(part for part in (detail, *named) if part)
        super().__init__(" ".join(part for part in (f"{code}:", told, f"({request_id})" * bool(request_id)) if part))
        self.code = code
        self.detail = detail
        self.request_id = request_id
        self.status = status
        self.faults = tuple(faults)
        self.retry_after = retry_after


class NotAccepted(PortalError):
    """Matricule answered that it did not take the request, or that what is asked for is not there."""


class Unauthorized(NotAccepted):
    """The key is missing, unknown, expired or revoked (`unauthorized`)."""


class InsufficientScope(NotAccepted):
    """The key may not do this (`insufficient_scope`)."""


class NotFound(NotAccepted):
    """There is no such thing, or it belongs to another portal or a company that the key may not name (`not_found`)."""


class KeyUsedBefore(NotAccepted):
    """The idempotency key was used before for another request (`idempotency_conflict`). It is never repeated."""


class RateLimited(NotAccepted):
    """The portal has made too many calls (`rate_limited`)."""

    repeatable: ClassVar[bool] = True


class Unavailable(NotAccepted):
    """Matricule cannot answer at the moment; nothing was accepted."""

    repeatable: ClassVar[bool] = True


class Unanswered(PortalError):
    """No answer came. The request may have been accepted: repeat it under the same key."""

    repeatable: ClassVar[bool] = True

    def __init__(self, detail: str) -> None:
        super().__init__("unanswered", detail)


class UnreadableAnswer(PortalError):
    """The answer is not from Matricule, or was broken on the way: a page of a proxy, a redirection, an endless body."""


class NeedsHttp(PortalError):
    """The queue takes requests and says which were accepted; everything else is asked over HTTP."""

    def __init__(self, what: str) -> None:
        super().__init__("needs_http", f"{what}: open a second Portal with the URL of /v1 and a key")


class WebhookRefused(PortalError):
    """A webhook is not from Matricule, was changed on its way, or is too old: answer it with 400."""


CLASSES: Final[Mapping[str, type[NotAccepted]]] = {
    Code.UNAUTHORIZED: Unauthorized,
    Code.INSUFFICIENT_SCOPE: InsufficientScope,
    Code.NOT_FOUND: NotFound,
    Code.IDEMPOTENCY_CONFLICT: KeyUsedBefore,
    Code.RATE_LIMITED: RateLimited,
    Code.UNAVAILABLE: Unavailable,
    Code.INTERNAL_ERROR: Unavailable,
    Code.TOO_SLOW: Unavailable,
}
"""The class of the error for a code; the other codes are plain ``NotAccepted``."""
