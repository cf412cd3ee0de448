"""The whole API under generated calls (schemathesis): no fault, no answer and no shape that is not described."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from models.portal import LOCAL_PORTAL_ID
from tests.kit.builders.contracts import add_contract, enrolled
from tests.workers.api.conftest import make_key, make_portal
from workers.database import transaction

CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture
def portal(fresh_database: str) -> UUID:
    """Makes a portal with a contract and people on it, so that some addresses lead somewhere."""
    portal = make_portal("acme")
    with transaction() as session:
        add_contract(session, "0")
        enrolled(session, "ada", "bob", contract="0")
        for table in ("company", "training", "contract"):
            session.connection().exec_driver_sql(f"UPDATE {table} SET portal_id = '{portal}'")
        assert portal != LOCAL_PORTAL_ID
    return portal


def test_generated_calls_find_nothing_that_is_not_described(base_url: str, portal: UUID, tmp_path: Path) -> None:
    command = [
        *(str(Path(sys.executable).with_name("st")), "--config-file", str(CONFIG)),
        *("run", f"{base_url}/v1/openapi.json", "--header", f"Authorization: Bearer {make_key(portal)}"),
        *("--max-examples", "15", "--seed", "20261130", "--phases", "examples,coverage,fuzzing,stateful"),
        *("--suppress-health-check", "all", "--no-color", "--continue-on-failure"),
    ]
    ran = subprocess.run(command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{ran.stdout[-8_000:]}\n{ran.stderr[-2_000:]}"
