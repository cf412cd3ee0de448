"""Checks the address and password of a person, for a page or for a portal that signs them in."""

from workers.access.sign_ins import (
    SignInDoor,
    SignInRefused,
    VerifiedCredentials,
    begin,
    check,
    end,
)
from workers.database import transaction
from workers.logs import get_logger

log = get_logger("sign_ins")


def verify_credentials(
    email: str, password: str, door: SignInDoor | None = None
) -> VerifiedCredentials | SignInRefused:
    """Returns the account with this address and password; a refusal never tells which of the two was wrong.

    It takes about a tenth of a second and 64 MiB, so the caller must limit how many run at once.

    Parameters:
      door: the portal that asks; None for a page of Matricule.
    """
    with transaction() as session:
        attempt = begin(session, email, door)
    if isinstance(attempt, SignInRefused):
        log.warning("sign_in.locked")
        return attempt
    checked = check(attempt, password)
    with transaction() as session:
        answer = end(session, attempt, checked)
    if isinstance(answer, VerifiedCredentials):
        log.info("sign_in.verified", account=str(answer.account_id))
    else:
        log.warning("sign_in.refused", account=str(attempt.account_id) if attempt.account_id else None)
    return answer
