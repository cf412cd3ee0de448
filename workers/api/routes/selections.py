"""Selections of participants: whom an action would concern, before it is asked for."""

from typing import Annotated, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from models.participant import PermittedAction
from models.words import Code, DeliveryState, Progress, Scope
from workers.api import schemas
from workers.api.bodies import read_body, read_request
from workers.api.calls import Call, json_answer
from workers.api.operation import Body, Operation
from workers.api.pages import MOST as MOST_SHOWN
from workers.api.problems import ApiProblem
from workers.api.routes.participants import TAG
from workers.reading.participants import Filter
from workers.reading.selections import MOST, SelectionAsked, show_selection

Place = Annotated[int, Field(ge=0, le=MOST)]


class Selection(BaseModel):
    """A selection of participants of a contract, and what is to be asked for them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    action: PermittedAction = Field(description="the word of `can` that is judged")
    enrollment_ids: list[UUID] | None = Field(
        default=None, max_length=MOST, description="the selected ones; without it all that the filter finds"
    )
    q: str = Field(default="", max_length=200, description="the filter, as in the list of participants")
    progress: Progress | None = None
    mail: DeliveryState | None = None
    to_do: bool = False
    limit: int = Field(default=50, ge=0, le=MOST_SHOWN, description="the most participants to show of each group")
    allowed_from: Place = Field(default=0, description="the place of the first one to show of those allowed")
    refused_from: Place = Field(default=0, description="the same of those refused")


async def selection(call: Call) -> Response:
    """Says of up to 10,000 participants about whom an action may be taken, and about whom not and why.

    It reads only: send `allowed.enrollment_ids` with the request itself, so that people who are enrolled meanwhile are
    not concerned. Both groups have the order of the selection. `unknown` are identifiers of no participant of this
    contract; `complete` is false when more than 10,000 participants are found, which are then left out.
    """
    asked, _ = read_request(Selection, await read_body(call.http, call.operation.most), {})
    wanted = Filter(asked.q, asked.progress, asked.mail, asked.to_do)
    given = SelectionAsked(
        asked.action, asked.enrollment_ids, wanted, asked.limit, asked.allowed_from, asked.refused_from
    )
    found = await call.read(show_selection, call.key, call.path["contract"], given)
    if found is None:
        raise ApiProblem(Code.NOT_FOUND)
    return json_answer(found)


OPERATIONS: Final = (
    Operation(
        "POST",
        "/contracts/{contract}/selection",
        "show_selection",
        selection,
        Scope.READ,
        "Look at several participants before something is asked for them",
        TAG,
        body=Body(shape=Selection),
        answers={200: schemas.JudgedSelection},
    ),
)
