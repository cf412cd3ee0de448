"""`matricule backup` and `restore`: a lost database comes back, work goes on, and what was known is not done twice."""

import os
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from models.base import new_id
from models.portal import LOCAL_PORTAL_ID
from tests.kit.actors.mailers import owe_invitations, states, wait_for_states
from tests.kit.builders.contracts import seats
from tests.kit.processes.support import PROJECT, Processes, change, forget, rows, wait_until
from tests.kit.relay.relay import Relay
from tests.kit.servers import Servers
from tests.workers.cli.conftest import Call
from tests.workers.cli.test_seed import ALL
from workers.database import transaction
from workers.documents.store import DocumentStore
from workers.errors import NotConfigured
from workers.ops import dumping, restoring
from workers.ops.restoring import COUNT_CONNECTED, SEQUENCE_LEAP

WHY = ("--reason", "the disk broke")
HELD = "SELECT count(*) FROM pg_namespace WHERE nspname = 'before_restore'"
WAIT = ("--wait", "30")


@pytest.fixture
def lose(servers: Servers, fresh_database: str) -> Callable[[], None]:
    """Returns a function that loses the database: an empty one has its name."""

    def drop() -> None:
        forget()
        servers.postgres.drop_database(fresh_database)
        servers.postgres.create_database(fresh_database)

    return drop


@pytest.fixture
def backup(fresh_database: str, call: Call, tmp_path: Path) -> Callable[[], Path]:
    """Returns a function that takes a backup."""

    def take() -> Path:
        file = tmp_path / f"{fresh_database}.tar"
        called = call("backup", file)
        assert (called.code, called.out) == (0, ""), called.err
        return file

    return take


def program(folder: Path, then: str) -> str:
    """Makes a program in the place of pg_dump and pg_restore, which reads a table of contents, or does as told."""
    path = folder / "program"
    path.write_text(f'#!/bin/sh\n[ "$1" = --list ] && exit 0\n{then}\n')
    path.chmod(0o755)
    return str(path)


