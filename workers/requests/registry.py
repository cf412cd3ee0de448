"""Lists every kind of request by its name, and reads requests from JSON.

A request is validated where it enters. It is stored as it was sent, and the same class reads it again to do it.
"""

from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Final

from models.words import Code, Scope
from workers.errors import InvalidRequest, Problem
from workers.requests import accounts, catalog, certificates, enrollment, imports, internal
from workers.requests.base import Request, read

MODULES: Final = (enrollment, catalog, accounts, imports, internal, certificates)
"""The modules that define requests."""


def _written_in(module: ModuleType) -> Iterator[type[Request]]:
    """Yields the requests that a module defines: its classes with a kind of their own."""
    for value in vars(module).values():
        here = isinstance(value, type) and value.__module__ == module.__name__
        if here and issubclass(value, Request) and "kind" in vars(value):
            yield value


def by_kind(requests: Iterable[type[Request]]) -> dict[str, type[Request]]:
    """Returns the requests by their kind.

    Raises: TypeError that names two requests of one kind, because one of them could never be asked for.
    """
    found: dict[str, type[Request]] = {}
    for request in requests:
        other = found.setdefault(request.kind, request)
        if other is not request:
            raise TypeError(f"{other.__name__} and {request.__name__} have the same kind, {request.kind!r}")
    return found


KINDS: Final = by_kind(request for module in MODULES for request in _written_in(module))
"""Every request by its kind."""


def parse(kind: str, body: str | bytes, *, internal: bool = False) -> Request:
    """Reads a request of this kind from JSON.

    Raises: InvalidRequest, which names each wrong field with a code.
    """
    request = KINDS.get(kind)
    if request is None or (request.internal and not internal):
        raise InvalidRequest(Problem(Code.UNKNOWN_KIND, "kind", "no such request"))
    return read(request, body)


SENDING_SCOPES: Final = frozenset(request.scope for request in KINDS.values() if request.scope and not request.internal)
"""The scopes with which requests are sent."""


def scope_of(kind: str) -> Scope | None:
    """Returns the scope that a key must have to send requests of this kind; None for a kind that no portal may send."""
    request = KINDS.get(kind)
    return None if request is None or request.internal else request.scope
