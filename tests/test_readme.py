"""README is short, and docs/requests.md lists each kind of request and an example that works."""

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
ASKED = re.compile(r"## The requests of portals\n(.*?)\n## ", re.DOTALL)
MOST_WORDS = 900


def test_readme_is_short_enough_to_be_read() -> None:
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").split()) <= MOST_WORDS


def test_everything_a_portal_can_ask_is_listed() -> None:
    """The headings of the page are the kinds of request a portal may send, word for word."""
    [section] = ASKED.findall((PROJECT / "docs" / "requests.md").read_text(encoding="utf-8"))
    listed = re.findall(r"^### (\w+)$", section, re.MULTILINE)
    assert sorted(listed) == sorted(kind for kind, request in KINDS.items() if not request.internal)


def test_the_example_of_a_portal_sends_its_request(fresh_database: str) -> None:
    [code] = SNIPPET.findall((PROJECT / "docs" / "requests.md").read_text(encoding="utf-8"))
    assert BROKER in code
    here = f"PortalClient({os.environ['REDIS_URL']!r}, namespace={fresh_database!r}, "
    shown: dict[str, Any] = {}
    exec(code.replace(BROKER, here), shown)
    shown["portal"].close()
    with client() as opened:
        [(_, fields)] = opened.xrange(f"{fresh_database}:stream:shop")
    sent = {name.decode(): value.decode() for name, value in fields.items()}
    request = parse(sent["kind"], sent["body"])
    assert isinstance(request, Enroll)
    assert (sent["key"], request.policy, len(request.people)) == ("order-4711", Policy.UNTIL_FULL, 1)
