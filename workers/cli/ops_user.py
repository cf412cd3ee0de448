"""Makes the users of the console for operators, changes them and shuts them out."""

import getpass
import sys
from typing import Annotated, Final, NoReturn

import typer

from models.ops_user import Role
from models.password import MIN_PASSWORD, check_password
from models.words import Code
from workers.access.passwords import hash_password
from workers.cli.asking import asker
from workers.cli.columns import print_columns
from workers.cli.edge import COMMON_CODES, INVALID, LIST_CODES, REFUSED, command_app, edge, fail, print_json
from workers.cli.options import AsJson
from workers.database import transaction
from workers.ops.users import (
    UserRefusal,
    add_user,
    is_user,
    list_users,
    remove_user,
    set_disabled,
    set_password,
    set_role,
    sign_out,
)
from workers.settings import get_settings

CODES: Final = f"""\b
Exit codes:
   0  done
   1  refused, nothing was changed: unknown, taken
   2  wrong use of the command
{COMMON_CODES}
"""

CODES_OF_PASSWORDS: Final = f"""\b
Exit codes:
   0  done
   1  refused, nothing was changed: unknown, taken
   2  wrong use of the command
  65  a name or a password that cannot be used; nothing was changed
{COMMON_CODES}
"""

ADD: Final = f"""Make a user of the console.

The console at OPS_HOST:OPS_PORT is closed until the first one is made. The password is read from the first line of
stdin, or asked for on a terminal; it has {MIN_PASSWORD} characters or more. With --no-password the user signs in
through the proxy alone (OPS_PROXY_SECRET).

\b
Roles, each with the rights of those before it:
  reader    reads every page; personal data is masked
  support   sees data of one person at a time, sends mails again
  operator  retries, dismisses, cancels, pauses
  admin     sees all users and ends their sessions

\b
  matricule ops-user add anne --role operator --password-stdin

{CODES_OF_PASSWORDS}"""

PASSWORD: Final = f"""Give a user another password.

It is read from the first line of stdin, or asked for on a terminal. Their sessions end, and so does a lockout.

{CODES_OF_PASSWORDS}"""

ROLE: Final = f"""Give a user another role.

It holds from the next page on.

{CODES}"""

DISABLE: Final = f"""Shut a user out of the console.

Their sessions end at once. `matricule ops-user enable` lets them in again.

{CODES}"""

ENABLE: Final = f"""Let a user in again who was shut out.

{CODES}"""

REMOVE: Final = f"""Delete a user of the console.

Their sessions end at once. The audit trail keeps what they did, under their name.

{CODES}"""

SIGN_OUT: Final = f"""End all sessions of a user of the console.

They can sign in again: `matricule ops-user disable` prevents it.

{CODES}"""

SENTENCES: Final = {
    UserRefusal.INVALID_NAME: "a name has up to 63 small letters, digits, dots, underscores and hyphens",
    UserRefusal.TAKEN: "there is such a user: matricule ops-user list",
    UserRefusal.UNKNOWN: "there is no such user: matricule ops-user list",
}

PASSWORDS: Final = {
    Code.PASSWORD_TOO_SHORT: f"the password has fewer than {MIN_PASSWORD} characters",
    Code.PASSWORD_TOO_LONG: "the password is too long",
    Code.PASSWORD_TOO_COMMON: "the password is among the first that are guessed",
    Code.PASSWORD_TOO_PERSONAL: "the password is little more than the name",
    Code.PASSWORDS_DIFFER: "the two passwords differ",
    Code.UNSAFE_VALUE: "the password is not UTF-8",
}

Name = Annotated[str, typer.Argument(metavar="NAME", help="of the user")]
RoleOption = Annotated[Role, typer.Option("--role", help="what the user may do")]
FromStdin = Annotated[bool, typer.Option("--password-stdin", help="read the password from stdin")]

app = command_app()


@app.command(help=ADD)
def add(
    name: Name,
    *,
    role: RoleOption,
    password_stdin: FromStdin = False,
    no_password: Annotated[bool, typer.Option("--no-password", help="the proxy signs this user in")] = False,
) -> None:
    if password_stdin is no_password:
        raise typer.BadParameter("either --password-stdin or --no-password")
    hashed = None if no_password else _read_password(name)
    with edge(), transaction() as session:
        refused = add_user(session, name, role, password_hash=hashed, requested_by=asker())
    _end(refused, f"{name} is a user of the console, role {role}")


@app.command("list", help="List the users of the console.", epilog=LIST_CODES)
def show(*, as_json: AsJson = False) -> None:
    with edge(), transaction() as session:
        users = list_users(session)
    if as_json:
        print_json([user._asdict() for user in users])
        return
    rows = [
        (
            user.name,
            user.role,
            "disabled" if user.disabled_at else "" if user.has_password else "through the proxy",
            f"{user.signed_in_at:%Y-%m-%d %H:%M}" if user.signed_in_at else "",
            user.sessions,
        )
        for user in users
    ]
    print_columns(("user", "role", "state", "last sign-in (UTC)", "sessions"), rows)


@app.command(help=ROLE)
def role(name: Name, *, role: RoleOption) -> None:
    with edge(), transaction() as session:
        refused = set_role(session, name, role, requested_by=asker())
    _end(refused, f"{name} has the role {role}")


@app.command(help=PASSWORD)
def password(name: Name, *, password_stdin: FromStdin = False) -> None:
    if not password_stdin:
        raise typer.BadParameter("--password-stdin is needed: a password in the arguments is seen by others")
    hashed = _read_password(name)
    with edge(), transaction() as session:
        refused = set_password(session, name, hashed, requested_by=asker())
    _end(refused, f"{name} has another password; their sessions have ended")


@app.command(help=DISABLE)
def disable(name: Name) -> None:
    with edge(), transaction() as session:
        refused = set_disabled(session, name, disabled=True, requested_by=asker())
    _end(refused, f"{name} is shut out")


@app.command(help=ENABLE)
def enable(name: Name) -> None:
    with edge(), transaction() as session:
        refused = set_disabled(session, name, disabled=False, requested_by=asker())
    _end(refused, f"{name} can sign in")


@app.command(help=REMOVE)
def remove(name: Name) -> None:
    with edge(), transaction() as session:
        refused = remove_user(session, name, requested_by=asker())
    _end(refused, f"{name} is deleted")


@app.command("sign-out", help=SIGN_OUT)
def end_sessions(name: Name) -> None:
    with edge(), transaction() as session:
        refused = None if is_user(session, name) else UserRefusal.UNKNOWN
        ended = sign_out(session, name, requested_by=asker())
    _end(refused, f"{ended} ended")


def _read_password(name: str) -> str:
    """Reads a password and returns its hash; ends the command when it cannot be used."""
    if sys.stdin.isatty():
        given, again = getpass.getpass("password: "), getpass.getpass("again: ")
    else:
        given = again = sys.stdin.readline().rstrip("\r\n")
    with edge():
        own = (name, get_settings().platform_name)
    refused = check_password(given, again, own)
    if refused is not None:
        fail(INVALID, PASSWORDS.get(refused, str(refused)))
    return hash_password(given)


def _end(refused: UserRefusal | None, done: str) -> None:
    if refused is not None:
        _refuse(refused)
    print(done)


def _refuse(refused: UserRefusal) -> NoReturn:
    fail(INVALID if refused is UserRefusal.INVALID_NAME else REFUSED, SENTENCES[refused])
