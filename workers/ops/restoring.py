"""Restores a backup into an empty database, and reconciles what it says with what happened since it was taken."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, NamedTuple

from alembic.command import upgrade
from sqlalchemy import text

from models.portal import LOCAL_PORTAL_ID
from models.words import EmailState
from workers.audit import record
from workers.database import APPLICATION, Session, read_whole_tables, transaction
from workers.ops.backup import BackupContent, put_back_documents, read_backup
from workers.ops.dumping import check, load
from workers.ops.reconciliation import SeatDrift, find_drift
from workers.revisions import configuration, is_known
from workers.sql import change, fetch_one, fetch_value

SEQUENCE_LEAP: Final = 1_000_000
"""The number by which the events of each resource are numbered higher after a restore. Receivers drop an event with a
lower number than they have, and those of the time between the backup and the loss have been told."""

# Counts the tables, views and sequences of people in the database; those of PostgreSQL itself are none.
COUNT_RELATIONS: Final = text(r"""
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'""")

# Counts the processes of Matricule, and not this one, that are connected to the database.
COUNT_CONNECTED: Final = text(f"""
    SELECT count(DISTINCT a.application_name) FROM pg_stat_activity a
    WHERE a.datname = current_database() AND starts_with(a.application_name, '{APPLICATION}')
      AND a.application_name <> current_setting('application_name')""")

# Numbers the events of each resource higher than any that was told since the backup.
RAISE_SEQUENCES: Final = text(f"UPDATE resource_sequence SET sequence = sequence + {SEQUENCE_LEAP}")

# Counts what the backup left to be done.
COUNT_UNFINISHED: Final = text(f"""
    SELECT (SELECT count(*) FROM job j WHERE j.finished_at IS NULL) AS jobs,
      (SELECT count(*) FROM email e WHERE e.state IN ('{EmailState.OWED}', '{EmailState.SENDING}')) AS mails,
      (SELECT count(*) FROM contract c) AS contracts""")

RestoreRefusal = Literal["not_empty", "in_use", "later_release"]


class Unfinished(NamedTuple):
    """The work that the backup left to be done, and the number of contracts with seats that were compared."""

    jobs: int
    mails: int
    contracts: int


class Restored(NamedTuple):
    """The result of a restore.

    Parameters:
      unfinished: what goes on when the processes start. Its mails are sent, also those that were sent since the backup.
      drift: contracts with seats that do not add up; a backup is of one moment, so it had them already.
      put, damaged: documents that were put back, and that were left out because their bytes were changed.
    """

    backup: BackupContent
    unfinished: Unfinished
    drift: list[SeatDrift]
    put: int
    damaged: int

    def as_json(self) -> dict[str, Any]:
        """Returns the form in which the command shows it."""
        return {
            "backup": self.backup.as_json(),
            "unfinished": {"jobs": self.unfinished.jobs, "mails": self.unfinished.mails},
            "contracts": self.unfinished.contracts,
            "drift": [one.as_json() for one in self.drift],
            "documents": {"put": self.put, "damaged": self.damaged},
        }


def restore(file: Path, *, replace: bool, requested_by: str, reason: str) -> Restored | RestoreRefusal:
    """Loads a backup into the database, brings its tables up to date, and puts its documents into the store.

    No process may run meanwhile. The load is one transaction; when it fails, or what follows, restore once more.

    Parameters:
      replace: deletes what the database holds.

    Returns: what was found; or `in_use`: processes are connected; `not_empty`: the database holds something;
    `later_release`: this release does not know the tables of the backup. Then nothing was changed.

    Raises:
      InvalidBackup: the file is none, or not a whole one.
      DumpFailed: PostgreSQL could not read or load it.
    """
    with TemporaryDirectory(dir=_room(file), prefix=".restore-") as folder:
        place = Path(folder)
        backup, dumped = read_backup(file, place)
        check(dumped)
        if refusal := _refuse(backup, replace=replace):
            return refusal
        if replace:
            with transaction() as session:
                session.connection().exec_driver_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        load(dumped)
        upgrade(configuration(), "head")
        put, damaged = put_back_documents(file, place)
    with transaction() as session:
        change(session, RAISE_SEQUENCES)
        unfinished, drift = _reconcile(session)
        restored = Restored(backup, unfinished, drift, put, damaged)
        detail = restored.as_json() | {"drift": len(drift), "reason": reason}
        record(session, "restore", portal_id=LOCAL_PORTAL_ID, requested_by=requested_by, detail=detail)
    return restored


def _room(file: Path) -> Path | None:
    """Returns the folder of the backup, which has room for its dump; None (TMPDIR) where it may only be read."""
    folder = file.absolute().parent
    return folder if os.access(folder, os.W_OK) else None


def _refuse(backup: BackupContent, *, replace: bool) -> RestoreRefusal | None:
    if backup.revision is not None and not is_known(backup.revision):
        return "later_release"
    with transaction() as session:
        if fetch_value(session, int, COUNT_CONNECTED):
            return "in_use"
        return "not_empty" if fetch_value(session, int, COUNT_RELATIONS) and not replace else None


def _reconcile(session: Session) -> tuple[Unfinished, list[SeatDrift]]:
    read_whole_tables(session)
    counted = fetch_one(session, Unfinished, COUNT_UNFINISHED)
    return counted or Unfinished(0, 0, 0), find_drift(session)


__all__ = ["RestoreRefusal", "Restored", "restore"]
