"""Scans inboxes: folders are read and written outside any transaction, and each decision is committed in between.

Every step may be done twice, or by two scanners at once: the import of a file has one key, reports are written over
themselves, a file that is gone was put away before.
"""

import json
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, BinaryIO, Final

from models.roster import Inbox, name_put_away
from models.words import LOCALES, Code, JobState
from workers.database import Session, is_transient, transaction
from workers.engine import ledger as books
from workers.engine.chunks import keeping_leases
from workers.engine.claimer import STOPPING, BatchRun
from workers.engine.ledger import (
    JOBS,
    ClaimedRow,
    LostClaimError,
    WorkOutcome,
)
from workers.engine.wake import waking_transaction
from workers.i18n.catalogues import code_sentence
from workers.imports import inboxes
from workers.imports.inboxes import SeenFile
from workers.imports.reports import errors_file
from workers.logs import get_logger
from workers.rosters.folder import DONE, REJECTED, DroppedFile, InboxFolder, as_bytes
from workers.rosters.refused import RosterRefused
from workers.rosters.spreadsheet import excel_csv, guarded
from workers.settings import get_settings

log = get_logger()

MOST_STEPS: Final = 1_000
"""Steps of files done in one scan of an inbox; the others have their turn in the next."""

_PART: Final = 1 << 20

MISSING_COLUMNS: Final = {"fr": ("E-mail", "Prénom", "Nom"), "en": ("Email", "First name", "Last name")}


class StoppedError(Exception):
    """This process is asked to stop; the next scan does what is left."""


def scan_inboxes(row: ClaimedRow) -> None:
    """Does one claimed `scan_inboxes` job."""
    with transaction() as session:
        found = inboxes.read_inboxes(session)
    counts: dict[str, int] = {"inboxes": len(found), "unreadable": 0}
    for inbox in found:
        if STOPPING.is_set() or not _renewed(row):
            break
        with keeping_leases([row]):
            counts["unreadable"] += not _scanned(row, inbox)

    def finish(_: Session, held: Sequence[ClaimedRow]) -> Sequence[WorkOutcome]:
        return [WorkOutcome(one.id, one.claim, JobState.SUCCEEDED, counts) for one in held]

    BatchRun(JOBS, finish).run([row])


def _renewed(row: ClaimedRow) -> bool:
    with transaction() as session:
        return bool(books.renew(session, JOBS, [row], lease=get_settings().lease_seconds))


def _scanned(row: ClaimedRow, inbox: Inbox) -> bool:
    """Scans one inbox; returns False when it, or one of its files, could not be read."""
    try:
        fine, trouble = _scan(row, inbox), None
    except Exception as error:
        if _concerns_all(error):
            raise
        fine, trouble = False, type(error).__name__
        log.warning("inbox.unreadable", inbox=str(inbox.id), exc_info=error)
    with transaction() as session:
        inboxes.note_scan(session, inbox, trouble)
    return fine


def _concerns_all(error: Exception) -> bool:
    """Tells whether an error is no fault of this inbox or file: the scan was taken back, or the database is away."""
    return isinstance(error, LostClaimError) or is_transient(error)


def _scan(row: ClaimedRow, inbox: Inbox) -> bool:
    """Does the next step of every file of a folder; returns False when one of them failed.

    Raises: an error of the folder or its manifest. An error of one file keeps no other waiting.
    """
    folder = InboxFolder(inbox.url, _look_at_stopping)
    meant_for = folder.contract()
    dropped = folder.files()
    there = {(one.name, one.version) for one in dropped}
    with transaction() as session:
        seen = inboxes.see_files(session, inbox, dropped)
    due = [one for one in seen if _has_a_step(one, there=(one.name, one.version) in there)]
    fine = not any(one.trouble for one in due[MOST_STEPS:])
    for one in due[:MOST_STEPS]:
        if STOPPING.is_set():
            break
        if not _renewed(row):
            raise LostClaimError("the scan was taken back")
        fine &= _step(inbox, folder, one, meant_for, there=(one.name, one.version) in there)
    return fine


def _has_a_step(seen: SeenFile, *, there: bool) -> bool:
    """Tells whether something is to be done about a file now: it waits while it may be written, and while it runs."""
    if not there or seen.refused is not None:
        return True
    return seen.settled if seen.job_id is None else seen.finished_at is not None


def _step(inbox: Inbox, folder: InboxFolder, seen: SeenFile, meant_for: str | None, *, there: bool) -> bool:
    """Does the next step of one file, and records whether it failed; returns False when it did."""
    trouble = None
    try:
        _look_at(inbox, folder, seen, meant_for, there=there)
    except StoppedError:
        return True
    except FileNotFoundError:
        return True  # it was taken out of the folder meanwhile: the next scan does not find it
    except Exception as error:
        if _concerns_all(error):
            raise
        trouble = type(error).__name__
        log.warning("inbox_file.unreadable", inbox=str(inbox.id), exc_info=error)
    with transaction() as session:
        inboxes.note_trouble(session, inbox, seen, trouble)
    return trouble is None


def _look_at(inbox: Inbox, folder: InboxFolder, seen: SeenFile, meant_for: str | None, *, there: bool) -> None:
    """Does the next step of one file."""
    if not there:
        _forget(inbox, seen)
    elif seen.refused is not None or seen.job_id is not None:
        _conclude(inbox, folder, seen)
    else:
        _take(inbox, folder, seen, meant_for)


