"""The downloadable model imports as it is, and after a French spreadsheet has opened and saved it."""

import io
import subprocess
from pathlib import Path

import openpyxl
import pytest

from models.words import LOCALES
from tests.kit.system import need
from workers.rosters.model_file import EXAMPLES, HEADERS, csv_model, xlsx_model
from workers.rosters.people import check_rows
from workers.rosters.reader import ReadRoster, read_roster

# Defaults of French Calc's dialogue: separator, quote, character set (76 UTF-8, 1 Windows-1252), first line.
SAVED = {
    "csv Windows-1252": ("csv", "csv:Text - txt - csv (StarCalc):59,34,1,1"),
    "csv UTF-8": ("csv", "csv:Text - txt - csv (StarCalc):59,34,76,1"),
    "xlsx": ("xlsx", "xlsx:Calc MS Excel 2007 XML"),
    "ods": ("ods", "ods"),
}


def people(roster: ReadRoster) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [
        (row.last_name, row.first_name, row.email, row.locale, row.external_id) for row in roster.rows
    ]
    assert all(not hasattr(checked.person, "code") for checked in check_rows(roster.rows))
    return found


def test_examples_left_in_the_file_reach_no_one() -> None:
    """No one can own a domain with this ending (RFC 2606, 2)."""
    assert {email.rpartition(".")[2] for _, _, email, *_ in EXAMPLES} == {"example"}


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_the_csv_model_imports_as_it_is(locale: str, delimiter: str) -> None:
    data = csv_model(locale, delimiter)
    assert data.startswith(b"\xef\xbb\xbf")
    assert data.count(b"\r\n") == data.count(b"\n") == 3
    roster = read_roster(data)
    assert people(roster) == list(EXAMPLES)
    assert (roster.reading.delimiter, roster.reading.header.ignored) == (delimiter, ())


@pytest.mark.parametrize("locale", LOCALES)
def test_the_workbook_imports_as_it_is(locale: str) -> None:
    roster = read_roster(xlsx_model(locale))
    assert people(roster) == list(EXAMPLES)
    assert [column.header for column in roster.reading.header.columns.values()] == list(HEADERS[locale])


def test_the_workbook_keeps_its_header_in_sight_and_its_cells_as_text() -> None:
    sheet = openpyxl.load_workbook(io.BytesIO(xlsx_model())).active
    assert sheet.freeze_panes == "A2"
    assert {cell.number_format for cell in sheet[2]} == {"@"}
    assert [str(rule.sqref) for rule in sheet.data_validations.dataValidation] == ["D2:D10001", "C2:C10001"]
    assert sheet.column_dimensions["E"].width > 10


def test_both_are_the_same_bytes_in_content_each_time() -> None:
    assert csv_model() == csv_model()
    assert people(read_roster(xlsx_model())) == people(read_roster(xlsx_model()))


@pytest.fixture(scope="module")
def calc_profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a folder for the profile of Calc, which takes longer to create than a file to convert."""
    need("soffice")
    return tmp_path_factory.mktemp("calc")


@pytest.mark.xdist_group("calc")  # two processes cannot use one profile
@pytest.mark.parametrize("saved_as", SAVED)
@pytest.mark.parametrize("model", ["csv ,", "csv ;", "xlsx"])
def test_it_imports_after_calc_in_french_has_saved_it(
    tmp_path: Path, calc_profile: Path, model: str, saved_as: str
) -> None:
    kind, _, delimiter = model.partition(" ")
    file = tmp_path / f"modele.{kind}"
    file.write_bytes(xlsx_model() if kind == "xlsx" else csv_model(delimiter=delimiter))
    suffix, written = SAVED[saved_as]
    # A comma file that a French Calc opens without its dialogue has whole rows in one cell.
    opened = ["--infilter=Text - txt - csv (StarCalc):59,34,76,1,1/2/2/2/3/2/4/2/5/2"] if kind == "csv" else []
    subprocess.run(
        ["soffice", f"-env:UserInstallation=file://{calc_profile}", "--headless", *opened, "--convert-to", written,
         "--outdir", str(tmp_path / "out"), str(file)],
        check=True, capture_output=True, timeout=120,
        env={"LC_ALL": "fr_FR.UTF-8", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    roster = read_roster((tmp_path / "out" / f"modele.{suffix}").read_bytes())
    assert people(roster) == list(EXAMPLES)
