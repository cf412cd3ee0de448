"""Takes in the file of a call: its body, or the one file of a form, a megabyte at a time."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import PurePath
from typing import Final
from uuid import UUID

from anyio import CancelScope, current_time, fail_after

from models.words import Code
from workers.api.bodies import BODY_UNTIL, too_large
from workers.api.calls import Call
from workers.api.forms import FormFile, read_boundary
from workers.api.problems import ApiProblem, FieldError, unavailable
from workers.imports.files import PART
from workers.imports.uploads import RosterUpload
from workers.logs import get_logger
from workers.rosters.reader import MAX_BYTES

PART_SECONDS: Final = 60.0
"""Seconds in which the next megabyte must arrive."""

MOST_UPLOADS: Final = 8
"""The most files that one process takes in at once: each is a megabyte or two in memory."""

MOST_OF_PORTAL: Final = 4
"""The most of these of one portal."""

FORM_BYTES: Final = 65_536
"""Bytes that a form may have around its file."""

log = get_logger("api")


class ArrivedFile:
    """A file that has arrived.

    Parameters:
      name: the name that the form gives to it, without folders.
    """

    def __init__(self, upload: RosterUpload, name: str | None) -> None:
        self.upload = upload
        self.name = name


class UploadPlaces:
    """The places for files that arrive at one process."""

    def __init__(self) -> None:
        self._taken: Counter[UUID] = Counter()

    @contextmanager
    def take(self, portal_id: UUID) -> Iterator[None]:
        """Takes a place.

        Raises: ApiProblem with `unavailable` while there is none.
        """
        if self._taken.total() >= MOST_UPLOADS or self._taken[portal_id] >= MOST_OF_PORTAL:
            raise unavailable(5)
        self._taken[portal_id] += 1
        try:
            yield
        finally:
            self._taken[portal_id] -= 1


PLACES: Final = UploadPlaces()


@asynccontextmanager
async def arriving_file(call: Call) -> AsyncIterator[ArrivedFile]:
    """Takes in the file of a call; what is not kept at the end of the block is deleted.

    Raises:
      ApiProblem: it is too large or too slow, or no file.
      starlette.requests.ClientDisconnect: the client left.
    """
    _check_length(call)
    with PLACES.take(call.key.portal_id):
        upload = RosterUpload(call.key.portal_id)
        try:
            yield ArrivedFile(upload, await _take_in(call, upload))
        except BaseException:
            with CancelScope(shield=True):
                await _drop(call, upload)
            raise


def _check_length(call: Call) -> None:
    length = call.http.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > MAX_BYTES + FORM_BYTES:
        raise too_large(MAX_BYTES)


async def _take_in(call: Call, upload: RosterUpload) -> str | None:
    """Reads the body to its end; returns the name that a form gives to the file."""
    boundary = read_boundary(call.http.headers.get("content-type", ""))
    form = None if boundary is None else FormFile(boundary)
    arrived = 0
    async for chunk in _chunks(call):
        arrived += len(chunk)
        whole = upload.add(chunk if form is None else form.feed(chunk))
        if upload.size > MAX_BYTES or arrived > MAX_BYTES + FORM_BYTES:
            raise too_large(MAX_BYTES)
        if whole:
            await call.run(upload.commit)
    if form is not None:
        form.end()
    if not upload.size:
        raise ApiProblem(Code.INVALID_REQUEST, errors=[FieldError("file", Code.EMPTY_FILE, "the file is empty")])
    return None if form is None or form.name is None else PurePath(form.name.replace("\\", "/")).name


async def _chunks(call: Call) -> AsyncIterator[bytes]:
    """Yields the body as it arrives; each megabyte has a time of its own.

    Raises: ApiProblem with `too_slow`.
    """
    body = aiter(call.http.stream())
    until, left = _later(call), PART
    while True:
        try:
            with fail_after(max(0.0, until - current_time())):
                chunk = await anext(body, None)
        except TimeoutError:
            raise ApiProblem(Code.TOO_SLOW, hang_up=True) from None
        if chunk is None:
            return
        left -= len(chunk)
        if left <= 0:
            until, left = _later(call), PART
        yield chunk


def _later(call: Call) -> float:
    """Returns the time by which the next megabyte must have arrived, and lets the server wait for it."""
    until = current_time() + PART_SECONDS
    call.http.scope[BODY_UNTIL] = until + 5
    return until


async def _drop(call: Call, upload: RosterUpload) -> None:
    try:
        await call.run(upload.drop)
    except Exception as error:
        log.warning("upload.not_dropped", request=call.request_id, exc_info=error)  # the purge deletes it
