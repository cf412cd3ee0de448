"""The first page of the console: what needs a person now, and how queues, processes and the relay are."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from workers.console.access.visitor import Reader
from workers.console.view import page

router = APIRouter()


@router.api_route("/ops", methods=["GET", "HEAD"], response_model=None)
async def show_now(request: Request, visitor: Reader) -> Response:
    """Shows what needs a person now."""
    return await page(request, visitor, "now.html")
