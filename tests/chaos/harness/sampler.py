"""The sampler reads all seats in one snapshot, again and again while the storm goes on."""

import threading
from typing import Final

import psycopg

from tests.chaos.harness.evidence import READ_CONTRACTS, Seats
from tests.chaos.harness.system import ChaosSystem

SAMPLE_SECONDS: Final = 0.5


class Sampler(threading.Thread):
    """Compares seats sold, counted, taken and recorded until it is told to end."""

    def __init__(self, system: ChaosSystem) -> None:
        super().__init__(name="sampler", daemon=True)
        self.system = system
        self.samples = 0
        self._ending = threading.Event()

    def run(self) -> None:
        while not self._ending.wait(SAMPLE_SECONDS):
            try:
                with self.system.connect() as connection:
                    while not self._ending.wait(SAMPLE_SECONDS):
                        self._sample([Seats(**row) for row in connection.execute(READ_CONTRACTS.encode())])
            except psycopg.Error:
                continue  # the database is away: the next sample waits for it

    def end(self) -> None:
        """Takes no further sample."""
        self._ending.set()
        self.join()

    def _sample(self, contracts: list[Seats]) -> None:
        self.samples += 1
        for seats in contracts:
            if seats.fault:
                self.system.history.add("oversold", contract=seats.reference, fault=seats.fault)
