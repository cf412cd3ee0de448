"""Records the webhook endpoints of a portal, shows and tries them, and lets a disabled one go on."""

from collections.abc import Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, NamedTuple
from uuid import UUID

import typer

from models.words import WebhookEvent
from workers.cli import webhook_log
from workers.cli.asking import asker
from workers.cli.columns import print_columns
from workers.cli.edge import COMMON_CODES, INVALID, command_app, edge, print_json
from workers.cli.options import AsJson, moment
from workers.database import Session
from workers.engine.acceptance import find_portal
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
from workers.settings import get_settings

HELP: Final = f"""Record a webhook endpoint of a portal, or show, try or delete it.

\b
  matricule portal webhook acme                    list its endpoints
  matricule portal webhook acme lms                show one
  matricule portal webhook acme lms --url https://lms.example/hook
  matricule portal webhook acme lms --test         send it webhook.test
  matricule portal webhook acme lms --enable all   after it was disabled
  matricule portal webhook acme lms --deliveries   what it was told
  matricule portal webhook acme lms --tries ID     each try of one of these
  matricule portal webhook acme lms --replay ID    tell it that again
  matricule portal webhook acme lms --replay-since 2d

The secret that signs is shown when an endpoint is recorded and when it gets another (--rotate). After a rotation both
secrets sign for 24 hours. A disabled endpoint is told nothing, and everything is held for it: --enable all sends that,
--enable now gives it up. What is told again comes under the same webhook-id.

Events: {", ".join(WebhookEvent)}.

\b
Exit codes:
   0  done
   2  wrong use of the command
  {INVALID}  no such portal, endpoint or webhook, or a wrong URL or event
{COMMON_CODES}:
      PORTAL_KEYS, from which secrets derive
"""

ACTIONS: Final = (
    *("--url", "--rotate", "--enable", "--test", "--delete"),
    *("--deliveries", "--tries", "--replay", "--replay-since"),
)

Shown = dict[str, Any]


class Since(StrEnum):
    """The events that an endpoint is told when it is enabled again."""

    ALL = "all"  # also those that happened while it was disabled
    NOW = "now"  # those that happen from now on


app = command_app()


@app.command("webhook", help=HELP)
def webhook(
    name: Annotated[str, typer.Argument(metavar="NAME", help="of the portal")],
    reference: Annotated[str | None, typer.Argument(metavar="REF", help="the portal's name for the endpoint")] = None,
    *,
    url: Annotated[str | None, typer.Option(metavar="URL", help="record the endpoint, or change it")] = None,
    events: Annotated[
        str, typer.Option(metavar="EVENT,…", help="with --url: the events it is told of [default: all]")
    ] = "",
    rotate: Annotated[bool, typer.Option("--rotate", help="give it another secret")] = False,
    enable: Annotated[Since | None, typer.Option(metavar="all|now", help="let a disabled one go on")] = None,
    test: Annotated[bool, typer.Option("--test", help="send it the event webhook.test")] = False,
    delete: Annotated[bool, typer.Option("--delete", help="delete it, and what it is owed")] = False,
    deliveries: Annotated[bool, typer.Option("--deliveries", help="list what it was told and is owed")] = False,
    tries: Annotated[UUID | None, typer.Option(metavar="ID", help="list the tries of a webhook")] = None,
    replay: Annotated[UUID | None, typer.Option(metavar="ID", help="tell it again what it was told")] = None,
    replay_since: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="WHEN", help="the same for all from then on: 2h, 2026-03-01"),
    ] = None,
    limit: Annotated[
        int, typer.Option(metavar="NUMBER", min=1, max=10_000, help="of --deliveries: at most so many")
    ] = 50,
    as_json: AsJson = False,
) -> None:
    told = _Log(deliveries, tries, replay, replay_since)
    asked = [url is not None, rotate, enable is not None, test, delete, *told.asked]
    if sum(asked) > 1 or (reference is None and any(asked)) or (events and url is None):
        raise typer.BadParameter(f"one of {', '.join(ACTIONS)}, with a REF")
    if reference is not None and any(told.asked):
        with edge():
            told.show(name, reference, limit, as_json=as_json)
        return
    with edge(), waking_transaction() as session:
        portal_id = find_portal(session, name)
        if reference is None:
            listed = [_shown(session, one) for one in list_endpoints(session, portal_id)]
        elif url is not None:
            listed = [_put(session, portal_id, reference, url, events)]
        elif rotate:
            made = rotate_secret(session, portal_id, reference, requested_by=asker())
            listed = [_shown(session, made) | {"secret": made.secret}]
        else:
            listed = [_do(session, portal_id, reference, enable=enable, test=test, delete=delete)]
    _print(listed if reference is None else listed[0], as_json=as_json)


class _Log(NamedTuple):
    """The options that read what an endpoint was told, or tell it again."""

    deliveries: bool
    tries: UUID | None
    replay: UUID | None
    since: datetime | None

    @property
    def asked(self) -> list[bool]:
        return [self.deliveries, self.tries is not None, self.replay is not None, self.since is not None]

    def show(self, portal: str, reference: str, limit: int, *, as_json: bool) -> None:
        if self.deliveries:
            _list(webhook_log.read_deliveries(portal, reference, limit), webhook_log.print_deliveries, as_json=as_json)
        elif self.tries is not None:
            _list(webhook_log.read_tries(portal, reference, self.tries), webhook_log.print_tries, as_json=as_json)
        elif self.replay is not None:
            _print(webhook_log.replay_one(portal, reference, self.replay), as_json=as_json)
        elif self.since is not None:
            _print(webhook_log.replay_since(portal, reference, self.since), as_json=as_json)


def _list(found: list[Shown], show: Callable[[Sequence[Shown]], None], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        show(found)


def _put(session: Session, portal_id: UUID, reference: str, url: str, events: str) -> Shown:
    """Records an endpoint; its secret is shown when it is new."""
    types = [word.strip() for word in events.split(",")] if events else None
    private = bool(get_settings().webhook_private_networks)
    put = put_endpoint(session, portal_id, reference, url, types, private=private, requested_by=asker())
    secret = {"secret": put.endpoint.secret} if put.created else {}
    return _shown(session, put.endpoint) | {"created": put.created} | secret


def _do(session: Session, portal_id: UUID, reference: str, *, enable: Since | None, test: bool, delete: bool) -> Shown:
    found = get_endpoint(session, portal_id, reference)
    if delete:
        delete_endpoint(session, portal_id, reference, requested_by=asker())
        return {"reference": reference, "deleted": True}
    if enable is not None:
        all_since = enable is Since.ALL
        moved = enable_endpoint(session, portal_id, reference, all_since=all_since, requested_by=asker())
        return _shown(session, get_endpoint(session, portal_id, reference)) | {
            "sent" if all_since else "given_up": moved
        }
    if test:
        send_test(session, portal_id, reference)
    return _shown(session, found) | ({"test": "owed"} if test else {})


def _shown(session: Session, endpoint: PortalEndpoint) -> Shown:
    return endpoint.as_json() | {"held": count_held(session, endpoint.id)}


def _print(found: Shown | list[Shown], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    elif isinstance(found, list):
        rows = [(one["reference"], "yes" if one["enabled"] else one["disabled_reason"] or "no", one["held"],
                 one["failures"], ",".join(one["events"] or ["all"]), one["url"]) for one in found]  # fmt: skip
        print_columns(("endpoint", "enabled", "held", "failures", "events", "url"), rows)
    else:
        for name, value in found.items():
            if value is not None:
                print(f"{name.replace('_', ' '):<15} {value}")
        if "secret" in found:
            print("Keep the secret now: it is not shown again.")
