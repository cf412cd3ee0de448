"""Cells of people: what spreadsheets put around them, or in place of them, is not taken for a name."""

import io

import pytest
import xlsxwriter

from models.person import Person, Refusal
from models.words import Code
from workers.rosters.people import check_rows
from workers.rosters.reader import read_roster
from workers.rosters.text import records

HEADER = "Nom;Prénom;E-mail;Matricule;Langue\n"


def people(text: str, delimiter: str = ";") -> list[Person | Refusal]:
    return [one.person for one in check_rows(read_roster(text.replace(";", delimiter).encode()).rows)]


def person(**given: str) -> Person | Refusal:
    cells = {"Nom": "Dû", "Prénom": "Zoé", "E-mail": "z@b.fr", "Matricule": "7", "Langue": "fr"} | given
    return people(f"{HEADER}{';'.join(cells.values())}\n")[0]


ERROR_WORDS = """
    #N/A|#N/D|#REF!|#NOM?|#NOM ?|#VALEUR!|#VALEUR !|#DIV/0!|#NUL!|#NOMBRE!|#PROPAGATION!|#EPARS!|#CALC!|#CHAMP!
    #CONNEXION!|#BLOQUE!|#BLOQUÉ!|#INCONNU!|#OCCUPE!|#ERREUR!|#NAME?|#VALUE!|#NULL!|#NUM!|#SPILL!|#FIELD!|#BLOCKED!
    #UNKNOWN!|#CONNECT!|#BUSY!|#ERROR!|#GETTING_DATA|#OBTENTION_DONNEES|#MACRO?|Err:502|Err :508|err:522|########|###
    #n/a|#PYTHON!|#EXTERNAL!|#TIMEOUT!
"""


def test_an_error_word_of_a_spreadsheet_is_an_empty_cell() -> None:
    for word in [one.strip() for line in ERROR_WORDS.split("\n") for one in line.split("|") if one.strip()]:
        for written in (word, f" {word}\xa0"):
            found = [person(Nom=written), person(Prénom=written), person(**{"E-mail": written})]
            assert [one[:2] for one in found] == [
                (Code.MISSING_NAME, "last_name"),
                (Code.MISSING_NAME, "first_name"),
                (Code.MISSING_EMAIL, "email"),
            ], written
            assert person(Matricule=written, Langue=written) == Person("z@b.fr", "Zoé", "Dû", None, None)


@pytest.mark.parametrize("name", ["N/A", "Null", "Ref!", "#1", "# Dû", "Dû #N/A", "Erreur", "Err", "#", "##", "Nom?"])
def test_a_name_that_only_looks_so_is_kept(name: str) -> None:
    found = person(Nom=name)
    assert isinstance(found, Person)
    assert found.last_name == name


def test_errors_in_the_cells_of_a_workbook_are_empty_too() -> None:
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["Nom", "Prénom", "E-mail"])
        sheet.write_row(1, 0, ["#REF!", "Zoé", "z@b.fr"])
        sheet.write_row(2, 0, ["", "Zoé", "a@b.fr"])
        sheet.write_formula(2, 0, "=NA()", None, "#N/A")
    found = [one.person for one in check_rows(read_roster(file.getvalue()).rows)]
    assert [one[:2] for one in found] == [(Code.MISSING_NAME, "last_name")] * 2


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ('="0012"', "0012"),
        ('"=""0012"""', "0012"),
        ('"=""a """"b"""" c"""', 'a "b" c'),
        ('=""', None),
        ('"=""a""&""b"""', '="a"&"b"'),
        ("=0012", "=0012"),
        ('"=""0012"" "', '="0012"'),
    ],
)
def test_a_text_that_is_written_as_a_formula_is_the_text_within(cell: str, text: str | None) -> None:
    found = person(Matricule=cell)
    assert isinstance(found, Person)
    assert found.external_id == text


