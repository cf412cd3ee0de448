"""Writes the status as metrics in the text format of Prometheus; queues, kinds and states are the only labels.

The text is written from the snapshot that `matricule status` shows, so both have the same numbers. Counters come from
totals that no purge lowers. A gauge that is not known yet has its name and no value: no clock has led, no seats were
compared.

Names and units follow https://prometheus.io/docs/practices/naming.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from workers.engine.ledger import EMAILS, JOBS
from workers.engine.rollout import this_release

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4

QUEUE_GAUGES: Final = (
    ("matricule_jobs_waiting", "waiting", "Jobs or mails of a queue that are due, counted to a cap."),
    ("matricule_jobs_due_later", "due_later", "Jobs or mails of a queue that are due later, counted to a cap."),
    ("matricule_jobs_running", "running", "Jobs or mails of a queue that a process does, counted to a cap."),
    ("matricule_jobs_dead", "dead", "Jobs or mails of a queue that gave up and need a person, counted to a cap."),
)

DURATIONS: Final = (
    ("request_to_enrolled", "From a request that enrols people to its end, of those that succeeded."),
    ("request_to_mail", "From a request to the moment the relay took an invitation that it owed."),
)


class _StatusMetrics(Collector):
    """Gives the metrics of one status to the library, which writes and escapes them."""

    def __init__(self, status: Mapping[str, Any]) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        """Yields every metric."""
        yield _labelled("matricule_info", "The release that answers.", "release", [(this_release(), 1)])
        yield from _of_servers(self._status)
        yield from _of_problems(self._status)
        if self._status["database"] is not None:
            yield from _of_queues(self._status)
            yield from _of_totals(self._status)
            yield from _of_durations(self._status)
            yield from _of_processes(self._status)


def write_metrics(status: Mapping[str, Any]) -> bytes:
    """Returns the metrics of a status (``read_snapshot``) in the text format 0.0.4, in UTF-8."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_StatusMetrics(status))
    return generate_latest(registry)


def _gauge(name: str, help_text: str, value: float | None) -> Iterator[Metric]:
    yield GaugeMetricFamily(name, help_text, value=None if value is None else float(value))


def _labelled(name: str, help_text: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(name, help_text, labels=[label])
    for named, value in values:
        family.add_metric([named], float(value))
    return family


def _of_servers(status: Mapping[str, Any]) -> Iterator[Metric]:
    redis, sent = status["redis"], status["requests"]
    works = redis is not None and redis["refusal"] is None
    yield from _gauge("matricule_database_up", "1 while PostgreSQL answers and works.", status["database"] is not None)
    yield from _gauge("matricule_redis_up", "1 while Redis answers and writes.", works)
    yield from _gauge("matricule_snapshot_age_seconds", "The age of these numbers.", status["age_seconds"])
    if sent is not None:
        oldest = sent["oldest_seconds"] or 0.0
        yield from _gauge("matricule_requests_waiting", "Requests of portals not accepted yet.", sent["waiting"])
        yield from _gauge("matricule_request_oldest_seconds", "The age of the oldest of them.", oldest)


def _of_problems(status: Mapping[str, Any]) -> Iterator[Metric]:
    counted: dict[str, int] = {}
    for problem in status["problems"]:
        counted[problem["code"]] = counted.get(problem["code"], 0) + 1
    help_text = "Problems that matricule status names, by code; docs/operations.md says what to do."
    yield _labelled("matricule_problems", help_text, "code", sorted(counted.items()))
    yield from _gauge("matricule_healthy", "1 while there is no problem.", status["healthy"])
    if status["database"] is not None:
        missing = counted.get("file_missing", 0)
        yield from _gauge("matricule_files_missing", "Inboxes that expect a file which has not come in time.", missing)


def _of_queues(status: Mapping[str, Any]) -> Iterator[Metric]:
    queues = status["queues"].items()
    for name, fact, help_text in QUEUE_GAUGES:
        yield _labelled(name, help_text, "queue", [(queue, counts[fact]) for queue, counts in queues])
    paused = {pause["queue"] for pause in status["pauses"] if pause["reference"] is None}
    help_text = "1 while an operator has paused the whole queue."
    yield _labelled("matricule_queue_paused", help_text, "queue", [(queue, queue in paused) for queue, _ in queues])
    oldest = [(queue, counts["oldest_due_seconds"] or 0.0) for queue, counts in queues]
    help_text = "For how long the oldest job or mail of a queue has been due; 0 when none is."
    yield _labelled("matricule_job_oldest_seconds", help_text, "queue", oldest)


def _of_totals(status: Mapping[str, Any]) -> Iterator[Metric]:
    jobs = CounterMetricFamily(
        "matricule_jobs", "Jobs that ended, by their final state.", labels=["queue", "kind", "state"]
    )
    mails: dict[tuple[str, str], int] = {}
    for one in status["totals"]:
        if one["ledger"] == JOBS.table:
            jobs.add_metric([one["queue"], one["kind"], one["state"]], one["rows"])
        elif one["ledger"] == EMAILS.table:
            key = (one["queue"], one["state"])
            mails[key] = mails.get(key, 0) + one["rows"]
    yield jobs
    family = CounterMetricFamily(
        "matricule_mails", "Mails that ended, by their final state.", labels=["queue", "state"]
    )
    for labels, number in sorted(mails.items()):
        family.add_metric(labels, number)
    yield family


def _of_durations(status: Mapping[str, Any]) -> Iterator[Metric]:
    for name, help_text in DURATIONS:
        taken = status["durations"][name]
        edges = [*(str(float(bound)) for bound in taken["bounds"]), "+Inf"]
        buckets = list(zip(edges, map(float, accumulate(taken["bands"])), strict=True))
        family = HistogramMetricFamily(f"matricule_{name}_seconds", help_text)
        family.add_metric([], buckets, taken["seconds"])
        yield family


def _of_processes(status: Mapping[str, Any]) -> Iterator[Metric]:
    alive, reconciled = status["processes"], status["reconciled"]
    working = [process for process in alive if not process["drain_asked_at"]]
    kinds = [kind for process in working for kind in process["kind"].split()]
    served = [*status["queues"], "requests", "webhooks", "clock"]
    help_text = "Processes with a heartbeat that serve a queue, or are a clock; not those that an operator drains."
    yield _labelled("matricule_processes", help_text, "queue", [(one, kinds.count(one)) for one in served])
    help_text = "Processes with a heartbeat that an operator lets take nothing new."
    yield from _gauge("matricule_processes_drained", help_text, len(alive) - len(working))
    open_now = sum(1 for process in alive if process["circuit_reason"])
    yield from _gauge("matricule_relay_circuits_open", "Mailers that leave the relay alone.", open_now)
    lag = status["clock_lag_seconds"]
    yield from _gauge("matricule_clock_lag_seconds", "Seconds since a leading clock last ticked.", lag)
    drifting, ago = (reconciled["contracts"], reconciled["seconds"]) if reconciled else (None, None)
    yield from _gauge("matricule_seat_drift", "Contracts with seats that do not add up.", drifting)
    yield from _gauge("matricule_seats_compared_seconds", "The age of the last comparison of seats.", ago)
    oldest = status["database"]["transaction_seconds"]
    yield from _gauge("matricule_oldest_transaction_seconds", "The age of the oldest transaction.", oldest)


__all__ = ["CONTENT_TYPE", "write_metrics"]
