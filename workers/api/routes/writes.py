"""Requests that become jobs: each operation is a class of ``workers.requests`` at an address."""

from typing import Final

from models.words import Scope
from workers.api.operation import Operation
from workers.api.submitting import body_of, submit
from workers.requests.base import Request
from workers.requests.enrollment import Enroll


def _job(address: str, request: type[Request], scope: Scope, summary: str, tag: str, **given: str) -> Operation:
    """Makes the operation of a request; `given` are its fields that the address gives."""
    method, path = address.split()
    return Operation(
        method, path, request.kind, submit, scope, summary, tag, body=body_of(request, **given), keyed=True
    )


OPERATIONS: Final = (
    _job(
        "POST /contracts/{contract}/enrollments",
        Enroll,
        Scope.ENROLL,
        "Enrol people on a contract",
        "Participants",
        contract="contract",
    ),
)
