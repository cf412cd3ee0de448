"""The endpoints at which a portal is told of events: recorded, tried, read, enabled again."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.responses import Response

from models.words import Code, Scope, WebhookEvent
from workers.api.bodies import read_body, read_request
from workers.api.calls import Call, json_answer
from workers.api.operation import Body, Operation
from workers.api.pages import PageQuery, id_cursor, page_answer, read_id_cursor
from workers.api.problems import ApiProblem
from workers.api.schemas import Page, ReplayedWebhooks, ToldWebhook, WebhookEndpoint, WebhookTries
from workers.database import Session
from workers.engine.wake import waking_transaction
from workers.portals.endpoints import (
    PortalEndpoint,
    count_held,
    delete_endpoint,
    enable_endpoint,
    get_endpoint,
    list_endpoints,
    put_endpoint,
    rotate_secret,
    send_test,
)
from workers.requests.base import ModelType
from workers.settings import get_settings
from workers.sql import as_json
from workers.webhooks.replaying import (
    FIRST_ID,
    LAST_ID,
    LoggedWebhook,
    list_attempts,
    list_webhooks,
    replay_range,
    replay_webhook,
)

TAG: Final = "Webhooks"

EVER: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""A moment after everything that has happened."""

T = TypeVar("T")
Handler = Callable[[Call], Awaitable[Response]]


