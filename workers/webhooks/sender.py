"""The process that sends webhooks: it looks which endpoints are owed something, and starts a run for each.

It looks when it is woken, when something is due, and each five seconds in any case: a wake-up that was lost costs
seconds, and a Redis that is away costs no more.
"""

import asyncio
import gc
import signal
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

from workers.database import Session, autocommit, dispose_engine, is_transient, transaction
from workers.engine.claimer import this_process
from workers.engine.draining import Drain
from workers.engine.heartbeat import Heartbeat
from workers.engine.stopping import DRAINING, STOPPING
from workers.engine.watchdog import (
    ENDED_ITSELF,
    HANGS_AFTER,
    HeartbeatGuard,
    LoopWatch,
    ProcessWatch,
    Turns,
    lost,
)
from workers.errors import NotConfigured
from workers.logs import configure_logs, get_logger
from workers.requests.queues import WEBHOOKS
from workers.settings import get_settings
from workers.webhooks.claims import ClaimedWebhook, find_due_endpoints, renew_leases, rescue, seconds_to_next
from workers.webhooks.endpoint_run import EndpointRun
from workers.webhooks.guard import Resolver
from workers.webhooks.outcomes import TryRecorder
from workers.webhooks.waking import WakeListener

log = get_logger()

Answer = TypeVar("Answer")

LONGEST_SLEEP: Final = 5.0
"""Seconds after which the process looks for due webhooks although nothing woke it."""

SHORTEST_SLEEP: Final = 0.02
"""Seconds between two looks, so that events that come one by one are found together."""

PAUSE_SECONDS: Final = 1.0
"""Seconds before an endpoint is looked at again, of which nothing could be claimed; and while the database is away."""

SET_ASIDE_SECONDS: Final = 30.0
"""Seconds before an endpoint is tried again of which the secret cannot be derived."""

DATABASE_THREADS: Final = 4


class WebhookSender:
    """Sends what all endpoints are owed; several processes may do so at once.

    Parameters:
      lease: seconds for which claimed webhooks are held.
      connections: the most connections to one endpoint.
    """

    def __init__(self, lease: float, connections: int) -> None:
        self.lease = lease
        self.connections = connections
        self.me = this_process()
        self.held: dict[UUID, ClaimedWebhook] = {}
        self._threads = ThreadPoolExecutor(DATABASE_THREADS, thread_name_prefix="database")
        self.recorder = TryRecorder(self._in_thread)
        self.resolver = Resolver()
        self._runs: dict[UUID, tuple[EndpointRun, asyncio.Task[None]]] = {}
        self._aside: dict[UUID, float] = {}
        self._woken = asyncio.Event()
        self._stopped = asyncio.Event()
        self.looks = Turns("look for webhooks", HANGS_AFTER)

    @property
    def stopping(self) -> bool:
        """Whether the process is asked to stop: nothing more is claimed or sent."""
        return self._stopped.is_set()

    @property
    def holds(self) -> bool:
        """Whether something is claimed, or may still be."""
        return bool(self._runs or self.held)

    def wake(self) -> None:
        """Makes the process look for due webhooks now; to be called on the event loop."""
        self._woken.set()

    def stop(self) -> None:
        """Makes the process finish the tries that are under way, and end."""
        STOPPING.set()
        self._stopped.set()
        self._woken.set()

    async def run(self) -> None:
        """Sends until the process is asked to stop."""
        keeper = asyncio.create_task(self._keep_leases())
        keeper.add_done_callback(lambda _: self.stop())  # without it, others would send what this process holds
        try:
            while not self.stopping:
                self._woken.clear()
                seconds = await self._look()
                await asyncio.sleep(SHORTEST_SLEEP)
                await _wait(self._woken, seconds)
        finally:
            self._stopped.set()
            if self._runs:
                await asyncio.wait([task for _, task in self._runs.values()])
            keeper.cancel()
            [ended] = await asyncio.gather(keeper, return_exceptions=True)
            self.close()
        if isinstance(ended, Exception):
            raise ended

    async def send_due(self) -> None:
        """Sends what is due now, and returns when that has ended."""
        while await self._start_runs():
            await asyncio.wait([task for _, task in self._runs.values()])

    def close(self) -> None:
        """Ends the threads."""
        self._threads.shutdown()
        self.resolver.close()

    async def _look(self) -> float:
        """Starts runs for endpoints that are owed something; returns the seconds until it must look again."""
        if DRAINING.is_set():
            return LONGEST_SLEEP
        self.looks.begin()
        try:
            await self._start_runs()
            self.looks.begin()  # a turn is one statement: only that has a limit
            seconds = await self._in_thread(partial(_read, seconds_to_next))
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("look.postponed", exc_info=error)
            return PAUSE_SECONDS
        finally:
            self.looks.rest()
        now = time.monotonic()
        nexts = [LONGEST_SLEEP, *([] if seconds is None else [seconds]), *self._aside_for(now)]
        return max(0.0, min(nexts))

    def _aside_for(self, now: float) -> list[float]:
        self._aside = {endpoint: until for endpoint, until in self._aside.items() if until > now}
        return [until - now for until in self._aside.values()]

    async def _start_runs(self) -> int:
        """Starts a run for each endpoint that is owed something, or tells the one that it has; returns how many."""
        self._aside_for(time.monotonic())
        aside = list(self._aside)
        due = await self._in_thread(partial(_read, lambda session: find_due_endpoints(session, aside)))
        for endpoint_id in due:
            if endpoint_id in self._runs:
                self._runs[endpoint_id][0].look_again()
                continue
            run = EndpointRun(endpoint_id, self)
            task = asyncio.create_task(run.run())
            self._runs[endpoint_id] = run, task
            task.add_done_callback(partial(self._ended, endpoint_id, run))
        return len(due)

    def _ended(self, endpoint_id: UUID, run: EndpointRun, task: "asyncio.Task[None]") -> None:
        """Looks again when a run has ended: more may have become due while it did."""
        del self._runs[endpoint_id]
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("webhooks.run_failed", endpoint=str(endpoint_id), exc_info=error)
        if isinstance(error, NotConfigured):
            self._aside[endpoint_id] = time.monotonic() + SET_ASIDE_SECONDS
        elif error is not None or not run.sent:
            self._aside[endpoint_id] = time.monotonic() + PAUSE_SECONDS
        self._woken.set()

    async def _keep_leases(self) -> None:
        """Renews the leases of what this process holds, and takes back what lost processes held."""
        while True:
            await asyncio.sleep(self.lease / 3)
            try:
                await self._renew()
                if await self._in_thread(partial(_commit, rescue)):
                    self._woken.set()
            except Exception as error:
                if not is_transient(error):
                    raise
                log.warning("lease.not_renewed", exc_info=error)

    async def _renew(self) -> None:
        held = list(self.held.values())
        if not held:
            return
        asked_at = time.monotonic()
        ours = await self._in_thread(partial(_commit, lambda session: renew_leases(session, held, lease=self.lease)))
        for webhook in held:
            webhook.held_until = asked_at + self.lease if webhook.id in ours else 0.0

    async def transact(self, work: Callable[[Session], Answer]) -> Answer:
        """Does work in a transaction, in a thread; tries again while the database is away."""
        while True:
            try:
                return await self._in_thread(partial(_commit, work))
            except Exception as error:
                if not is_transient(error) or self.stopping:
                    raise
                log.warning("webhooks.postponed", exc_info=error)
                await asyncio.sleep(PAUSE_SECONDS)

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _read(work: Callable[[Session], Answer]) -> Answer:
    with autocommit() as session:
        return work(session)


