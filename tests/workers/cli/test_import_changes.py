"""`matricule import undo` and `import cancel` send one request each and record the operator."""

from uuid import uuid4

import pytest

from tests.kit.processes.support import rows
from tests.workers.cli.conftest import Call


@pytest.mark.parametrize(("command", "kind"), [("undo", "undo_import"), ("cancel", "cancel_import")])
def test_a_request_is_recorded(fresh_database: str, call: Call, command: str, kind: str) -> None:
    job = uuid4()
    called = call("import", command, job)
    assert (called.code, called.json["kind"], called.json["state"]) == (0, kind, "queued")
    assert rows("SELECT request ->> 'job', requested_by <> '' FROM job") == [(str(job), True)]
    assert call("import", command, job, "--wait", "0.05").code == 75
    assert call("import", command, "no-job").code == 2
    assert call("import", command, job, "--portal", "absent").code == 65
