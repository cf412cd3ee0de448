"""Sessions in signed cookies: a manager's and a learner's, side by side in one browser."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from itsdangerous import BadSignature, SignatureExpired, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

MANAGER: Final = "gestion"
LEARNER: Final = "apprenant"

LASTS_SECONDS: Final = 8 * 3600


class SignedSession(NamedTuple):
    """A session.

    Parameters:
      values: of one that ended too, to know who was signed in.
    """

    values: Mapping[str, str]
    ended: bool


class SignInNeeded(Exception):
    """A page is for people who are signed in.

    Parameters:
      role: `MANAGER` or `LEARNER`.
      ended: whether a session was there, and ended.
    """

    def __init__(self, role: str = MANAGER, *, ended: bool = False) -> None:
        super().__init__(role)
        self.role = role
        self.ended = ended


class Sessions:
    """Writes and reads sessions."""

    def __init__(self, secret: str) -> None:
        self._serializer = URLSafeTimedSerializer(secret, salt="session")

    def start(self, answer: Response, role: str, values: Mapping[str, str]) -> None:
        """Starts a session, or goes on with it under other values; it ends eight hours later.

        The cookie lives as long as the browser; the end is in its signature, so that an ended session is known as one.
        """
        signed = self._serializer.dumps(dict(values), salt=role)
        text = signed if isinstance(signed, str) else signed.decode()
        answer.set_cookie(role, text, httponly=True, samesite="lax", path="/")

    def read(self, request: Request, role: str) -> SignedSession | None:
        """Returns the session of this browser; None when there is none that we have signed."""
        cookie = request.cookies.get(role, "")
        try:
            return SignedSession(self._serializer.loads(cookie, max_age=LASTS_SECONDS, salt=role), ended=False)
        except SignatureExpired:
            return SignedSession(self._serializer.loads(cookie, salt=role), ended=True)
        except BadSignature:
            return None

    def live(self, request: Request, role: str) -> Mapping[str, str]:
        """Returns the values of a session that lives.

        Raises: SignInNeeded.
        """
        found = self.read(request, role)
        if found is None or found.ended:
            raise SignInNeeded(role, ended=found is not None)
        return found.values

    def end(self, answer: Response, role: str) -> None:
        """Ends a session."""
        answer.delete_cookie(role, path="/", httponly=True, samesite="lax")
