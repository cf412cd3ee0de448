"""Tests visit the console as a browser does: signed in with a role, with the headers and the token of its forms."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx

from models.ops_user import Role
from tests.kit.processes.serving import serving
from workers.access.passwords import hash_password
from workers.console.app import make_server
from workers.database import transaction
from workers.ops.users import add_user

PASSWORD: Final = "une longue phrase pour la console"
SAME_ORIGIN: Final = {"Sec-Fetch-Site": "same-origin"}

_TOKEN: Final = re.compile(r'name="form_token" value="([0-9a-f]{64})"')


class Visit:
    """A browser at the console.

    Parameters:
      client: keeps the cookies of this browser.
    """

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def get(self, path: str, **options: object) -> httpx.Response:
        """Opens a page."""
        return self.client.get(path, **options)  # type: ignore[arg-type]

    def sign_in(self, name: str, password: str = PASSWORD, *, following: str = "") -> httpx.Response:
        """Sends the form to sign in."""
        fields = {"name": name, "password": password, "next": following}
        return self.client.post("/ops/sign-in", data=fields, headers=SAME_ORIGIN)

    def token(self) -> str:
        """Returns the token that the forms of this session carry."""
        found = _TOKEN.search(self.get("/ops/sessions").text)
        assert found is not None
        return found[1]

    def post(self, path: str, **fields: str) -> httpx.Response:
        """Sends a form of a page, with its token."""
        return self.client.post(path, data={"form_token": self.token()} | fields, headers=SAME_ORIGIN)


def make_user(name: str, role: Role | str = Role.READER, *, password: str | None = PASSWORD) -> None:
    """Makes a user of the console."""
    hashed = None if password is None else hash_password(password)
    with transaction() as session:
        assert add_user(session, name, Role(role), password_hash=hashed, requested_by="shell:test") is None


@contextmanager
def console() -> Iterator[httpx.Client]:
    """Serves the console; its client follows no redirect and speaks English."""
    with serving(make_server) as client:
        client.headers["Accept-Language"] = "en"
        yield client


@contextmanager
def visiting(role: Role | str = Role.READER, name: str = "anne") -> Iterator[Visit]:
    """Serves the console to a user with this role, who is signed in."""
    make_user(name, role)
    with console() as client:
        visit = Visit(client)
        assert visit.sign_in(name).status_code == 303
        yield visit


__all__ = ["PASSWORD", "SAME_ORIGIN", "Visit", "console", "make_user", "visiting"]
