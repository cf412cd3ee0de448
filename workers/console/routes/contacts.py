"""The page of the people who run portals, and are told when their webhooks fail."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from models.words import Code
from workers.console.access.forms import posted
from workers.console.access.visitor import Operator, Reader, Visitor
from workers.console.acting import back_to
from workers.console.filters import query_of, said
from workers.console.view import in_transaction, page, table
from workers.errors import InvalidRequest
from workers.portals.changes import set_contact
from workers.portals.listing import list_portals

router = APIRouter()


@router.api_route("/ops/contacts", methods=["GET", "HEAD"], response_model=None)
async def show_contacts(request: Request, visitor: Reader) -> Response:
    """Lists portals, and whether a person is told when their webhooks fail."""
    return await _show(request, visitor)


async def _show(request: Request, visitor: Visitor, *, refused: str = "", status: int = 200) -> Response:
    portals = await in_transaction(list_portals)
    rows = [(one.name, one.contact is not None, one.created_at) for one in portals]
    if (answer := table(request, visitor, "contacts", ("portal", "has_contact", "created_at"), rows)) is not None:
        return answer
    asked = said(query_of(request), "changed")
    changed = asked if asked in {one.name for one in portals} else ""
    return await page(
        request,
        visitor,
        "contacts.html",
        status=status,
        portals=portals,
        refused=refused,
        changed=changed,
        path="/ops/contacts",
    )


@router.post("/ops/contacts", response_model=None)
async def change_contact(request: Request, visitor: Operator) -> Response:
    """Sets the contact of a portal, or takes it away; an empty field alone does neither."""
    form = dict(await posted(request))
    removes = said(form, "remove") == "yes"
    name, address = said(form, "portal"), "" if removes else said(form, "address")
    if not address and not removes:
        return await _show(request, visitor, refused=Code.INVALID_EMAIL, status=422)
    try:
        await in_transaction(set_contact, name, address or None, requested_by=visitor.asker)
    except InvalidRequest as error:
        return await _show(request, visitor, refused=error.code, status=422)
    return back_to("/ops/contacts", changed=name)
