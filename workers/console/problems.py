"""Puts the problems of the status into an order and a view: what stops people now first, each with one next step."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

SOON: Final = frozenset(
    {
        *("queue_paused", "clock_was_ahead", "void_schedule", "redis_evicts", "redis_forgets", "unknown_kind"),
        *("unreadable_inbox_file", "file_missing", "uncertain", "expired", "webhooks_failing", "webhooks_given_up"),
        *("webhooks_disabled", "name_not_printable", "value_not_printable", "seats_not_compared", "not_recordable"),
    }
)
"""Problems that need a person soon; the others stop people now."""

SHOWN_GROUPS: Final = 3


class Step(NamedTuple):
    """The next step: a page, or a command line.

    Parameters:
      key: the key of its words, after ``problems.step.``.
    """

    key: str
    address: str = ""
    command: str = ""


class ShownProblem(NamedTuple):
    """A problem as the first page shows it.

    Parameters:
      code: of ``matricule status``; the keys of its texts are ``problems.CODE.title`` and ``.text``.
      values: the values of the texts.
      errors: what the first errors say, with their numbers.
      soon: it needs a person soon, not now.
    """

    code: str
    values: Mapping[str, Any]
    errors: Sequence[Mapping[str, Any]]
    step: Step
    soon: bool


def shown_problems(problems: Iterable[Mapping[str, Any]]) -> list[ShownProblem]:
    """Returns the problems in the order in which they are to be looked at."""
    shown = [_shown(problem) for problem in problems]
    return sorted(shown, key=lambda one: one.soon)


def _shown(problem: Mapping[str, Any]) -> ShownProblem:
    code = str(problem["code"])
    errors = [_error(group) for group in problem.get("groups", ())] or [_error(row) for row in problem.get("rows", ())]
    told = [error for error in errors if error["words"]][:SHOWN_GROUPS]
    return ShownProblem(code, problem, told, _step(problem), code in SOON)


def _error(found: Mapping[str, Any]) -> dict[str, Any]:
    words = " ".join(str(part) for part in (found.get("class"), found.get("reason")) if part)
    return {"words": words, "count": found.get("count"), "at_least": found.get("at_least", False)}


_OF_PROCESSES: Final = frozenset(
    {
        *("deaf_process", "stuck_process", "silent_process", "no_clock", "no_process", "clock_was_ahead"),
        "void_schedule",
    }
)


def _step(problem: Mapping[str, Any]) -> Step:
    code, subject = problem["code"], str(problem["subject"])
    if code in ("dead", "expired", "uncertain"):
        return Step("errors", f"/ops/errors?{urlencode({'queue': subject})}")
    if code in ("late", "postponed", "lane_held", "no_process", "queue_paused", "unsent") and subject != "requests":
        return Step("queue", f"/ops/queues/{quote(subject, safe='')}")
    if code in ("unreadable_inbox", "unreadable_inbox_file", "file_missing"):
        return Step("files", "/ops/files")
    if code in _OF_PROCESSES:
        return Step("system", "/ops/system")
    if code in ("relay_refuses", "relay_rests"):
        return Step("mails", "/ops/mails")
    return Step("command", command=_COMMANDS.get(code, "matricule status"))


_COMMANDS: Final = {
    "drift": "matricule status --seats",
    "seats_not_compared": "matricule schedules run reconcile",
    "webhooks_failing": "matricule portal webhook --help",
    "webhooks_given_up": "matricule portal webhook --help",
    "webhooks_disabled": "matricule portal webhook --help",
    "name_not_printable": "matricule person correct-name --help",
    "redis_evicts": "redis-cli CONFIG SET maxmemory-policy noeviction",
    "redis_forgets": "redis-cli CONFIG SET appendonly yes",
    "redis_refuses": "redis-cli INFO persistence memory replication",
}

__all__ = ["ShownProblem", "Step", "shown_problems"]
