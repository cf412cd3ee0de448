"""Every route of the console, with every role and every method: a reader can change nothing."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import httpx
import pytest
from fastapi.routing import APIRoute

from models.ops_user import Role
from tests.kit.console.visiting import SAME_ORIGIN, Visit, console, make_user
from tests.kit.processes.support import rows
from workers.console.access.visitor import RoleGuard
from workers.console.routes import ROUTERS

OPEN: Final = {("GET", "/ops/sign-in"), ("HEAD", "/ops/sign-in"), ("POST", "/ops/sign-in")}
"""The only routes of the console that strangers may call."""

OWN: Final = {("POST", "/ops/sign-out"), ("POST", "/ops/sessions/end")}
"""The changes that a reader may make: to their own sessions."""


class GuardedRoute(NamedTuple):
    """A route and the least role that it asks for; None when it asks for none."""

    method: str
    path: str
    role: Role | None

    @property
    def address(self) -> str:
        """An address that the route takes, of a row that is not there."""
        filled = self.path.replace("{name}", "enrollments")
        parts = ["00000000-0000-7000-8000-000000000000" if part.startswith("{") else part for part in filled.split("/")]
        return "/".join(parts)


def guarded_routes() -> Iterator[GuardedRoute]:
    for router in ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            guards = [one.call.role for one in route.dependant.dependencies if isinstance(one.call, RoleGuard)]
            for method in sorted(route.methods or ()):
                yield GuardedRoute(method, route.path, guards[0] if guards else None)


ROUTES: Final = list(guarded_routes())


def changed() -> list[tuple[object, ...]]:
    """Returns what a request could have changed: pauses, actions, users, and what the audit trail says."""
    return rows("""
        SELECT (SELECT count(*) FROM queue_pause), (SELECT count(*) FROM ops_action),
          (SELECT count(*) FROM audit WHERE action NOT IN ('sign_in_ops', 'sign_out_ops')),
          (SELECT string_agg(name || role || coalesce(password_hash, ''), ',' ORDER BY name) FROM ops_user)""")


def test_every_route_but_the_sign_in_asks_for_a_role() -> None:
    assert {(route.method, route.path) for route in ROUTES if route.role is None} == OPEN


def test_a_reader_has_no_route_that_changes_what_is_not_their_own() -> None:
    writes = {(route.method, route.path) for route in ROUTES if route.method not in ("GET", "HEAD")}
    readers = {(route.method, route.path) for route in ROUTES if route.role is Role.READER}
    assert writes & readers == OWN


def test_every_route_refuses_the_roles_below_its_own() -> None:
    for role in Role:
        make_user(role.value, role)
    before = changed()
    with console() as client:
        for role in Role:
            visit = Visit(client)
            client.cookies.clear()
            visit.sign_in(role.value)
            for route in ROUTES:
                if route.role is not None and not role.covers(route.role):
                    answer = send(visit, route)
                    assert answer.status_code == 403, (role, route)
                    assert f"Role needed: {route.role}" in answer.text or route.method == "HEAD"
    assert changed() == before


def test_every_route_sends_strangers_to_the_sign_in() -> None:
    make_user("anne", Role.ADMIN)
    before = changed()
    with console() as client:
        for route in ROUTES:
            if route.role is not None:
                answer = client.request(route.method, route.address, headers=SAME_ORIGIN, data={})
                assert (answer.status_code, answer.headers["location"][:12]) == (303, "/ops/sign-in"), route
    assert changed() == before


def test_every_form_needs_its_token_and_the_word_of_the_browser() -> None:
    make_user("anne", Role.ADMIN)
    with console() as client:
        visit = Visit(client)
        visit.sign_in("anne")
        token, before = visit.token(), changed()
        for route in ROUTES:
            if route.role is None or route.method in ("GET", "HEAD"):
                continue
            for headers, fields, words in (
                (SAME_ORIGIN, {"user": "anne"}, "belongs to another session"),
                (SAME_ORIGIN, {"form_token": "0" * 64}, "belongs to another session"),
                ({}, {"form_token": token}, "did not say where this form comes from"),
                ({"Sec-Fetch-Site": "cross-site"}, {"form_token": token}, "comes from another site"),
                ({"Sec-Fetch-Site": "same-site"}, {"form_token": token}, "comes from another site"),
                ({"Sec-Fetch-Site": "none"}, {"form_token": token}, "comes from another site"),
            ):
                answer = client.post(route.address, data=fields, headers=headers)
                assert (answer.status_code, words in answer.text) == (403, True), (route, headers)
        assert changed() == before


def send(visit: Visit, route: GuardedRoute) -> httpx.Response:
    if route.method in ("GET", "HEAD"):
        return visit.client.request(route.method, route.address)
    return visit.post(route.address)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_no_route_takes_another_method(method: str) -> None:
    make_user("anne", Role.ADMIN)
    with console() as client:
        Visit(client).sign_in("anne")
        for route in ROUTES:
            assert client.request(method, route.address, headers=SAME_ORIGIN).status_code in (404, 405), route
