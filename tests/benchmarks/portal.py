"""The portal that sends in the benchmarks; its key is in the environment, for senders in a process of their own."""

import os
from typing import Final
from uuid import UUID

from tests.kit.builders.portals import make_portal
from workers.portal_client import Door, PortalClient

DOOR: Final = "BENCH_DOOR"


def add_sender(door: Door) -> UUID:
    """Records a portal that sends by this door; returns its identifier."""
    made = make_portal("bench")
    os.environ |= {"PORTAL_NAME": made.portal, "PORTAL_KEY_ID": made.key_id, "PORTAL_QUEUE_SECRET": made.secret}
    os.environ[DOOR] = door
    return made.portal_id


def open_client() -> PortalClient:
    """Opens the client of that portal."""
    door: Door = "stream" if os.environ[DOOR] == "stream" else "list"
    return PortalClient(
        os.environ["REDIS_URL"],
        portal=os.environ["PORTAL_NAME"],
        key_id=os.environ["PORTAL_KEY_ID"],
        secret=os.environ["PORTAL_QUEUE_SECRET"],
        door=door,
        namespace=os.environ["REDIS_NAMESPACE"],
    )
