"""Sends messages that do nothing to the no-op workers, as fast as it can, in a separate process.

python -m tests.benchmarks.noop_sender COUNT BATCH prints when it sent the first and when the last, in seconds. With a
batch of 1 it is dramatiq's own `enqueue`; larger batches are written together, which dramatiq cannot do by itself.
"""

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from dramatiq.brokers.redis import RedisBroker
from dramatiq.message import Message

NAMESPACE = "noop"
QUEUE = "default"


def noop_broker(url: str) -> RedisBroker:
    """Returns a broker without middleware that only sends."""
    return RedisBroker(url=url, namespace=NAMESPACE, middleware=[])  # type: ignore[no-untyped-call]


def noop_message(number: int) -> Message[None]:
    """Returns the message with this number."""
    return Message(queue_name=QUEUE, actor_name="noop", args=(number,), kwargs={}, options={})


def send(count: int, batch: int) -> tuple[float, float]:
    """Sends all messages; returns when it sent the first and when the last."""
    messages = [noop_message(number) for number in range(count)]
    broker = noop_broker(os.environ["REDIS_URL"])
    began = time.time()
    if batch == 1:
        for message in messages:
            broker.enqueue(message)
    else:
        for start in range(0, count, batch):
            _write(broker, messages[start : start + batch])
    ended = time.time()
    broker.client.close()
    return began, ended


def _write(broker: RedisBroker, messages: Sequence[Message[None]]) -> None:
    """Writes what `enqueue` writes, for many messages in one round trip."""
    key = f"{NAMESPACE}:{QUEUE}"
    encoded: dict[Any, Any] = {
        message.message_id: message.copy(options={"redis_message_id": message.message_id}).encode()
        for message in messages
    }
    with broker.client.pipeline(transaction=False) as pipeline:
        pipeline.hset(f"{key}.msgs", mapping=encoded)
        pipeline.rpush(key, *encoded)
        pipeline.execute()


if __name__ == "__main__":
    print(*send(int(sys.argv[1]), int(sys.argv[2])))
