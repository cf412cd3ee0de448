"""Creates portals, gives them keys, takes keys away, and shows which there are."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any, Final

import redis
import typer

from models.words import Scope
from workers.cli.asking import asker
from workers.cli.columns import print_columns
from workers.cli.edge import (
    COMMON_CODES,
    INVALID,
    LIST_CODES,
    REFUSED,
    UNAVAILABLE,
    command_app,
    edge,
    fail,
    print_json,
)
from workers.cli.options import AsJson, coming_moment
from workers.database import transaction
from workers.portals.changes import (
    MOST_REQUESTS_PER_MINUTE,
    IssuedKey,
    KeyRights,
    create_portal,
    limit_portal,
    revoke_keys,
    rotate_key,
)
from workers.portals.listing import ListedKey, ListedPortal, list_keys, list_portals
from workers.portals.redis_users import RedisUser, drop_users, list_users, redis_user, save_users, set_users
from workers.portals.secrets import master_secrets
from workers.redis_client import error_code

CREATE: Final = f"""Record a portal and give it a key.

A portal that is there gets a further key, with the rights given here. The key is shown once: only its hash is kept.
With --queue it also signs what the portal puts on its own stream in Redis; then the secret of the signatures, and the
user of Redis that may add to this stream and nothing else, are shown too. --apply makes this user in the Redis of
REDIS_URL; without it, ACL SETUSER with the rules shown does.

Without --scopes a key may do everything that a portal may: a portal records its contracts before it enrols, so it needs
admin as well. Give narrower keys to parts of it, such as sign_in to the page where people sign in.

\b
Scopes: {", ".join(Scope)}

\b
Exit codes:
   0  done
   2  wrong use of the command
  {INVALID}  a name, a reference or an address that cannot be used
{COMMON_CODES}:
      PORTAL_KEYS for --queue; or with --apply: Redis took no user, though
      the key was made and shown
"""

ROTATE: Final = f"""Give a portal a further key.

It has the rights of a key that lives. NAME is a portal (its newest key is renewed, and all keys with the same rights
are old ones) or the id of one key. The old keys go on until they are revoked; --end-old says when they end by
themselves.

\b
  matricule portal rotate acme --end-old 7d

\b
Exit codes:
   0  done
   1  no key lives: matricule portal create makes the first
   2  wrong use of the command
  {INVALID}  no such portal or key
{COMMON_CODES}:
      PORTAL_KEYS for a key that signs; or with --apply: Redis took no user,
      though the key was made and shown
"""

REVOKE: Final = f"""End a key, or all keys of a portal.

NAME is a portal or the id of one key. A revoked key is refused within five seconds, over HTTP and on the queue; it
cannot come back. Messages that it signed and that were not accepted yet are refused too: rotate first, and revoke once
the portal signs with its new key.

\b
Exit codes:
   0  done, or so already
   2  wrong use of the command
  {INVALID}  no such portal or key
{COMMON_CODES};
      or with --apply: Redis still has the user, though the key is revoked
"""

ACL: Final = f"""Print the users of Redis that portals need.

Each is a line of an ACL file: one for each key that lives and signs messages. The lines hold hashes of the passwords.
With --apply the users are made in the Redis of REDIS_URL, and those of keys that ended are deleted: do so after a Redis
without an ACL file was started anew, and on each server that may take over from it.

\b
Exit codes:
   0  printed; with --apply: Redis has these users
   2  wrong use of the command
{COMMON_CODES};
      or with --apply: Redis
"""

LIMITS: Final = f"""Set how many requests a portal may send each minute.

\b
  matricule portal limits acme --requests-per-minute 12000
  matricule portal limits acme --requests-per-minute none

It holds over HTTP. The default is 6000. Processes know of the change within five seconds.

