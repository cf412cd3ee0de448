"""The description of the API, for programs (OpenAPI 3.1) and for people; neither needs a key."""

from functools import cache
from typing import Any, Final

from starlette.responses import HTMLResponse, Response

from workers.api.calls import Call, json_answer
from workers.api.description import describe
from workers.api.operation import Operation
from workers.api.reference import POLICY, render_reference
from workers.engine.rollout import this_release

TAG: Final = "Description"


async def openapi(call: Call) -> Response:
    """Answers the description in the form that Bruno, Postman and generators of clients read."""
    return json_answer(_described(call.services.operations))


async def docs(call: Call) -> Response:
    """Answers the description as a page."""
    page = _page(call.services.operations)
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"})


@cache
def _described(operations: tuple[Operation, ...]) -> dict[str, Any]:
    return describe(operations, this_release())


@cache
def _page(operations: tuple[Operation, ...]) -> str:
    return render_reference(_described(operations))


OPERATIONS: Final = (
    Operation(
        "GET",
        "/openapi.json",
        "openapi",
        openapi,
        None,
        "The description for programs",
        TAG,
        answers={200: "application/json"},
    ),
    Operation("GET", "/docs", "docs", docs, None, "The description for people", TAG, answers={200: "text/html"}),
)
