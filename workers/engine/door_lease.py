"""The lease of a door: one process reads what portals send through it, so that requests keep the order of sending.

A door is a place in Redis through which portals send requests: the queue `requests`. Two readers of one door would
fetch in order and record in any order. So one of them holds the door by a key that expires, and the others look now and
then whether it is free. The script that fetches asks for the lease itself, so a process that lost it fetches nothing.

What the lease does not promise: that only its holder *records*. A process that froze with requests in hand wakes up
after another has recorded the same requests, and records them once more. That does no harm: the next holder begins with
what the last one had taken and not acknowledged, in its order, so the late one only repeats what stands in the
ledger; keys make a repeat harmless, and the locks of lanes let one of two such transactions wait for the other.
"""

import os
import socket
from typing import Final

import redis

HOLD_SECONDS: Final = 3.0
"""Seconds after which a lease ends that its holder does not renew: the longest pause of a door after a SIGKILL.

Shorter, and a process that waits for its turn on a busy machine would lose the door all the time; longer, and each
killed reader would keep portals waiting. A lease that is lost too early costs a repetition and no more.
"""

RENEW_SECONDS: Final = 1.0
"""Seconds between two renewals while requests are recorded; two may be late."""

LOOK_SECONDS: Final = 1.0
"""Seconds between two looks of a process that waits for a door: how soon it follows a holder that leaves in order."""

HOLD: Final = """
local function hold(lease, me, milliseconds)
  local holder = redis.call('get', lease)
  if holder and holder ~= me then
    local left = redis.call('pttl', lease)
    if left >= 0 and left <= 10 * milliseconds then
      return false
    end
  end
  redis.call('set', lease, me, 'px', milliseconds)
  return true
end
"""
"""A function for scripts that fetch from a door: takes or renews the lease; false while another process holds it.

A lease that lasts for much longer was given while the clock of Redis was ahead, and its holder may be long dead.
"""

# A Redis over its memory limit still lets a door be read, which frees memory (`allow-oom`).
RENEW: Final = f"#!lua flags=allow-oom\n{HOLD}return hold(KEYS[1], ARGV[1], tonumber(ARGV[2])) and 1 or 0"

RELEASE: Final = """#!lua flags=allow-oom
if redis.call('get', KEYS[1]) == ARGV[1] then
  redis.call('del', KEYS[1])
end
"""


class DoorLease:
    """The lease of one door, as one process asks for it.

    Parameters:
      namespace: the prefix of the keys of Matricule.
      door: the name of the door.
      reader: the identifier of this process.
    """

    def __init__(self, client: redis.Redis, namespace: str, door: str, reader: str) -> None:
        self.key = lease_key(namespace, door)
        self.holder = f"{socket.gethostname()}:{os.getpid()}:{reader}"
        """The value of the key: the host and number of the process, for people, and its identifier."""
        self._renew = client.register_script(RENEW)
        self._release = client.register_script(RELEASE)

    @property
    def milliseconds(self) -> int:
        """How long the lease lasts without a renewal."""
        return int(HOLD_SECONDS * 1000)

    def renew(self) -> bool:
        """Takes the lease or makes it last; returns False while another process holds it.

        Raises: redis.RedisError.
        """
        return bool(self._renew(keys=[self.key], args=[self.holder, self.milliseconds]))

    def release(self) -> None:
        """Ends the lease if this process holds it, so that another need not wait until it expires.

        Raises: redis.RedisError.
        """
        self._release(keys=[self.key], args=[self.holder])


def lease_key(namespace: str, door: str) -> str:
    """Returns the key in Redis that names the holder of a door."""
    return f"{namespace}:{door}.holder"


def read_holder(client: redis.Redis, namespace: str, door: str) -> str | None:
    """Reads which process holds a door, as `host:number of the process`; returns None while none does.

    Raises: redis.RedisError.
    """
    holder = client.get(lease_key(namespace, door))
    return holder.decode(errors="replace").rpartition(":")[0] if isinstance(holder, bytes) else None