def _commit(work: Callable[[Session], Answer]) -> Answer:
    with transaction() as session:
        return work(session)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass


def _begin_to_beat(sender: WebhookSender, listener: WakeListener, watch: ProcessWatch) -> Heartbeat:
    loop = asyncio.get_running_loop()
    watch.checks += [LoopWatch(loop), sender.looks, lambda: lost({"wake listener": listener})]
    drain = Drain(lambda _: sender.holds, changed=lambda: loop.call_soon_threadsafe(sender.wake))
    alive = Heartbeat(sender.me, WEBHOOKS, watch.look, drain, watch.wait_for_database)
    alive.start()
    HeartbeatGuard(alive).start()
    return alive


async def send_until_stopped(
    watch: ProcessWatch, signals: Iterable[signal.Signals] = (signal.SIGTERM, signal.SIGINT)
) -> None:
    """Sends webhooks, with the heartbeat of this process, until it gets one of the signals."""
    settings, loop = get_settings(), asyncio.get_running_loop()
    sender = WebhookSender(settings.lease_seconds, settings.webhook_connections)
    for signum in signals:
        loop.add_signal_handler(signum, sender.stop)
    listener = WakeListener(WEBHOOKS, lambda: loop.call_soon_threadsafe(sender.wake))
    listener.start()
    alive = _begin_to_beat(sender, listener, watch)
    try:
        await sender.run()
    finally:
        listener.stop()
        alive.leave()


def run() -> None:
    """Runs the process, with its heartbeat, until SIGTERM or SIGINT.

    Raises: SystemExit when the process ends because it works no more.
    """
    configure_logs(get_settings().log_level)
    watch = ProcessWatch()
    gc.collect()  # imported modules are never freed: collections need not read them again
    gc.freeze()
    log.info("process.started", queues=[WEBHOOKS], process=str(this_process()), python=sys.version.split()[0])
    asyncio.run(send_until_stopped(watch))
    dispose_engine()
    log.info("process.stopped", process=str(this_process()))
    if watch.has_ended:
        sys.exit(ENDED_ITSELF)
