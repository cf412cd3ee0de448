"""`matricule portal` creates portals, gives them keys that are shown once, and takes keys away."""

from typing import Any

import pytest

from models.portal_key import read_key_id
from models.words import Scope
from tests.kit.processes.support import forget, rows
from tests.workers.cli.conftest import Call, Called
from workers.cli.edge import end_of_crash
from workers.database import transaction
from workers.errors import NotConfigured
from workers.portals.keys import find_key
from workers.portals.secrets import queue_secret

KEYS = "SELECT key_id FROM portal_key ORDER BY id"
AUDIT = "SELECT action, detail FROM audit WHERE subject_id <> '00000000-0000-7000-8000-000000000001' ORDER BY id"


@pytest.fixture(autouse=True)
def _database(fresh_database: str) -> None:
    """Gives each test its own database."""


def create(call: Call, *arguments: str) -> dict[str, Any]:
    made = call("portal", "create", *arguments, "--json")
    assert made.code == 0, made.err
    shown: dict[str, Any] = made.json
    return shown


def known(key: str) -> Any:
    with transaction() as session:
        return find_key(session, key)


def listed(call: Call, name: str) -> dict[str, Any]:
    [found] = [portal for portal in call("portal", "list", "--json").json if portal["portal"] == name]
    return dict(found)


def test_a_created_portal_has_a_key_with_every_scope(call: Call) -> None:
    shown = create(call, "acme")
    assert (list(shown), shown["portal"]) == (["portal", "key", "key_id"], "acme")
    assert read_key_id(shown["key"]) == shown["key_id"]
    found = known(shown["key"])
    assert (found.portal, set(found.scopes), found.companies) == ("acme", set(Scope), None)
    assert (found.master_id, found.expires_at, found.requests_per_minute) == (None, None, 6_000)


def test_a_key_for_the_queue_comes_with_its_secret_and_its_user(call: Call, fresh_database: str) -> None:
    shown = create(call, "acme", "--queue")
    assert list(shown) == [
        *("portal", "key", "key_id"),
        *("queue_secret", "redis_user", "redis_password", "redis_acl"),
    ]
    assert shown["queue_secret"] == queue_secret("test", shown["key_id"])
    assert shown["redis_user"] == f"{fresh_database}-acme-{shown['key_id']}"
    assert shown["redis_password"] not in shown["redis_acl"]
    assert known(shown["key"]).master_id == "test"


def test_without_master_secrets_it_says_what_to_set(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_KEYS", "")
    forget()
    with pytest.raises(NotConfigured, match=r"PORTAL_KEYS is empty.*openssl rand -hex 32") as refused:
        call("portal", "create", "acme", "--queue", "--json")
    assert end_of_crash(refused.value) == 69
    assert (rows(KEYS), rows("SELECT name FROM portal")) == ([], [("local",)])
    create(call, "acme")


def test_a_key_has_the_rights_that_were_asked_for(call: Call) -> None:
    shown = create(call, "acme", "--scopes", "read, enroll", "--companies", "C-1,C-2", "--expires", "90d")
    found = known(shown["key"])
    assert (found.scopes, found.companies) == (["enroll", "read"], ["C-1", "C-2"])
    assert rows("SELECT expires_at > now() + interval '89 days', expires_at < now() + interval '91 days'"
                " FROM portal_key") == [(True, True)]  # fmt: skip


def test_a_portal_that_is_there_gets_a_further_key_and_keeps_its_name(call: Call) -> None:
    rows("INSERT INTO portal (id, name) VALUES (gen_random_uuid(), 'Old Portal') RETURNING id")
    for arguments in ((), ("--scopes", "read")):
        assert known(create(call, "Old Portal", *arguments)["key"]).portal == "Old Portal"
    assert rows("SELECT count(*) FROM portal WHERE name = 'Old Portal'") == [(1,)]
    assert len(listed(call, "Old Portal")["keys"]) == 2
    assert call("portal", "create", "Old Portal", "--queue").code == 65


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("Acme",), 65),
        (("-acme",), 2),
        (("a" * 33,), 65),
        (("a:b",), 65),
        (("",), 65),
        (("local",), 65),
        (("acme", "--scopes", "everything"), 2),
        (("acme", "--scopes", ","), 2),
        (("acme", "--companies", "with space"), 65),
        (("acme", "--expires", "2020-01-01"), 2),
        (("acme", "--expires", "soon"), 2),
        (("acme", "--expires", "999999d"), 2),
        (("acme", "--contact", "nobody"), 65),
        (("acme", "--apply"), 2),
    ],
)
def test_what_cannot_be_used_changes_nothing(call: Call, arguments: tuple[str, ...], code: int) -> None:
    assert call("portal", "create", *arguments, "--json").code == code
    assert (rows(KEYS), rows("SELECT name FROM portal"), rows(AUDIT)) == ([], [("local",)], [])


def test_a_rotated_key_has_the_same_rights_and_both_live(call: Call) -> None:
    first = create(call, "acme", "--queue", "--scopes", "read", "--companies", "C-1", "--expires", "9d")
    second = call("portal", "rotate", "acme", "--json").json
    assert list(second) == list(first)
    assert second["queue_secret"] != first["queue_secret"]
    old, new = known(first["key"]), known(second["key"])
    assert (new.scopes, new.companies, new.master_id) == (old.scopes, old.companies, old.master_id)
    assert (new.expires_at, old.expires_at is None) == (None, False)