@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
def test_spaces_between_delimiter_and_quote_belong_to_neither(delimiter: str) -> None:
    blanks = (" ", "   ", "\xa0", "\ufeff") if delimiter == "\t" else (" ", "   ", "\t", "\xa0", "\ufeff")
    for blank in blanks:
        text = (
            HEADER + f'{blank}"Dû"{blank};{blank}"Léa; ""Zoé"" "{blank};{blank}"z@b.fr";{blank}"7"{blank};fr{blank}\n'
        )
        assert people(text, delimiter) == [
            Person("z@b.fr", f'Léa{delimiter.strip() and delimiter} "Zoé"', "Dû", "fr", "7")
        ]


def test_spaces_inside_quotes_are_kept_over_several_lines() -> None:
    text = 'a , "b\n "" , "" \n" , " c "\n"d", " e\n" ,f\nx "y" z, "\n"'
    assert list(records(io.BytesIO(text.encode()), "utf-8", ",")) == [
        (1, ["a ", 'b\n " , " \n', " c "]),
        (4, ["d", " e\n", "f"]),
        (6, ['x "y" z', "\n"]),
    ]


def test_a_whole_row_in_one_cell_may_have_such_spaces() -> None:
    text = '"Nom, ""Prénom"" , ""Mail"""\n"Dû, ""Zoé"", z@b.fr"\n'
    [row] = read_roster(text.encode()).rows
    assert (row.last_name, row.first_name, row.email.strip()) == ("Dû", "Zoé", "z@b.fr")


@pytest.mark.parametrize("number", ["1,23457E+14", "1.23457E+14", "1E+14", "1,2e+09", "-1,2E+20", "1.23457E14"])
def test_a_number_that_a_spreadsheet_has_shortened_is_refused(number: str) -> None:
    assert person(Matricule=number)[:2] == (Code.UNSAFE_VALUE, "external_id")


@pytest.mark.parametrize("number", ["12345678901234567", "00012345678901234567", "12E4", "E+14", "7E-05", "1,5"])
def test_other_numbers_keep_their_digits(number: str) -> None:
    found = person(Matricule=number)
    assert isinstance(found, Person)
    assert found.external_id == number


def test_a_number_of_a_workbook_keeps_its_digits_or_is_refused() -> None:
    file = io.BytesIO()
    numbers = (1207, 999999999999999, 1234567890123450, 9007199254740993, 12345678901234567, 1e20)
    with xlsxwriter.Workbook(file, {"in_memory": True}) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, ["Nom", "Prénom", "E-mail", "Matricule"])
        for row, number in enumerate(numbers, start=1):
            sheet.write_row(row, 0, ["Dû", "Zoé", f"z{row}@b.fr", number])
    found = [one.person for one in check_rows(read_roster(file.getvalue()).rows)]
    kept = [one.external_id for one in found if isinstance(one, Person)]
    assert kept == ["1207", "999999999999999", "1234567890123450"]
    assert [one[:2] for one in found[3:]] == [(Code.UNSAFE_VALUE, "external_id")] * 3


@pytest.mark.parametrize("name", ["Lef\ufffdbure", "\ufffd", "LefÃ©bure", "Lef?bure", "Rene\u0301 Lef?bure"])
def test_damage_in_a_name_refuses_its_row(name: str) -> None:
    from models.person import check_person  # noqa: PLC0415

    assert check_person("z@b.fr", "Zoé", name)[:2] == (Code.UNSAFE_VALUE, "last_name")
    assert check_person("z@b.fr", name, "Dû")[:2] == (Code.UNSAFE_VALUE, "first_name")


def test_damage_in_an_address_or_a_staff_number_refuses_its_row() -> None:
    assert person(**{"E-mail": "z\ufffd@b.fr"})[:2] == (Code.UNSAFE_VALUE, "email")
    assert person(Matricule="A\ufffd7")[:2] == (Code.UNSAFE_VALUE, "external_id")
