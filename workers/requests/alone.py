"""A wrong element of a list is refused alone, and the others are done.

A portal sends a thousand events or people at once, and one of them may be damaged. That one gets its own code in the
result, at its place. Python code that makes a request gets the error at once, where it made the mistake.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

ModelType = TypeVar("ModelType", bound=BaseModel)

_FIELD: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class RefusedId(UUID):
    """An identifier that cannot be one. It is the nil UUID, which no row has, so it is answered like an unknown one."""

    given: Any

    @classmethod
    def of(cls, given: Any, _: Sequence[str]) -> "RefusedId":
        """Keeps what was sent, so that the request is compared as it was sent."""
        refused = cls(int=0)
        object.__setattr__(refused, "given", given)
        return refused


class ElementRule(NamedTuple):
    """How a wrong element of a list is kept.

    Parameters:
      stand_in: a right element, as JSON reads it; it takes the place of a wrong one while the others are read.
      refuse: makes the refused element of what was sent and the names of its wrong fields; the element has what was
        sent as its attribute `given`.
    """

    stand_in: Any
    refuse: Callable[[Any, Sequence[str]], Any]


def read_others(
    shape: type[ModelType], body: str | bytes, error: ValidationError, rules: Mapping[str, ElementRule]
) -> ModelType:
    """Reads JSON with wrong elements in its lists, which are refused alone.

    Reading all elements at once and only then looking for wrong ones costs good requests nothing.

    Parameters:
      error: what was wrong with the whole.
      rules: how wrong elements are kept, by the field of their list.

    Raises: ValidationError when anything else is wrong too.
    """
    wrong: dict[tuple[str, int], dict[str, None]] = {}  # the names in their order, each once
    for found in error.errors(include_url=False, include_input=False, include_context=False):
        field, *rest = found["loc"] or ("",)
        if field not in rules or not rest or not isinstance(rest[0], int):
            raise error
        wrong.setdefault((str(field), rest[0]), {})[_field_name(rest[1:])] = None
    parsed = json.loads(body, parse_constant=str)  # NaN would be written as null, which may be right
    given = {place: parsed[place[0]][place[1]] for place in wrong}
    for field, number in wrong:
        parsed[field][number] = rules[field].stand_in
    request = shape.model_validate_json(json.dumps(parsed))
    for (field, number), names in wrong.items():
        getattr(request, field)[number] = rules[field].refuse(given[field, number], tuple(names))
    return request


def _field_name(place: Sequence[str | int]) -> str:
    """Returns the name of a wrong field for results, which keep it.

    A portal may send a field of any name, also U+0000, which no column can hold, or an address. Such a name is empty.
    """
    name = ".".join(map(str, place))
    return name if _FIELD.fullmatch(name) else ""


def as_sent(elements: Sequence[Any], written: Sequence[Any]) -> list[Any]:
    """Returns written elements with the refused ones as they were sent."""
    return [getattr(element, "given", plain) for element, plain in zip(elements, written, strict=True)]
