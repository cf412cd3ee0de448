"""scripts/undo-import and scripts/cancel-import: a request each, recorded for whoever asks."""

from uuid import uuid4

import pytest

from tests.kit.processes.support import rows
from tests.workers.cli.conftest import Call
from workers.cli.imports import cancel, undo


@pytest.mark.parametrize(("command", "kind"), [(undo, "undo_import"), (cancel, "cancel_import")])
def test_a_request_is_recorded(fresh_database: str, call: Call, command: object, kind: str) -> None:
    app = command.app  # type: ignore[attr-defined]
    job = uuid4()
    called = call(app, job)
    assert (called.code, called.json["kind"], called.json["state"]) == (0, kind, "queued")
    assert rows("SELECT request ->> 'job', requested_by <> '' FROM job") == [(str(job), True)]
    assert call(app, job, "--wait", "0.05").code == 75
    assert call(app, "no-job").code == 2
    assert call(app, job, "--portal", "absent").code == 65
