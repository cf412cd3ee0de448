"""Finds the operation of an address.

Segments are compared as they were sent and only then decoded, so that a reference with an encoded slash is one segment.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from workers.api.operation import Operation


@dataclass(slots=True)
class _Place:
    """A place in the tree of addresses: what follows by name, what follows as a parameter, what is done here."""

    literal: "dict[str, _Place]" = field(default_factory=dict)
    parameter: "_Place | None" = None
    suffixed: "dict[str, _Place]" = field(default_factory=dict)  # a parameter with this behind it, such as `.pdf`
    operations: dict[str, tuple[Operation, tuple[str, ...]]] = field(default_factory=dict)

    def parameter_before(self, suffix: str) -> "_Place":
        """Returns the place of a parameter that has this behind it, and makes it the first time."""
        if suffix:
            return self.suffixed.setdefault(suffix, _Place())
        self.parameter = self.parameter or _Place()
        return self.parameter


@dataclass(frozen=True, slots=True)
class Match:
    """The operation that was found at an address.

    Parameters:
      operation: None when the address does not take this method.
      path: the parameters of the address, decoded.
      methods: the methods it takes.
    """

    operation: Operation | None
    path: Mapping[str, str]
    methods: tuple[str, ...]


class Router:
    """Finds operations by method and address.

    Raises: ValueError when two operations have one method and address.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Place()
        for operation in operations:
            self._add(operation)

    def _add(self, operation: Operation) -> None:
        place, names = self._root, []
        for segment in operation.path.strip("/").split("/"):
            if segment.startswith("{"):
                name, _, suffix = segment.removeprefix("{").partition("}")
                names.append(name)
                place = place.parameter_before(suffix)
            else:
                place = place.literal.setdefault(segment, _Place())
        if operation.method in place.operations:
            raise ValueError(f"{operation.method} {operation.path} is there twice")
        place.operations[operation.method] = (operation, tuple(names))

    def find(self, method: str, path: str) -> Match | None:
        """Finds what is at an address; returns None when nothing is.

        Parameters:
          path: the part of the address below ``/v1``, as it was sent.
        """
        found = _walk(self._root, path.removeprefix("/").split("/"), ())
        if found is None:
            return None
        place, values = found
        methods = (*place.operations, *(["HEAD"] if "GET" in place.operations else []))
        entry = place.operations.get("GET" if method == "HEAD" else method)
        if entry is None:
            return Match(None, {}, methods)
        operation, names = entry
        return Match(operation, dict(zip(names, values, strict=True)), methods)


def _walk(place: _Place, segments: list[str], values: tuple[str, ...]) -> tuple[_Place, tuple[str, ...]] | None:
    """Follows the segments; a name wins over a parameter, and an address that ends before is not found.

    A parameter with a suffix wins over one without.
    """
    if not segments:
        return (place, values) if place.operations else None
    first, rest = segments[0], segments[1:]
    if first in place.literal:
        found = _walk(place.literal[first], rest, values)
        if found is not None:
            return found
    for suffix, behind in place.suffixed.items():
        if first.endswith(suffix) and (value := _decoded(first.removesuffix(suffix))):
            return _walk(behind, rest, (*values, value))
    value = _decoded(first)
    if place.parameter is None or not value:
        return None
    return _walk(place.parameter, rest, (*values, value))


def _decoded(segment: str) -> str | None:
    """Decodes a segment; returns None for bytes that are no UTF-8 or could be in no reference."""
    try:
        value = unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in value else value
