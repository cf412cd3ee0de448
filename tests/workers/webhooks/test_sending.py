"""The sender tells a real receiver what an endpoint is owed: signed, in order, once, and what each answer means."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_address
from itertools import repeat
from uuid import UUID

import pytest
from sqlalchemy import text
from standardwebhooks import Webhook as StandardWebhook

from models.portal import LOCAL_PORTAL_ID
from models.webhook_delivery import FAILURES_TO_REST
from tests.kit.builders.portal_events import add_portal, enrolled
from tests.kit.processes.support import change, forget, rows
from tests.kit.webhooks.endpoints import (
    add_endpoint,
    attempts,
    endpoint_row,
    make_due,
    owe,
    pass_time,
    pass_to_next_try,
    payload_of,
    send_due,
    states,
)
from tests.kit.webhooks.receiver import DROP, Received, Receiver, answer, in_turn
from workers.database import Session, autocommit, transaction
from workers.engine.set_back import put_times_right
from workers.portals.secrets import webhook_secret
from workers.requests.enrollment import Enroll, PersonToEnroll
from workers.webhooks import claims, guard, posting
from workers.webhooks.claims import SETTLED_AT_ONCE, ClaimedWebhook, claim_webhooks, find_due_endpoints, rescue
from workers.webhooks.replaying import replay_range

pytestmark = pytest.mark.usefixtures("fresh_database", "loopback")


def test_what_is_owed_arrives_once_and_is_recorded() -> None:
    with Receiver() as receiver:
        endpoint = add_endpoint(receiver.url)
        owed = owe(endpoint, *(f"enrollment:{n}" for n in range(60)))
        send_due()
    assert sorted(receiver.ids) == sorted(owed)
    assert states() == {"delivered": 60}
    assert attempts() == [(204, None)] * 60
    assert receiver.connections <= 8


def test_the_receivers_library_verifies_what_is_sent() -> None:
    with Receiver() as receiver:
        endpoint = add_endpoint(receiver.url)
        owe(endpoint, "enrollment:1")
        send_due()
    [request] = receiver.received
    verified = StandardWebhook(webhook_secret("test", endpoint, 1)).verify(request.body.decode(), request.headers)
    assert verified["data"] == payload_of(request.body)
    assert request.headers["content-type"] == "application/json"


def test_during_a_rotation_both_secrets_verify() -> None:
    with Receiver() as receiver:
        endpoint = add_endpoint(receiver.url)
        change("UPDATE webhook_endpoint SET secret_version = 2, previous_until = now() + interval '1 day'")
        owe(endpoint, "enrollment:1")
        send_due()
        change("UPDATE webhook_endpoint SET previous_until = now()")
        owe(endpoint, "enrollment:1")
        send_due()
    during, after = receiver.received
    for version in (1, 2):
        StandardWebhook(webhook_secret("test", endpoint, version)).verify(during.body.decode(), during.headers)
    StandardWebhook(webhook_secret("test", endpoint, 2)).verify(after.body.decode(), after.headers)
    assert len(after.headers["webhook-signature"].split()) == 1


def test_webhooks_of_a_resource_arrive_in_order_and_others_beside_them() -> None:
    with Receiver() as receiver:
        endpoint = add_endpoint(receiver.url)
        owe(endpoint, *(f"enrollment:{n % 7}" for n in range(70)))
        send_due()
    seen: dict[object, list[object]] = {}
    for request in receiver.received:
        data = payload_of(request.body)
        seen.setdefault(data["enrollment_id"], []).append(data["sequence"])
    assert seen == {f"enrollment:{n}": list(range(1, 11)) for n in range(7)}


def test_a_resource_that_fails_keeps_its_order_and_delays_no_other() -> None:
    with Receiver() as receiver:
        endpoint = add_endpoint(receiver.url)
        first, second, other = owe(endpoint, "enrollment:1", "enrollment:1", "enrollment:2")
        receiver.script = lambda request: answer(500 if request.id == first else 200)
        send_due()
        assert receiver.ids.count(first) == 1
        assert other in receiver.ids
        assert second not in receiver.ids
        with autocommit() as session:
            assert find_due_endpoints(session) == []  # it is not looked at in vain until then
        receiver.script = lambda _: answer(200)
        make_due()
        send_due()
    assert [one for one in receiver.ids if one != other] == [first, first, second]


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_every_2xx_is_a_success(status: int) -> None:
    with Receiver(in_turn(answer(status))) as receiver:
        owe(add_endpoint(receiver.url), "enrollment:1")
        send_due()
    assert states() == {"delivered": 1}


@pytest.mark.parametrize("status", [300, 301, 302, 307, 400, 401, 404, 500, 502])
def test_every_other_answer_is_a_failure_and_tried_again(status: int) -> None:
    with Receiver() as elsewhere, Receiver(in_turn(answer(status, b"", f"Location: {elsewhere.url}"))) as receiver:
        endpoint = add_endpoint(receiver.url)
        owe(endpoint, "enrollment:1")
        send_due()
        assert (states(), elsewhere.connections) == ({"owed": 1}, 0)
        [(pause,)] = rows("SELECT extract(epoch FROM due_at - now())::float8 FROM webhook")
        assert isinstance(pause, float)
        assert 3 < pause < 5.5
        assert endpoint_row(endpoint)["failures"] == 1
        make_due()
        send_due()
    assert attempts() == [(status, None), (204, None)]
    assert receiver.ids[0] == receiver.ids[1]
    assert (states(), endpoint_row(endpoint)["failures"]) == ({"delivered": 1}, 0)


def test_interim_answers_without_an_end_are_read_no_further_than_a_head() -> None:
    interim = b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1_000
    with Receiver(lambda _: repeat(interim)) as receiver:
        owe(add_endpoint(receiver.url), "enrollment:1")
        send_due()
    assert attempts() == [(None, "bad_answer")]


def test_an_answer_longer_than_what_is_read_counts_by_its_status() -> None:
    with Receiver(lambda _: answer(200, b"x" * 300_000, *[f"X-{n}: {'y' * 900}" for n in range(20)])) as receiver:
        owe(add_endpoint(receiver.url), "enrollment:1", "enrollment:1")
        send_due()
    assert (attempts(), states()) == ([(200, None)] * 2, {"delivered": 2})


def test_an_answer_of_a_former_url_says_nothing_of_the_endpoint() -> None:
    with Receiver() as receiver, Receiver() as former:

        def move(_: object) -> bytes:
            change("UPDATE webhook_endpoint SET url = :url", url=receiver.url)
            return answer(410)

        former.script = move
        endpoint = add_endpoint(former.url)
        [owed] = owe(endpoint, "enrollment:1")
        send_due()
        assert (endpoint_row(endpoint)["disabled_reason"], endpoint_row(endpoint)["failures"]) == (None, 0)
        pass_to_next_try()
        send_due()
    assert (former.ids, receiver.ids, states()) == ([owed], [owed], {"delivered": 1})


def test_an_answer_of_410_disables_the_endpoint_and_holds_the_rest() -> None:
    with Receiver(in_turn(answer(410))) as receiver:
        endpoint = add_endpoint(receiver.url)
        owe(endpoint, *["enrollment:1"] * 3)
        send_due()
        make_due()
        send_due()
    assert len(receiver.received) == 1
    assert states() == {"held": 3}
    assert endpoint_row(endpoint)["disabled_reason"] == "gone"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(("header", "rest"), [("90", 90), ("999999", 3_600), ("0", 1)])
def test_retry_after_is_honoured_within_bounds(status: int, header: str, rest: int) -> None:
    with Receiver(in_turn(answer(status, b"", f"Retry-After: {header}"))) as receiver:
        endpoint = add_endpoint(receiver.url)
        owe(endpoint, "enrollment:1", "enrollment:2")
        send_due(connections=1)
        assert endpoint_row(endpoint)["rest"] == rest
        assert len(receiver.received) <= 2  # what was on its way
        pass_time(rest + 1)
        send_due()
    assert states() == {"delivered": 2}


def test_a_retry_after_that_is_a_date_is_read() -> None:
    with Receiver(in_turn(answer(503, b"", "Retry-After: Wed, 21 Oct 2099 07:28:00 GMT"))) as receiver:
        endpoint = add_endpoint(receiver.url)
        owe(endpoint, "enrollment:1")
        send_due()
    assert endpoint_row(endpoint)["rest"] == 3_600


def test_of_a_huge_answer_a_kilobyte_is_read() -> None:
    huge = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"10000\r\n" + b"a\x00" * 32_768 + b"\r\n"
    with Receiver(lambda _: [huge] * 1_000) as receiver:
        owe(add_endpoint(receiver.url), "enrollment:1")
        send_due()
    assert states() == {"delivered": 1}
    assert rows("SELECT answer FROM webhook_attempt") == [("a" * 512,)]


def test_an_answer_that_cannot_be_read_is_a_failure() -> None:
    with Receiver(in_turn(b"no HTTP at all\r\n\r\n", DROP)) as receiver:
        owe(add_endpoint(receiver.url), "enrollment:1")
        send_due()
        make_due()
        send_due()
    assert [error for _, error in attempts()] == ["bad_answer", "bad_answer"]


def test_a_drip_is_cut_by_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting, "DEADLINE_SECONDS", 0.5)
    drip = [b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n"] + [b"a"] * 900
    with Receiver(lambda _: drip, drip=0.1) as receiver:
        owe(add_endpoint(receiver.url), "enrollment:1")
        send_due()
    assert [error for _, error in attempts()] == ["timeout"]


def test_a_receiver_that_is_not_there_rests_after_five_failures() -> None:
    with Receiver() as receiver:
        receiver.stop()
        endpoint = add_endpoint(receiver.url)
        owe(endpoint, *(f"enrollment:{n}" for n in range(200)))
        send_due(connections=2)
        tried = len(attempts())
        assert FAILURES_TO_REST <= tried <= FAILURES_TO_REST + 4
        for _ in range(3):  # one try for each rest
            change("UPDATE webhook_endpoint SET next_try_at = now()")
            send_due(connections=2)
        assert len(attempts()) == tried + 3
        receiver.start()
        change("UPDATE webhook_endpoint SET next_try_at = now()")
        send_due(connections=2)
        make_due()  # those that had failed are spread over half a minute
        send_due(connections=2)
        assert (states(), len(receiver.received)) == ({"delivered": 200}, 200)


def test_after_a_day_of_failures_the_endpoint_is_disabled() -> None:
    passed = 0.0
    with Receiver(lambda _: answer(500)) as receiver:
        endpoint = add_endpoint(receiver.url)
        owe(endpoint, "enrollment:1", "enrollment:1")
        send_due()
        while endpoint_row(endpoint)["disabled_at"] is None:
            passed += pass_to_next_try()
            send_due()
    assert (states(), endpoint_row(endpoint)["disabled_reason"]) == ({"held": 2}, "failing")
    assert 86_000 < passed < 87_010  # the last try may wait for the end of a rest
    assert 9 <= len(receiver.received) <= 11


def test_a_webhook_that_alone_fails_is_given_up_after_a_day() -> None:
    with Receiver() as receiver:
        endpoint = add_endpoint(receiver.url)
        bad, behind = owe(endpoint, "enrollment:1", "enrollment:1")
        receiver.script = lambda request: answer(500 if request.id == bad else 200)
        for pause in (0, 50_000, 40_000):  # others arrive all the time
            pass_time(pause)
            send_due()
            owe(endpoint, "enrollment:2")
            send_due()
    assert endpoint_row(endpoint)["disabled_at"] is None
    assert rows("SELECT id::text FROM webhook WHERE state = 'failed'") == [(bad,)]
    assert behind in receiver.ids


def test_a_hanging_endpoint_does_not_delay_another() -> None:
    """The hanging one answers only once the other has everything, so this test ends only if it is not waited for."""
    with Receiver(gate=threading.Event()) as hanging, Receiver() as lively:
        assert hanging.gate is not None
        gate, wanted = hanging.gate, 500
        slow, quick = add_endpoint(hanging.url, "slow"), add_endpoint(lively.url, "quick")
        owe(slow, *(f"enrollment:{n}" for n in range(50)))
        owe(quick, *(f"enrollment:{n}" for n in range(wanted)))

        def open_at_the_last(_: object) -> bytes:
            if len(lively.received) == wanted:
                assert hanging.most_waiting
                gate.set()
            return answer(204)

        lively.script = open_at_the_last
        send_due()
        assert hanging.most_waiting <= 8
    assert states() == {"delivered": 550}


def test_a_private_address_is_never_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBHOOK_PRIVATE_NETWORKS", "10.0.0.0/8")
    forget()
    with Receiver() as receiver:
        owe(add_endpoint(receiver.url), "enrollment:1")
        send_due()
    assert receiver.connections == 0
    assert attempts() == [(None, "address_refused")]


def test_a_lease_that_was_lost_is_not_recorded_twice() -> None:
    with Receiver() as receiver:
        endpoint = add_endpoint(receiver.url)
        owe(endpoint, "enrollment:1")

        def take_back(_: object) -> bytes:
            change("UPDATE webhook SET leased_until = NULL")  # as the other process does after the lease
            receiver.script = lambda _: answer(204)
            return answer(204)

        receiver.script = take_back
        send_due()
        send_due()
    assert len(set(receiver.ids)) == 1
    assert attempts() == [(204, None)]


def test_webhooks_of_a_time_when_the_clock_was_ahead_are_sent_now() -> None:
    year = 31_536_000.0
    with Receiver() as receiver:
        endpoint = add_endpoint(receiver.url)
        owe(endpoint, "enrollment:1", "enrollment:2")
        pass_time(-year)
        change("UPDATE webhook_endpoint SET next_try_at = now() + interval '1 year'")
        change("UPDATE webhook SET leased_until = now() + interval '1 year', claim = 1 WHERE resource = 'enrollment:2'")
        with transaction() as session:
            put_times_right(session, year)
        send_due()
        assert len(receiver.received) == 1
        change("UPDATE webhook SET leased_until = now() - interval '1 second' WHERE leased_until < now() + '1 minute'")
        with transaction() as session:
            assert len(rescue(session)) == 1
        send_due()
    assert states() == {"delivered": 2}


def test_a_secret_that_cannot_be_derived_disables_no_endpoint() -> None:
    with Receiver() as receiver:
        endpoint = add_endpoint(receiver.url)
        change("UPDATE webhook_endpoint SET master_id = 'gone'")
        owe(endpoint, "enrollment:1")
        send_due()
        assert (receiver.connections, attempts()) == (0, [])
        change("UPDATE webhook_endpoint SET master_id = 'test'")
        change("UPDATE webhook SET leased_until = now() - interval '1 second' WHERE leased_until IS NOT NULL")
        with transaction() as session:
            assert len(rescue(session)) == 1
        send_due()
    assert (states(), endpoint_row(endpoint)["failures"]) == ({"delivered": 1}, 0)


def test_an_outcome_that_cannot_be_recorded_takes_no_other_along() -> None:
    with Receiver() as receiver:
        owe(add_endpoint(receiver.url), *(f"enrollment:{n}" for n in range(20)))
        change("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$")
        change(
            "CREATE TRIGGER refuse BEFORE UPDATE ON webhook FOR EACH ROW"
            " WHEN (OLD.resource = 'enrollment:7' AND NEW.state = 'delivered') EXECUTE FUNCTION refuse()"
        )
        send_due()
    assert rows("SELECT resource FROM webhook WHERE state = 'owed' AND leased_until IS NOT NULL") == [("enrollment:7",)]
    assert len(receiver.received) <= 20


def test_a_name_is_judged_anew_at_each_try(monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([["127.0.0.1"], ["169.254.169.254"], ["127.0.0.1", "10.0.0.1"], ["127.0.0.1"]])
    monkeypatch.setattr(guard, "look_up", lambda *_: [ip_address(one) for one in next(found)])
    with Receiver(in_turn(answer(500))) as receiver:
        owe(add_endpoint(f"http://portail.example:{receiver.port}/hook"), "enrollment:1")
        for _ in range(4):
            make_due()
            send_due()
    assert attempts() == [(500, None), (None, "address_refused"), (None, "address_refused"), (204, None)]
    assert (len(receiver.received), receiver.received[0].headers["host"].partition(":")[0]) == (2, "portail.example")


def test_the_companys_own_number_is_told_and_kept_nowhere() -> None:
    acme = add_portal("acme")
    with Receiver() as receiver:
        endpoint = add_endpoint(receiver.url, portal_id=acme)
        person = PersonToEnroll(email="zoe@example.com", first_name="Zoé", last_name="Petit", external_id='né "7"')
        [enrollment] = enrolled(acme, Enroll(contract="C-1", people=[person]))
        send_due()
        change("UPDATE enrollment SET external_id = NULL")  # as an erasure does
        with transaction() as session:
            replay_range(session, acme, endpoint, since=datetime(2020, 1, 1, tzinfo=UTC), until=datetime.now(UTC))
        send_due()
    told = [payload_of(one.body) for one in receiver.received]
    numbers = [one.get("external_id") for one in told if one.get("enrollment_id") == str(enrollment)]
    assert numbers == ['né "7"', None]
    assert rows("SELECT count(*) FROM webhook WHERE payload::text LIKE '%external_id%'") == [(0,)]


def test_names_that_hang_delay_no_other_portal(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, asked = threading.Event(), list[str]()

    def look_up(host: str, _: int) -> list[guard.Address]:
        asked.append(host)
        if host.startswith("hangs"):
            answered.wait(60)
        return [ip_address("127.0.0.1")]

    monkeypatch.setattr(guard, "look_up", look_up)
    portals = [add_portal(f"slow-{number}") for number in range(4)]
    for number in range(40):
        portal = portals[number % 4]
        endpoint = add_endpoint(f"http://hangs-{number}.example:9/hook", f"hook-{number}", portal)
        owe(endpoint, "enrollment:1", "enrollment:2")

    def take(_: Received) -> bytes:
        answered.set()  # only now do the others get an answer, which is none of a receiver
        return answer(204)

    with Receiver(take) as receiver:
        works = add_endpoint(f"http://portail.example:{receiver.port}/hook", "works", add_portal("works"))
        owe(works, "enrollment:1")
        send_due()
        assert len(receiver.received) == 1
    before = asked[: asked.index("portail.example")]
    assert len(before) <= len(portals) * guard.LOOK_UPS_OF_PORTAL
    assert rows("SELECT DISTINCT error FROM webhook_attempt WHERE error LIKE 'timeout%'") == []


def test_a_name_that_hangs_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, asked = threading.Event(), list[str]()

    def look_up(host: str, _: int) -> list[guard.Address]:
        asked.append(host)
        answered.wait(60)
        return [ip_address("127.0.0.1")]

    async def ask() -> None:
        resolver = guard.Resolver()
        for _ in range(5):  # each gives up, as tries do after their time
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(resolver.addresses(LOCAL_PORTAL_ID, "hangs.example", 443), 0.01)
        last = asyncio.create_task(resolver.addresses(LOCAL_PORTAL_ID, "hangs.example", 443))
        await asyncio.sleep(0)
        answered.set()
        assert await last == [ip_address("127.0.0.1")]
        assert await resolver.addresses(LOCAL_PORTAL_ID, "hangs.example", 443) == [ip_address("127.0.0.1")]
        resolver.close()

    monkeypatch.setattr(guard, "look_up", look_up)
    asyncio.run(ask())
    assert asked == ["hangs.example"] * 2


LONG_LANE = """
    INSERT INTO webhook (id, queue, lane, endpoint_id, portal_id, event, resource, sequence, payload, state, due_at,
      expires_at)
    SELECT gen_random_uuid(), queue, lane, endpoint_id, portal_id, event, resource, sequence + n, payload, 'owed',
      now(), now() FROM webhook CROSS JOIN generate_series(1, :more) n"""


def rows_read(work: Callable[[Session], object]) -> int:
    """Returns how many rows of webhooks the statements read, by an index or not."""
    read = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'webhook'"
    with transaction() as session:
        before = session.execute(text(read)).scalar_one()
        work(session)
        return int(session.execute(text(read)).scalar_one() - before)


def test_a_long_lane_behind_a_failing_webhook_is_not_read_to_its_end() -> None:
    with Receiver() as receiver:
        endpoint = add_endpoint(receiver.url)
        [first] = owe(endpoint, "enrollment:1")
        change(LONG_LANE, more=20_000)
        receiver.script = lambda request: answer(500 if request.id == first else 200)
        send_due()
        change("UPDATE webhook SET due_at = now() + CASE sequence WHEN 1 THEN interval '1 hour' ELSE interval '0' END")
        for _ in range(20_000 // SETTLED_AT_ONCE + 1):
            with transaction() as session:
                assert claim(session, endpoint) == []
        change("ANALYZE webhook")
        with autocommit() as session:
            assert find_due_endpoints(session) == []  # all wait with the first one, in parts
        assert rows_read(find_due_endpoints) < 100
        owe(endpoint, "enrollment:0", "enrollment:2", "enrollment:3")  # beside the lane, before it and after it
        assert rows_read(lambda session: claim(session, endpoint)) < 100
        change("UPDATE webhook SET leased_until = NULL")
        send_due()
    assert receiver.ids.count(first) < len(receiver.received) == receiver.ids.count(first) + 3


def test_settling_a_long_lane_moves_a_part_of_it_at_a_time() -> None:
    endpoint = add_endpoint("https://portail.example/hook")
    owe(endpoint, "enrollment:1")
    change(LONG_LANE, more=2 * SETTLED_AT_ONCE)
    change("UPDATE webhook SET due_at = now() + interval '1 hour' WHERE sequence = 1")
    moved = []
    for _ in range(4):
        with transaction() as session:
            assert claim(session, endpoint) == []
        moved.append(rows("SELECT count(*) FROM webhook WHERE due_at > now()")[0][0])
    assert moved == [SETTLED_AT_ONCE + 1, 2 * SETTLED_AT_ONCE + 1, 2 * SETTLED_AT_ONCE + 1, 2 * SETTLED_AT_ONCE + 1]


def claim(session: Session, endpoint: UUID) -> list[list[ClaimedWebhook]]:
    return claim_webhooks(session, endpoint, size=10, lease=30, worker=LOCAL_PORTAL_ID)


def test_where_much_is_due_lanes_have_their_turn_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    for few in (claims.FIND_FREE_LANES, claims.WALK_FREE_LANES):
        monkeypatch.setattr(claims, "FIND_FREE_LANES", few)
        change("DELETE FROM webhook")
        change("DELETE FROM webhook_endpoint")
        endpoint = add_endpoint("https://portail.example/hook")
        owe(endpoint, *(f"enrollment:{n % 30}" for n in range(60)))
        change("UPDATE webhook SET due_at = now() + interval '1 hour' WHERE resource = 'enrollment:7' AND sequence = 1")
        change("UPDATE webhook SET leased_until = now() + interval '1 hour' WHERE resource = 'enrollment:8'"
               " AND sequence = 1")  # fmt: skip
        with transaction() as session:
            lanes = claim_webhooks(session, endpoint, size=22, lease=30, worker=LOCAL_PORTAL_ID)
            rest = claim_webhooks(
                session, endpoint, size=99, lease=30, worker=LOCAL_PORTAL_ID, cursor=max(lane[0].lane for lane in lanes)
            )
        assert [lane[0].lane for lane in [*lanes, *rest]] == sorted(lane[0].lane for lane in [*lanes, *rest])
        assert (len(lanes), len(rest)) == (11, 17)
