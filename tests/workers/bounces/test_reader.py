"""The reader of a Maildir: what it records, what it keeps, and that nothing counts twice when it is killed."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from models.base import new_id
from tests.kit.actors.mailers import many_names, owe_invitations
from tests.kit.builders.bounces import (
    TEMPLATE,
    all_sent,
    drop,
    make_maildir,
    report_about,
    return_addresses,
)
from tests.kit.processes.support import PROJECT, Processes, change, forget, rows, wait_until
from workers.bounces import maildir as maildirs
from workers.bounces import reader as readers
from workers.bounces.maildir import KEPT_SECONDS, Maildir
from workers.bounces.reader import BUNDLE, ArrivedReport, BounceReader
from workers.bounces.recording import RecordedReport

pytestmark = pytest.mark.usefixtures("fresh_database")


@pytest.fixture
def folder(fresh_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAIL_RETURN_ADDRESS", TEMPLATE)
    monkeypatch.setenv("BOUNCE_MAILDIR", str(tmp_path / "rebonds"))
    forget()
    return make_maildir(tmp_path / "rebonds")


def reader(folder: Path) -> BounceReader:
    return BounceReader(Maildir(folder), return_addresses())


def read(folder: Path) -> dict[str, int]:
    return dict(reader(folder).read_all())


def sent_to(number: int) -> list[tuple[str, str]]:
    """The return address and the address of so many mails that were sent."""
    owe_invitations(*many_names(number))
    return [(return_addresses().of(mail_id), address) for mail_id, address in all_sent()]


def states() -> dict[str, int]:
    return {str(state): int(str(number)) for state, number in rows(
        "SELECT state, count(*) FROM email WHERE kind = 'invitation' GROUP BY state"
    )}  # fmt: skip


def files(folder: Path) -> tuple[list[str], list[str]]:
    return sorted(os.listdir(folder / "new")), sorted(os.listdir(folder / "cur"))


def test_a_report_is_recorded_and_its_file_deleted(folder: Path) -> None:
    [(to, address)] = sent_to(1)
    drop(folder, "1.a", report_about(to, address))
    assert read(folder) == {"bounced": 1}
    assert states() == {"bounced": 1}
    assert files(folder) == ([], [])
    drop(folder, "2.a", report_about(to, address))  # replayed
    assert read(folder) == {"nothing": 1}


FORGED: dict[str, Callable[[str, str], bytes]] = {
    "without a return address": lambda to, address: report_about("rebonds@formation.test", address),
    "with another tag": lambda to, address: report_about(to.replace(to[20:44], "a" * 24), address),
    "of another domain": lambda to, address: report_about(to.replace("@formation", "@formations"), address),
    "about a mail that is not ours": lambda to, address: report_about(return_addresses().of(new_id()), address),
    "of a stranger": lambda to, address: b"Subject: hello\n\nhello\n",
    "empty": lambda to, address: b"",
}


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_report_changes_nothing(folder: Path, how: str) -> None:
    [(to, address)] = sent_to(1)
    drop(folder, "1.a", FORGED[how](to, address))
    read(folder)
    assert states() == {"sent": 1}
    assert rows("SELECT 1 FROM suppression") == []
    assert files(folder)[0] == []


def test_what_is_no_report_of_ours_is_kept_for_a_week(folder: Path) -> None:
    drop(folder, "1.a", b"Subject: hello\n\nhello\n")
    assert read(folder) == {"foreign": 1}
    assert files(folder) == ([], ["1.a:2,S"])
    box = Maildir(folder)
    assert box.drop_old() == 0
    old = time.time() - KEPT_SECONDS - 1
    os.utime(folder / "cur" / "1.a:2,S", (old, old))
    (folder / "cur" / "2.a:2,").write_text("of another program")
    os.utime(folder / "cur" / "2.a:2,", (old, old))
    assert box.drop_old() == 1
    assert files(folder)[1] == ["2.a:2,"]


def test_a_link_in_the_folder_is_not_followed(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    (folder / "new" / "1.a").symlink_to(secret)
    os.mkfifo(folder / "new" / "2.a")
    assert read(folder) == {}
    assert secret.read_text() == "secret"
    assert maildirs.read_beginning(folder / "new" / "2.a") is None


def test_a_report_that_overtakes_its_mailer_waits(folder: Path) -> None:
    [(to, address)] = sent_to(1)
    change("UPDATE email SET state = 'sending', finished_at = NULL, leased_until = now() + interval '1 minute'")
    drop(folder, "1.a", report_about(to, address))
    assert read(folder) == {"too_early": 1}
    assert files(folder)[0] == ["1.a"]
    all_sent()
    assert read(folder) == {"bounced": 1}


def test_a_kill_between_the_commit_and_the_deletion_counts_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mails = sent_to(3)
    for number, (to, address) in enumerate(mails):
        drop(folder, f"{number}.a", report_about(to, address))
    with monkeypatch.context() as killed:
        killed.setattr(Maildir, "delete", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            read(folder)
    before = rows("SELECT id, returned_at FROM email ORDER BY id")
    assert read(folder) == {"nothing": 3}
    assert rows("SELECT id, returned_at FROM email ORDER BY id") == before
    assert files(folder) == ([], [])


def test_one_report_that_cannot_be_recorded_stops_no_other(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mails = sent_to(5)
    for number, (to, address) in enumerate(mails):
        drop(folder, f"{number}.a", report_about(to, address))
    commit, broken = readers._commit, mails[2][0]

    def fails(bundle: list[ArrivedReport]) -> list[RecordedReport]:
        if any(return_addresses().of(one.mail_id) == broken for one in bundle):
            raise ValueError("a bug")
        return commit(bundle)

    monkeypatch.setattr(readers, "_commit", fails)
    assert read(folder) == {"bounced": 4, "not_recorded": 1}
    assert files(folder) == ([], ["2.a:2,S"])


def test_many_reports_are_recorded_in_bundles(folder: Path) -> None:
    for number, (to, address) in enumerate(sent_to(2 * BUNDLE + 1)):
        drop(folder, f"{number}.a", report_about(to, address))
    assert read(folder) == {"bounced": 2 * BUNDLE + 1}
    assert rows("SELECT count(*) FROM suppression") == [(2 * BUNDLE + 1,)]


def test_nothing_of_the_original_is_kept_or_logged(folder: Path, processes: Processes) -> None:
    [(to, address)] = sent_to(1)
    secret = b"https://formation.test/links/SECRET"
    raw = report_about(to, address, words=f"550 5.1.1 user {secret.decode()} unknown")
    drop(folder, "1.a", raw + secret)
    process = processes.start("workers.cli", "bounces")
    wait_until(lambda: rows("SELECT 1 FROM process WHERE kind = 'bounces'"), seconds=60, say=processes.logs)
    wait_until(lambda: states() == {"bounced": 1}, seconds=10, say=processes.logs)
    process.terminate()
    assert process.wait(10) == 0
    assert "SECRET" not in str(rows("SELECT * FROM email"))
    assert "SECRET" not in processes.logs()
    assert address not in processes.logs()
    assert rows("SELECT 1 FROM process WHERE kind = 'bounces'") == []


def test_a_reader_that_is_drained_leaves_what_arrives(folder: Path, processes: Processes) -> None:
    process = processes.start("workers.cli", "bounces")
    wait_until(lambda: rows("SELECT 1 FROM process WHERE kind = 'bounces'"), seconds=60, say=processes.logs)
    change("UPDATE process SET drain_asked_at = now()")
    wait_until(lambda: rows("SELECT 1 FROM process WHERE drained_at IS NOT NULL"), say=processes.logs)
    [(to, address)] = sent_to(1)
    drop(folder, "1.a", report_about(to, address))
    [[dropped]] = rows("SELECT now()")
    beyond_a_look = "SELECT 1 FROM process WHERE seen_at > CAST(:dropped AS timestamptz) + interval '5 s'"
    wait_until(lambda: rows(beyond_a_look, dropped=dropped), say=processes.logs)
    assert states() == {"sent": 1}
    change("UPDATE process SET drain_asked_at = NULL, drained_at = NULL")
    wait_until(lambda: states() == {"bounced": 1}, say=processes.logs)
    process.terminate()
    assert process.wait(10) == 0


def test_the_process_waits_for_its_folder(folder: Path, processes: Processes) -> None:
    process = processes.start("workers.cli", "bounces", BOUNCE_MAILDIR=str(folder / "later"))
    wait_until(lambda: "bounces.wait" in processes.logs(), say=processes.logs)
    assert process.poll() is None
    process.terminate()
    assert process.wait(10) == 0


def test_a_process_without_settings_waits_for_its_signal(processes: Processes) -> None:
    process = processes.start("workers.cli", "bounces", MAIL_RETURN_ADDRESS="", BOUNCE_MAILDIR="")
    wait_until(lambda: "process.started" in processes.logs(), say=processes.logs)
    process.terminate()
    assert process.wait(10) == 0


def piped(raw: bytes) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli", "bounces", "read", "-"], input=raw, capture_output=True, cwd=PROJECT,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.decode()


def test_a_mail_server_pipes_a_report_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [(to, address)] = sent_to(1)
    raw = report_about(to, address)
    change("UPDATE email SET state = 'sending', finished_at = NULL, leased_until = now() + interval '1 minute'")
    assert piped(raw)[0] == 75  # the server tries again
    all_sent()
    assert piped(raw) == (0, "bounced\n")
    assert piped(raw) == (0, "nothing\n")
    assert piped(b"Subject: hello\n\n") == (0, "no report about a mail of ours\n")
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:9/none")
    assert piped(raw)[0] == 75


def test_a_maildir_is_read_once_by_a_command(folder: Path) -> None:
    [(to, address)] = sent_to(1)
    drop(folder, "1.a", report_about(to, address))
    drop(folder, "2.a", b"x")
    done = subprocess.run(
        [sys.executable, "-m", "workers.cli", "bounces", "read", str(folder)], capture_output=True, cwd=PROJECT,
        check=True,
    )  # fmt: skip
    assert done.stdout == b"1 bounced, 1 foreign\n"
    assert states() == {"bounced": 1}


def test_a_dry_run_tells_what_each_file_is(folder: Path) -> None:
    drop(folder, "1.a", report_about("rebonds@x.fr", "anne@client.fr"))
    drop(folder, "2.a", b"\xff\x00")
    command = [sys.executable, "-m", "workers.cli", "bounces", "read", str(folder), "--dry-run", "--json"]
    done = subprocess.run(command, capture_output=True, cwd=PROJECT, check=True)
    assert json.loads(done.stdout) == [
        {"file": "new/1.a", "recipient": "anne@client.fr", "kind": "hard", "status": "5.1.1"},
        {"file": "new/2.a", "recipient": "", "kind": "other", "status": ""},
    ]
    assert files(folder)[0] == ["1.a", "2.a"]