def signalled(folder: Path, *words: object) -> int:
    """Runs a command that gets SIGTERM while it waits for a program of PostgreSQL; returns its exit code."""
    forget()  # this process must not be connected
    waiting = program(folder, "kill -TERM $PPID; read endless")
    start = f"from workers.ops import dumping; dumping.find_program = lambda *_: {waiting!r}"
    command = [sys.executable, "-c", f"{start}; import workers.cli.__main__", *map(str, words)]
    with subprocess.Popen(command, cwd=PROJECT, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        return running.wait()


def enrolment(call: Call, word: str) -> tuple[str, bool]:
    """Sends a request to enrol a person, under the person's own key; returns its state, and whether it is a repeat."""
    person = {"email": f"{word}@example.com", "first_name": "Zoé", "last_name": "Le Dû"}
    asked = {"contract": "C-1", "people": [person]}
    job = call("enqueue", "enroll", "--file", "-", "--key", word, *WAIT, stdin=asked).json
    return job["state"], job["repeated"]


def test_a_lost_database_comes_back_and_work_goes_on(
    call: Call, processes: Processes, backup: Callable[[], Path], lose: Callable[[], None]
) -> None:
    with Relay() as relay:

        def start(*queues: str) -> None:
            processes.worker(*queues, SMTP_URL=relay.url)

        call("seed", "-", stdin=ALL)
        start("enrollments")
        start("emails")
        assert enrolment(call, "anne") == ("succeeded", False)
        wait_for_states(processes, sent=1)
        processes.kill(processes.started[-1])
        assert enrolment(call, "bob") == ("succeeded", False)
        file = backup()  # bob's mail is owed
        start("emails")
        wait_for_states(processes, sent=2)
        assert enrolment(call, "carl") == ("succeeded", False)
        wait_for_states(processes, sent=3)
        processes.stop_all()
        lose()

        found = call("restore", file, *WHY, "--json").json
        assert (found["unfinished"], found["contracts"], found["drift"]) == ({"jobs": 0, "mails": 1}, 1, [])
        assert states() == {"sent": 1, "owed": 1}

        start("enrollments")
        start("emails")
        wait_for_states(processes, sent=2)
        assert [enrolment(call, word)[1] for word in ("anne", "bob", "carl")] == [True, True, False]
        wait_for_states(processes, sent=3)
        mails = {word: Counter(mail.id for mail in relay.to(f"{word}@example.com")) for word in ("anne", "bob", "carl")}
    assert [sorted(one.values()) for one in mails.values()] == [[1], [2], [1, 1]]
    with transaction() as session:
        assert seats(session) == 3
    status = call("status", "--seats", "--json").json
    assert (status["reconciled"]["contracts"], status["drift"]) == (0, [])


def test_the_audit_trail_says_who_took_and_restored_a_backup(
    call: Call, backup: Callable[[], Path], lose: Callable[[], None]
) -> None:
    owe_invitations("anne")
    file = backup()
    assert rows("SELECT action FROM audit WHERE action = 'back_up' AND requested_by LIKE 'shell:%'") == [("back_up",)]
    lose()
    said = call("restore", file, *WHY).out
    assert "the seats of 1 contracts add up" in said
    assert "mails owed: 1" in said
    [(detail,)] = rows("SELECT detail FROM audit WHERE action = 'restore' AND requested_by LIKE 'shell:%'")
    assert isinstance(detail, dict)
    assert (detail["reason"], detail["unfinished"]["mails"]) == ("the disk broke", 1)
    assert rows("SELECT action FROM audit WHERE action = 'back_up'") == []  # it was recorded after the dump


def test_documents_come_back_but_for_those_that_were_changed(
    call: Call,
    backup: Callable[[], Path],
    lose: Callable[[], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = DocumentStore(os.environ["CERTIFICATE_STORE"])
    good, bad = store.put(b"%PDF good"), store.put(b"a zip", ".zip")
    [damaged] = Path(os.environ["CERTIFICATE_STORE"]).glob(f"*/{bad}.zip")
    damaged.write_bytes(b"cut")
    file = backup()
    lose()
    monkeypatch.setenv("CERTIFICATE_STORE", str(tmp_path / "elsewhere"))
    forget()
    assert call("restore", file, *WHY, "--json").json["documents"] == {"put": 1, "damaged": 1}
    elsewhere = DocumentStore(str(tmp_path / "elsewhere"))
    assert (elsewhere.get(good), elsewhere.get(bad, ".zip")) == (b"%PDF good", None)


def test_events_are_numbered_higher_than_any_that_was_told(
    call: Call, backup: Callable[[], Path], lose: Callable[[], None]
) -> None:
    change("INSERT INTO resource_sequence VALUES (:portal, 'contract:1', 7)", portal=LOCAL_PORTAL_ID)
    file = backup()
    lose()
    assert call("restore", file, *WHY).code == 0
    assert rows("SELECT sequence FROM resource_sequence") == [(7 + SEQUENCE_LEAP,)]


def test_a_database_that_holds_something_is_replaced_only_when_told(call: Call, backup: Callable[[], Path]) -> None:
    owe_invitations("anne")
    file = backup()
    change("UPDATE contract SET planned_seats = 3")
    refused = call("restore", file, *WHY)
    assert (refused.code, "--replace" in refused.err) == (1, True)
    assert rows("SELECT planned_seats FROM contract") == [(3,)]
    change("CREATE TABLE later (id int)")
    assert call("restore", file, *WHY, "--replace").code == 0
    assert rows("SELECT planned_seats FROM contract") == [(1_000,)]
    assert rows("SELECT to_regclass('later')") == [(None,)]
    assert rows(HELD) == [(0,)]


def test_what_was_to_be_replaced_is_put_back_when_the_load_fails(
    call: Call, backup: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owe_invitations("anne")
    file = backup()
    change("UPDATE contract SET planned_seats = 3")
    monkeypatch.setattr(dumping, "find_program", lambda *_: program(tmp_path, "exit 1"))
    assert call("restore", file, *WHY, "--replace").code == 69
    assert rows("SELECT planned_seats FROM contract") == [(3,)]
    assert rows(HELD) == [(0,)]


def test_what_an_unfinished_restore_set_aside_is_not_lost(call: Call, backup: Callable[[], Path]) -> None:
    change("CREATE SCHEMA before_restore; CREATE TABLE before_restore.kept (id int)")
    file = backup()
    refused = call("restore", file, *WHY, "--replace")
    assert (refused.code, "before_restore" in refused.err) == (1, True)
    change("DROP SCHEMA before_restore CASCADE")
    assert call("restore", file, *WHY, "--replace").code == 0  # a backup does not hold what was set aside


def test_a_store_that_cannot_be_used_is_found_before_a_change(
    call: Call, backup: Callable[[], Path], lose: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = backup()
    lose()
    monkeypatch.setenv("CERTIFICATE_STORE", "nowhere://folder")
    forget()
    with pytest.raises(NotConfigured):
        call("restore", file, *WHY)
    assert rows("SELECT to_regclass('job')") == [(None,)]


def test_a_restore_that_stops_after_the_load_says_so(
    call: Call, backup: Callable[[], Path], lose: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DocumentStore(os.environ["CERTIFICATE_STORE"]).put(b"%PDF good")
    change("INSERT INTO resource_sequence VALUES (:portal, 'contract:1', 7)", portal=LOCAL_PORTAL_ID)
    file = backup()
    lose()
    (tmp_path / "no-folder").write_bytes(b"")
    monkeypatch.setenv("CERTIFICATE_STORE", str(tmp_path / "no-folder" / "documents"))
    forget()
    stopped = call("restore", file, *WHY)
    assert (stopped.code, stopped.err.startswith("loaded, not finished: ")) == (75, True)
    assert rows("SELECT sequence FROM resource_sequence") == [(7 + SEQUENCE_LEAP,)]
    assert rows("SELECT count(*) FROM audit WHERE action = 'restore'") == [(1,)]


def test_a_failure_after_the_load_keeps_what_was_to_be_replaced(
    call: Call, backup: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    owe_invitations("anne")
    file = backup()
    change("UPDATE contract SET planned_seats = 3")

    def time_out(*_: object) -> None:
        raise OperationalError("", {}, Exception("canceling statement due to statement timeout"))

    monkeypatch.setattr(restoring, "upgrade", time_out)
    stopped = call("restore", file, *WHY, "--replace")
    assert (stopped.code, "nothing was changed" in stopped.err) == (75, False)
    assert "before_restore" in stopped.err
    assert rows("SELECT planned_seats FROM before_restore.contract") == [(3,)]


def test_an_action_that_ran_at_the_backup_does_not_go_on(
    call: Call, backup: Callable[[], Path], lose: Callable[[], None]
) -> None:
    running, shown = new_id(), new_id()
    insert = """INSERT INTO ops_action (id, verb, state, expected, asked_by, due_at)
        VALUES (:id, 'retry', :state, 1, 'anne', CAST(:due_at AS timestamptz))"""
    change(insert, id=running, state="running", due_at="2026-11-30")
    change(insert, id=shown, state="shown", due_at=None)
    file = backup()
    lose()
    found = call("restore", file, *WHY, "--json").json
    assert found["stopped_actions"] == [str(running)]
    states_of = rows("SELECT id, state, note, due_at IS NULL FROM ops_action ORDER BY state")
    assert states_of == [(shown, "shown", "", True), (running, "stopped", "restored", True)]


def test_nothing_is_restored_under_a_running_process(
    call: Call, backup: Callable[[], Path], processes: Processes
) -> None:
    file = backup()
    processes.clock()
    wait_until(lambda: rows(f"{COUNT_CONNECTED}") != [(0,)])
    refused = call("restore", file, *WHY, "--replace")
    assert (refused.code, "Stop them first" in refused.err) == (1, True)


def test_a_backup_of_a_later_release_is_refused(call: Call, backup: Callable[[], Path]) -> None:
    change("UPDATE alembic_version SET version_num = '9999'")
    refused = call("restore", backup(), *WHY, "--replace")
    assert (refused.code, "later release" in refused.err) == (1, True)
    assert rows("SELECT version_num FROM alembic_version") == [("9999",)]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.97])
def test_a_file_that_was_cut_restores_nothing(
    call: Call, backup: Callable[[], Path], lose: Callable[[], None], share: float
) -> None:
    file = backup()
    lose()
    with tarfile.open(file) as archive:
        end = archive.getmember("end.json").offset
    os.truncate(file, int(end * share))
    refused = call("restore", file, *WHY)
    assert (refused.code, "no whole backup" in refused.err) == (65, True)
    assert rows("SELECT count(*) FROM pg_class WHERE relname = 'job'") == [(0,)]


def test_a_dump_that_was_changed_restores_nothing(
    call: Call, backup: Callable[[], Path], lose: Callable[[], None]
) -> None:
    file = backup()
    lose()
    with tarfile.open(file) as archive:
        place = archive.getmember("database.dump").offset_data + 5_000
    with file.open("r+b") as changed:
        changed.seek(place)
        changed.write(b"?" * 40)
    assert call("restore", file, *WHY).code == 65
    assert rows("SELECT count(*) FROM pg_class WHERE relname = 'job'") == [(0,)]


@pytest.mark.usefixtures("fresh_database")
def test_a_backup_is_private_and_writes_over_nothing(call: Call, tmp_path: Path) -> None:
    file = tmp_path / "copy.tar"
    assert call("backup", file).code == 0
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    assert call("backup", file).code == 65
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.usefixtures("fresh_database")
def test_a_backup_may_go_to_standard_output(tmp_path: Path) -> None:
    file = tmp_path / "piped.tar"
    with file.open("wb") as output:
        command = [sys.executable, "-m", "workers.cli", "backup", "-"]
        subprocess.run(command, cwd=PROJECT, stdout=output, stderr=subprocess.PIPE, check=True)
    with tarfile.open(file) as archive:
        assert archive.getnames() == ["backup.json", "database.dump", "end.json"]


@pytest.mark.usefixtures("fresh_database")
def test_a_backup_that_is_told_to_stop_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    assert signalled(tmp_path, "backup", folder / "copy.tar") == 143
    assert list(folder.iterdir()) == []


def test_a_restore_that_is_told_to_stop_leaves_what_was_there(backup: Callable[[], Path], tmp_path: Path) -> None:
    owe_invitations("anne")
    file = backup()
    change("UPDATE contract SET planned_seats = 3")
    folder = tmp_path / "backups"
    folder.mkdir()
    copy = file.rename(folder / "copy.tar")
    assert signalled(tmp_path, "restore", copy, *WHY, "--replace") == 143
    assert list(folder.iterdir()) == [copy]
    assert rows("SELECT planned_seats FROM contract") == [(3,)]
    assert rows(HELD) == [(0,)]


@pytest.mark.usefixtures("fresh_database")
def test_a_dump_that_fails_leaves_no_file(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dumping, "find_program", lambda *_: "/bin/false")
    assert call("backup", tmp_path / "copy.tar").code == 69
    assert list(tmp_path.iterdir()) == []


def test_a_program_of_the_server_or_newer_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = {}
    for version in ("15.18", "17.2", "18.0"):
        programs[version] = tmp_path / version
        programs[version].write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")
        programs[version].chmod(0o755)
    monkeypatch.setattr(dumping, "_places", lambda _: map(str, programs.values()))
    assert dumping.find_program("pg_dump", 16) == str(programs["17.2"])
    with pytest.raises(NotConfigured, match=r"pg_dump 19 or newer must be on the PATH.*15\.18 15"):
        dumping.find_program("pg_dump", 19)
