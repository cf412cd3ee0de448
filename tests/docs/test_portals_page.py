"""Every block of code of docs/portals.md runs, against a real system."""

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from tests.kit.builders.portals import make_portal
from tests.kit.processes.serving import serving
from tests.kit.processes.support import PROJECT, Processes, rows
from tests.kit.system import need

PAGE = (PROJECT / "docs" / "portals.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
BODY = json.dumps({"type": "job.finished", "timestamp": "2026-11-30T08:00:00Z", "data": {"sequence": 7, "é": "É"}})

CHECK_PHP = """
[$headers, $body] = json_decode(stream_get_contents(STDIN), true);
try { echo verify_webhook(getenv('WEBHOOK_SECRET'), $headers, $body)['data']['sequence']; }
catch (RuntimeException $error) { echo $error->getMessage(); }
"""
CHECK_NODE = """
import { readFileSync } from 'node:fs'
const [headers, body] = JSON.parse(readFileSync(0, 'utf8'))
const small = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
try { process.stdout.write(String(verifyWebhook(process.env.WEBHOOK_SECRET, small, body).data.sequence)) }
catch (error) { process.stdout.write(error.message) }
"""
CHECK_PYTHON = """
import json, sys
headers, body = json.load(sys.stdin)
print(receive(headers, body.encode()))
"""


def blocks(heading: str, language: str) -> list[str]:
    """Returns the blocks of a language under a heading."""
    part = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [code for named, code in BLOCK.findall(part) if named == language]


def run(language: str, code: str, folder: Path, given: str = "", **environment: str) -> str:
    """Runs a block as it stands; returns its output."""
    programs = {"bash": ["bash", "-eu"], "php": ["php"], "javascript": ["node"], "python": [sys.executable, "-P"]}
    suffix = {"bash": "sh", "php": "php", "javascript": "mjs", "python": "py"}[language]
    file = folder / f"block.{suffix}"
    file.write_text(code, encoding="utf-8")
    done = subprocess.run(
        [*programs[language], file],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(PROJECT)} | environment,
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def system(fresh_database: str, processes: Processes) -> Iterator[dict[str, str]]:
    """Runs what the page needs; yields what `var/environment` has."""
    made = make_portal("demo")
    processes.worker("requests", "enrollments")
    with serving() as client:
        yield {
            "PORTAL_URL": f"{str(client.base_url).rstrip('/')}/v1",
            "PORTAL_KEY": made.key,
            "PORTAL_NAME": made.portal,
            "PORTAL_KEY_ID": made.key_id,
            "PORTAL_QUEUE_SECRET": made.secret,
        }


def test_the_first_enrollments_of_every_language(system: dict[str, str], processes: Processes, tmp_path: Path) -> None:
    need("php", "node", "curl")
    first, again = (run("bash", blocks("The first five minutes", "bash")[0], tmp_path, **system) for _ in range(2))
    assert '"code":"enrolled"' in first, first + processes.logs()
    assert first == again
    shown = run("bash", blocks("The first five minutes", "bash")[1], tmp_path, **system)
    assert '"enrolled_count":1' in shown
    assert '"email":"zoe.muller@example.com"' in shown
    for heading, language in (("PHP", "php"), ("Node", "javascript"), ("Python", "python")):
        [code] = blocks(heading, language)
        told = [run(language, code, tmp_path, **system) for _ in range(2)]
        assert told[0].startswith("enrolled "), told
        assert told[0] == told[1]
    [code] = blocks("Through the queue", "python")
    assert run("python", code, tmp_path, **system).startswith("accepted as ")
    assert "again" in run("python", code, tmp_path, **system)
    assert rows("SELECT count(*) FROM job WHERE kind = 'enroll'") == [(5,)]


@pytest.mark.parametrize(
    ("language", "check"), [("php", CHECK_PHP), ("javascript", CHECK_NODE), ("python", CHECK_PYTHON)]
)
def test_webhooks_are_verified_in_every_language(language: str, check: str, tmp_path: Path) -> None:
    need("php", "node")
    [code] = blocks("Webhooks", language)

    def said(headers: dict[str, str], body: str = BODY) -> str:
        given = json.dumps([headers, body])
        return run(language, code + check, tmp_path, given, WEBHOOK_SECRET=SECRET).split("\n")[
            -2 if language == "python" else -1
        ]

    def headers(age: float = 0.0, *, secret: str = SECRET) -> dict[str, str]:
        at = datetime.fromtimestamp(int(time.time() - age), UTC)
        other = Webhook("whsec_" + base64.b64encode(b"o" * 32).decode()).sign("evt-1", at, BODY)
        return {
            "Webhook-Id": "evt-1",
            "Webhook-Timestamp": str(int(at.timestamp())),
            "Webhook-Signature": f"{other} {Webhook(secret).sign('evt-1', at, BODY)}",
        }

    right, stale, wrong = ("204", "400", "400") if language == "python" else ("7", "stale", "wrong signature")
    assert said(headers()) == right
    assert said(headers(age=400)) == said(headers(age=-400)) == stale
    assert said(headers(), BODY + " ") == wrong
    assert said(headers(secret="whsec_" + base64.b64encode(b"z" * 32).decode())) == wrong


def test_every_block_of_code_is_run() -> None:
    run_above = {"The first five minutes": 2, "PHP": 1, "Node": 1, "Python": 1, "Through the queue": 1, "Webhooks": 3}
    found = {part.split("\n")[0]: len(BLOCK.findall(part)) for part in PAGE.split("\n## ")[1:]}
    assert {heading: count for heading, count in found.items() if count} == run_above
