"""Every kind of request by its name, and how one is read from JSON.

A request is validated where it enters; what a door accepted is stored as it was sent and read again by the same class.
"""

from typing import Final

from models.words import Code
from workers.errors import InvalidRequest, Problem
from workers.requests import catalog, certificates, imports, internal
from workers.requests.accounts import (
    CorrectEmail,
    ErasePerson,
    ExportPerson,
    RequestPasswordReset,
    ResendInvitations,
    ResetPasswords,
)
from workers.requests.base import Request, read
from workers.requests.enrollment import Enroll, RecordProgress, Withdraw

_OF_PORTALS: Final[tuple[type[Request], ...]] = (
    Enroll,
    *catalog.OF_PORTALS,
    *(Withdraw, RecordProgress, ResetPasswords, ResendInvitations, RequestPasswordReset),
    *(CorrectEmail, ExportPerson, ErasePerson),
    *imports.REQUESTS,
    *certificates.OF_PORTALS,
)

KINDS: Final[dict[str, type[Request]]] = {
    request.kind: request for request in (*_OF_PORTALS, *internal.REQUESTS, *certificates.REQUESTS)
}
"""Every request by its kind."""


def parse(kind: str, body: str | bytes, *, internal: bool = False) -> Request:
    """Reads a request of this kind from JSON.

    Raises: InvalidRequest, naming every field that is wrong, with a code each.
    """
    request = KINDS.get(kind)
    if request is None or (request.internal and not internal):
        raise InvalidRequest(Problem(Code.UNKNOWN_KIND, "kind", "no such request"))
    return read(request, body)
