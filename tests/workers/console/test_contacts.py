"""The page of contacts: masked, set by operators, audited without the address."""

from tests.kit.console.visiting import visiting
from tests.kit.processes.support import rows

CONTACTS = "SELECT contact FROM portal WHERE name = 'local'"


def test_an_operator_sets_a_contact_and_takes_it_away() -> None:
    with visiting("operator", "otto") as visit:
        answer = visit.post("/ops/contacts", portal="local", address="Ops@Acme.example")
        page = visit.get(answer.headers["location"]).text
        assert rows(CONTACTS) == [("ops@acme.example",)]
        assert ("is up to date" in page, "ops@acme" in page) == (True, False)
        wrong = visit.post("/ops/contacts", portal="local", address="a@b@c")
        empty = visit.post("/ops/contacts", portal="local", address="")
        unknown = visit.post("/ops/contacts", portal="<b>nowhere", address="a@acme.example")
        for refused in (wrong, empty, unknown):
            assert (refused.status_code, "Nothing was changed" in refused.text) == (422, True)
        assert "is up to date" not in visit.get("/ops/contacts?changed=Call+0900").text
        assert rows(CONTACTS) == [("ops@acme.example",)]
        [row] = [one for one in visit.get("/ops/contacts?format=json").json()["rows"] if one["portal"] == "local"]
        assert row["has_contact"] is True
        visit.post("/ops/contacts", portal="local", remove="yes")
    assert rows(CONTACTS) == [(None,)]
    assert rows("SELECT requested_by, detail FROM audit WHERE action = 'set_contact' ORDER BY id") == [
        ("ops:otto", {"contact": True}),
        ("ops:otto", {"contact": False}),
    ]


def test_a_reader_sees_contacts_and_sets_none() -> None:
    with visiting() as visit:
        page = visit.get("/ops/contacts").text
        assert ("local" in page, '<form class="fields"' in page) == (True, False)
        assert visit.post("/ops/contacts", portal="local", address="a@acme.example").status_code == 403
    assert rows(CONTACTS) == [(None,)]