class _EndpointBody(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class EndpointToPut(_EndpointBody):
    """An endpoint: https, port 443 or 8443, reachable from the internet."""

    url: str = Field(min_length=1, max_length=2_000)
    events: list[WebhookEvent] | None = Field(
        default=None, min_length=1, description="the events it is told of; all without it, also those of later releases"
    )


class SecretToRotate(_EndpointBody):
    """The secret that is replaced."""

    secret_version: int | None = Field(
        default=None, ge=1, description="its version: then a repeat of the call makes no further secret"
    )


class EndpointToEnable(_EndpointBody):
    """Whether the webhooks are sent that were held while the endpoint was disabled."""

    since: Literal["all", "now"] = Field(description="`all` sends them, `now` gives them up")


class WebhooksToReplay(_EndpointBody):
    """The webhooks that are told again: one, or those of a time, the oldest first and at most 10,000 at once."""

    webhook: UUID | None = Field(default=None, description="one webhook, by its `webhook-id`")
    since: AwareDatetime | None = Field(default=None, description="what happened from then on")
    until: AwareDatetime | None = Field(default=None, description="and before then; until now without it")
    after: UUID | None = Field(default=None, description="`last` of the call before, which told 10,000")


async def endpoints(call: Call) -> Response:
    """Lists the endpoints of the portal by their references."""
    _check_companies(call)
    shown = await call.read(lambda session: [_shown(session, one) for one in list_endpoints(session, _portal(call))])
    return page_answer(call, shown, None)


async def show(call: Call) -> Response:
    """Shows an endpoint, without its secret."""
    _check_companies(call)
    return json_answer(
        await call.read(lambda session: _shown(session, get_endpoint(session, _portal(call), call.path["ref"])))
    )


async def put(call: Call) -> Response:
    """Records an endpoint, or changes its URL and its events; it stays enabled or disabled.

    `secret` is in the answer when the endpoint is new, and never again: rotate it when it was lost.
    """
    asked = await _body(call, EndpointToPut)
    private = bool(get_settings().webhook_private_networks)

    def write(session: Session) -> dict[str, Any]:
        made = put_endpoint(
            session,
            _portal(call),
            call.path["ref"],
            asked.url,
            asked.events,
            private=private,
            requested_by=_asker(call),
        )
        return _shown(session, made.endpoint, secret=made.created)

    shown = await _write(call, write)
    return json_answer(shown, 201 if shown["secret"] else 200)


async def delete(call: Call) -> Response:
    """Deletes an endpoint: what it is still owed is never sent."""
    _check_companies(call)
    await _write(
        call, lambda session: delete_endpoint(session, _portal(call), call.path["ref"], requested_by=_asker(call))
    )
    return Response(status_code=204)


async def rotate(call: Call) -> Response:
    """Gives an endpoint another secret; for 24 hours the earlier one signs too.

    With `secret_version` the call may be repeated: it answers the secret that has replaced this version.
    """
    asked = await _body(call, SecretToRotate)

    def write(session: Session) -> dict[str, Any]:
        made = rotate_secret(
            session, _portal(call), call.path["ref"], replacing=asked.secret_version, requested_by=_asker(call)
        )
        return _shown(session, made, secret=True)

    return json_answer(await _write(call, write))


async def enable(call: Call) -> Response:
    """Lets a disabled endpoint be told of events again, from here on or of all that was held for it."""
    asked = await _body(call, EndpointToEnable)

    def write(session: Session) -> dict[str, Any]:
        all_since = asked.since == "all"
        enable_endpoint(session, _portal(call), call.path["ref"], all_since=all_since, requested_by=_asker(call))
        return _shown(session, get_endpoint(session, _portal(call), call.path["ref"]))

    return json_answer(await _write(call, write))


async def test(call: Call) -> Response:
    """Sends the event `webhook.test` to an endpoint, also to one that asks for other events."""
    _check_companies(call)

    def write(session: Session) -> dict[str, Any]:
        send_test(session, _portal(call), call.path["ref"])
        return _shown(session, get_endpoint(session, _portal(call), call.path["ref"]))

    return json_answer(await _write(call, write), 202)


async def replay(call: Call) -> Response:
    """Tells an endpoint again of what it was told, under the same `webhook-id`: one webhook, or those of a time."""
    asked = await _body(call, WebhooksToReplay)
    if (asked.webhook is None) == (asked.since is None):
        raise ApiProblem(Code.INVALID_REQUEST, "either webhook or since")

    def write(session: Session) -> dict[str, Any]:
        found = get_endpoint(session, _portal(call), call.path["ref"])
        if asked.webhook is not None:
            _find(session, call, found.id, asked.webhook)
            again = replay_webhook(session, _portal(call), found.id, asked.webhook, requested_by=_asker(call))
            return {"number": int(again), "last": None}
        since, until, after = asked.since or EVER, asked.until or EVER, asked.after or FIRST_ID
        asker = _asker(call)
        return as_json(
            replay_range(session, _portal(call), found.id, since=since, until=until, after=after, requested_by=asker)
        )

    return json_answer(await _write(call, write), 202)


async def deliveries(call: Call) -> Response:
    """Lists what an endpoint was told and is owed, the latest first, with its last try."""
    _check_companies(call)
    query: PageQuery = call.query
    before = LAST_ID if query.cursor is None else read_id_cursor(query.cursor)

    def read(session: Session) -> list[LoggedWebhook]:
        found = get_endpoint(session, _portal(call), call.path["ref"])
        return [*list_webhooks(session, _portal(call), found.id, before=before, limit=query.limit + 1)]

    told = await call.read(read)
    page = told[: query.limit]
    following = id_cursor(page[-1].id) if len(told) > len(page) else None
    return page_answer(call, [as_json(one) for one in page], following)


async def delivery(call: Call) -> Response:
    """Shows one webhook with every try: the status, the time it took, and the beginning of the answer."""
    _check_companies(call)

    def read(session: Session) -> dict[str, Any]:
        found = get_endpoint(session, _portal(call), call.path["ref"])
        webhook = _find(session, call, found.id, call.identifier("webhook"))
        tries = list_attempts(session, _portal(call), found.id, webhook.id)
        return as_json(webhook) | {"tries": [as_json(one) for one in tries]}

    return json_answer(await call.read(read))


def _find(session: Session, call: Call, endpoint_id: UUID, webhook_id: UUID) -> LoggedWebhook:
    """Finds a webhook of an endpoint.

    Raises: ApiProblem with `not_found`.
    """
    before = UUID(int=min(webhook_id.int + 1, LAST_ID.int))
    found = [*list_webhooks(session, _portal(call), endpoint_id, before=before, limit=1)]
    if not found or found[0].id != webhook_id:
        raise ApiProblem(Code.NOT_FOUND)
    return found[0]


async def _body(call: Call, shape: type[ModelType]) -> ModelType:
    _check_companies(call)
    read, _ = read_request(shape, await read_body(call.http, call.operation.most), {})
    return read


def _check_companies(call: Call) -> None:
    """Refuses a key for some companies: an endpoint is told of all companies of the portal.

    Raises: ApiProblem with `not_found`.
    """
    if call.key.companies is not None:
        raise ApiProblem(Code.NOT_FOUND)


async def _write(call: Call, write: Callable[[Session], T]) -> T:
    """Changes an endpoint in a transaction of its own."""

    def run() -> T:
        with waking_transaction() as session:
            return write(session)

    return await call.run(run)


def _shown(session: Session, endpoint: PortalEndpoint, *, secret: bool = False) -> dict[str, Any]:
    more = {"secret_version": endpoint.secret_version, "held": count_held(session, endpoint.id)}
    return endpoint.as_json() | more | {"secret": endpoint.secret if secret else None}


def _portal(call: Call) -> UUID:
    return call.key.portal_id


def _asker(call: Call) -> str:
    """Returns the name of the key, for the audit trail."""
    return f"key {call.key.key_id}"


def _operation(address: str, name: str, handler: Handler, summary: str, **more: Any) -> Operation:
    method, _, path = address.partition(" /webhook-endpoints")
    return Operation(method, f"/webhook-endpoints{path}", name, handler, Scope.ADMIN, summary, TAG, **more)


def _change(what: str, handler: Handler, summary: str, shape: type[BaseModel] | None = None, **more: Any) -> Operation:
    """Makes the operation of a change at an endpoint."""
    body = Body(shape=shape) if shape else None
    name = f"{what}_webhook_endpoint"
    return _operation(f"POST /webhook-endpoints/{{ref}}/{what}", name, handler, summary, body=body, **more)


OPERATIONS: Final = (
    _operation(
        "GET /webhook-endpoints",
        "list_webhook_endpoints",
        endpoints,
        "List endpoints",
        answers={200: Page[WebhookEndpoint]},
    ),
    _operation(
        "GET /webhook-endpoints/{ref}",
        "show_webhook_endpoint",
        show,
        "Show an endpoint",
        answers={200: WebhookEndpoint},
    ),
    _operation(
        "PUT /webhook-endpoints/{ref}",
        "put_webhook_endpoint",
        put,
        "Record an endpoint, or change it",
        body=Body(shape=EndpointToPut),
        answers={200: WebhookEndpoint, 201: WebhookEndpoint},
    ),
    _operation(
        "DELETE /webhook-endpoints/{ref}",
        "delete_webhook_endpoint",
        delete,
        "Delete an endpoint",
        answers={204: None},
    ),
    _change("rotate", rotate, "Give an endpoint another secret", SecretToRotate, answers={200: WebhookEndpoint}),
    _change("enable", enable, "Enable an endpoint again", EndpointToEnable, answers={200: WebhookEndpoint}),
    _change("test", test, "Try an endpoint", answers={202: WebhookEndpoint}),
    _change("replay", replay, "Tell an endpoint again", WebhooksToReplay, answers={202: ReplayedWebhooks}),
    _operation(
        "GET /webhook-endpoints/{ref}/deliveries",
        "list_webhooks",
        deliveries,
        "List what an endpoint was told",
        query=PageQuery,
        answers={200: Page[ToldWebhook]},
    ),
    _operation(
        "GET /webhook-endpoints/{ref}/deliveries/{webhook}",
        "show_webhook",
        delivery,
        "Show a webhook, try by try",
        answers={200: WebhookTries},
    ),
)