\b
Exit codes:
   0  done
   2  wrong use of the command
  {INVALID}  no such portal
{COMMON_CODES}
"""

Name = Annotated[str, typer.Argument(metavar="NAME", help="of the portal, or the id of one of its keys")]
Expires = Annotated[
    datetime | None,
    typer.Option(metavar="WHEN", parser=coming_moment, help="when the key ends: 2027-01-31, or 90d [default: never]"),
]
Apply = Annotated[bool, typer.Option("--apply", help="change the users of the Redis of REDIS_URL as well")]

app = command_app()


def _scopes(said: str) -> list[Scope]:
    """Reads scopes with commas between."""
    words = [word.strip() for word in said.split(",") if word.strip()]
    unknown = sorted(set(words) - set(Scope))
    if unknown or not words:
        raise typer.BadParameter(f"not among {', '.join(Scope)}: {', '.join(unknown) or 'nothing'}")
    return [Scope(word) for word in words]


@app.command(help=CREATE)
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 32 small letters, digits and hyphens")],
    *,
    scopes: Annotated[str, typer.Option(metavar="SCOPE,…", help="what the key may do [default: all]")] = "",
    companies: Annotated[
        str, typer.Option(metavar="REF,…", help="the companies the key may name [default: all of the portal]")
    ] = "",
    queue: Annotated[bool, typer.Option("--queue", help="let the key sign messages on the portal's stream")] = False,
    expires: Expires = None,
    contact: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="of the people who run it, told when its webhooks fail")
    ] = None,
    apply: Apply = False,
    as_json: AsJson = False,
) -> None:
    if apply and not queue:
        raise typer.BadParameter("--apply goes with --queue")
    allowed = [reference.strip() for reference in companies.split(",") if reference.strip()] or None
    rights = KeyRights(_scopes(scopes) if scopes else list(Scope), allowed, queue, expires)
    with edge(), transaction() as session:
        made = create_portal(session, name, rights, contact=contact, requested_by=asker())
    _show(made, as_json=as_json, apply=apply)


@app.command(help=ROTATE)
def rotate(
    name: Name,
    *,
    expires: Expires = None,
    end_old: Annotated[
        datetime | None,
        typer.Option(metavar="WHEN", parser=coming_moment, help="when the old keys end: 7d, 12h, 2027-01-31"),
    ] = None,
    apply: Apply = False,
    as_json: AsJson = False,
) -> None:
    with edge(), transaction() as session:
        made = rotate_key(session, name, expires_at=expires, end_old_at=end_old, requested_by=asker())
    if made is None:
        fail(REFUSED, "no key lives: matricule portal create makes the first")
    _show(made, as_json=as_json, apply=apply and made.master_id is not None)


@app.command(help=REVOKE)
def revoke(name: Name, *, apply: Apply = False, as_json: AsJson = False) -> None:
    with edge(), transaction() as session:
        ended = revoke_keys(session, name, requested_by=asker())
    if as_json:
        print_json({"revoked": [key.key_id for key in ended]})
    elif ended:
        print("revoked: " + ", ".join(f"{key.key_id} of {key.portal}" for key in ended))
    else:
        print("revoked already: nothing was changed")
    if apply:
        with edge(), transaction() as session:
            users = _users(list_keys(session))
        _apply(lambda: _replace_users(users))
    elif any(key.signed for key in ended):
        print("its user of Redis is still there: matricule portal acl --apply deletes it", file=sys.stderr)


@app.command("list", help="List the portals and their keys, never a secret.", epilog=LIST_CODES)
def show(*, as_json: AsJson = False) -> None:
    with edge(), transaction() as session:
        portals, keys = list_portals(session), list_keys(session)
    listed = [(portal, [key for key in keys if key.portal_id == portal.id]) for portal in portals]
    if as_json:
        print_json([_plain_portal(portal, own) for portal, own in listed])
    else:
        rows = [row for portal, own in listed for row in _rows(portal, own)]
        print_columns(("portal", "a minute", "key", "state", "scopes", "companies", "queue", "last use", "ends"), rows)


@app.command(help=LIMITS)
def limits(
    name: Annotated[str, typer.Argument(metavar="NAME", help="of the portal")],
    *,
    requests_per_minute: Annotated[str, typer.Option(metavar="NUMBER|none", help="none: any number")],
) -> None:
    limit = None if requests_per_minute == "none" else _number(requests_per_minute)
    with edge(), transaction() as session:
        limit_portal(session, name, limit, requested_by=asker())
    print(f"{name}: {'any number of' if limit is None else limit} requests a minute")


@app.command(help=ACL)
def acl(*, apply: Apply = False) -> None:
    with edge(), transaction() as session:
        users = _users(list_keys(session))
    for user in users:
        print(f"user {user.name} {user.rules}")
    if apply:
        _apply(lambda: _replace_users(users))


def _number(said: str) -> int:
    if not said.isdecimal() or not said.isascii() or not 1 <= int(said) <= MOST_REQUESTS_PER_MINUTE:
        raise typer.BadParameter(f"--requests-per-minute is 1 to {MOST_REQUESTS_PER_MINUTE}, or none")
    return int(said)


def _show(made: IssuedKey, *, as_json: bool, apply: bool) -> None:
    """Prints a key, the only time that it can be."""
    shown = {"portal": made.portal, "key": made.text, "key_id": made.key_id}
    user = None if made.master_id is None else redis_user(made.portal, made.key_id, made.master_id)
    if user is not None:
        shown |= {
            "queue_secret": made.queue_secret or "",
            "redis_user": user.name,
            "redis_password": user.password,
            "redis_acl": user.rules,
        }
    if as_json:
        print_json(shown)
    else:
        for name, value in shown.items():
            print(f"{name.replace('_', ' '):<15} {value}")
        print("Keep it now: it cannot be shown again.")
    if apply and user is not None:
        _apply(lambda: set_users([user]))


def _users(keys: list[ListedKey]) -> list[RedisUser]:
    """Returns the users of the keys that live and sign messages; names those that no longer can."""
    users = []
    for key in keys:
        if key.state != "live" or key.master_id is None:
            continue
        if key.master_id in master_secrets().key_ids:
            users.append(redis_user(key.portal, key.key_id, key.master_id))
        else:
            print(f"key {key.key_id} of {key.portal} signs no more: its entry left PORTAL_KEYS", file=sys.stderr)
    return users


def _replace_users(users: list[RedisUser]) -> None:
    """Gives Redis these users, and deletes those of keys that ended."""
    set_users(users)
    drop_users(list_users() - {user.name for user in users})


def _apply(changing: Callable[[], None]) -> None:
    """Changes users of Redis; says when Redis will forget them."""
    with _of_redis():
        changing()
        if not save_users():
            print("Redis has no ACL file: after a restart, matricule portal acl --apply", file=sys.stderr)


@contextmanager
def _of_redis() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        fail(UNAVAILABLE, f"Redis did not change its users: {error_code(error)}; matricule portal acl --apply does it")


def _plain_portal(portal: ListedPortal, keys: list[ListedKey]) -> dict[str, Any]:
    said = portal._asdict()
    return {"portal": said.pop("name"), **{name: said[name] for name in said if name != "id"}} | {
        "keys": [_plain_key(key) for key in keys]
    }


def _plain_key(key: ListedKey) -> dict[str, Any]:
    said = {name: value for name, value in key._asdict().items() if name not in ("portal_id", "portal", "master_id")}
    return said | {"queue": key.master_id is not None, "master": key.master_id}


def _rows(portal: ListedPortal, keys: list[ListedKey]) -> Iterator[tuple[object, ...]]:
    """Yields the lines of a portal: one for each key, or one without a key."""
    named = (portal.name, "any" if portal.requests_per_minute is None else portal.requests_per_minute)
    if not keys:
        yield (*named, "", "", "", "", "", "", "")
    for key in keys:
        scopes = "all" if set(key.scopes) >= set(Scope) else ",".join(key.scopes)
        companies = "all" if key.companies is None else ",".join(key.companies)
        queue = "yes" if key.master_id else ""
        yield (*named, key.key_id, key.state, scopes, companies, queue, _day(key.last_used_at), _day(key.expires_at))


def _day(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M}" if at else ""
