"""Contracts with their counters, and their participants."""

import hashlib
from collections.abc import AsyncIterator
from typing import Any, Final, Literal
from uuid import UUID

from pydantic import Field
from starlette.responses import Response

from models.words import Code, DeliveryState, Progress, Scope
from workers.api import schemas
from workers.api.calls import Call, json_answer
from workers.api.downloads import CSV, streamed_answer
from workers.api.operation import Operation, Query
from workers.api.pages import PageQuery, page_answer, read_text_cursor, text_cursor, wrong_cursor
from workers.api.problems import ApiProblem
from workers.database import Session
from workers.engine.rollout import this_release
from workers.portals.keys import KnownKey
from workers.reading import participant_rows as sql
from workers.reading.contracts import PortalContract, list_contracts, show_contract
from workers.reading.participant_files import read_chunk
from workers.reading.participant_steps import count_participants
from workers.reading.participants import (
    Filter,
    Page,
    PageAsked,
    Position,
    find_contract,
    list_participants,
    show_participant,
)
from workers.rosters.participants_file import participants_header, participants_lines
from workers.sql import as_json

TAG: Final = "Contracts and participants"

SHAPE: Final = f"{this_release()} {' '.join(PortalContract._fields)} "
"""The release and the fields of the answer: with either of them the ETag of a contract that has not changed does."""


class ParticipantQuery(PageQuery):
    """Which participants are asked for."""

    q: str = Field(default="", max_length=200, description="the beginning of names, of the address, of external_id")
    progress: Progress | None = Field(default=None, description="only with this progress")
    mail: DeliveryState | None = Field(default=None, description="only with this state of the latest mail")
    to_do: bool = Field(
        default=False,
        description="only those for whom a manager has something to do: `mail.next` is `correct` or `resend`",
    )


class FileQuery(Query):
    """How the file of participants is written."""

    locale: Literal["fr", "en"] = Field(default="fr", description="language of its header and words")
    delimiter: Literal[",", ";"] = Field(default=",", description="the sign between cells; Excel in French expects `;`")


async def contracts(call: Call) -> Response:
    """Lists the contracts of the portal in the order of their references."""
    query: PageQuery = call.query
    after = read_text_cursor(query.cursor)
    found = await call.read(list_contracts, call.key.portal_id, after, query.limit + 1, call.key.companies)
    shown, more = found[: query.limit], len(found) > query.limit
    return page_answer(call, [_contract(one) for one in shown], text_cursor(shown[-1].reference) if more else None)


async def contract(call: Call) -> Response:
    """Shows a contract with the counters that managers read.

    An `If-None-Match` with the ETag of an earlier answer gets 304 while nothing has changed.
    """
    found = await call.read(show_contract, call.key.portal_id, call.path["contract"], call.key.companies)
    if found is None:
        raise ApiProblem(Code.NOT_FOUND)
    tag = f'W/"{hashlib.blake2b(f"{SHAPE}{found.id}{found.version}".encode(), digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    known = {one.strip() for one in call.http.headers.get("if-none-match", "").split(",")}
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return json_answer(_contract(found), headers=headers)


def _contract(found: PortalContract) -> dict[str, Any]:
    return {name: value for name, value in as_json(found).items() if name not in ("id", "version")}


async def participants(call: Call) -> Response:
    """Lists the participants of a contract: the latest first, in a search by the word that was found.

    A page may have fewer items than `limit` although `next` is given.
    """
    query: ParticipantQuery = call.query
    position = None if query.cursor is None else Position.of_cursor(query.cursor)
    if query.cursor is not None and position is None:
        raise wrong_cursor()
    asked = PageAsked(Filter(query.q, query.progress, query.mail, query.to_do), position, query.limit)
    page = await call.read(_page, call.key, call.path["contract"], asked)
    if page is None:
        raise ApiProblem(Code.NOT_FOUND)
    return page_answer(call, page.items, page.next.as_cursor() if page.next else None)


def _page(session: Session, key: KnownKey, reference: str, asked: PageAsked) -> Page | None:
    found = find_contract(session, key.portal_id, reference, key.companies)
    return None if found is None else list_participants(session, found.id, asked)


async def participant_counts(call: Call) -> Response:
    """Counts the participants of a contract by progress, and those for whom a manager has something to do.

    In a large contract a number is the least there are, and `more` is true.
    """
    found = await call.read(_counts, call.key, call.path["contract"])
    if found is None:
        raise ApiProblem(Code.NOT_FOUND)
    return json_answer(found)


def _counts(session: Session, key: KnownKey, reference: str) -> dict[str, Any] | None:
    found = find_contract(session, key.portal_id, reference, key.companies)
    return None if found is None else count_participants(session, found.id)


async def participant(call: Call) -> Response:
    """Shows a participant, also one who left the contract."""
    found = await call.read(show_participant, call.key.portal_id, call.identifier("enrollment"), call.key.companies)
    if found is None:
        raise ApiProblem(Code.NOT_FOUND)
    return json_answer(found)


async def participants_csv(call: Call) -> Response:
    """Gives all participants of a contract as a file, the latest first, with what is known of them.

    It has the columns of the model, so that it can be corrected and imported again, and is UTF-8 with its mark. A cell
    that a spreadsheet would run as a formula has a `'` before it, which the import removes again.
    """
    query: FileQuery = call.query
    found = await call.read(find_contract, call.key.portal_id, call.path["contract"], call.key.companies)
    if found is None:
        raise ApiProblem(Code.NOT_FOUND)
    return streamed_answer(_participant_lines(call, found.id, query), f"{call.path['contract']}.csv", CSV)


async def _participant_lines(call: Call, contract_id: UUID, query: FileQuery) -> AsyncIterator[bytes]:
    """Yields the file, a thousand participants at a time: no connection to the database waits for a slow client."""
    yield participants_header(query.locale, query.delimiter)
    before: UUID | None = sql.LAST_ID
    while before is not None:
        chunk = await call.read(read_chunk, contract_id, before, query.locale)
        before = chunk.next
        if chunk.rows:
            yield participants_lines(chunk.rows, query.delimiter)


OPERATIONS: Final = (
    Operation(
        "GET",
        "/contracts",
        "list_contracts",
        contracts,
        Scope.READ,
        "List contracts",
        TAG,
        query=PageQuery,
        answers={200: schemas.Page[schemas.Contract]},
    ),
    Operation(
        "GET",
        "/contracts/{contract}",
        "show_contract",
        contract,
        Scope.READ,
        "Show a contract with its counters",
        TAG,
        answers={200: schemas.Contract, 304: None},
    ),
    Operation(
        "GET",
        "/contracts/{contract}/participants",
        "list_participants",
        participants,
        Scope.READ,
        "List the participants of a contract",
        TAG,
        query=ParticipantQuery,
        answers={200: schemas.Page[schemas.Participant]},
    ),
    Operation(
        "GET",
        "/contracts/{contract}/participant-counts",
        "count_participants",
        participant_counts,
        Scope.READ,
        "Count the participants of a contract",
        TAG,
        answers={200: schemas.ParticipantCounts},
    ),
    Operation(
        "GET",
        "/contracts/{contract}/participants.csv",
        "get_participants_csv",
        participants_csv,
        Scope.READ,
        "Get the participants of a contract as a file",
        TAG,
        query=FileQuery,
        answers={200: "text/csv"},
    ),
    Operation(
        "GET",
        "/enrollments/{enrollment}",
        "show_participant",
        participant,
        Scope.READ,
        "Show a participant",
        TAG,
        answers={200: schemas.ParticipantOfContract},
    ),
)
