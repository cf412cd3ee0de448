"""The examples of docs/examples in PHP and Node send a request by the stream of a portal, and are answered."""

import json
import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.kit.actors.messages import demo
from tests.kit.processes.support import PROJECT, Processes, rows
from tests.kit.system import need

EXAMPLES: Final = PROJECT / "docs" / "examples"
BODY: Final = json.dumps({"reference": "R-1", "name": "Ébène & Fils"}, ensure_ascii=False)


def sent(*command: str | Path, **environment: str) -> dict[str, str]:
    """Runs an example; returns the answer that it prints."""
    portal = demo()
    values = {
        "PORTAL_NAME": portal.portal,
        "PORTAL_KEY_ID": portal.key_id,
        "PORTAL_QUEUE_SECRET": portal.secret,
        "REDIS_SOCKET": os.environ["REDIS_URL"].removeprefix("unix://").partition("?")[0],
    }
    words = [*command, "put_company", "order-4711", BODY]
    done = subprocess.run(words, env=os.environ | values | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    answer: dict[str, str] = json.loads(done.stdout)
    return answer


def accepted(answer: dict[str, str]) -> None:
    assert (answer["key"], answer["outcome"], answer["code"]) == ("order-4711", "accepted", "")
    [(job, body)] = rows("SELECT CAST(id AS text), CAST(request AS text) FROM job")
    assert (job, body) == (answer["job_id"], BODY)


@pytest.mark.parametrize("library", ["php-redis", "predis"])
def test_the_example_in_php_sends_a_request(processes: Processes, library: str) -> None:
    need("php")
    processes.worker("requests")
    environment = {"USE_PREDIS": "1"} if library == "predis" else {}
    accepted(sent("php", EXAMPLES / "php" / "send.php", **environment))


def test_the_example_in_node_sends_a_request(processes: Processes) -> None:
    need("node", "npm")
    if "MATRICULE_CI" not in os.environ and not (EXAMPLES / "node" / "node_modules" / "ioredis").is_dir():
        pytest.skip("scripts/examples installs ioredis")
    processes.worker("requests")
    accepted(sent("node", EXAMPLES / "node" / "send.js"))
