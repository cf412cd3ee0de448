"""Forms that were sent: read within a size, and refused when another site has sent them.

Two checks protect from forged requests. The browser says from where a form comes (``Sec-Fetch-Site`` or ``Origin``);
and the form has a token that belongs to a cookie of this browser. A third field names the contract that was shown, so
that a form of an old tab does not reach the contract that was chosen meanwhile in another.
"""

import hashlib
import hmac
import re
import secrets
from functools import partial
from typing import Final
from uuid import uuid4

from anyio.from_thread import run
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import Request

from scripts.portal.sessions import LEARNER, MANAGER
from scripts.portal.site import site_of

VISIT: Final = "visite"
"""The cookie of a browser to which the tokens of its forms belong."""

OWN_FIELDS: Final = frozenset({"csrf", "key", "contract"})

MOST_BYTES: Final = 1_000_000
MOST_FIELDS: Final = 12_000

KEY: Final = re.compile(r"[A-Za-z0-9-]{16,64}")


class Forbidden(Exception):
    """A form is not one of ours, or not of this session.

    Parameters:
      reason: `foreign` (another site has sent it), `token` (not of this browser), `contract` (of another contract).
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadForm(Exception):
    """A form cannot be read: it has no length, is too large, or lacks what each form of ours has."""


class Form:
    """A form of ours.

    Parameters:
      key: the idempotency key that was made with the form; it belongs to the person who is signed in.
    """

    def __init__(self, data: FormData, key: str) -> None:
        self._data = data
        self.key = key

    def text(self, name: str) -> str:
        """Returns a field without white space around it; empty when it was not sent."""
        value = self._data.get(name, "")
        return value.strip() if isinstance(value, str) else ""

    def raw(self, name: str) -> str:
        """Returns a field as it was typed, such as a password; empty when it was not sent."""
        value = self._data.get(name, "")
        return value if isinstance(value, str) else ""

    def texts(self, name: str) -> list[str]:
        """Returns all values of a field, such as the ticked rows."""
        return [one.strip() for one in self._data.getlist(name) if isinstance(one, str)]

    def ticked(self, name: str) -> bool:
        """Tells whether a check box is ticked."""
        return name in self._data

    def file(self, name: str) -> UploadFile | None:
        """Returns a file that was chosen; None when there is none."""
        value = self._data.get(name)
        return value if isinstance(value, UploadFile) and value.filename else None

    def typed(self) -> list[tuple[str, str]]:
        """Returns the fields that a person filled in, to show the form again."""
        return [
            (name, value)
            for name, value in self._data.multi_items()
            if isinstance(value, str) and name not in OWN_FIELDS
        ]


def read_form(request: Request, *, most_bytes: int = MOST_BYTES) -> Form:
    """Reads the form that was sent; called in a thread.

    Raises:
      Forbidden: it is not from a page of ours.
      BadForm: it cannot be read.
    """
    check_origin(request)
    data = parse(request, most_bytes)
    site, token = site_of(request), data.get("csrf", "")
    visit = request.cookies.get(VISIT, "")
    wanted = csrf_token(site.settings.secret, visit)
    if not visit or not isinstance(token, str) or not hmac.compare_digest(token.encode(), wanted.encode()):
        raise Forbidden("token")
    visitor = getattr(request.state, "visitor", None)
    if visitor is not None and data.get("contract", visitor.contract) != visitor.contract:
        raise Forbidden("contract")
    return Form(data, _own_key(request, data.get("key", "")))


def check_origin(request: Request) -> None:
    """Checks that a page of ours has sent this request.

    Raises: Forbidden.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None and site != "same-origin":
        raise Forbidden("foreign")
    if origin is not None and origin != f"{request.url.scheme}://{request.url.netloc}":
        raise Forbidden("foreign")


def parse(request: Request, most_bytes: int = MOST_BYTES) -> FormData:
    """Reads a form without a check.

    Raises: BadForm.
    """
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdecimal() and len(length) < 12 and int(length) <= most_bytes):
        raise BadForm("a form says its length, and is not too large")
    try:
        data: FormData = run(partial(_parse, request))
        request.state.form = data
        for name, value in data.multi_items():
            f"{name}{value if isinstance(value, str) else value.filename}".encode()
    except MultiPartException as error:
        raise BadForm(error.message) from None
    except (ValueError, LookupError):  # another encoding is named, or half of a character was written in one
        raise BadForm("a form is UTF-8") from None
    return data


async def _parse(request: Request) -> FormData:
    return await request.form(max_files=1, max_fields=MOST_FIELDS)


def csrf_token(secret: str, visit: str) -> str:
    """Returns the token of the forms of a browser."""
    return hmac.digest(secret.encode(), f"csrf:{visit}".encode(), hashlib.sha256).hex()


def new_visit() -> str:
    """Returns the value of a new cookie ``VISIT``."""
    return secrets.token_urlsafe(24)


def new_key() -> str:
    """Returns a key for the hidden field of a form: sent twice, the form is one job."""
    return str(uuid4())


def _own_key(request: Request, key: str | UploadFile) -> str:
    """Returns the key with a mark of the person, so that it meets no request of another person."""
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise BadForm("a form of ours has a key")
    role, name = (LEARNER, "account") if request.url.path.startswith("/apprenant") else (MANAGER, "company")
    found = site_of(request).sessions.read(request, role)
    owner = "" if found is None else f"{role}:{found.values.get(name, '')}"
    return f"site-{hashlib.blake2b(owner.encode(), digest_size=6).hexdigest()}-{key}"
