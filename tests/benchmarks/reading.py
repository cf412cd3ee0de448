"""Reads a roster to its end in a separate process and prints its rows and its peak memory in MB.

getrusage is not used: on Linux a child process inherits the peak of its parent, so the value is the larger of the two.
"""

import os
import sys
from pathlib import Path

from tests.benchmarks.usage import peak_memory
from workers.rosters.reader import read_rows, survey

if __name__ == "__main__":
    with Path(sys.argv[1]).open("rb") as file:
        reading = survey(file)
        rows = sum(1 for _ in read_rows(file, reading))
    print(rows, peak_memory([os.getpid()]))
