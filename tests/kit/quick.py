"""Tests need not wait for what none of them is about: costly hashes of passwords, and tracebacks with variables."""

import structlog
from pwdlib.hashers import HasherProtocol
from pwdlib.hashers.argon2 import Argon2Hasher

from workers.access import sign_ins
from workers.access.passwords import HASHER

TRUE_HASHER = HASHER.current_hasher
QUICK_HASHER = Argon2Hasher(time_cost=1, memory_cost=16, parallelism=1)


def hash_by(hasher: HasherProtocol) -> None:
    """Sets how this process hashes passwords from here on; hashes made before can still be checked."""
    HASHER.hashers, HASHER.current_hasher = (hasher,), hasher
    sign_ins._hash_of_no_password.cache_clear()


def log_plainly() -> None:
    """Logs errors with plain tracebacks, because to draw one with all variables takes a second."""
    *others, _ = structlog.get_config()["processors"]
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*others, plain])
