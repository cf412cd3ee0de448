"""Seats given back because nobody ever activated the account: when somebody is warned, and when the seat goes."""

from datetime import timedelta
from typing import Final

WARNED_BEFORE: Final = timedelta(days=7)
"""How long before its release a seat's holder is warned, at least."""

LEAST_RELEASE_DAYS: Final = 14
"""Days somebody has at least: a week until they are warned, and a week after."""

MOST_RELEASE_DAYS: Final = 3_650
