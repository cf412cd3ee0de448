"""The client of portals asks the same through both doors, and learns that it was accepted."""

from typing import Any
from uuid import UUID

import pytest

from models.portal_key import make_key
from models.words import Code
from tests.kit.processes.support import Processes, rows
from workers.errors import InvalidRequest
from workers.portal_client import KeyUsedBefore, NeedsHttp, NotFound, Portal, Unauthorized
from workers.requests.enrollment import PersonToEnroll

ZOE: Any = {"email": "zoe@example.com", "first_name": "Zoë", "last_name": "Müller"}
MISSPELT: Any = {"email": "a@example.com", "firstname": "A", "last_name": "B"}


def prepare(portal: Portal, reads: Portal) -> None:
    """Records a contract with two seats; each of the three is done before the next one is asked for."""
    reads.wait_for(portal.put_company("DUBOIS", name="Atelier Dubois"))
    reads.wait_for(portal.put_training("SEC-1", title="Sécurité au travail"))
    reads.wait_for(portal.put_contract("C-1", company="DUBOIS", training="SEC-1", planned_seats=2))


def test_both_doors_enrol_and_one_key_is_one_job(by_http: Portal, by_queue: Portal, workers: Processes) -> None:
    prepare(by_queue, by_http)
    first = by_queue.enroll("C-1", [ZOE], key="order-1")
    again = by_http.enroll("C-1", [PersonToEnroll(**ZOE)], key="order-1")
    assert (first.id, first.repeated, again.repeated) == (again.id, False, True)
    assert by_queue.enroll("C-1", [ZOE], key="order-1").repeated
    done = by_http.wait_for(first)
    assert (done.finished, done.state, [one.code for one in done.result.people]) == (True, "succeeded", ["enrolled"])
    other = ZOE | {"email": "jean@example.com"}
    by_http.wait_for(by_http.enroll("C-1", [other], key="order-2"))
    assert by_queue.enroll("C-1", [other], key="order-2").repeated
    assert by_http.contract("C-1").remaining == 0
    for portal in (by_http, by_queue):
        with pytest.raises(KeyUsedBefore):
            portal.enroll("C-1", [ZOE | {"first_name": "Zoé"}], key="order-1")
    assert rows("SELECT count(*) FROM job WHERE kind = 'enroll' AND state = 'succeeded'") == [(2,)]


def test_what_is_wrong_is_named_before_anything_is_sent(by_http: Portal, by_queue: Portal) -> None:
    for portal in (by_http, by_queue):
        with pytest.raises(InvalidRequest) as refused:
            portal.enroll("C-1", [ZOE, MISSPELT], key="one")
        assert {problem.field for problem in refused.value.problems} == {"people.1.first_name", "people.1.firstname"}
        with pytest.raises(InvalidRequest) as refused:
            portal.enroll("C-1", [ZOE | {"first_name": "Zoé \ud83d"}], key="one")
        assert refused.value.problems[0][:2] == (Code.UNSAFE_VALUE, "people.0.first_name")
        with pytest.raises(InvalidRequest) as refused:
            portal.enroll("C-1", [ZOE], key="à un")
        assert refused.value.problems[0].field == "key"
    assert rows("SELECT count(*) FROM job") == [(0,)]


def test_what_is_not_there_and_who_may_not_ask(by_http: Portal, by_queue: Portal, url: str) -> None:
    with pytest.raises(NotFound) as missing:
        by_http.participant(UUID(int=7))
    assert (missing.value.code, missing.value.status) == ("not_found", 404)
    assert missing.value.request_id
    with pytest.raises(NotFound):
        by_http.contract("..")
    with pytest.raises(NeedsHttp):
        by_queue.contract("C-1")
    with Portal(url, key=make_key().text) as portal, pytest.raises(Unauthorized):
        portal.contract("C-1")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/v1", "http://", "http://user:pass@127.0.0.1/v1", "127.0.0.1:8020/v1"])
def test_an_address_that_cannot_be_one_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|Redis|queue") as refused:
        Portal(url, key="mtr_")
    assert "pass" not in str(refused.value).replace("password", "")
