"""The columns of a file of participants behind those of the model: what is known of each of them.

Such a file is corrected in a spreadsheet and imported again: the columns of the model are read, these passed over.
Cells that a spreadsheet would run are guarded in it, so the reader must know it by these columns.
"""

from typing import Final

from models.words import DeliveryState, Progress
from workers.rosters.columns import RosterHeader, column_name

KNOWN_COLUMNS: Final = {
    "fr": (
        *("Progression", "Commencé le", "Terminé le", "Inscrit le", "Compte activé le"),
        *("État du dernier message", "Date du dernier message", "Inscription"),
    ),
    "en": (
        *("Progress", "Started on", "Completed on", "Enrolled on", "Account activated on"),
        *("State of the last message", "Date of the last message", "Enrollment"),
    ),
}
"""The columns by language; the last one is the identifier of the enrollment."""

PROGRESS_WORDS: Final = {
    "fr": {
        Progress.NOT_STARTED: "non commencé",
        Progress.IN_PROGRESS: "en cours",
        Progress.COMPLETED: "terminé",
    },
    "en": {
        Progress.NOT_STARTED: "not started",
        Progress.IN_PROGRESS: "in progress",
        Progress.COMPLETED: "completed",
    },
}

MAIL_WORDS: Final = {
    "fr": {
        DeliveryState.QUEUED: "en attente",
        DeliveryState.DEFERRED: "reporté",
        DeliveryState.SENT: "envoyé",
        DeliveryState.UNCERTAIN: "incertain",
        DeliveryState.UNDELIVERABLE: "non distribuable",
        DeliveryState.COMPLAINED: "signalé comme indésirable",
        DeliveryState.NOT_SENT: "non envoyé",
    },
    "en": {
        DeliveryState.QUEUED: "queued",
        DeliveryState.DEFERRED: "deferred",
        DeliveryState.SENT: "sent",
        DeliveryState.UNCERTAIN: "uncertain",
        DeliveryState.UNDELIVERABLE: "undeliverable",
        DeliveryState.COMPLAINED: "reported as spam",
        DeliveryState.NOT_SENT: "not sent",
    },
}


def carries_known_columns(header: RosterHeader) -> bool:
    """Tells whether this is a file of participants that is imported again: it has all of our columns."""
    there = {column_name(column.header) for column in header.ignored}
    return any(there.issuperset(names) for names in _NAMES)


_NAMES: Final = tuple(frozenset(map(column_name, columns)) for columns in KNOWN_COLUMNS.values())