def _take(inbox: Inbox, folder: InboxFolder, seen: SeenFile, meant_for: str | None) -> None:
    """Begins the import of a file, or its dry run; a file that cannot be imported here is recorded as refused."""
    if meant_for is not None and meant_for != inbox.contract:
        _refuse(inbox, seen, Code.WRONG_FOLDER)
        return
    dropped = _find(folder, seen)
    if dropped is None or dropped.version != seen.version:
        return  # it changed meanwhile: the next scan sees another version
    try:
        file = folder.fetch(dropped)
    except RosterRefused as refused:
        _refuse(inbox, seen, refused.code)
        return
    with file:
        if folder.version_of(dropped.own_name) != seen.version:
            return
        _begin(inbox, seen, file, dry_run=inbox.most_changed_percent is not None)


def _look_at_stopping() -> None:
    if STOPPING.is_set():
        raise StoppedError


def _begin(inbox: Inbox, seen: SeenFile, file: BinaryIO, *, dry_run: bool) -> None:
    with waking_transaction() as session:
        inboxes.begin_import(session, inbox, seen, file, dry_run=dry_run)


def _refuse(inbox: Inbox, seen: SeenFile, code: Code) -> None:
    with transaction() as session:
        inboxes.refuse_file(session, inbox, seen, code)


def _conclude(inbox: Inbox, folder: InboxFolder, seen: SeenFile) -> None:
    """Imports a file after its dry run, unless it changes too much; puts it away after its import or refusal."""
    if seen.dry_run and seen.refused is None and seen.state == JobState.SUCCEEDED:
        with transaction() as session:
            code = inboxes.weigh_dry_run(session, inbox, seen)
        if code is None:
            _import_for_real(inbox, folder, seen)
            return
        _refuse(inbox, seen, code)
        seen = seen._replace(refused=code)
    _put_away(inbox, folder, seen)


def _import_for_real(inbox: Inbox, folder: InboxFolder, seen: SeenFile) -> None:
    dropped = _find(folder, seen)
    if dropped is None:
        raise FileNotFoundError("the file was taken out of the folder during its dry run")
    with folder.fetch(dropped) as file:
        _begin(inbox, seen, file, dry_run=False)


def _find(folder: InboxFolder, seen: SeenFile) -> DroppedFile | None:
    """Finds the file as it is in the folder now; None when it is gone."""
    return next((one for one in folder.files() if one.name == seen.name), None)


def _put_away(inbox: Inbox, folder: InboxFolder, seen: SeenFile) -> None:
    """Writes the reports, then moves the file: if it dies in between, the reports are written again."""
    where = DONE if seen.refused is None and seen.state == JobState.SUCCEEDED else REJECTED
    stamp = name_put_away(seen.name, seen.version, seen.seen_at)
    folder.put(where, f"{stamp}.report.json", [json.dumps(_report(inbox, seen), ensure_ascii=False, indent=2).encode()])
    if seen.job_id is not None:
        _put_errors(inbox, folder, seen, f"{where}/{stamp}.errors.csv")
        if inbox.full_sync and where == DONE:
            folder.put(where, f"{stamp}.missing.csv", [_missing(inbox, seen)])
    dropped = _find(folder, seen)
    if dropped is not None and dropped.version == seen.version:  # else another file came under its name
        with suppress(FileNotFoundError):
            folder.put_away(dropped.own_name, where, stamp)
    _forget(inbox, seen)


def _put_errors(inbox: Inbox, folder: InboxFolder, seen: SeenFile, path: str) -> None:
    """Writes the refused rows, if any. They are collected on this host first: a folder may be slow, or far away."""
    if seen.job_id is None:
        return
    with tempfile.TemporaryFile() as collected:
        with transaction() as session:
            lines = as_bytes(errors_file(session, seen.job_id, inbox.report_locale))
            count = sum(bool(collected.write(line)) for line in lines)
        if count > 1:  # more than its header
            collected.seek(0)
            where, _, name = path.partition("/")
            folder.put(where, name, iter(lambda: collected.read(_PART), b""))


def _forget(inbox: Inbox, seen: SeenFile) -> None:
    with transaction() as session:
        inboxes.put_away(session, inbox, seen)


def _report(inbox: Inbox, seen: SeenFile) -> dict[str, Any]:
    """Returns the result of a file, for the person who dropped it."""
    result = seen.result or {}
    code = seen.refused or result.get("code")
    return {
        "file": seen.name,
        "contract": inbox.contract,
        "state": "refused" if seen.refused else seen.state,
        "code": code,
        "reason": code_sentence(Code(code), inbox.report_locale) if code else None,
        "job": str(seen.job_id) if seen.job_id else None,
        "result": {name: value for name, value in result.items() if name != "people"},
    }


def _missing(inbox: Inbox, seen: SeenFile) -> bytes:
    """Writes the participants whom the file does not name. None is withdrawn, because a file may be incomplete."""
    with transaction() as session:
        people = inboxes.missing_people(session, inbox, seen.job_id) if seen.job_id else []
    headings = MISSING_COLUMNS.get(inbox.report_locale, MISSING_COLUMNS[LOCALES[0]])
    return excel_csv([headings, *([guarded(cell) for cell in person] for person in people)], quoted=True)
