"""Reads the elements of a list one by one: a wrong element is refused alone, and the others are done.

A portal sends a thousand events or people at once, and one of them may be damaged. That one gets its own code in the
result, at its place. Python code that makes a request gets the error at once, where it made the mistake.
"""

import json
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar
from uuid import UUID

from pydantic import SerializerFunctionWrapHandler as WriteElement
from pydantic import (
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapSerializer,
    WrapValidator,
)

ElementType = TypeVar("ElementType")


class RefusedId(UUID):
    """An identifier that cannot be one. It is the nil UUID, which no row has, so it is answered like an unknown one."""

    given: Any

    @classmethod
    def of(cls, given: Any, _: str) -> "RefusedId":
        """Keeps what was sent, so that the request is stored and compared as it was sent."""
        refused = cls(int=0)
        object.__setattr__(refused, "given", given)
        return refused


def read_alone(shape: type[ElementType], refuse: Callable[[Any, str], ElementType]) -> WrapValidator:
    """Makes the validator of the elements of a list.

    Parameters:
      shape: the type of the elements.
      refuse: makes an element of a value that is none, and of the name of its first wrong field.
    """
    adapter = cache(lambda: TypeAdapter(shape))

    def read(value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        if info.mode != "json":
            return handler(value)
        text = json.dumps(value)
        try:
            # The elements come as Python values, and only JSON may write a moment as a text.
            return adapter().validate_json(text)
        except ValidationError as error:
            [first, *_] = error.errors(include_url=False, include_input=False)
            given = json.loads(text, parse_constant=str)  # NaN would be written as null, which may be right
            return refuse(given, ".".join(map(str, first["loc"])))

    return WrapValidator(read)


def _write(element: Any, write: WriteElement) -> Any:
    return element.given if hasattr(element, "given") else write(element)


WRITTEN_AS_GIVEN = WrapSerializer(_write)
"""Writes a refused element as it was sent."""
