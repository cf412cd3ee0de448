"""Every kind of request by its name, and how one is read from JSON.

A request is validated where it enters; what a door accepted is stored as it was sent and read again by the same class.
"""

from collections.abc import Iterator
from types import ModuleType
from typing import Final

from models.words import Code
from workers.errors import InvalidRequest, Problem
from workers.requests import accounts, catalog, certificates, enrollment, imports, internal
from workers.requests.base import Request, read

MODULES: Final = (enrollment, catalog, accounts, imports, internal, certificates)
"""Where requests are written."""


def _written_in(module: ModuleType) -> Iterator[type[Request]]:
    """The requests of a module: the classes that have a kind of their own."""
    for value in vars(module).values():
        here = isinstance(value, type) and value.__module__ == module.__name__
        if here and issubclass(value, Request) and "kind" in vars(value):
            yield value


KINDS: Final[dict[str, type[Request]]] = {
    request.kind: request for module in MODULES for request in _written_in(module)
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
