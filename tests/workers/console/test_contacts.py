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
        unknown = visit.post("/ops/contacts", portal="<b>nowhere", address="a@acme.example")
        assert [(one.status_code, "Nothing was changed" in one.text) for one in (wrong, unknown)] == [(422, True)] * 2
        assert rows(CONTACTS) == [("ops@acme.example",)]
        [row] = [one for one in visit.get("/ops/contacts?format=json").json()["rows"] if one["portal"] == "local"]
        assert row["has_contact"] is True
        visit.post("/ops/contacts", portal="local", address="")
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
