"""Restores a backup into an empty database, and reconciles what it says with what happened since it was taken."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

from alembic.command import upgrade
from sqlalchemy import text

from models.ops_action import ActionState
from models.portal import LOCAL_PORTAL_ID
from models.words import EmailState
from workers.audit import record
from workers.database import APPLICATION, read_whole_tables, transaction
from workers.documents.store import DocumentStore
from workers.errors import MatriculeError
from workers.ops.backup import BackupContent, put_back_documents, read_backup
from workers.ops.dumping import SET_ASIDE, check, load
from workers.ops.reconciliation import SeatDrift, find_drift
from workers.revisions import configuration, is_known
from workers.settings import get_settings
from workers.sql import change, fetch_one, fetch_value, fetch_values

SEQUENCE_LEAP: Final = 1_000_000
"""The number by which the events of each resource are numbered higher after a restore. Receivers drop an event with a
lower number than they have, and those of the time between the backup and the loss have been told."""

# Counts the tables, views and sequences of people in the database; those of PostgreSQL itself are none.
COUNT_RELATIONS: Final = text(r"""
    SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'""")

# Counts the schemas that an unfinished restore left: one or none.
COUNT_SET_ASIDE: Final = text(f"SELECT count(*) FROM pg_namespace WHERE nspname = '{SET_ASIDE}'")

# Counts the processes of Matricule, and not this one, that are connected to the database.
COUNT_CONNECTED: Final = text(f"""
    SELECT count(DISTINCT a.application_name) FROM pg_stat_activity a
    WHERE a.datname = current_database() AND starts_with(a.application_name, '{APPLICATION}')
      AND a.application_name <> current_setting('application_name')""")

# Numbers the events of each resource higher than any that was told since the backup.
RAISE_SEQUENCES: Final = text(f"UPDATE resource_sequence SET sequence = sequence + {SEQUENCE_LEAP}")

# Stops the actions that ran at the backup: since then they may have ended, or an operator may have stopped them.
STOP_ACTIONS: Final = text(f"""
    UPDATE ops_action SET state = '{ActionState.STOPPED}', note = 'restored', due_at = NULL, finished_at = now()
    WHERE state = '{ActionState.RUNNING}' RETURNING id""")

# Counts what the backup left to be done.
COUNT_UNFINISHED: Final = text(f"""
    SELECT (SELECT count(*) FROM job j WHERE j.finished_at IS NULL) AS jobs,
      (SELECT count(*) FROM email e WHERE e.state IN ('{EmailState.OWED}', '{EmailState.SENDING}')) AS mails,
      (SELECT count(*) FROM contract c) AS contracts""")

RestoreRefusal = Literal["not_empty", "in_use", "later_release", "set_aside"]


