"""Signing in to the console: closed until a user is made, the same answer for unknown names, sessions that end."""

import io
from typing import Any

import httpx
import pytest

from models.ops_user import Role
from models.password import FREE_TRIES
from tests.kit.console.visiting import PASSWORD, SAME_ORIGIN, Visit, console, make_user, visiting
from tests.kit.processes.support import change, forget, rows
from workers.access.passwords import hash_password
from workers.console.app import warn_if_open
from workers.database import transaction
from workers.ops.users import set_disabled, set_password, set_role, sign_out
from workers.settings import get_settings

SECRET = "a" * 40


def by_proxy(name: str, secret: str = SECRET) -> dict[str, str]:
    return {"X-Ops-User": name, "X-Ops-Proxy-Secret": secret}


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_PROXY_SECRET", SECRET)
    forget()


def test_the_console_is_closed_until_a_user_is_made() -> None:
    with console() as client:
        answer = client.get("/ops", follow_redirects=True)
        assert "matricule ops-user add" in answer.text
        assert "password" not in answer.text.replace("--password-stdin", "")
        assert Visit(client).sign_in("anne").status_code == 401


def test_a_session_begins_with_the_right_password_and_ends_when_asked() -> None:
    make_user("anne")
    with console() as client:
        visit = Visit(client)
        assert client.get("/ops/queues?x=1").headers["location"] == "/ops/sign-in?next=%2Fops%2Fqueues%3Fx%3D1"
        answer = visit.sign_in("anne", following="/ops/queues?x=1")
        assert (answer.status_code, answer.headers["location"]) == (303, "/ops/queues?x=1")
        cookie = answer.headers["set-cookie"].lower()
        assert all(part in cookie for part in ("httponly", "samesite=strict", "path=/"))
        assert client.get("/ops").status_code == 200
        assert visit.post("/ops/sign-out").headers["location"] == "/ops/sign-in"
        assert client.get("/ops").status_code == 303
    assert rows("SELECT count(*) FROM ops_session") == [(0,)]
    assert rows("SELECT action, requested_by FROM audit WHERE action LIKE '%sign%' ORDER BY id") == [
        ("sign_in_ops", "ops:anne"),
        ("sign_out_ops", "ops:anne"),
    ]


@pytest.mark.parametrize(
    "elsewhere",
    ["https://evil.example/", "//evil.example/ops", "/ops//evil.example", "/opsx", "/ops\\x", "javascript:1"],
)
def test_the_sign_in_leads_to_no_other_place(elsewhere: str) -> None:
    make_user("anne")
    with console() as client:
        assert Visit(client).sign_in("anne", following=elsewhere).headers["location"] == "/ops"


def test_an_unknown_name_is_answered_as_a_wrong_password() -> None:
    make_user("anne")
    with console() as client:
        visit = Visit(client)
        known, unknown = (visit.sign_in(name, "wrong wrong wrong wrong") for name in ("anne", "nora"))
        assert (known.status_code, unknown.status_code) == (401, 401)
        assert known.text.replace("anne", "NAME") == unknown.text.replace("nora", "NAME")
        hostile = visit.sign_in(
            "\N{COMBINING ACUTE ACCENT}" * 5_000, "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")
        )
        assert hostile.status_code == 401


def test_a_name_and_an_address_are_locked_out_known_or_not() -> None:
    make_user("anne")
    for name in ("anne", "nora"):
        change("DELETE FROM sign_in")
        with console() as client:
            visit = Visit(client)
            answers = [visit.sign_in(name, f"wrong password {number}") for number in range(FREE_TRIES + 1)]
            assert [answer.status_code for answer in answers] == [401] * FREE_TRIES + [429]
            assert visit.sign_in(name).status_code == 429
            assert visit.sign_in("other").status_code == 429, "the address is locked out too"
    assert rows("SELECT count(*) FROM audit WHERE action = 'refuse_ops_sign_in'") == [(2 * FREE_TRIES,)]


def test_a_new_password_ends_a_lockout() -> None:
    make_user("anne")
    with console() as client:
        visit = Visit(client)
        for number in range(FREE_TRIES + 1):
            visit.sign_in("anne", f"wrong password {number}")
        assert visit.sign_in("anne").status_code == 429
        with transaction() as session:
            set_password(session, "anne", hash_password(PASSWORD), requested_by="shell:test")
        assert visit.sign_in("anne").status_code == 303


