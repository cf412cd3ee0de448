"""A production install: the wheel alone, in an empty folder, runs every line of the Procfile and the commands of
operators.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from scripts.embedded.mailbox_process import free_port
from scripts.embedded.procfile import Supervisor, parse_procfile
from tests.conftest import LINK_KEYS
from tests.kit.processes.support import PROJECT, wait_until
from tests.kit.relay.relay import Relay
from tests.kit.servers import Servers

pytestmark = pytest.mark.heavy

ZOE = {"email": "zoe@example.com", "first_name": "Zoë", "last_name": "Müller"}
LINK = re.compile(r"http://127\.0\.0\.1:\d+/links/\S+")


@dataclass
class Installed:
    """The wheel in its own virtual environment, and an empty folder to call it from."""

    folder: Path
    environment: dict[str, str]

    def run(self, *words: str, stdin: str = "") -> str:
        """Returns the output of `matricule`; fails the test when its exit code is not 0."""
        ran = self.call(*words, stdin=stdin)
        assert ran.returncode == 0, f"{words}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def call(self, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Calls `matricule` with these words."""
        return subprocess.run(
            ["matricule", *words],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd=self.folder,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with the wheel; its dependencies are those of the environment that runs the tests."""
    folder = tmp_path_factory.mktemp("installed")
    built, venv = folder / "wheel", folder / "venv"
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", built], cwd=PROJECT, check=True)
    [wheel] = built.iterdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--quiet",
        "--disable-pip-version-check",
        "--python",
        str(venv / "bin" / "python"),
    ]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", str(wheel)], check=True)
    [packages] = venv.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    dramatiq = venv / "bin" / "dramatiq"
    dramatiq.write_text(f"#!{venv}/bin/python\nfrom dramatiq.__main__ import main\n\nraise SystemExit(main())\n")
    dramatiq.chmod(0o755)
    return venv


@pytest.fixture
def database(servers: Servers) -> Iterator[str]:
    """A database without tables."""
    name = f"installed_{uuid4().hex[:12]}"
    servers.postgres.create_database(name)
    yield name
    servers.postgres.drop_database(name)


@pytest.fixture
def relay() -> Iterator[Relay]:
    with Relay() as opened:
        yield opened


@pytest.fixture
def installed(servers: Servers, database: str, relay: Relay, venv: Path, tmp_path: Path) -> Installed:
    """Installed, with the settings a production needs and nothing of this checkout in the environment."""
    port = str(free_port(0))
    settings = {
        "DATABASE_URL": servers.postgres.url(database),
        "REDIS_URL": servers.valkey.url,
        "REDIS_NAMESPACE": database,
        "SMTP_URL": f"smtp://127.0.0.1:{relay.port}?tls=off",
        "LINK_KEYS": LINK_KEYS,
        "LINK_BASE_URL": f"http://127.0.0.1:{port}",
        "MAIL_FROM": "Formation <ne-pas-repondre@formation.test>",
        "PORT": port,
        "OPS_PORT": str(free_port(0)),
    }
    path = os.pathsep.join([str(venv / "bin"), os.defpath])
    return Installed(tmp_path, {"PATH": path, "HOME": str(tmp_path), **settings})


@pytest.fixture
def processes(installed: Installed) -> Iterator[Mapping[str, str]]:
    """Every line of the Procfile, `release` first; the settings they have."""
    output = io.StringIO()
    lines = parse_procfile((PROJECT / "Procfile").read_text())
    supervisor = Supervisor(lines, environment=installed.environment, folder=installed.folder, output=output)
    try:
        supervisor.start()
        yield installed.environment
    finally:
        supervisor.stop()
    assert "starts again" not in output.getvalue(), output.getvalue()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=10).status_code == 200
    except httpx.TransportError:
        return False


def test_commands_that_need_no_database(installed: Installed) -> None:
    assert "matricule [OPTIONS] COMMAND" in installed.run("--help")
    model = installed.folder / "modele.csv"
    model.write_text(installed.run("import", "model"), encoding="utf-8")
    assert "2 accepted, 0 refused of 2 rows" in installed.run("import", "check", "modele.csv")
    mails = installed.run("mail", "preview").split()
    assert "var/preview/invitation.fr.html" in mails
    assert all((installed.folder / mail).stat().st_size for mail in mails)
    for file in installed.run("certificate", "preview", "--only", "arabic").split():
        assert (installed.folder / file).read_bytes().startswith(b"%PDF-")
    shutil.rmtree(installed.folder / "var")
    assert [path.name for path in installed.folder.iterdir()] == ["modele.csv"]


def test_every_process_and_what_people_type(installed: Installed, processes: Mapping[str, str], relay: Relay) -> None:
    assert "up to date" in installed.run("migrate", "--check")
    (installed.folder / "example.json").write_text(installed.run("seed", "--example"), encoding="utf-8")
    installed.run("seed", "example.json")
    asked = json.dumps({"contract": "CTR-2026-001", "people": [ZOE]})
    done = json.loads(installed.run("enqueue", "enroll", "--file", "-", "--wait", stdin=asked))
    assert [person["code"] for person in done["result"]["people"]] == ["enrolled"]
    wait_until(lambda: relay.mails, seconds=60)
    wait_until(lambda: answers(processes["LINK_BASE_URL"]), seconds=60)
    [link] = set(LINK.findall(relay.mails[0].text))
    assert "Bonjour <bdi>Zoë</bdi>" in httpx.get(link, timeout=10).text
    shown = json.loads(installed.run("contract", "show", "CTR-2026-001", "--json"))
    assert (shown["enrolled_count"], shown["participants"][0]["email"]) == (1, ZOE["email"])
    wait_until(lambda: installed.call("status").returncode == 0, seconds=60)
