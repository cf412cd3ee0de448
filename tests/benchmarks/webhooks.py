"""Measures webhooks told to a fast receiver by one sender process, beside httpx2 alone with as many connections.

Both post the same body to the same receiver. The sender claims, signs, keeps the order of each resource and commits
each outcome; httpx2 does nothing of that.
"""

import subprocess
import time
from functools import partial
from typing import Final

from tests.benchmarks.measure import ROUNDS, Figure, Run, alternate, ratio_figure
from tests.benchmarks.system import System, Trial
from tests.benchmarks.usage import listed, per_piece, since
from tests.kit.processes.support import change
from workers.settings import Settings

COUNT: Final = 10_000
GOAL: Final = 0.50
CONNECTIONS: Final = int(Settings.model_fields["webhook_connections"].default)
LOOK_SECONDS: Final = 0.05

BODY: Final = (
    '{"type": "participant.enrolled", "timestamp": "2026-11-30T08:00:00.000Z", "data": {"sequence": 1, "portal": "lms",'
    ' "enrollment_id": "0198f0c2-7d3e-7c11-9a55-3f2b8f0f2a11", "account_id": "0198f0c2-7d3e-7c11-9a55-3f2b8f0f2a12",'
    ' "contract": "CTR-2026-001", "company": "E-1", "training": "F-1", "progress": "not_started"}}'
)

ADD_ENDPOINT = """
    INSERT INTO webhook_endpoint (id, portal_id, reference, url, master_id)
    SELECT gen_random_uuid(), id, 'hook', :url, 'bench' FROM portal LIMIT 1"""

# As many as the number, each about a resource of its own: what a roster of so many people owes.
OWE = """
    INSERT INTO webhook (id, queue, lane, endpoint_id, portal_id, event, resource, sequence, payload, state, due_at,
      expires_at)
    SELECT gen_random_uuid(), 'webhooks', gen_random_uuid(), e.id, e.portal_id, 'participant.enrolled',
      'enrollment:' || n, 1, CAST(:body AS json), 'owed', now(), now() + interval '1 day'
    FROM webhook_endpoint e, generate_series(1, :count) n"""

DELIVERED = "SELECT count(*) FROM webhook WHERE finished_at IS NOT NULL"
RATE = "SELECT (count(*) - 1) / extract(epoch FROM max(finished_at) - min(finished_at)) FROM webhook"


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures the sender and the limit in turn."""
    count = 1_000 if short else COUNT
    series = alternate(partial(plain, system, count), partial(ours, system, count), rounds=1 if short else ROUNDS)
    return [ratio_figure("webhooks", series, unit="webhooks", goal=GOAL, short=short)]


def ours(system: System, count: int) -> Run:
    """Measures webhooks per second of one sender process, from the first recorded to the last."""
    with system.trial() as trial:
        receiver, url = _start_receiver(trial)
        change(ADD_ENDPOINT, url=url)
        change(OWE, body=BODY, count=count)
        change("ANALYZE webhook")
        sender = trial.start("workers.cli", "webhooks")
        meter = trial.meter(sender=sender, receiver=receiver)
        trial.wait(lambda: trial.number(DELIVERED), pause=LOOK_SECONDS)
        before, earlier = meter.read(), trial.number(DELIVERED)
        trial.wait(lambda: trial.number(DELIVERED) >= count, pause=LOOK_SECONDS)
        used = since(before, meter.read())
        cpu_ms = {kind: 1000 * spent / (count - earlier) for kind, spent in used.items()}
        return Run(trial.number(RATE), {"CPU ms per webhook": listed(cpu_ms), "connections": str(CONNECTIONS)})


def plain(system: System, count: int) -> Run:
    """Measures posts per second of httpx2."""
    with system.trial() as trial:
        receiver, url = _start_receiver(trial)
        sender = trial.start("tests.benchmarks.plain_webhooks", url, str(count), str(CONNECTIONS))
        meter = trial.meter(sender=sender, receiver=receiver)
        used = before = meter.read()
        while sender.poll() is None:
            used = meter.read()
            time.sleep(LOOK_SECONDS)
        first, last = map(float, (trial.folder / "1.log").read_text().split())
        spent = since(before, used)
        cpu = per_piece({kind: spent[kind] for kind in ("sender", "receiver")}, count)
        return Run((count - 1) / (last - first), {"CPU ms per webhook": cpu})


def _start_receiver(trial: Trial) -> tuple[subprocess.Popen[bytes], str]:
    port_file = trial.folder / "port"
    receiver = trial.start("tests.benchmarks.fast_receiver", str(port_file))
    trial.wait(port_file.exists)
    return receiver, f"http://127.0.0.1:{port_file.read_text()}/hook"
