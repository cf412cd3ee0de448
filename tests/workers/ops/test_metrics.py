"""The metrics are the numbers of the status, in the text format of Prometheus, with no personal label."""

from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from models.counts import BOUNDS
from tests.kit.processes.support import change
from workers.engine.ledger import EMAILS, JOBS
from workers.ops.metrics import write_metrics
from workers.ops.snapshot import read_snapshot

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

END_JOBS = """
    INSERT INTO job (id, portal_id, kind, queue, lane, state, created_at, started_at, finished_at)
    SELECT gen_random_uuid(), (SELECT id FROM portal LIMIT 1), 'enroll', 'enrollments', gen_random_uuid(), :state,
      now() - interval '3 s', now(), now() FROM generate_series(1, CAST(:times AS int))"""

SEND_MAILS = """
    INSERT INTO email (id, kind, queue, lane, dedup_key, to_address, locale, message_id, date, expires_at, state,
      created_at, started_at, finished_at)
    SELECT gen_random_uuid(), kind, 'emails', gen_random_uuid(), gen_random_uuid(), 'anne@exemple.test', 'fr', '',
      now(), now(), 'sent', now() - interval '10 s', now(), now() FROM unnest(ARRAY['invitation', 'withdrawal']) kind"""


@pytest.fixture(autouse=True)
def _database(fresh_database: str) -> None:
    """Gives each test its own database."""


def read_metrics(status: dict[str, Any]) -> Samples:
    """Reads the text as Prometheus does; returns the value of each series."""
    families = text_string_to_metric_families(write_metrics(status).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def labels_of(samples: Samples) -> set[str]:
    return {name for _, labels in samples for name, _ in labels}


def test_every_promised_metric_is_there() -> None:
    change(END_JOBS, state="succeeded", times=3)
    change(END_JOBS, state="dead", times=2)
    change(SEND_MAILS)
    found = read_metrics(read_snapshot())
    kind = (("kind", "enroll"), ("queue", "enrollments"))
    assert found["matricule_jobs_total", (*kind, ("state", "succeeded"))] == 3
    assert found["matricule_jobs_total", (*kind, ("state", "dead"))] == 2
    assert found["matricule_mails_total", (("queue", "emails"), ("state", "sent"))] == 2
    assert found["matricule_jobs_waiting", (("queue", "enrollments"),)] == 0
    assert found["matricule_job_oldest_seconds", (("queue", "enrollments"),)] == 0
    assert found["matricule_request_to_enrolled_seconds_count", ()] == 3
    assert found["matricule_request_to_enrolled_seconds_sum", ()] == pytest.approx(9, abs=0.1)
    assert found["matricule_request_to_enrolled_seconds_bucket", (("le", "1.0"),)] == 0
    assert found["matricule_request_to_enrolled_seconds_bucket", (("le", "5.0"),)] == 3
    assert found["matricule_request_to_enrolled_seconds_bucket", (("le", "+Inf"),)] == 3
    assert found["matricule_request_to_mail_seconds_count", ()] == 1
    assert (found["matricule_database_up", ()], found["matricule_redis_up", ()]) == (1, 1)
    assert found["matricule_jobs_dead", (("queue", "enrollments"),)] == 2
    assert found["matricule_problems", (("code", "dead"),)] == 1


def test_drift_and_the_lag_of_the_clock_are_there_once_they_are_known() -> None:
    found = read_metrics(read_snapshot())
    assert {name for name, _ in found}.isdisjoint({"matricule_seat_drift", "matricule_clock_lag_seconds"})
    change("INSERT INTO clock (name, holder, until) VALUES ('clock', gen_random_uuid(), now() - interval '25 s')")
    found = read_metrics(read_snapshot(compare_seats=True))
    assert found["matricule_seat_drift", ()] == 0
    assert found["matricule_clock_lag_seconds", ()] == pytest.approx(30, abs=5)


def test_a_process_that_is_drained_serves_no_queue() -> None:
    change(
        "INSERT INTO process (id, kind, host, pid, drain_asked_at)"
        " SELECT gen_random_uuid(), 'rosters', 'h', n, CASE WHEN n = 1 THEN now() END FROM generate_series(1, 3) n"
    )
    found = read_metrics(read_snapshot())
    assert found["matricule_processes", (("queue", "rosters"),)] == 2
    assert found["matricule_processes_drained", ()] == 1


def test_no_label_names_a_person_a_portal_or_a_job() -> None:
    change(END_JOBS, state="succeeded", times=1)
    change(SEND_MAILS)
    found = read_metrics(read_snapshot())
    assert labels_of(found) == {"queue", "kind", "state", "code", "release", "le"}
    assert len(found) < 150


def test_a_total_does_not_fall_when_rows_are_purged() -> None:
    change(END_JOBS, state="succeeded", times=3)
    before = read_metrics(read_snapshot())
    for table in ("job", "ledger_minute", "status_snapshot"):
        change(f"DELETE FROM {table}")
    after = read_metrics(read_snapshot())
    totals = {key for key in before if key[0].endswith(("_total", "_count", "_sum", "_bucket"))}
    assert totals
    assert {key: after[key] for key in totals} == {key: before[key] for key in totals}


def test_hostile_names_stay_values_of_labels() -> None:
    status = read_snapshot()
    hostile = 'a"b\\c\nmatricule_healthy 1'
    status["totals"] = [{"ledger": ledger.table, "queue": hostile, "kind": hostile, "state": "dead", "rows": 1}
                        for ledger in (JOBS, EMAILS)]  # fmt: skip
    found = read_metrics(status)
    assert found["matricule_jobs_total", (("kind", hostile), ("queue", hostile), ("state", "dead"))] == 1
    assert found["matricule_healthy", ()] == 0


def test_bands_are_cumulated_by_their_bounds() -> None:
    status = read_snapshot()
    status["durations"]["request_to_mail"] = {"bounds": BOUNDS, "bands": [1] * (len(BOUNDS) + 1), "seconds": 7.5}
    found = read_metrics(status)
    edges = [*map(str, BOUNDS), "+Inf"]
    counted = [found["matricule_request_to_mail_seconds_bucket", (("le", edge),)] for edge in edges]
    assert counted == list(range(1, len(BOUNDS) + 2))
