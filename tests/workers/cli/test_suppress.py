"""`matricule mail suppress` adds, removes and lists suppressed addresses; the operator is recorded, the
address is not.
"""

from datetime import timedelta

import pytest

from tests.kit.processes.support import rows
from tests.workers.cli.conftest import Call

ANNE = "anne@example.com"
LIST = "SELECT email_norm, reason, until FROM suppression"
AUDIT = "SELECT action, detail, requested_by LIKE 'shell:_%' FROM audit ORDER BY id"


@pytest.fixture(autouse=True)
def _database(fresh_database: str) -> None:
    """Gives each test its own database."""


def test_put_on_shown_and_taken_off(call: Call) -> None:
    put = call("mail", "suppress", " Anne@Example.COM", "--reason", "asked by phone")
    assert (put.code, put.out) == (0, "on the list: no mail is sent to it\n")
    assert rows(LIST) == [(ANNE, "ops", None)]
    again = call("mail", "suppress", ANNE, "--reason", "again")
    assert (again.code, "already" in again.out) == (0, True)

    shown = call("mail", "suppress", "--list")
    assert (shown.code, ANNE in shown.out, "lifted by hand" in shown.out) == (0, True, True)
    [listed] = call("mail", "suppress", "--list", "--json").json
    assert (listed["address"], listed["reason"], listed["until"]) == (ANNE, "ops", None)

    lifted = call("mail", "suppress", "--lift", ANNE)
    assert (lifted.code, lifted.out) == (0, "off the list: mails are sent to it again\n")
    twice = call("mail", "suppress", "--lift", ANNE)
    assert (twice.code, twice.err) == (1, "not on the list\n")
    assert rows(LIST) == []
    assert rows(AUDIT) == [("suppress", {"reason": "asked by phone"}, True), ("lift_suppression", None, True)]
    assert ANNE not in str(rows("SELECT CAST(a AS text) FROM audit a"))
    assert call("mail", "suppress", "--list", "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), 2),
        ((ANNE,), 2),
        (("--lift",), 2),
        (("--list", ANNE), 2),
        (("--lift", "--list"), 2),
        (("--lift", ANNE, "--reason", "x"), 2),
        (("--reason", "x"), 2),
        (("--list", "--reason", "x"), 2),
        ((ANNE, "--reason", "x", "--days", "0"), 2),
        ((ANNE, "--days", "7"), 2),
        (("--lift", ANNE, "--days", "7"), 2),
        (("--list", "--days", "7"), 2),
        ((ANNE, "--reason", "x", "--json"), 2),
        (("anne", "--reason", "x"), 65),
        (("--lift", "anne"), 65),
        ((ANNE, "--reason", "anne@example.com complained"), 65),
        ((ANNE, "--reason", "two\nlines"), 65),
        ((ANNE, "--reason", "x" * 1_000), 65),
        ((ANNE, "--reason", "  "), 65),
    ],
)
def test_wrong_arguments_change_nothing(call: Call, arguments: tuple[str, ...], code: int) -> None:
    assert call("mail", "suppress", *arguments).code == code
    assert (rows(LIST), rows(AUDIT)) == ([], [])


def test_for_some_days_only_which_shortens_nothing(call: Call) -> None:
    how_long = "SELECT reason, until - created_at FROM suppression"
    assert (
        call("mail", "suppress", ANNE, "--reason", "bounced", "--days", "7").out
        == "on the list: no mail is sent to it\n"
    )
    assert rows(how_long) == [("ops", timedelta(days=7))]
    assert "already" in call("mail", "suppress", ANNE, "--reason", "bounced", "--days", "3").out
    assert rows(how_long) == [("ops", timedelta(days=7))]
    call("mail", "suppress", ANNE, "--reason", "bounced", "--days", "9")
    assert rows(how_long) == [("ops", timedelta(days=9))]
    call("mail", "suppress", ANNE, "--reason", "asked to be left alone")
    assert rows(how_long) == [("ops", None)]
    assert "already" in call("mail", "suppress", ANNE, "--reason", "bounced", "--days", "9").out
    details = rows("SELECT detail ->> 'reason', detail ->> 'until' IS NULL FROM audit ORDER BY id")
    assert details == [("bounced", False), ("bounced", False), ("asked to be left alone", True)]


def test_bounces_that_arrive_as_mail_are_told_of(call: Call) -> None:
    assert "MAIL_BOUNCE_ADDRESS" in call("mail", "suppress", "--help").out


def test_a_bounced_address_shows_its_end(call: Call) -> None:
    rows("INSERT INTO suppression VALUES ('a@x.fr', 'hard_bounce', now(), '2999-05-04T10:00Z') RETURNING reason")
    shown = call("mail", "suppress", "--list").out
    assert "hard_bounce" in shown
    assert "2999-05-04 10:00 UTC" in shown
