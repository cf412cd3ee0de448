"""Sends what one endpoint is owed, until nothing more is due, it is to be left alone, or the process stops.

Each endpoint has a run of its own, with its own claims, connections and tasks: one that hangs delays no other.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol, TypeVar
from uuid import UUID

from models.webhook_delivery import FAILURES_TO_REST, WebhookAnswer
from workers.database import Session
from workers.engine.stopping import DRAINING
from workers.engine.wake import WAKER
from workers.requests.queues import WEBHOOKS
from workers.webhooks.claims import FIRST_LANE, ClaimedWebhook, TargetEndpoint, claim_webhooks, give_back
from workers.webhooks.guard import RefusedTarget, Resolver
from workers.webhooks.outcomes import TryRecorder
from workers.webhooks.posting import EndpointConnections
from workers.webhooks.recording import WebhookTry

Answer = TypeVar("Answer")

MOST_CLAIMED: Final = 256
"""The most webhooks that a run holds; it begins with few, because those of a slow endpoint wait under their leases."""

QUICK_SECONDS: Final = 2.0
"""A claim that is done in this time is followed by one of twice as many."""


class SendingProcess(Protocol):
    """The parts of its process that a run needs.

    ``held`` are the webhooks that this process holds; their leases are renewed.
    """

    lease: float
    connections: int
    me: UUID
    held: dict[UUID, ClaimedWebhook]
    recorder: TryRecorder
    resolver: Resolver

    @property
    def stopping(self) -> bool:
        """Whether the process is asked to stop."""

    async def transact(self, work: Callable[[Session], Answer]) -> Answer:
        """Does work in a transaction, in a thread; tries again while the database is away."""


class EndpointRun:
    """One run for an endpoint.

    Twice as many tasks as connections: while the outcome of one is committed, another uses its connection. So a kill
    repeats at most twice as many webhooks as there are connections.

    Parameters:
      endpoint_id: the endpoint.
      process: the process that sends.
    """

    def __init__(self, endpoint_id: UUID, process: SendingProcess) -> None:
        self.sent = 0
        self._endpoint_id = endpoint_id
        self._process = process
        self._lanes: deque[deque[ClaimedWebhook]] = deque()
        self._sending = asyncio.Semaphore(process.connections)
        self._claiming = asyncio.Lock()
        self._size = 2 * process.connections
        self._claimed_at = 0.0
        self._cursor = FIRST_LANE
        self._dry = False  # nothing more was due at the last claim
        self._over = False  # the endpoint is to be left alone
        self._failures = 0  # in a row, in this run
        self._connections: dict[str, EndpointConnections] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Sends until nothing more is due. What was claimed and not sent is given back."""
        try:
            self.look_again()
            while self._tasks:
                done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                self._tasks -= done
                for task in done:
                    task.result()
        finally:
            self._over = True
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._give_back([one for lane in self._lanes for one in lane])
            for connections in self._connections.values():
                await connections.close()

    def look_again(self) -> None:
        """Looks for what has become due meanwhile, if a task is free: all that are under way may be hanging."""
        if not self._is_over and not self._claiming.locked():
            self._dry = False
            self._start_tasks(1)

    def _start_tasks(self, number: int) -> None:
        for _ in range(min(number, 2 * self._process.connections - len(self._tasks))):
            self._tasks.add(asyncio.create_task(self._send_lanes()))

    async def _send_lanes(self) -> None:
        """Sends one lane after the other; of each, one webhook, and the rest has its turn behind the other lanes."""
        while (lane := await self._next_lane()) is not None:
            if await self._send_first(lane) and lane:
                self._lanes.append(lane)
            elif lane:
                await self._give_back(lane)

    async def _next_lane(self) -> deque[ClaimedWebhook] | None:
        if not self._lanes:
            async with self._claiming:  # the others wait for what one of them claims
                if not self._lanes and not self._dry and not self._is_over:
                    await self._claim()
        if not self._lanes or self._is_over:
            return None
        return self._lanes.popleft()

    @property
    def _is_over(self) -> bool:
        return self._over or self._process.stopping or DRAINING.is_set()

    async def _claim(self) -> None:
        """Claims more, and starts tasks for it."""
        process, size, cursor = self._process, self._next_size(), self._cursor
        lanes = await process.transact(
            lambda session: claim_webhooks(
                session, self._endpoint_id, size=size, lease=process.lease, worker=process.me, cursor=cursor
            )
        )
        self._dry = not lanes
        for lane in lanes:
            process.held.update({one.id: one for one in lane})
            self._cursor = max(self._cursor, lane[0].lane)
            self._lanes.append(deque(lane))
        if sum(map(len, lanes)) < size:
            self._cursor = FIRST_LANE
        else:
            WAKER.wake_soon(WEBHOOKS)  # more is waiting than one process claims at once
        self._start_tasks(len(lanes) - 1)  # one of them is claimed for the task that called this

    def _next_size(self) -> int:
        now, least = asyncio.get_running_loop().time(), 2 * self._process.connections
        quick = now - self._claimed_at < QUICK_SECONDS
        if self._claimed_at:
            self._size = min(MOST_CLAIMED, 2 * self._size) if quick else max(least, self._size // 2)
        self._claimed_at = now
        return self._size

    async def _send_first(self, lane: deque[ClaimedWebhook]) -> bool:
        """Sends the first webhook of a lane; returns whether the next may follow."""
        webhook = lane[0]
        try:
            async with self._sending:
                if self._is_over or not webhook.is_held:
                    return False
                lane.popleft()
                tried = await self._post(webhook)
            self._count(tried.answer)
            rests = await self._process.recorder.record(tried)
        finally:
            self._process.held.pop(webhook.id, None)
        self._over = self._over or rests
        return tried.answer.accepted

    async def _post(self, webhook: ClaimedWebhook) -> WebhookTry:
        try:
            return await self._connected(webhook.endpoint).post(webhook)
        except RefusedTarget as refused:
            return WebhookTry(webhook, WebhookAnswer(None, refused.reason), 0)

    def _connected(self, endpoint: TargetEndpoint) -> EndpointConnections:
        """Returns the connections to the endpoint; to its new URL, if that was changed during the run."""
        url = endpoint.url
        if url not in self._connections:
            resolve = partial(self._process.resolver.addresses, endpoint.portal_id)
            self._connections[url] = EndpointConnections(url, self._process.connections, resolve)
        return self._connections[url]

    def _count(self, answer: WebhookAnswer) -> None:
        self.sent += 1
        self._failures = 0 if answer.accepted else self._failures + 1
        if self._failures >= FAILURES_TO_REST or answer.pause is not None or answer.gone:
            self._over = True  # it is not sent more while this is being recorded

    async def _give_back(self, webhooks: Sequence[ClaimedWebhook] | deque[ClaimedWebhook]) -> None:
        """Gives back what was not sent; if that fails, the leases run out."""
        left = list(webhooks)
        if not left:
            return
        for webhook in left:
            self._process.held.pop(webhook.id, None)
        await self._process.transact(lambda session: give_back(session, left))
