"""Measures a file of a hundred thousand rows, from its bytes to committed enrollments, beside a request with the same
people.

The file is larger than the request because it is an export: two unused columns, Windows-1252, quotes.
"""

import csv
import io
import time
from dataclasses import replace
from typing import Final

from models.portal import LOCAL_PORTAL_ID
from tests.benchmarks.measure import ROUNDS, Figure, Run, alternate, ratio_figure
from tests.benchmarks.population import add_catalog, contract, people, person
from tests.benchmarks.roster import TABLES, large_job, roster
from tests.benchmarks.system import System
from workers.database import transaction
from workers.imports.acceptance import accept_file, digest_of
from workers.requests.imports import ImportRoster
from workers.rosters.reader import read_rows, survey

COLUMNS: Final = ("Service", "Nom", "Prénom", "E-mail", "Date d'entrée")


def run(system: System, *, short: bool) -> list[Figure]:
    """Measures both, which write the same rows. The time counts from the start of the job, so it includes reading the
    file.
    """
    count = 5_000 if short else 100_000
    series = alternate(lambda: roster(system, count), lambda: from_file(system, count), rounds=1 if short else ROUNDS)
    figure = ratio_figure("imports", series, unit="rows", goal=0.80, short=short)
    return [replace(figure, facts={**figure.facts, **reading_alone(count)})]


def from_file(system: System, count: int) -> Run:
    """Measures the import of one file."""

    def prepare() -> None:
        add_catalog(1)
        file = io.BytesIO(written(count))
        request = ImportRoster(contract=contract(0), file=digest_of(file), file_name="export.csv")
        with transaction() as session:
            accept_file(session, LOCAL_PORTAL_ID, file, request, key="import")

    return large_job(system, count, prepare, TABLES)


def written(count: int, start: int = 0) -> bytes:
    """Returns the people of the benchmarks, from this number on, as an HR export writes them."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=";", lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for one in people(count) if not start else map(person, range(start, start + count)):
        writer.writerow(["Atelier; bâtiment B", one.last_name, one.first_name, one.email, "05/03/2024"])
    return file.getvalue().encode("windows-1252")


def reading_alone(count: int) -> dict[str, str]:
    """Measures reading alone, beside Python's csv on the same bytes."""
    file = io.BytesIO(written(count))
    began = time.perf_counter()
    text = io.TextIOWrapper(file, "windows-1252", newline="")
    found = sum(1 for _ in csv.reader(text, delimiter=";")) - 1
    text.detach()
    plain = time.perf_counter() - began
    began = time.perf_counter()
    reading = survey(file)
    surveyed = time.perf_counter() - began
    read = sum(1 for _ in read_rows(file, reading))
    ours = time.perf_counter() - began
    if not found == read == count:
        raise AssertionError("the two readers do not agree")
    return {
        "reading alone, rows/s": f"{count / ours:,.0f}",
        "of it, looking at the whole file first": f"{surveyed / ours:.0%}",
        "csv.reader alone, rows/s": f"{count / plain:,.0f}",
    }
