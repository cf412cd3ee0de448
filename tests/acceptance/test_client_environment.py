"""The environment of a portal: the wheel alone and requirements-client.lock, and an enrollment through both doors."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.builders.portals import make_portal
from tests.kit.processes.serving import serving
from tests.kit.processes.support import PROJECT, Processes, rows

LOCK = PROJECT / "requirements-client.lock"

PROGRAM = """
import json, os
from workers.portal_client import Portal

def zoe(number):
    return {"email": f"zoe{number}@example.com", "first_name": "Zoë", "last_name": "Müller"}

names = {"portal": "demo", "key_id": os.environ["PORTAL_KEY_ID"], "secret": os.environ["PORTAL_QUEUE_SECRET"]}
with (
    Portal(os.environ["PORTAL_URL"], key=os.environ["PORTAL_KEY"]) as http,
    Portal(os.environ["REDIS_URL"], namespace=os.environ["REDIS_NAMESPACE"], **names) as queue,
):
    http.wait_for(http.put_company("DUBOIS", name="Atelier Dubois"))
    http.wait_for(http.put_training("SEC-1", title="Sécurité"))
    http.wait_for(queue.put_contract("C-1", company="DUBOIS", training="SEC-1", planned_seats=5))
    jobs = [door.enroll("C-1", [zoe(number)], key=f"order-{number}") for number, door in enumerate((http, queue))]
    codes = [http.wait_for(job).result.people[0].code for job in jobs]
    shown = sorted(one.email for one in http.participants("C-1"))
print(json.dumps({"codes": codes, "participants": shown}))
"""


@pytest.fixture(scope="module")
def portal_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Makes the environment as docs/portals.md says; returns its Python."""
    folder = tmp_path_factory.mktemp("portal")
    built, venv = folder / "wheel", folder / "venv"
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", built], cwd=PROJECT, check=True)
    [wheel] = built.iterdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    python = venv / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", str(python), "install"]
    subprocess.run([*pip, "--require-hashes", "-r", LOCK], check=True)
    subprocess.run([*pip, "--no-index", "--no-deps", wheel], check=True)
    return python


@pytest.fixture
def url(fresh_database: str) -> Iterator[str]:
    with serving() as client:
        yield f"{str(client.base_url).rstrip('/')}/v1"


def test_the_wheel_and_its_lock_enrol_through_both_doors(
    portal_python: Path, url: str, processes: Processes, tmp_path: Path
) -> None:
    made = make_portal("demo")
    processes.worker("requests", "enrollments")
    told = {"PORTAL_URL": url, "PORTAL_KEY": made.key, "PORTAL_KEY_ID": made.key_id, "PORTAL_QUEUE_SECRET": made.secret}
    redis = {name: os.environ[name] for name in ("REDIS_URL", "REDIS_NAMESPACE")}
    ran = subprocess.run(
        [portal_python, "-I", "-W", "error", "-c", PROGRAM],
        env={"PATH": os.defpath, **told, **redis},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr + processes.logs()
    shown = json.loads(ran.stdout)
    assert shown["codes"] == ["enrolled", "enrolled"]
    assert shown["participants"] == ["zoe0@example.com", "zoe1@example.com"]
    assert rows("SELECT count(*) FROM enrollment") == [(2,)]


def test_the_lock_has_what_the_client_imports_and_names_no_host() -> None:
    text = LOCK.read_text()
    names = re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)
    assert {"httpx2", "pydantic", "redis"} <= set(names)
    assert {"dramatiq", "sqlalchemy", "sqlmodel", "structlog", "psycopg"}.isdisjoint(names)
    assert "://" not in text
