"""Notes in Redis about messages that a door has trouble with, for the status to tell; the ledger may be what fails.

They are two hashes beside the keys of the door:

* `….given_back`: the first message that is not recorded, and how often readers gave it back. Whichever process
  acknowledges a message deletes it: the door goes on then.
* `….at_fault`: how many messages were refused because the database failed on them alone. It is told for a day.
"""

from typing import Final, NamedTuple, cast

import redis

GIVEN_BACK_SECONDS: Final = 3_600
"""Seconds after which the note is gone if no reader gives that message back any more."""

AT_FAULT_SECONDS: Final = 86_400
"""Seconds after the last refused message for which operators are told; a day, because a disk may be failing."""

# Counts how often in a row a message was given back, since when by the clock of Redis, and the last reason.
NOTE_GIVEN_BACK: Final = """#!lua flags=allow-oom
local note = KEYS[1]
if redis.call('hget', note, 'message') ~= ARGV[1] then
  redis.call('del', note)
  redis.call('hset', note, 'message', ARGV[1], 'since', redis.call('time')[1])
end
redis.call('hincrby', note, 'times', 1)
redis.call('hset', note, 'reason', ARGV[2])
redis.call('expire', note, ARGV[3])
"""

# Counts messages that were refused for a fault of the database, with the last reason and its time.
NOTE_AT_FAULT: Final = """#!lua flags=allow-oom
redis.call('hincrby', KEYS[1], 'number', 1)
redis.call('hset', KEYS[1], 'reason', ARGV[1], 'since', redis.call('time')[1])
redis.call('expire', KEYS[1], ARGV[2])
"""


class GivenBackMessage(NamedTuple):
    """A message that was given back.

    Parameters:
      message: its identifier in Redis.
      reason: the code of the error for which it could not be recorded the last time, or `newer_release`.
      times: how often in a row it was given back.
      seconds: the seconds since the first time.
    """

    message: str
    reason: str
    times: int
    seconds: float


class MessagesAtFault(NamedTuple):
    """The messages that were refused because the database failed on each of them alone.

    Parameters:
      number: how many.
      reason: the code of the error of the last one.
      seconds: the seconds since the last one.
    """

    number: int
    reason: str
    seconds: float


class DoorNotes:
    """The notes about one door.

    Parameters:
      namespace: the prefix of the keys of Matricule.
      door: the name of the door.
    """

    def __init__(self, client: redis.Redis, namespace: str, door: str) -> None:
        self._client = client
        self._given_back = f"{namespace}:{door}.given_back"
        self._at_fault = f"{namespace}:{door}.at_fault"

    def note_given_back(self, message: bytes, reason: str) -> None:
        """Notes that a reader gave this message back.

        Raises: redis.RedisError.
        """
        script = self._client.register_script(NOTE_GIVEN_BACK)
        script(keys=[self._given_back], args=[message, reason, GIVEN_BACK_SECONDS])

    def note_at_fault(self, reason: str) -> None:
        """Notes that one message more was refused for this error of the database.

        Raises: redis.RedisError.
        """
        self._client.register_script(NOTE_AT_FAULT)(keys=[self._at_fault], args=[reason, AT_FAULT_SECONDS])

    def given_back(self) -> GivenBackMessage | None:
        """Reads which message the readers give back; returns None when the door goes on.

        Raises: redis.RedisError.
        """
        note, seconds = self._read(self._given_back)
        return GivenBackMessage(note["message"], note["reason"], int(note["times"]), seconds) if note else None

    def at_fault(self) -> MessagesAtFault | None:
        """Reads how many messages were refused for a fault of the database; returns None when there was none for a day.

        Raises: redis.RedisError.
        """
        note, seconds = self._read(self._at_fault)
        return MessagesAtFault(int(note["number"]), note["reason"], seconds) if note else None

    def _read(self, key: str) -> tuple[dict[str, str], float]:
        """Reads a note and its age in seconds, both by the clock of Redis."""
        note = cast("dict[bytes, bytes]", self._client.hgetall(key))
        if not note:
            return {}, 0.0
        texts = {name.decode(): value.decode(errors="replace") for name, value in note.items()}
        return texts, max(0.0, float(self._client.time()[0]) - float(texts["since"]))
