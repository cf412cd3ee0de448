"""People who sign in at a portal."""

from typing import Final

from anyio import to_thread
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from models.words import JobState, Scope
from workers.access.hashing import free_place
from workers.access.sign_ins import SignInDoor, SignInRefused, VerifiedCredentials
from workers.access.verifying import verify_credentials
from workers.api.bodies import read_body, read_request
from workers.api.calls import Call, json_answer
from workers.api.operation import Body, Operation
from workers.api.problems import unavailable
from workers.api.schemas import AccountEnrollments, SignInAnswer
from workers.reading.account_enrollments import list_account_enrollments

TAG: Final = "People"

BUSY_SECONDS: Final = 60
"""Seconds after which a caller may try again when too many passwords are being checked."""


class SignInCredentials(BaseModel):
    """The address and the password that a person typed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    email: str = Field(description="the address as it was typed")
    password: str = Field(description="the password as it was typed; it is neither kept nor logged", repr=False)


async def sign_in(call: Call) -> Response:
    """Checks the address and the password of a person who signs in at the portal.

    The answer is 200 whether they are right or not. `state` is `succeeded`, with `account_id` and
    `credential_version`: end the sessions of the account when that number moves. Or it is `refused`, with the `code`
    `wrong_credentials`, which never says which of the two was wrong and also answers for a person who is not enrolled
    at this portal; or `sign_in_locked` after five wrong passwords in a row, with `locked_until`. Failures at one portal
    lock no person at another.
    """
    body = await read_body(call.http, call.operation.most)
    credentials, _ = read_request(SignInCredentials, body, {})
    place = free_place(call.services.hashing)
    if place is None:
        raise unavailable(BUSY_SECONDS)
    door = SignInDoor(call.key.portal_id, call.key.companies)
    answer = await to_thread.run_sync(verify_credentials, credentials.email, credentials.password, door, limiter=place)
    return json_answer(_shown(answer))


async def account_enrollments(call: Call) -> Response:
    """Lists the trainings of a person who signed in, the latest first; an account that is not known has none.

    Those that the person left, or was withdrawn from, are not among them. Each has the `credential_version` of the
    account: compare it with that of the session, which ends when the person has chosen another password.
    """
    return json_answer({"items": await call.read(list_account_enrollments, call.key, call.identifier("account"))})


def _shown(answer: VerifiedCredentials | SignInRefused) -> dict[str, object]:
    if isinstance(answer, VerifiedCredentials):
        known = {"account_id": str(answer.account_id), "credential_version": answer.credential_version}
        return {"state": JobState.SUCCEEDED, "code": None, **known, "locked_until": None}
    until = answer.locked_until.isoformat() if answer.locked_until else None
    nothing = {"account_id": None, "credential_version": None}
    return {"state": JobState.REFUSED, "code": answer.code, **nothing, "locked_until": until}


OPERATIONS: Final = (
    Operation(
        "POST",
        "/sign-ins",
        "sign_in",
        sign_in,
        Scope.SIGN_IN,
        "Check the address and the password of a person",
        TAG,
        body=Body(shape=SignInCredentials),
        answers={200: SignInAnswer},
    ),
    Operation(
        "GET",
        "/accounts/{account}/enrollments",
        "list_account_enrollments",
        account_enrollments,
        Scope.READ,
        "List the trainings of a person who signed in",
        TAG,
        answers={200: AccountEnrollments},
    ),
)
