"""What README shows works as it stands there."""

import json
import os
import re
from typing import Any

from models.words import Policy
from tests.messages import client
from tests.support import PROJECT
from workers.requests import Enroll, parse

SNIPPET = re.compile(r"```python\n(.*?)```", re.DOTALL)
BROKER = 'PortalClient("redis://localhost:6379/0", '


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
