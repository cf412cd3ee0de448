"""The pages on mails: lists, one mail with the relay's words, its text without its token, its address."""

import re

import pytest

from models.base import new_id
from tests.kit.console.scene import HOSTILE, make_scene, suppress_zoe
from tests.kit.console.visiting import Visit, visiting
from tests.kit.processes.support import change, rows
from workers.database import transaction
from workers.reading.mail_preview import preview_mail

FRAME = {"Sec-Fetch-Dest": "iframe", "Sec-Fetch-Site": "same-origin"}


def ids(visit: Visit, path: str) -> list[str]:
    """Returns the identifiers of a table, as its JSON has them."""
    answer = visit.get(path + ("&" if "?" in path else "?") + "format=json")
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["rows"]]


def test_mails_are_listed_by_address_state_kind_and_contract() -> None:
    scene = make_scene()
    zoe, paul = str(scene.mail), str(scene.failed_mail)
    with visiting() as visit:
        for path, wanted in {
            "/ops/mails": {zoe, paul},
            "/ops/mails?state=failed": {paul},
            "/ops/mails?to=zoe@example.com": {zoe},
            "/ops/mails?to=ZOE@Example.com": {zoe},
            "/ops/mails?to=paul@example.com": {paul},
            "/ops/mails?kind=invitation": {zoe, paul},
            "/ops/mails?contract=C-1": {zoe, paul},
            "/ops/mails?contract=C-2": set(),
            "/ops/mails?queue=emails_bulk": set(),
        }.items():
            assert set(ids(visit, path)) == wanted, path
        [[trouble]] = rows("SELECT trouble FROM email WHERE trouble IS NOT NULL")
        found = visit.get("/ops/mails", params={"trouble": str(trouble), "format": "json"}).json()["rows"]
        assert [row["id"] for row in found] == [paul]


def test_a_beginning_of_an_address_is_for_those_who_may_see_it() -> None:
    scene = make_scene()
    with visiting("support") as visit:
        assert ids(visit, "/ops/mails?to=pau*") == [str(scene.failed_mail)]
        assert ids(visit, "/ops/mails?to=zoe*&state=failed") == []
    with visiting("reader", "rita") as visit:
        for form in ("", "&format=json", "&format=csv"):
            answer = visit.get(f"/ops/mails?to=pau*{form}")
            assert (answer.status_code, str(scene.failed_mail) in answer.text) == (403, False)


@pytest.mark.parametrize("to", ["ab*", "no address", "a@b@c"])
def test_what_is_no_address_is_refused(to: str) -> None:
    with visiting("support") as visit:
        answer = visit.get("/ops/mails", params={"to": to})
        assert (answer.status_code, "cannot be read" in answer.text) == (400, True)


def test_a_beginning_is_no_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = make_scene()
    change("UPDATE email SET to_address = 'x_y%z@example.com' WHERE id = :id", id=scene.failed_mail)
    monkeypatch.setattr("workers.ops.mail_list.PAGE", 1)
    with visiting("support") as visit:
        assert ids(visit, "/ops/mails?to=xay*") == ids(visit, "/ops/mails?to=%25%25%25*") == []
        assert ids(visit, "/ops/mails?to=x_y%25*") == [str(scene.failed_mail)]
        [first] = ids(visit, "/ops/mails")
        assert ids(visit, f"/ops/mails?after={first}") == [str(min(scene.mail, scene.failed_mail))]


def test_a_mail_shows_the_words_of_the_relay_without_an_address() -> None:
    scene = make_scene()
    with visiting() as visit:
        page = visit.get(f"/ops/mails/{scene.failed_mail}").text
    assert "550 5.1.1" in page
    assert "paul@example.com" not in page
    assert f"/ops/jobs/{scene.done}" in page


def test_the_text_has_no_token_and_reading_it_is_audited() -> None:
    scene = make_scene()
    with visiting("support", "sam") as visit:
        page = visit.get(f"/ops/mails/{scene.mail}?preview=1")
        html = visit.get(f"/ops/mails/{scene.mail}/text", headers=FRAME)
        refreshed = visit.get(f"/ops/mails/{scene.mail}?preview=1", headers={"X-Live": "1"})
    assert "<iframe" not in refreshed.text
    assert "Votre formation vous attend" in html.text
    assert "/links/token-not-shown" in page.text
    for text in (page.text, html.text):
        assert re.search(r"/links/[A-Za-z0-9_-]{20,}", text) is None
    read = rows("SELECT requested_by, subject_id, detail->>'part' FROM audit WHERE action = 'show_mail' ORDER BY id")
    assert read == [("ops:sam", scene.mail, "page"), ("ops:sam", scene.mail, "frame")]


