"""An operation of the API: one method at one address. Routing, rights and the description read the same table."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from models.words import Code, Scope
from workers.requests.base import Request

if TYPE_CHECKING:
    from workers.api.calls import Call

MAX_BODY: Final = 1024 * 1024
"""The most bytes of a body, but for files."""


class Query(BaseModel):
    """The base class of the query parameters of an operation: those it does not name are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class Body:
    """The body that an operation takes.

    Parameters:
      request: the class of the request that it is; None where it is none, or the handler reads the body itself.
      shape: the class of a body that is no request.
      media_types: the types that the description names.
      given: fields of the request that the address gives, with the name of the parameter there; an empty name where
        the handler finds the value.
      most: the most bytes.
      required: whether there must be one.
    """

    request: type[Request] | None = None
    shape: type[BaseModel] | None = None
    media_types: Sequence[str] = ("application/json",)
    given: Mapping[str, str] = field(default_factory=dict)
    most: int = MAX_BODY
    required: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One method at one address.

    Parameters:
      path: below ``/v1``, its parameters in braces: ``/contracts/{contract}/enrollments``.
      name: its identifier in the description and in logs.
      scope: what a key must allow; None where no key is needed.
      instead: other scopes of which one is enough; the handler then shows what belongs to the key's scopes alone.
      summary: a line for the description; the docstring of the handler or of the request says more.
      query: the class of its query parameters.
      keyed: it makes a job, and takes an ``Idempotency-Key``.
      answers: a schema for each status it answers with, besides problems; None where the body is no JSON.
      problems: the problems it may answer with, besides those that all operations share.
      compressed: its answers may be compressed.
    """

    method: str
    path: str
    name: str
    handler: "Callable[[Call], Awaitable[Response]]"
    scope: Scope | None
    summary: str
    tag: str = ""
    body: Body | None = None
    query: type[Query] = Query
    keyed: bool = False
    answers: Mapping[int, Any] = field(default_factory=dict)
    problems: Sequence[Code] = ()
    compressed: bool = True
    instead: Collection[Scope] = ()

    @property
    def most(self) -> int:
        """The most bytes of its body."""
        return self.body.most if self.body else 0

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The scopes of which a key must have one; none where no key is needed."""
        return () if self.scope is None else (self.scope, *self.instead)