def test_a_right_password_takes_the_counts_back() -> None:
    make_user("anne")
    with console() as client:
        visit = Visit(client)
        for _ in range(2 * FREE_TRIES):
            assert visit.sign_in("anne", "wrong password").status_code == 401
            assert visit.sign_in("anne").status_code == 303


@pytest.mark.parametrize(
    ("column", "ago", "lives"),
    [
        ("seen_at", "1 h 59 min", True),
        ("seen_at", "2 h 1 min", False),
        ("created_at", "11 h 59 min", True),
        ("created_at", "12 h 1 min", False),
    ],
)
def test_a_session_ends_when_idle_and_after_half_a_day(column: str, ago: str, lives: bool) -> None:
    with visiting() as visit:
        change(f"UPDATE ops_session SET {column} = now() - interval '{ago}'")
        assert visit.get("/ops").status_code == (200 if lives else 303)


def test_refreshing_a_page_keeps_no_session_alive() -> None:
    with visiting() as visit:
        change("UPDATE ops_session SET seen_at = now() - interval '1 h'")
        for headers, seen in (({"X-Live": "1"}, True), ({}, False)):
            visit.get("/ops", headers=headers)
            assert rows("SELECT seen_at < now() - interval '30 min' FROM ops_session") == [(seen,)]


def test_only_the_hash_of_a_token_is_kept() -> None:
    with visiting() as visit:
        token = visit.client.cookies["ops"]
        [(kept,)] = rows("SELECT encode(token_hash, 'escape') || row_to_json(s)::text FROM ops_session s")
        assert token not in str(kept)


def test_a_change_of_the_user_holds_at_once() -> None:
    with visiting(Role.OPERATOR) as visit:
        with transaction() as session:
            set_role(session, "anne", Role.READER, requested_by="shell:test")
        assert visit.post("/ops/queues/emails/pause").status_code == 403
        with transaction() as session:
            set_disabled(session, "anne", disabled=True, requested_by="shell:test")
        assert visit.get("/ops").status_code == 303
        assert visit.sign_in("anne").status_code == 401
        with transaction() as session:
            set_disabled(session, "anne", disabled=False, requested_by="shell:test")
        assert visit.sign_in("anne").status_code == 303
        with transaction() as session:
            set_password(session, "anne", "x", requested_by="shell:test")
        assert visit.get("/ops").status_code == 303


def test_a_user_signs_out_everywhere_and_an_admin_signs_others_out() -> None:
    make_user("root", Role.ADMIN)
    with visiting() as visit:
        with console() as elsewhere:
            Visit(elsewhere).sign_in("anne")
            assert visit.post("/ops/sessions/end", user="root").status_code == 403
            assert visit.post("/ops/sessions/end").status_code == 303
            assert elsewhere.get("/ops").status_code == 303
        visit.sign_in("root")
        assert "root" in visit.get("/ops/sessions").text
        with transaction() as session:
            assert sign_out(session, "anne", requested_by="shell:test") == 0
        visit.post("/ops/sessions/end", user="anne")
        assert visit.get("/ops").status_code == 200


