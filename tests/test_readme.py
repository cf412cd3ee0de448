"""The commands and tables of README are correct as they stand."""

import json
import os
import re
from typing import Any

from models.words import Policy
from tests.kit.actors.messages import client
from tests.kit.processes.support import PROJECT
from workers.requests.enrollment import Enroll
from workers.requests.registry import KINDS, parse

SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)
BROKER = 'PortalClient("redis://localhost:6379/0", '


ASKED = re.compile(r"### What can be asked\n(.*?)\n### ", re.DOTALL)


def test_everything_a_portal_can_ask_is_listed() -> None:
    """The table in README lists each kind of request, word for word."""
    [section] = ASKED.findall((PROJECT / "README.md").read_text(encoding="utf-8"))
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    listed = [kind for row in rows for kind in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(kind for kind, request in KINDS.items() if not request.internal)


def test_the_example_of_a_portal_sends_its_request(fresh_database: str) -> None:
    [code] = SNIPPET.findall((PROJECT / "README.md").read_text(encoding="utf-8"))
    assert BROKER in code
    here = f"PortalClient({os.environ['REDIS_URL']!r}, namespace={fresh_database!r}, "
    shown: dict[str, Any] = {}
    exec(code.replace(BROKER, here), shown)
    shown["portal"].close()
    with client() as opened:
        [raw] = opened.hvals(f"{fresh_database}:requests.msgs")
    sent = json.loads(raw)["kwargs"]
    request = parse(sent["kind"], sent["body"])
    assert isinstance(request, Enroll)
    assert (sent["key"], request.policy, len(request.people)) == ("order-4711", Policy.UNTIL_FULL, 1)
