"""`matricule inbox` creates, changes and lists inboxes; an unusable address is refused at once."""

from pathlib import Path

import pytest

from tests.kit.processes.support import change, rows
from tests.workers.cli.conftest import Call


def test_an_inbox_is_set_up_changed_and_listed(fresh_database: str, call: Call, tmp_path: Path) -> None:
    place = ("put", "rh", "--contract", "C-1", "--url", f"file://{tmp_path}")
    first = call("inbox", *place, "--most-changed", "20")
    assert first.code == 0
    again = call("inbox", *place, "--full-sync", "--paused")
    assert again.json == first.json
    assert rows("SELECT most_changed_percent, full_sync, paused FROM inbox") == [(None, True, True)]
    listed = call("inbox", "list", "--json").json
    assert [(one["reference"], one["contract"], one["paused"], one["waiting"]) for one in listed] == [
        ("rh", "C-1", True, 0)
    ]
    assert "rh" in call("inbox", "list").out
    assert rows("SELECT action, requested_by <> '' FROM audit") == [("put_inbox", True)] * 2


def test_the_last_look_is_on_one_line(fresh_database: str, call: Call, tmp_path: Path) -> None:
    call("inbox", "put", "rh", "--contract", "C-1", "--url", f"file://{tmp_path}")
    assert "never" in call("inbox", "list").out
    change("UPDATE inbox SET scanned_at = '2026-11-25 14:46:00+00'")
    assert "2026-11-25 14:46" in call("inbox", "list").out
    assert [one["scanned_at"] for one in call("inbox", "list", "--json").json] == ["2026-11-25T14:46:00+00:00"]


@pytest.mark.parametrize(
    "options",
    [
        ("--url", "sftp://me:secret@host/rh"),
        ("--url", "nowhere://x"),
        ("--url", "file:///x", "--portal", "absent"),
        ("--url", "file:///x", "--most-changed", "0"),
        ("--url", "file:///x", "--locale", "de"),
        ("--url", "file:///x", "--report-to", "personne"),
    ],
)
def test_an_unusable_address_is_refused_at_once(fresh_database: str, call: Call, options: tuple[str, ...]) -> None:
    called = call("inbox", "put", "rh", "--contract", "C-1", *options)
    assert called.code == 65
    assert "secret" not in called.out + called.err
    assert rows("SELECT count(*) FROM inbox") == [(0,)]


def test_times_at_which_files_are_expected(fresh_database: str, call: Call, tmp_path: Path) -> None:
    place = ("inbox", "put", "rh", "--contract", "C-1", "--url", f"file://{tmp_path}")
    assert call(*place, "--expected", "0 6 * * 1-5", "--grace", "30min").code == 0
    assert rows("SELECT expected, grace_seconds, expected_since IS NOT NULL FROM inbox") == [
        ("0 6 * * 1-5", 1800, True)
    ]
    [listed] = call("inbox", "list", "--json").json
    assert (listed["expected"], listed["grace_seconds"], listed["arrived_at"]) == ("0 6 * * 1-5", 1800, None)
    assert call(*place, "--expected", "0 6 * * 1-5").code == 0
    assert rows("SELECT grace_seconds FROM inbox") == [(3600,)]
    assert call(*place).code == 0
    assert rows("SELECT expected FROM inbox") == [(None,)]


@pytest.mark.parametrize(
    ("options", "code", "told"),
    [
        (("--expected", "0 25 * * *"), 65, "invalid_cron"),
        (("--expected", "0 6 * * 1-5", "--grace", "30d"), 65, "grace_seconds"),
        (("--expected", "0 6 * * 1-5", "--grace", "an hour"), 2, "30min"),
    ],
)
def test_times_that_cannot_be_read_change_nothing(
    fresh_database: str, call: Call, tmp_path: Path, options: tuple[str, ...], code: int, told: str
) -> None:
    called = call("inbox", "put", "rh", "--contract", "C-1", "--url", f"file://{tmp_path}", *options)
    assert (called.code, told in called.out + called.err) == (code, True)
    assert rows("SELECT count(*) FROM inbox") == [(0,)]