def test_the_frame_of_a_mail_runs_and_loads_nothing() -> None:
    scene = make_scene()
    with visiting("support") as visit:
        page = visit.get(f"/ops/mails/{scene.mail}?preview=1")
        html = visit.get(f"/ops/mails/{scene.mail}/text", headers=FRAME)
        policy = html.headers["content-security-policy"]
        assert policy.startswith("sandbox; default-src 'none'")
        assert "frame-ancestors 'self'" in policy
        assert "script-src" not in policy
        assert re.search(r"<iframe [^>]*\bsandbox title=", page.text)
        assert "frame-src 'self'" in page.headers["content-security-policy"]
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        for headers in ({}, FRAME | {"Sec-Fetch-Site": "cross-site"}, FRAME | {"Sec-Fetch-Dest": "document"}):
            assert visit.get(f"/ops/mails/{scene.mail}/text", headers=headers).status_code == 404


def test_a_hostile_name_in_a_mail_is_only_text() -> None:
    scene = make_scene()
    change("UPDATE account SET first_name = :name", name=HOSTILE)
    shown = preview_mail(scene.mail)
    assert shown is not None
    assert "<script>" not in shown.html
    with visiting("support") as visit:
        assert HOSTILE not in visit.get(f"/ops/mails/{scene.mail}?preview=1").text


def test_a_preview_records_nothing_and_one_that_cannot_be_says_so() -> None:
    scene = make_scene()
    before = rows("SELECT count(*), max(expires_at) FROM link")
    assert preview_mail(scene.mail) is not None
    assert rows("SELECT count(*), max(expires_at) FROM link") == before
    change("UPDATE email SET to_address = '' WHERE id = :id", id=scene.mail)
    assert preview_mail(scene.mail) is None
    assert preview_mail(new_id()) is None
    with visiting("support") as visit:
        assert "would not be sent now" in visit.get(f"/ops/mails/{scene.mail}?preview=1").text


def test_a_reader_reads_no_mail_and_sends_none() -> None:
    scene = make_scene()
    with visiting() as visit:
        assert "<iframe" not in visit.get(f"/ops/mails/{scene.mail}?preview=1").text
        assert visit.get(f"/ops/mails/{scene.mail}/text", headers=FRAME).status_code == 403
        for path in ("send-again", "lift", "act"):
            assert visit.post(f"/ops/mails/{scene.failed_mail}/{path}", verb="retry").status_code == 403
    assert rows("SELECT count(*) FROM audit WHERE action IN ('show_mail', 'retry')") == [(0,)]


def test_support_sends_a_mail_again_and_nothing_more() -> None:
    scene = make_scene()
    with visiting("support", "sam") as visit:
        answer = visit.post(f"/ops/mails/{scene.failed_mail}/send-again")
        assert answer.headers["location"].endswith("acted=retry&outcome=done")
        assert visit.post(f"/ops/mails/{scene.mail}/act", verb="cancel").status_code == 403
        assert visit.post(f"/ops/mails/{scene.dead[0]}/send-again").status_code == 404
    assert rows("SELECT state FROM email WHERE id = :id", id=scene.failed_mail) == [("owed",)]
    assert rows("SELECT requested_by FROM audit WHERE action = 'retry'") == [("ops:sam",)]


def test_a_suppression_is_lifted_and_only_once() -> None:
    scene = make_scene()
    with transaction() as session:
        suppress_zoe(session)
    with visiting("support", "sam") as visit:
        assert "Suppressed address" in visit.get(f"/ops/mails/{scene.mail}").text
        first = visit.post(f"/ops/mails/{scene.mail}/lift").headers["location"]
        second = visit.post(f"/ops/mails/{scene.mail}/lift").headers["location"]
        assert "gets mails again" in visit.get(first).text
        assert "nothing was changed" in visit.get(second).text
    assert rows("SELECT count(*) FROM suppression") == [(0,)]
    assert rows("SELECT requested_by FROM audit WHERE action = 'lift_suppression'") == [("ops:sam",)]


def test_an_operator_dismisses_and_cancels_mails() -> None:
    scene = make_scene()
    with visiting("operator") as visit:
        visit.post(f"/ops/mails/{scene.failed_mail}/act", verb="dismiss")
        visit.post(f"/ops/mails/{scene.mail}/act", verb="cancel")
        assert "dismissed" in visit.get(f"/ops/mails/{scene.failed_mail}").text
    found = rows("SELECT state, dismissed_at IS NOT NULL FROM email ORDER BY id")
    assert sorted(found) == [("cancelled", False), ("failed", True)]
