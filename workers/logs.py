"""Structured log lines (JSON, one per line, on stderr) that never carry a name, an address, a link or a token."""

import logging
import re
import sys
import threading
import time
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from workers.errors import MatriculeError

ADDRESS = re.compile(r"[^\s@<>\"'(),;:]+@[^\s@<>\"'(),;:]+")
LINK = re.compile(r"https?://\S+")
SHORTEST_TOKEN = 60
TOKEN = re.compile(rf"[A-Za-z0-9_-]{{{SHORTEST_TOKEN},}}")
SPELT_OUT = re.compile(r"^(DETAIL|CONTEXT):.*$", re.MULTILINE)
MASKS = ((LINK, "[link]"), (ADDRESS, "[address]"), (TOKEN, "[token]"))

get_logger = structlog.get_logger


class SeldomLog:
    """Writes warnings that a lasting fault would repeat many times a second: each of them at most once in a while.

    Parameters:
      seconds: the shortest time between two equal warnings.
    """

    def __init__(self, seconds: float = 30.0) -> None:
        self._seconds = seconds
        self._written: dict[tuple[str, ...], float] = {}
        self._log = get_logger()

    def warning(self, event: str, **fields: str) -> None:
        """Writes the warning, unless one with the same words was written a moment ago."""
        words, now = (event, *fields.values()), time.monotonic()
        if now - self._written.get(words, -self._seconds) >= self._seconds:
            self._written[words] = now
            self._log.warning(event, **fields)


def masked(text: str) -> str:
    """Returns the text without links, addresses and tokens."""
    if "@" not in text and "://" not in text and len(text) < SHORTEST_TOKEN:
        return text
    for pattern, word in MASKS:
        text = pattern.sub(word, text)
    return text


def _masked_values(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = masked(value)
    return event


def _without_message(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Replaces an exception by its class and place, because its text may quote the values it failed on."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    if isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["error"] = type(error).__name__
        event["reason"] = safe_reason(error)
        event["frames"] = [
            f"{f.filename.rsplit('/', 2)[-1]}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)
        ]
    return event


def safe_reason(error: BaseException) -> str:
    """Returns the part of an error that may be logged: the text of our own errors, or PostgreSQL's primary message."""
    if isinstance(error, MatriculeError):
        return masked(str(error))
    origin = getattr(error, "orig", error)
    primary = getattr(getattr(origin, "diag", None), "message_primary", None)
    return masked(primary.split(":")[0]) if primary else ""


def describe(error: BaseException) -> dict[str, str]:
    """Returns an error as the ledger stores it: class, text and traceback, cut to a readable size.

    The ledger keeps it for months and no erasure reads it, so addresses, links and tokens are masked. The row or the
    text that PostgreSQL quotes is masked as well.
    """
    return {
        "class": type(error).__name__,
        "message": _kept(str(error)[:4000])[:2000],
        "traceback": _kept("".join(traceback.format_exception(error))[-16_000:])[-8000:],
    }


def _kept(text: str) -> str:
    return masked(SPELT_OUT.sub(r"\1: [hidden]", _storable(text)))


def _storable(text: str) -> str:
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


class _NoMessageArguments(logging.Filter):
    """Keeps only the actor and the identifier of a message: dramatiq logs whole messages, which may carry people."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("dramatiq") and isinstance(record.args, tuple):
            record.args = tuple(
                f"{arg.actor_name}#{getattr(arg, 'message_id', '')}" if hasattr(arg, "actor_name") else arg
                for arg in record.args
            )
        elif isinstance(record.args, Mapping):
            record.args = None
        return True


def configure_logs(level: str = "INFO") -> None:
    """Sends every log line of this process, also those of libraries, through the same masks to stderr."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _without_message,
        _masked_values,
    ]
    structlog.configure(
        # Our own lines bypass Python's logging: one line per request would cost as much as recording the request.
        processors=[*shared, structlog.processors.JSONRenderer(ensure_ascii=False)],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_NoMessageArguments())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # Uncaught errors are masked too: Python's own report would quote the values in them.
    sys.excepthook = lambda _, error, __: get_logger().critical("process.crashed", exc_info=error)
    threading.excepthook = lambda crash: get_logger().critical("thread.crashed", exc_info=crash.exc_value)
