"""Reads a roster to its end in a process of its own and prints its rows and its peak memory in kilobytes."""

import resource
import sys
from pathlib import Path

from workers.rosters.reader import read_rows, survey

if __name__ == "__main__":
    with Path(sys.argv[1]).open("rb") as file:
        reading = survey(file)
        rows = sum(1 for _ in read_rows(file, reading))
    print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