class RestoreUnfinished(MatriculeError):
    """A restore changed the database and did not come to its end; the error says how far it came."""


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
      stopped: the actions of operators that ran at the backup, and do not go on.
    """

    backup: BackupContent
    unfinished: Unfinished
    drift: list[SeatDrift]
    put: int
    damaged: int
    stopped: list[UUID]

    def as_json(self) -> dict[str, Any]:
        """Returns the form in which the command shows it."""
        return {
            "backup": self.backup.as_json(),
            "unfinished": {"jobs": self.unfinished.jobs, "mails": self.unfinished.mails},
            "contracts": self.unfinished.contracts,
            "drift": [one.as_json() for one in self.drift],
            "documents": {"put": self.put, "damaged": self.damaged},
            "stopped_actions": self.stopped,
        }


def restore(file: Path, *, replace: bool, requested_by: str, reason: str) -> Restored | RestoreRefusal:
    """Loads a backup into the database, brings its tables up to date, and puts its documents into the store.

    No process may run meanwhile. The load is one transaction. What the database held is set aside in a schema until all
    is done; when the load fails, or is interrupted, it is put back.

    Parameters:
      replace: deletes what the database holds, at the end.

    Returns: what was found; or `in_use`: processes are connected; `not_empty`: the database holds something;
    `set_aside`: it holds what an unfinished restore set aside; `later_release`: this release does not know the tables
    of the backup. Then nothing was changed.

    Raises:
      InvalidBackup: the file is none, or not a whole one.
      DumpFailed: PostgreSQL could not read or load it; the database holds what it held.
      NotConfigured: the documents have no place; nothing was changed.
      RestoreUnfinished: the backup was loaded and a later step failed, or what was set aside could not be put back.
    """
    with TemporaryDirectory(dir=_room(file), prefix=".restore-") as folder:
        place = Path(folder)
        store = DocumentStore.from_settings(get_settings())
        backup, dumped = read_backup(file, place)
        check(dumped)
        if refusal := _refuse(backup, replace=replace):
            return refusal
        with _set_aside() if replace else nullcontext():
            load(dumped)
        with _explained(replace=replace):
            upgrade(configuration(), "head")
            unfinished, stopped = _begin_anew(backup, requested_by, reason)
            put, damaged = put_back_documents(file, place, store)
            with transaction() as session:
                read_whole_tables(session)
                drift = find_drift(session)
            if replace:
                _run(f"DROP SCHEMA {SET_ASIDE} CASCADE")
    return Restored(backup, unfinished, drift, put, damaged, stopped)


@contextmanager
def _set_aside() -> Iterator[None]:
    """Gives the block an empty database; when it fails, the database holds again what it held before.

    An error that is caught here may be a signal as well: what was set aside is put back in any case.
    """
    _run(f"ALTER SCHEMA public RENAME TO {SET_ASIDE}; CREATE SCHEMA public")
    try:
        yield
    except BaseException as failed:
        try:
            _run(f"DROP SCHEMA public; ALTER SCHEMA {SET_ASIDE} RENAME TO public")  # without CASCADE: it must be empty
        except Exception as error:
            raise RestoreUnfinished(
                f"the load failed ({_in_a_line(failed)}), and what the database held is still in the schema"
                f" {SET_ASIDE} ({_in_a_line(error)}): docs/ops/runbook.md says how to put it back"
            ) from error
        raise


@contextmanager
def _explained(*, replace: bool) -> Iterator[None]:
    """Says of any failure of the block, also of a signal, that the backup was loaded."""
    try:
        yield
    except BaseException as error:
        kept = f" What the database held before is in the schema {SET_ASIDE}." if replace else ""
        raise RestoreUnfinished(
            f"loaded, not finished: {_in_a_line(error)}. Start no process: mend the cause and restore once more"
            f" (docs/ops/runbook.md).{kept}"
        ) from error


def _in_a_line(error: BaseException) -> str:
    return " ".join([f"{type(error).__name__}:", *str(error).splitlines()[:1]])


def _run(statements: str) -> None:
    """Runs statements about schemas in one transaction."""
    with transaction() as session:
        session.connection().exec_driver_sql(statements)


def _begin_anew(backup: BackupContent, requested_by: str, reason: str) -> tuple[Unfinished, list[UUID]]:
    """Makes the tables fit to go on from, all or nothing; returns what is left to do, and the stopped actions."""
    with transaction() as session:
        read_whole_tables(session)
        change(session, RAISE_SEQUENCES)
        stopped = fetch_values(session, UUID, STOP_ACTIONS)
        unfinished = fetch_one(session, Unfinished, COUNT_UNFINISHED) or Unfinished(0, 0, 0)
        detail = {
            "backup": backup.as_json(),
            "unfinished": unfinished._asdict(),
            "stopped_actions": [str(one) for one in stopped],
            "reason": reason,
        }
        record(session, "restore", portal_id=LOCAL_PORTAL_ID, requested_by=requested_by, detail=detail)
    return unfinished, stopped


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
        if replace and fetch_value(session, int, COUNT_SET_ASIDE) == 1:
            return "set_aside"
        return "not_empty" if fetch_value(session, int, COUNT_RELATIONS) and not replace else None


__all__ = ["RestoreRefusal", "RestoreUnfinished", "Restored", "restore"]
