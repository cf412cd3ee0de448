"""The encoding of a roster: a certain one is read without loss, another is refused, no damaged text is stored."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.words import Code
from workers.rosters import encoding as encodings
from workers.rosters.reader import ReadRoster, read_roster, survey
from workers.rosters.refused import RosterRefused


def read(text: str, encoding: str) -> ReadRoster:
    return read_roster(text.encode(encoding))


def refusal(data: bytes) -> Code:
    with pytest.raises(RosterRefused) as caught:
        read_roster(data)
    return caught.value.code


ASCII_HEADER = "Nom;Prenom;Email\n"


@pytest.mark.parametrize(
    ("name", "encodings"),
    [
        ("José", ["mac-roman", "cp850"]),
        ("Léa", ["mac-roman", "cp850"]),
        ("Élodie", ["mac-roman", "cp850"]),
        ("Noël", ["mac-roman", "cp850"]),
        ("Benoît", ["mac-roman", "cp850"]),
        ("François", ["mac-roman", "cp850"]),
        ("Jérôme", ["mac-roman", "cp850"]),
        ("Hélène", ["mac-roman", "cp850"]),
        ("Brûlé", ["mac-roman", "cp850"]),
        ("Côme", ["mac-roman", "cp850"]),
        ("L’Hostis", ["mac-roman"]),
        ("d’Almeras", ["mac-roman"]),
        ("Cœur", ["mac-roman"]),
        ("Jörg", ["mac-roman", "cp850"]),
        ("FRANÇOIS", ["mac-roman", "cp850"]),
        ("HÉLÈNE", ["mac-roman", "cp850"]),
        ("García", ["cp850", "cp437"]),
        ("Ramón", ["cp850", "cp437"]),
        ("MUÑOZ", ["cp850", "cp437"]),
        ("JÖRG", ["cp850", "cp437"]),
        ("MÜLLER", ["cp850", "cp437"]),
    ],
)
def test_names_in_another_encoding_are_refused_not_damaged(name: str, encodings: list[str]) -> None:
    for encoding in encodings:
        data = f"{ASCII_HEADER}{name};Zoe;zoe@example.com\n".encode(encoding)
        assert refusal(data) is Code.ENCODING_NOT_RECOGNISED, encoding


@pytest.mark.parametrize(
    "name",
    [
        "José",
        "Élodie",
        "FRANÇOIS",
        "HÉLÈNE",
        "LEFéVRE",
        "d’Alméras",
        "L’Hœuvre",
        "Œuvrard",
        "D’Ambleteuse–Wiry",
        "Ferré-Šimon",
        "Simão",
        "SIMÕES",
        "Ýmir",
        "“Momo” Rémy…",
        "Rémi (100 €)",
        "L´Hostis",
        "d‘Almeras",
        "aujourd´hui",
        "N°\xa0«\xa0déjà\xa0»",
    ],
)
def test_names_in_windows_1252_are_read(name: str) -> None:
    roster = read_roster(f"{ASCII_HEADER}{name};Zoe;zoe@example.com\n".encode("cp1252"))
    assert (roster.reading.encoding, roster.rows[0].last_name) == ("windows-1252", name)


@pytest.mark.parametrize("name", ["Cœur", "Œuvre", "Šimon", "Ferré-Žižek", "Loÿs Æ", "Mme Noël 10 €"])
def test_names_in_iso_8859_15_are_read(name: str) -> None:
    roster = read(f"{ASCII_HEADER}{name};Zoé;zoe@example.com\n", "iso-8859-15")
    expected = "iso-8859-15" if set(name) & set("€ŠšŽžŒœŸ") else "windows-1252"
    assert (roster.reading.encoding, roster.rows[0].last_name) == (expected, name)


@pytest.mark.parametrize("name", ["1½ jour", "3¼", "½ journée", "Zoé 1¾"])
def test_a_fraction_is_no_letter(name: str) -> None:
    roster = read(f"{ASCII_HEADER}{name};Zoé;zoe@example.com\n", "cp1252")
    assert (roster.reading.encoding, roster.rows[0].last_name) == ("windows-1252", name)


@pytest.mark.parametrize(
    "lines", [("C½ur", "d’Almeras"), ("C½ur", "1½ jour")], ids=["Windows alone has this apostrophe", "a fraction too"]
)
def test_signs_of_two_encodings_in_one_file_are_refused(lines: tuple[str, str]) -> None:
    rows = "".join(f"{name};Zoé;zoe@example.com\n" for name in lines)
    assert refusal((ASCII_HEADER + rows).encode("cp1252")) is Code.ENCODING_NOT_RECOGNISED


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_any_script_is_read_in_unicode(encoding: str) -> None:
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    text = f"{ASCII_HEADER}Ωνάσης;محمد;zoe@example.com\n𝒳;李小龍;li@example.com\n"
    roster = read_roster(mark + text.encode(encoding))
    assert [(row.last_name, row.first_name) for row in roster.rows] == [("Ωνάσης", "محمد"), ("𝒳", "李小龍")]


@pytest.mark.parametrize("late", [b"Caf\xe9 \x8d", b"Jos\x8e;x;y\n", "é".encode()])
def test_the_last_byte_counts_as_the_first(late: bytes) -> None:
    row = "Dû;Zoé;zoe@example.com\n".encode("cp1252")
    data = ASCII_HEADER.encode() + row * (2 * encodings.PART // len(row)) + late
    assert refusal(data) is Code.ENCODING_NOT_RECOGNISED


@pytest.mark.parametrize("name", ["Nguyễn", "Zoé 😀"])
def test_utf_8_among_windows_1252_is_refused(name: str) -> None:
    row = ";Zoé;zoe@example.com\n"
    assert refusal((ASCII_HEADER + row).encode("cp1252") + f"{name}{row}".encode()) is Code.ENCODING_NOT_RECOGNISED


@given(st.integers(1, 40), st.sampled_from(["utf-8", "windows-1252", "iso-8859-15"]))
def test_where_the_parts_of_a_file_meet_makes_no_difference(part: int, encoding: str) -> None:
    file = io.BytesIO(f"{ASCII_HEADER}Cœur;Šimon;zoe@example.com\nDû;Hélène;x@y.fr\n".encode(encoding))
    whole, encodings_part = survey(file).encoding, encodings.PART
    try:
        encodings.PART = part  # type: ignore[misc]
        assert survey(file).encoding == whole == encoding
    finally:
        encodings.PART = encodings_part  # type: ignore[misc]
