"""Makes the messages of mails from their skeletons, beside templates rendered whole; nothing is sent.

Both make the same mails, of the kinds that leave most often, each with a name and a link of its own. The rate is per
second of CPU of the one thread that makes them, so neighbours hardly move it.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from models.words import EmailKind
from tests.benchmarks.measure import ROUNDS, Figure, Run, alternate, ratio_figure
from tests.benchmarks.system import System
from workers.cli.samples.mails import SAMPLES
from workers.mail.message import SenderIdentity, build
from workers.mail.renderer import render
from workers.mail.skeleton import make_message

KINDS: Final = ("invitation", "attachment-not-activated", "reminder", "withdrawal", "password_reset")
NAMES: Final = ("Anne-Sophie", "Karim", "Zoé", "Jean Luc", "M.", "O’Neill", "Žára")
IDENTITY: Final = SenderIdentity(
    "Formation <a@bench.example>", "aide@bench.example", "a@bench.example", "bench.example"
)


@dataclass(frozen=True, slots=True)
class _Wanted:
    kind: EmailKind
    context: Mapping[str, Any]
    envelope: Mapping[str, Any]


def run(_: System, *, short: bool) -> list[Figure]:
    """Makes mails from skeletons and by rendering, alternately."""
    wanted = [_wanted(number) for number in range(50 if short else 4_000)]
    series = alternate(
        lambda: _made(wanted, _rendered_whole), lambda: _made(wanted, _from_skeleton), rounds=1 if short else ROUNDS
    )
    return [ratio_figure("messages", series, unit="mails", goal=6.0, short=short)]


def _wanted(number: int) -> _Wanted:
    kind, context = SAMPLES[KINDS[number % len(KINDS)]]
    own = {"first_name": NAMES[number % len(NAMES)]}
    if context.get("link"):
        own["link"] = f"{context['link'][:-6]}{number:06}"
    now = datetime.fromtimestamp(1_790_000_000 + number // 100, tz=UTC)
    envelope = {"to_address": f"p{number}@bench.example", "message_id": f"<{number}@bench.example>", "date": now}
    return _Wanted(kind, {**context, **own}, envelope)


def _from_skeleton(mail: _Wanted) -> bytes:
    return make_message(mail.kind, "fr", mail.context, **mail.envelope, identity=IDENTITY)


def _rendered_whole(mail: _Wanted) -> bytes:
    return build(render(mail.kind, "fr", mail.context), **mail.envelope, identity=IDENTITY)


def _made(wanted: list[_Wanted], make: Callable[[_Wanted], bytes]) -> Run:
    for mail in wanted[: len(KINDS)]:  # templates are compiled, and skeletons made, once for each process
        make(mail)
    began = time.thread_time()
    for mail in wanted:
        make(mail)
    seconds = time.thread_time() - began
    return Run(len(wanted) / seconds, {"CPU a mail": f"{seconds / len(wanted) * 1e6:.1f} µs"})
