"""The limits of accepting over HTTP: bare FastAPI routes that insert a row for each request, in a separate process.

python -m tests.benchmarks.plain_routes PORT serves `/one`, where each request inserts its row and commits it, and
`/batch`, where one thread inserts the rows of all requests that wait and commits them together. Neither checks a key,
a right or a repeat.
"""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from queue import Empty, SimpleQueue
from typing import Final
from uuid import uuid4

import psycopg
import uvicorn
from fastapi import FastAPI, Request
from psycopg.types.json import Json
from pydantic import BaseModel

INSERT: Final = "INSERT INTO plain_request (id, request) VALUES (%s, %s)"
BUNDLE: Final = 200


class PlainPerson(BaseModel):
    """A person to enrol."""

    email: str
    first_name: str
    last_name: str
    external_id: str | None = None


class PlainEnroll(BaseModel):
    """A request."""

    people: list[PlainPerson]


class Pool:
    """Connections that threads take in turn, without the care that a real pool takes of them."""

    def __init__(self, url: str, size: int) -> None:
        self._free: SimpleQueue[psycopg.Connection[tuple[object, ...]]] = SimpleQueue()
        for _ in range(size):
            self._free.put(psycopg.connect(url))

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
        """Lends a connection."""
        taken = self._free.get()
        try:
            yield taken
        finally:
            self._free.put(taken)


class Batch:
    """Requests that one thread inserts together."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._queue: SimpleQueue[tuple[str, PlainEnroll, asyncio.Future[None]]] = SimpleQueue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, daemon=True).start()

    async def insert(self, number: str, asked: PlainEnroll) -> None:
        """Returns once the row is committed."""
        future = self._loop.create_future()
        self._queue.put((number, asked, future))
        await future

    def _run(self) -> None:
        with psycopg.connect(self._url) as connection:
            while True:
                waiting = [self._queue.get()]
                try:
                    while len(waiting) < BUNDLE:
                        waiting.append(self._queue.get_nowait())
                except Empty:
                    pass
                with connection.cursor() as cursor:
                    cursor.executemany(INSERT, [(one, Json(asked.model_dump())) for one, asked, _ in waiting])
                connection.commit()
                self._loop.call_soon_threadsafe(self._tell, [future for *_, future in waiting])

    @staticmethod
    def _tell(futures: "list[asyncio.Future[None]]") -> None:
        for future in futures:
            future.set_result(None)


def make_app(url: str) -> FastAPI:
    """Makes the application."""
    pool = Pool(url, 10)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.batch = Batch(url)
        yield

    app = FastAPI(openapi_url=None, lifespan=lifespan)

    @app.get("/livez")
    async def alive() -> str:
        return "alive"

    @app.post("/one", status_code=202)
    def one(asked: PlainEnroll) -> dict[str, str]:
        number = str(uuid4())
        with pool.connection() as connection:
            connection.execute(INSERT, (number, Json(asked.model_dump())))
            connection.commit()
        return {"id": number, "state": "queued"}

    @app.post("/batch", status_code=202)
    async def batch(asked: PlainEnroll, http: Request) -> dict[str, str]:
        number = str(uuid4())
        await http.app.state.batch.insert(number, asked)
        return {"id": number, "state": "queued"}

    return app


def main() -> None:
    url = os.environ["DATABASE_URL"].replace("+psycopg", "")
    uvicorn.run(make_app(url), port=int(sys.argv[1]), http="h11", loop="asyncio", access_log=False, log_config=None)


if __name__ == "__main__":
    main()
