"""`matricule ops-user`: the users of the console are made and changed in a shell; it is audited."""

import pytest

from models.ops_user import Role
from tests.kit.console.visiting import PASSWORD
from tests.kit.processes.support import rows
from tests.workers.cli.conftest import Call

pytestmark = pytest.mark.usefixtures("fresh_database")


def add(call: Call, name: str, role: Role | str = Role.READER, *words: str) -> int:
    given = words or ("--password-stdin",)
    return call("ops-user", "add", name, "--role", role, *given, stdin=f"{PASSWORD}\n").code


def audited() -> list[tuple[object, ...]]:
    return rows("SELECT action, requested_by LIKE 'shell:%', detail->>'user', detail->>'role' FROM audit ORDER BY id")


def test_a_user_is_made_with_a_role_and_a_hash(call: Call) -> None:
    assert add(call, "anne", Role.OPERATOR) == 0
    assert rows("SELECT name, role, password_hash LIKE '$argon2id$%' FROM ops_user") == [("anne", "operator", True)]
    assert audited() == [("add_ops_user", True, "anne", "operator")]
    again = call("ops-user", "add", "anne", "--role", "admin", "--password-stdin", stdin=PASSWORD)
    assert (again.code, "there is such a user" in again.err) == (1, True)
    [user] = call("ops-user", "list", "--json").json
    assert (user["name"], user["role"], user["has_password"], user["sessions"]) == ("anne", "operator", True, 0)
    assert "anne" in call("ops-user", "list").out


@pytest.mark.parametrize("name", ["Anne", "a b", "-anne", "anne@example.fr", "", "a" * 64, "<b>", "anne\n"])
def test_a_name_that_cannot_be_used_is_refused(call: Call, name: str) -> None:
    assert call("ops-user", "add", "--role", "reader", "--no-password", "--", name).code == 65
    assert rows("SELECT 1 FROM ops_user") == []


@pytest.mark.parametrize(
    ("password", "words"),
    [
        ("", "fewer than"),
        ("short", "fewer than"),
        ("aaaaaaaaaaaaaaaaaaaa", "first that are guessed"),
        ("anne-anne-anne-anne", "first that are guessed"),
        ("x" * 300, "too long"),
        ("\n" + PASSWORD, "fewer than"),
    ],
)
def test_a_weak_password_is_refused(call: Call, password: str, words: str) -> None:
    refused = call("ops-user", "add", "anne", "--role", "reader", "--password-stdin", stdin=password)
    assert (refused.code, words in refused.err) == (65, True)
    assert rows("SELECT 1 FROM ops_user") == []


def test_a_role_must_be_known_and_a_password_given_or_left_out(call: Call) -> None:
    assert add(call, "anne", "owner") == 2
    assert call("ops-user", "add", "anne", "--role", "reader").code == 2
    assert add(call, "anne", Role.READER, "--password-stdin", "--no-password") == 2
    assert call("ops-user", "password", "anne").code == 2
    assert add(call, "anne", Role.READER, "--no-password") == 0
    assert rows("SELECT password_hash FROM ops_user") == [(None,)]


def test_a_user_is_changed_shut_out_and_deleted(call: Call) -> None:
    add(call, "anne")
    rows_before = "SELECT role, disabled_at IS NULL, password_hash FROM ops_user"
    [(_, _, before)] = rows(rows_before)
    assert call("ops-user", "role", "anne", "--role", "admin").code == 0
    assert call("ops-user", "password", "anne", "--password-stdin", stdin="une autre phrase assez longue").code == 0
    assert call("ops-user", "disable", "anne").code == 0
    [(role, let_in, hashed)] = rows(rows_before)
    assert (role, let_in, hashed != before) == ("admin", False, True)
    assert call("ops-user", "enable", "anne").code == 0
    assert call("ops-user", "sign-out", "anne").out == "0 ended\n"
    assert call("ops-user", "remove", "anne").code == 0
    assert [row[0] for row in audited()] == [
        *("add_ops_user", "change_ops_role", "change_ops_password", "disable_ops_user", "enable_ops_user"),
        "remove_ops_user",
    ]


@pytest.mark.parametrize("verb", ["disable", "enable", "remove", "sign-out"])
def test_an_unknown_user_is_refused(call: Call, verb: str) -> None:
    refused = call("ops-user", verb, "nora")
    assert (refused.code, "no such user" in refused.err) == (1, True)
    assert audited() == []