def test_the_cookie_is_bound_to_this_host_over_https() -> None:
    make_user("anne")
    with console() as client:
        headers = SAME_ORIGIN | {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"}
        answer = client.post("/ops/sign-in", data={"name": "anne", "password": PASSWORD}, headers=headers)
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-ops=")
        assert "; Secure" in cookie


def test_a_proxy_that_knows_the_secret_names_the_user(proxied: None) -> None:
    make_user("anne", Role.OPERATOR, password=None)
    with console() as client:
        assert client.get("/ops", headers=by_proxy("anne")).status_code == 200
        assert "operator" in client.get("/ops", headers=by_proxy("anne")).text
        refused: list[Any] = [by_proxy("anne", "b" * 40), by_proxy("nora"), by_proxy(""), {"X-Ops-User": "anne"}]
        twice = [("X-Ops-User", "anne"), ("X-Ops-User", "root"), ("X-Ops-Proxy-Secret", SECRET)]
        for headers in (*refused, twice):
            assert client.get("/ops", headers=headers).status_code == 303, headers
        assert Visit(client).sign_in("anne", "").status_code == 401, "a user without a password"
    assert rows("SELECT action, requested_by, detail->>'by' FROM audit WHERE action = 'sign_in_ops'") == [
        ("sign_in_ops", "ops:anne", "proxy")
    ]


def test_forms_of_a_user_of_the_proxy_carry_a_token_too(proxied: None) -> None:
    make_user("anne", Role.ADMIN, password=None)
    with console() as client:
        headers = by_proxy("anne") | SAME_ORIGIN
        assert client.post("/ops/sessions/end", data={"user": "anne"}, headers=headers).status_code == 403
        client.headers.update(by_proxy("anne"))
        assert Visit(client).post("/ops/sessions/end").status_code == 303


def test_names_in_headers_count_for_nothing_without_the_setting() -> None:
    make_user("anne")
    with console() as client:
        assert client.get("/ops", headers=by_proxy("anne")).status_code == 303


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8021", 303),
        ("localhost", 303),
        ("[::1]:8021", 303),
        ("ops.localhost:1", 303),
        ("OPS.example.fr:8021", 303),
        ("evil.example", 421),
        ("ops.example.fr.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)
def test_only_known_hosts_are_answered(host: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_HOSTS", "ops.example.fr, console.example.fr")
    forget()
    make_user("anne")
    with console() as client:
        answer = client.get("/ops", headers={"Host": host})
        assert answer.status_code == status
        assert client.get("/livez", headers={"Host": host}).status_code == 200


def test_a_link_of_another_site_leads_to_the_page_itself() -> None:
    with visiting() as visit:
        cookies = httpx.Cookies()
        with httpx.Client(base_url=visit.client.base_url, cookies=cookies) as stranger:
            answer = stranger.get("/ops/queues?a=%22", headers={"Sec-Fetch-Site": "cross-site"})
            assert (answer.status_code, 'content="0; url=/ops/queues?a=%22"' in answer.text) == (200, True)


def test_headers_forbid_framing_scripts_and_caching() -> None:
    make_user("anne")
    with console() as client:
        for path in ("/ops", "/ops/sign-in", "/nowhere", "/ops/nowhere"):
            headers = client.get(path).headers
            policy = headers["content-security-policy"]
            assert all(
                part in policy for part in ("default-src 'none'", "frame-ancestors 'none'", "form-action 'self'")
            )
            assert "unsafe" not in policy
            assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "same-origin")


def test_the_page_that_was_asked_for_is_kept_over_a_wrong_password() -> None:
    make_user("anne")
    with console() as client:
        answer = Visit(client).sign_in("anne", "wrong password", following="/ops/queues?x=1")
        assert 'name="next" value="/ops/queues?x=1"' in answer.text


def test_a_form_that_is_too_large_or_no_form_is_refused() -> None:
    with visiting() as visit:
        for content, kind, status in (
            (b"a=" + b"x" * 200_000, "application/x-www-form-urlencoded", 413),
            (b"&".join(b"a=1" for _ in range(3_000)), "application/x-www-form-urlencoded", 400),
            (b"a=%00", "application/x-www-form-urlencoded", 400),
            (b"a=%ff", "application/x-www-form-urlencoded", 400),
            (b"{}", "application/json", 400),
            (b"", "multipart/form-data; boundary=x", 400),
        ):
            headers = SAME_ORIGIN | {"Content-Type": kind}
            answer = visit.client.post("/ops/sessions/end", content=content, headers=headers)
            assert (answer.status_code, "Nothing was done" in answer.text) == (status, True)
        assert visit.get("/ops").status_code == 200


@pytest.mark.parametrize(
    ("host", "token", "warns"),
    [
        ("0.0.0.0", "", True),
        ("::", "", True),
        ("10.0.0.7", "", True),
        ("ops.example.fr", "", True),
        ("0.0.0.0", "secret", False),
        ("127.0.0.1", "", False),
        ("::1", "", False),
        ("localhost", "", False),
    ],
)
def test_a_public_port_without_a_token_is_told(
    host: str, token: str, warns: bool, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    monkeypatch.setenv("OPS_HOST", host)
    monkeypatch.setenv("METRICS_TOKEN", token)
    forget()
    warn_if_open(get_settings())
    assert ("metrics.open" in logged.getvalue()) is warns
