"""Problems: what a call answers that was not accepted, as RFC 9457 writes it. No problem repeats what was sent."""

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, Final, NamedTuple

from starlette.responses import JSONResponse, Response

from models.words import Code
from workers.errors import MAX_SHOWN, InvalidRequest
from workers.i18n.catalogues import code_sentence
from workers.settings import get_settings

MEDIA_TYPE: Final = "application/problem+json"

STATUS: Final[Mapping[Code, int]] = {
    Code.IDEMPOTENCY_KEY_REQUIRED: 400,
    Code.INVALID_REQUEST: 400,
    Code.UNAUTHORIZED: 401,
    Code.INSUFFICIENT_SCOPE: 403,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.TOO_SLOW: 408,
    Code.IDEMPOTENCY_CONFLICT: 409,
    Code.NOT_CANCELLABLE: 409,
    Code.EXPIRED_LINK: 410,
    Code.CERTIFICATE_REVOKED: 410,
    Code.NOT_KEPT: 410,
    Code.TOO_LARGE: 413,
    Code.RATE_LIMITED: 429,
    Code.INTERNAL_ERROR: 500,
    Code.UNAVAILABLE: 503,
}
"""The problems of the API and the status of each."""

TITLES: Final[Mapping[Code, str]] = {
    Code.NOT_FOUND: "Nothing is at this address",
    Code.EXPIRED_LINK: "The time for which this file is given has ended",
    Code.CERTIFICATE_REVOKED: "The certificate was revoked",
    Code.TOO_LARGE: "The body is too large",
    Code.TOO_SLOW: "The body did not arrive in time",
}
"""Titles of problems that are other than the sentence people read for the code."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,40}")


class FieldError(NamedTuple):
    """An error in one field of a request: its dotted path, and a code."""

    field: str
    code: str
    detail: str = ""


class ApiProblem(Exception):
    """A call is answered with a problem.

    Parameters:
      code: one of ``STATUS``.
      detail: a sentence for the developer of the portal, without anything that was sent.
      errors: the wrong fields.
      headers: further headers of the answer.
      hang_up: closes the connection, because the rest of the body is not read.
    """

    def __init__(
        self,
        code: Code,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        hang_up: bool = False,
    ) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})
        if hang_up:
            self.headers["Connection"] = "close"

    @property
    def hangs_up(self) -> bool:
        """Whether the connection is closed behind the answer."""
        return "Connection" in self.headers

    def answer(self, request_id: str) -> Response:
        """Makes the answer."""
        body: dict[str, Any] = {
            "type": problem_type(self.code),
            "title": title(self.code),
            "status": STATUS[self.code],
            "code": self.code,
            "request_id": request_id,
        }
        if self.detail:
            body["detail"] = self.detail
        if self.errors:
            body["errors"] = [error._asdict() for error in self.errors]
        return JSONResponse(body, STATUS[self.code], self.headers, MEDIA_TYPE)


def problem_type(code: Code) -> str:
    """Returns the URL that names a problem and leads to its description."""
    return f"{get_settings().link_base_url.rstrip('/')}/v1/docs#{code}"


def title(code: Code) -> str:
    """Returns the title of a problem, in English: it is for developers and logs."""
    return TITLES.get(code) or code_sentence(code, "en")


def unavailable(seconds: int = 1) -> ApiProblem:
    """Makes the problem of a call of which nothing was accepted; it may be sent again under the same key."""
    detail = "nothing was accepted: send it again under the same key"
    return ApiProblem(Code.UNAVAILABLE, detail, headers={"Retry-After": str(seconds)})


def key_required() -> ApiProblem:
    """Makes the problem of a call that makes a job and has no ``Idempotency-Key``."""
    detail = "one new key for each request, and the same for its repeats"
    return ApiProblem(Code.IDEMPOTENCY_KEY_REQUIRED, detail, hang_up=True)


def invalid(error: InvalidRequest) -> ApiProblem:
    """Makes the problem of a request with wrong fields, of which the first twenty are named."""
    shown = [FieldError(_shown_path(one.field), one.code, one.detail) for one in error.problems[:MAX_SHOWN]]
    code = error.code if error.code in STATUS else Code.INVALID_REQUEST
    return ApiProblem(code, f"{len(error.problems)} problems" if len(error.problems) > MAX_SHOWN else "", errors=shown)


def _shown_path(path: str) -> str:
    """Returns the path of a field up to a name that no field could have: what was sent is not repeated."""
    return ".".join(takewhile(_NAME.fullmatch, path.split(".")))
