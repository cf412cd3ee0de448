"""Makes the index in a zip of duplicates: each person of the request, with the result."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from sqlalchemy import text

from models.certificate import group_code
from models.words import Code
from workers.database import Session
from workers.i18n.catalogues import code_sentence, translate
from workers.rosters.spreadsheet import excel_csv, safe_cell
from workers.sql import fetch

INDEX_COLUMNS: Final = (
    "N°",
    "Prénom",
    "Nom",
    "Attestation",
    "Duplicata",
    "Code de vérification",
    "Fichier",
    "Code",
    "Résultat",
)

# Reads the people of a job of duplicates. Names are those on the certificate, or else those of an account that was not
# erased.
READ_INDEX = text(f"""
    SELECT p.position,
      CASE WHEN p.code = '{Code.DUPLICATED}' AND k.snapshot IS NULL THEN '{Code.NAMES_NOT_KEPT}' ELSE p.code END
        AS code,
      CASE WHEN k.id IS NOT NULL THEN k.snapshot ->> 'first_name' WHEN a.erased_at IS NULL THEN a.first_name END
        AS first_name,
      CASE WHEN k.id IS NOT NULL THEN k.snapshot ->> 'last_name' WHEN a.erased_at IS NULL THEN a.last_name END
        AS last_name,
      k.number AS certificate, d.number, k.code AS verification_code
    FROM job_person p LEFT JOIN account a ON a.id = p.account_id
    LEFT JOIN certificate_duplicate d ON d.job_id = p.job_id AND d.position = p.position
    LEFT JOIN certificate k ON k.id = d.certificate_id
    WHERE p.job_id = :job ORDER BY p.position""")


class IndexLine(NamedTuple):
    """One person of the request."""

    position: int
    code: str
    first_name: str | None
    last_name: str | None
    certificate: str | None
    number: str | None
    verification_code: str | None


def read_index(session: Session, job_id: UUID) -> list[IndexLine]:
    """Reads each person of a job of duplicates, in the order of its request."""
    return fetch(session, IndexLine, READ_INDEX, {"job": job_id})


def index_file(index: Sequence[IndexLine], names: Mapping[int, str], locale: str) -> bytes:
    """Writes the index as a CSV file.

    Parameters:
      names: the name of each document in the zip, by position.
    """
    columns = [translate(locale, column) for column in INDEX_COLUMNS]
    return excel_csv([columns, *_rows(index, names, locale)])


def _rows(index: Sequence[IndexLine], names: Mapping[int, str], locale: str) -> Iterator[list[object]]:
    for line in index:
        person = [safe_cell(line.first_name or ""), safe_cell(line.last_name or "")]
        verification_code = group_code(line.verification_code) if line.verification_code else ""
        document = [line.certificate or "", line.number or "", verification_code, names.get(line.position, "")]
        yield [line.position + 1, *person, *document, line.code, code_sentence(line.code, locale)]