def test_only_old_keys_with_the_same_rights_end_after_the_time_given(call: Call) -> None:
    narrow, first, second = (create(call, "acme", *said) for said in (("--scopes", "read"), (), ()))
    third = call("portal", "rotate", "acme", "--end-old", "7d", "--json").json
    ends = {key["key_id"]: key["expires_at"] for key in listed(call, "acme")["keys"]}
    assert ends[narrow["key_id"]] is ends[third["key_id"]] is None
    assert ends[first["key_id"]] == ends[second["key_id"]] is not None
    call("portal", "rotate", narrow["key_id"], "--end-old", "0min")
    assert known(narrow["key"]) is None
    states = [(key["scopes"], key["state"]) for key in listed(call, "acme")["keys"]]
    assert states.count((["read"], "live")) == 1


def test_the_end_of_an_old_key_is_never_put_off(call: Call) -> None:
    create(call, "acme", "--expires", "2d")
    call("portal", "rotate", "acme", "--end-old", "30d")
    [(sooner,)] = rows("SELECT expires_at < now() + interval '3 days' FROM portal_key ORDER BY id LIMIT 1")
    assert sooner


def test_without_a_living_key_there_is_nothing_to_rotate(call: Call) -> None:
    shown = create(call, "acme")
    call("portal", "revoke", "acme")
    for named in ("acme", shown["key_id"]):
        refused = call("portal", "rotate", named)
        assert (refused.code, "matricule portal create" in refused.err) == (1, True)
    assert call("portal", "rotate", "local").code == 1


def test_one_key_is_revoked_or_all_of_a_portal(call: Call) -> None:
    keys = [create(call, "acme") for _ in range(3)]
    other = create(call, "other")
    assert call("portal", "revoke", keys[1]["key_id"], "--json").json == {"revoked": [keys[1]["key_id"]]}
    assert [known(key["key"]) is None for key in keys] == [False, True, False]
    assert call("portal", "revoke", "acme").code == 0
    assert [known(key["key"]) is None for key in (*keys, other)] == [True, True, True, False]
    again = call("portal", "revoke", "acme")
    assert (again.code, "nothing was changed" in again.out) == (0, True)


@pytest.mark.parametrize(
    "command", [("rotate",), ("revoke",), ("limits", "--requests-per-minute", "5"), ("contact", "--address", "none")]
)
def test_an_unknown_portal_is_refused(call: Call, command: tuple[str, ...]) -> None:
    refused = call("portal", command[0], "nowhere", *command[1:])
    assert (refused.code, refused.json["code"]) == (65, "unknown_portal")


def test_limits_are_set_and_lifted(call: Call) -> None:
    key = create(call, "acme")["key"]
    for said, limit in (("12000", 12_000), ("none", None), ("1", 1)):
        assert call("portal", "limits", "acme", "--requests-per-minute", said).code == 0
        assert known(key).requests_per_minute == limit == listed(call, "acme")["requests_per_minute"]
    for wrong in ("0", "-1", "1.5", "1000001", "any", "²"):
        assert call("portal", "limits", "acme", "--requests-per-minute", wrong).code == 2
    assert known(key).requests_per_minute == 1


def test_a_contact_is_set_and_taken_away(call: Call) -> None:
    create(call, "acme")
    for said, kept in (
        ("Ops@Acme.example", "ops@acme.example"),
        ("none", None),
        ("it@acme.example", "it@acme.example"),
    ):
        assert call("portal", "contact", "acme", "--address", said).code == 0
        assert listed(call, "acme")["contact"] == kept
    assert call("portal", "contact", "acme", "--address", "a@b@c").code == 65
    assert listed(call, "acme")["contact"] == "it@acme.example"
    assert "@" not in str(rows("SELECT CAST(a AS text) FROM audit a"))


def test_nothing_secret_is_listed_kept_or_audited(call: Call) -> None:
    shown = create(call, "acme", "--queue", "--contact", "Ops@Acme.example")
    call("portal", "rotate", shown["key_id"], "--end-old", "1d")
    secrets = [shown["key"][13:], shown["queue_secret"], shown["redis_password"]]
    kept = [*rows("SELECT CAST(k AS text) FROM portal_key k"), *rows("SELECT CAST(a AS text) FROM audit a")]
    said = [call("portal", "list").out, call("portal", "list", "--json").out, call("portal", "acl").out, str(kept)]
    assert [secret for secret in secrets for text in said if secret in text] == []
    assert "@" not in str(rows("SELECT CAST(a AS text) FROM audit a"))
    assert listed(call, "acme")["contact"] == "ops@acme.example"


def test_each_change_is_audited_with_who_made_it(call: Call) -> None:
    key_id = create(call, "acme", "--scopes", "read")["key_id"]
    call("portal", "rotate", "acme", "--end-old", "1d")
    call("portal", "limits", "acme", "--requests-per-minute", "none")
    call("portal", "revoke", key_id)
    actions = [row[0] for row in rows(AUDIT)]
    assert actions == [
        *("create_portal", "create_portal_key", "end_portal_key", "create_portal_key"),
        *("limit_portal", "revoke_portal_key"),
    ]
    [detail] = [row[1] for row in rows(AUDIT) if row[0] == "revoke_portal_key"]
    assert detail == {"key_id": key_id}
    assert rows("SELECT DISTINCT requested_by LIKE 'shell:_%', portal_id = subject_id FROM audit") == [(True, True)]


def test_people_read_lines_and_are_told_to_keep_the_key(call: Call) -> None:
    made: Called = call("portal", "create", "acme", "--queue")
    assert (made.code, "mtr_" in made.out, "mqs_" in made.out) == (0, True, True)
    assert "cannot be shown again" in made.out
    assert "portal          acme" in made.out.splitlines()
    table = call("portal", "list").out.splitlines()
    assert " ".join(table[0].split()) == "portal a minute key state scopes companies queue last use ends"
    assert [line.split()[0] for line in table[1:]] == ["acme", "local"]
