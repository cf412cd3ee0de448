"""The check of credentials, for a portal that asks whether somebody may come in."""

from workers.access.sign_ins import (
    SignInRefused,
    VerifiedCredentials,
    begin,
    check,
    end,
)
from workers.database import transaction
from workers.logs import get_logger

log = get_logger("sign_ins")


def verify_credentials(email: str, password: str) -> VerifiedCredentials | SignInRefused:
    """Whose address and password these are; never whether it was the address or the password that is wrong.

    Takes about a tenth of a second and 64 MiB: give it a place among the few hashes done at once.
    """
    with transaction() as session:
        attempt = begin(session, email)
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
