"""An inbox that expects a file: `status` tells when none came, until one comes or none is expected any more."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from models.paris import PARIS
from tests.kit.builders.inboxes import drop, folder, put, scan, scan_to_the_end
from tests.kit.processes.support import change, rows
from tests.workers.ops.test_metrics import read_metrics
from workers.cli.status import print_status
from workers.database import transaction
from workers.engine.set_back import put_times_right
from workers.errors import InvalidRequest
from workers.ops.expected_files import find_missing_files
from workers.ops.snapshot import read_snapshot

__all__ = ["folder"]


def hours_ago(hours: int) -> str:
    """Returns the cron expression of a file each day, at the minute that was so many hours ago in Paris."""
    at = datetime.now(PARIS) - timedelta(hours=hours)
    return f"{at.minute} {at.hour} * * *"


def expect(place: Path, cron: str | None, **options: Any) -> None:
    """Lets the inbox expect files, and has done so for three days."""
    put(place, expected=cron, **options)
    change("UPDATE inbox SET expected_since = now() - interval '3 days' WHERE expected IS NOT NULL")


def missing() -> list[dict[str, Any]]:
    with transaction() as session:
        return find_missing_files(session)


def test_it_is_told_with_its_contract_and_when_the_last_one_came(folder: Path) -> None:
    drop(folder, "liste.csv", "a", "b", "c")
    scan_to_the_end()
    change("UPDATE inbox_file SET seen_at = now() - interval '26 hours'")
    change("UPDATE inbox SET arrived_at = now() - interval '26 hours'")
    expect(folder, hours_ago(2))
    [problem] = missing()
    assert {name: problem[name] for name in ("code", "subject", "count", "portal", "contract", "lines")} == {
        "code": "file_missing",
        "subject": "rh",
        "count": 1,
        "portal": "local",
        "contract": "C-1",
        "lines": 3,
    }
    assert problem["company"] == rows("SELECT name FROM company")[0][0]
    assert 2 * 3600 <= problem["seconds"] < 2 * 3600 + 120
    assert problem["last_at"] == rows("SELECT arrived_at FROM inbox")[0][0].isoformat()  # type: ignore[attr-defined]


def test_it_ends_when_a_file_comes_even_one_that_is_refused(folder: Path) -> None:
    expect(folder, hours_ago(2))
    assert [(one["last_at"], one["lines"], one["count"]) for one in missing()] == [(None, None, 3)]
    drop(folder, "liste.csv", data=b"%PDF-1.7")
    scan()
    assert missing() == []
    scan_to_the_end()
    assert (missing(), rows("SELECT refused IS NOT NULL OR put_away_at IS NOT NULL FROM inbox_file")) == ([], [(True,)])


def test_it_ends_when_none_is_expected_or_the_inbox_is_paused(folder: Path) -> None:
    expect(folder, hours_ago(2))
    expect(folder, hours_ago(2), paused=True)
    assert missing() == []
    put(folder, expected=hours_ago(2))  # it goes on, and what was missing meanwhile is not told
    assert missing() == []
    expect(folder, hours_ago(2))
    assert len(missing()) == 1
    put(folder)
    assert (missing(), rows("SELECT expected, expected_since FROM inbox")) == ([], [(None, None)])


def test_the_same_times_said_again_silence_nothing(folder: Path) -> None:
    expect(folder, "0 6 * * *")
    before = rows("SELECT expected_since FROM inbox")
    put(folder, expected=" 0  6 * * * ", report_locale="en")
    assert rows("SELECT expected_since FROM inbox") == before
    put(folder, expected="0 7 * * *")
    assert rows("SELECT expected_since > now() - interval '1 minute' FROM inbox") == [(True,)]


def test_its_grace_is_waited_for(folder: Path) -> None:
    expect(folder, hours_ago(2), grace_seconds=86_400 * 7)
    assert missing() == []
    change("UPDATE inbox SET grace_seconds = 3600")
    assert len(missing()) == 1


@pytest.mark.parametrize("cron", ["0 6 * *", "0 25 * * *", "0 6 31 2 *", "x" * 100])
def test_times_that_cannot_be_read_are_refused_with_a_code(folder: Path, cron: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        put(folder, expected=cron)
    assert [(one.code, one.field) for one in refused.value.problems] == [("invalid_cron", "expected")]
    assert rows("SELECT expected FROM inbox") == [(None,)]


def test_times_of_a_release_that_reads_more_hide_no_other_inbox(folder: Path) -> None:
    expect(folder, hours_ago(2))
    change(
        "INSERT INTO inbox (id, portal_id, reference, contract, url, policy, notify, report_locale, full_sync,"
        " expected, expected_since) SELECT gen_random_uuid(), portal_id, 'newer', 'C-9', url, policy, notify,"
        " report_locale, full_sync, '@sunrise', expected_since FROM inbox"
    )
    assert [one["subject"] for one in missing()] == ["rh"]


def test_a_contract_that_is_not_known_has_no_company(folder: Path) -> None:
    expect(folder, hours_ago(2), most_changed_percent=5)
    change("UPDATE inbox SET contract = 'C-404'")
    assert [(one["contract"], one["company"]) for one in missing()] == [("C-404", None)]


def test_the_snapshot_the_screen_and_the_metrics_tell_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expect(folder, hours_ago(2))
    status = read_snapshot()
    assert [(one["expected"], one["arrived_at"]) for one in status["inboxes"]] == [(hours_ago(2), None)]
    assert read_metrics(status)["matricule_files_missing", ()] == 1
    print_status(Console(width=200), status)
    told = " ".join(capsys.readouterr().out.split())
    assert "no file came to the inbox rh, contract C-1" in told
    assert "(3 missing); none has come before: ask its sender" in told


def test_a_file_that_came_while_the_clock_was_ahead_hides_no_later_one(folder: Path) -> None:
    expect(folder, hours_ago(2))
    ahead = "now() + interval '3 days'"
    change(
        f"UPDATE inbox SET arrived_at = {ahead} - interval '26 hours', expected_since = {ahead} - interval '60 hours'"
    )
    assert missing() == []
    with transaction() as session:
        put_times_right(session, 3 * 86_400)
    [problem] = missing()
    assert (problem["count"], 2 * 3600 <= problem["seconds"] < 2 * 3600 + 120) == (1, True)
