"""`matricule drain`: an operator has a process take nothing new; it is named, audited and shown."""

from typing import Any

import pytest

from models.base import new_id
from tests.kit.builders.ledgers import owe
from tests.kit.processes.support import change, rows
from tests.workers.cli.conftest import Call
from workers.database import transaction
from workers.engine.ledger import JOBS

pytestmark = pytest.mark.usefixtures("fresh_database")

WHY = ("--reason", "a new release")
PROCESS = """
    INSERT INTO process (id, kind, host, pid, seen_at)
    VALUES (:id, :kind, :host, :pid, now() - CAST(:ago AS interval))"""


def process(kind: str, *, host: str = "host-1", pid: int = 4211, ago: str = "1 s") -> str:
    row_id = new_id()
    change(PROCESS, id=row_id, kind=kind, host=host, pid=pid, ago=ago)
    return str(row_id)


def draining() -> list[tuple[object, ...]]:
    return rows("SELECT pid FROM process WHERE drain_asked_at IS NOT NULL ORDER BY pid")


def audited() -> list[tuple[object, ...]]:
    return rows(
        "SELECT action, requested_by LIKE 'shell:%', detail->>'process', detail->>'reason' FROM audit ORDER BY id"
    )


def test_a_process_has_three_names(call: Call) -> None:
    row_id = process("emails emails_bulk")
    for name in (row_id, row_id[:13].upper(), "host-1:emails emails_bulk", "host-1:4211"):
        said = call("drain", name, *WHY)
        expected = f"host-1:emails emails_bulk (pid 4211, {row_id}): takes nothing new, and finishes what it holds\n"
        assert (said.code, said.out, draining()) == (0, expected, [(4211,)])
        assert call("drain", name, "--undo", *WHY).out.endswith(": takes work again\n")
        assert draining() == []
    assert audited() == [(action, True, row_id, WHY[1]) for action in ("drain_process", "undo_drain")] * 4


def test_several_of_one_name_are_refused_or_taken_together(call: Call) -> None:
    ids = [process("requests enrollments", pid=pid) for pid in (11, 12)]
    refused = call("drain", "host-1:requests enrollments", *WHY, "--json")
    assert (refused.code, refused.json["answer"], draining()) == (1, "ambiguous", [])
    assert sorted(one["id"] for one in refused.json["processes"]) == sorted(ids)
    assert all(f"(pid {pid}, " in refused.err for pid in (11, 12))
    assert call("drain", "host-1:requests enrollments", "--all", *WHY).code == 0
    assert (draining(), len(audited())) == ([(11,), (12,)], 2)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("host-1:clock",), "unknown_process"),
        (("host-1",), "unknown_process"),
        (("",), "unknown_process"),
        (("%",), "unknown_process"),
        (("' OR true --",), "unknown_process"),
        (("host-1:emails\udce9",), "unknown_process"),
        (("host-2:rosters",), "unknown_process"),
        (("host-1:emails", "--undo"), "not_drained"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_code(call: Call, words: tuple[str, ...], code: str) -> None:
    process("emails")
    process("rosters", host="host-2", ago="11 s")
    refused = call("drain", *words, "--json", *WHY)
    assert (refused.code, refused.json["answer"], bool(refused.err)) == (1, code, True)
    assert (draining(), audited()) == ([], [])


def test_a_reason_is_needed_and_undo_stands_alone(call: Call) -> None:
    process("emails")
    assert call("drain", "host-1:emails").code == 2
    assert call("drain", "host-1:emails", "--reason", "a@b.fr asked").code == 65
    for words in (("--stop",), ("--wait", "1")):
        assert call("drain", "host-1:emails", "--undo", *words, *WHY).code == 2
    assert audited() == []


def test_waiting_ends_when_it_is_drained_or_ended_or_too_long(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    row_id = process("emails")
    late = call("drain", row_id, "--wait", "0", "--json", *WHY)
    assert (late.code, late.json["answer"], "not drained within 0 s" in late.err) == (75, "drains", True)
    change("UPDATE process SET drained_at = now()")
    done = call("drain", row_id, "--wait", *WHY)
    assert (done.code, done.out) == (0, f"host-1:emails (pid 4211, {row_id}): is drained\n")
    ended = {"answer": "drained", "ended": [True]}

    def end(*_: Any) -> list[Any]:
        change("DELETE FROM process")
        return []

    monkeypatch.setattr("workers.cli.drain.read_drained", end)
    said = call("drain", row_id, "--stop", "--wait", "9", "--json", *WHY).json
    assert {"answer": said["answer"], "ended": [one["ended"] for one in said["processes"]]} == ended
    assert rows("SELECT detail->>'stop' FROM audit ORDER BY id") == [("false",), ("false",), ("true",)]


def test_a_drained_process_is_shown_and_is_no_problem(call: Call) -> None:
    for number, kind in enumerate(("rosters", "rosters", "clock")):
        process(kind, pid=number + 1)
    call("drain", "host-1:2", *WHY)
    status = call("status")
    assert f"drains, by {rows('SELECT drain_by FROM process WHERE pid = 2')[0][0]} ({WHY[1]})" in " ".join(
        status.out.split()
    )
    change("UPDATE process SET drained_at = now() WHERE pid = 2")
    found = call("status", "--json").json
    assert {one["pid"]: one["drained_at"] is not None for one in found["processes"]} == {1: False, 2: True, 3: False}
    assert ("rosters" in found["missing"], {one["subject"] for one in found["problems"]} & {"rosters"}) == (
        False,
        set(),
    )


def test_work_that_only_drained_processes_would_do_is_explained(call: Call) -> None:
    process("rosters")
    with transaction() as session:
        row_id = owe(session, JOBS, queue="rosters")
    call("drain", "host-1:rosters", *WHY)
    status = " ".join(call("status").out.split())
    assert "no process serves rosters: 1 waiting; start it, or matricule drain host-1:4211 --undo" in status
    why = call("why", row_id, "--json").json
    assert (why["code"], why["estimate_at"]) == ("drained", None)
    assert "matricule drain host-1:4211 --undo" in why["sentence"]
    process("rosters", pid=2)
    assert call("why", row_id, "--json").json["code"] == "in_turn"
    change("UPDATE process SET trouble = 'work_hangs' WHERE pid = 2")
    stuck = call("why", row_id, "--json").json
    assert (stuck["code"], "works no more (work_hangs)" in stuck["sentence"]) == ("stuck_process", True)
    change("UPDATE process SET trouble = 'NOPERM' WHERE pid = 2")
    assert call("why", row_id, "--json").json["code"] == "in_turn"
