"""A manager gets a zip of two hundred: the right person in every file, safe names, and an index of all people."""

import io
import re
import zipfile
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from models.base import new_id
from tests.kit.builders.certificates import (
    certified,
    complete,
    completed,
    did,
    duplicated,
    graduates,
    index,
    organisation,
    training,
    unzipped,
)
from tests.kit.builders.contracts import (
    add_contract,
    enrolled,
    query,
    someone,
)
from tests.kit.builders.documents import text_of
from tests.kit.processes.support import change
from workers.certificates.duplicates import making
from workers.certificates.duplicates.fetching import read_file
from workers.certificates.duplicates.making import DocumentMaker
from workers.database import Session, transaction
from workers.documents.printable import printable
from workers.documents.renderer import NotRendered, render
from workers.requests.enrollment import RecordProgress
from workers.rosters.spreadsheet import safe_cell

pytestmark = pytest.mark.usefixtures("fresh_database")

PEOPLE = 200
ODD = [
    *[("Zoé", "Le Dû")] * 20,  # homonyms
    *[("ZOE", "LE DU")] * 3,
    ("Anne/../..", "..\\..\\Roy"),
    *(("CON", "NUL"), ("com1", "aux.txt"), ("LPT9", "prn"), (".", ".."), ("-rf", "--help"), ("~root", "$HOME`id`")),
    *(("=1+1", '=cmd|"/c calc"!A1'), ("+33", "@SUM(A1)"), ("-2", "\u00ad=1")),
    *(('a;b"c', "d,e'f"), ("<script>", "&amp;"), ("%s{0}", "{{ 7*7 }}"), ('#panic("x")', "$x^2$ *gras* @ref")),
    *(("محمد", "عبد الله"), ("בן", "דוד"), ("Ωμέγα", "Σ"), ("Живаго", "Юрий"), ("Nguyễn", "Łódź İst")),
    *(("A\u0301\u0328" * 20, "e\u0301"), ("Zoé", "Roy"), ("i" * 100, "l" * 100), ("été " * 24, "mot " * 24)),
    *(("ﬁancé", "Straße Œuvre"), ("a\u202fb", "c\u00a0d"), ("n\u0303", "O’Neill-d'Arc"), ("", "Seul")),
]
# Names that no request may contain, but an account from another system may.
ONLY_STORED = [("gnirts\u202e", "a\u2066b\u2069"), ("tab\there", "line\nbreak"), ("\u200f", "\u200b\u2060x")]
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)
SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]{0,99}[A-Za-z0-9]")
RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff]")


def two_hundred(session: Session) -> tuple[list[Any], list[tuple[str, str]]]:
    """Enrolls people who complete the training; returns enrollments and names in the same order."""
    names = [*ODD, *ONLY_STORED]
    names += [(f"Prénom{number}", f"Nom-{number}") for number in range(PEOPLE - len(names))]
    add_contract(session, seats=PEOPLE + 10)
    did(session, organisation(), training())
    people = enrolled(session, *(someone(f"p{number}") for number in range(PEOPLE)))
    for enrollment, (first, last) in zip(people, names, strict=True):
        session.execute(
            text("UPDATE account SET first_name = :first, last_name = :last WHERE id = (SELECT account_id"
                 " FROM enrollment WHERE id = :enrollment)"),
            {"first": first, "last": last, "enrollment": enrollment},
        )  # fmt: skip
    complete(session, *people)
    return people, names


def letters(shown: str) -> str:
    """Removes the spaces, because a name of a hundred letters is broken over several lines."""
    return "".join(shown.split())


def test_a_zip_of_two_hundred(monkeypatch: pytest.MonkeyPatch) -> None:
    with transaction() as session:
        people, names = two_hundred(session)
        [new] = enrolled(session, someone("new", "Pas", "Finie"))
    failing = PEOPLE - 7

    def but_one(printed: Any, *more: Any, **options: Any) -> bytes:
        if printed.snapshot.last_name == names[failing][1]:
            raise NotRendered("no glyph")
        return render(printed, *more, **options)

    monkeypatch.setattr(making, "render", but_one)
    done = duplicated(*people, new, people[0], new_id())
    expected = ["duplicated"] * PEOPLE + ["not_completed", "duplicate_in_file", "not_found"]
    expected[failing] = "not_rendered"
    results = done["result"]["people"]
    assert [one["code"] for one in results] == expected
    files = unzipped(done)
    lines = index(files)
    assert [line[7] for line in lines] == expected
    assert len({bytes(content) for content in files.values()}) == len(files) == PEOPLE  # 199 documents and one index
    for name in files:
        assert SAFE.fullmatch(name)
        assert not RESERVED.match(name)
    for line, (first, last), result in zip(lines, names, results, strict=False):
        assert line[1:3] == [safe_cell(first), safe_cell(last)]
        assert (line[3], line[4]) == (result["detail"]["certificate"], result["detail"]["number"])
        assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in line)
        if line[7] == "not_rendered":
            assert line[6] == ""
            continue
        printed = text_of(files[line[6]])
        assert "DUPLICATA" in printed
        assert f"{line[4]}" in printed
        assert line[5] in printed
        if not RIGHT_TO_LEFT.search(first + last):  # right-to-left text comes in the order of the page
            assert letters(printable(f"{first} {last}")) in letters(printed), (first, last)
    assert lines[PEOPLE][1:3] == ["Pas", "Finie"]


def test_homonyms_with_equal_numbers_of_two_organisations_have_a_file_each() -> None:
    with transaction() as session:
        [first] = graduates(session, someone("a", "Zoé", "Le Dû"))
        did(session, organisation("of-2", legal_name="Autre"))
        [second] = enrolled(session, someone("b", "Zoé", "Le Dû"))
        did(session, RecordProgress(events=[completed(second)]))
        numbers = query(session, "SELECT number FROM certificate")
    assert numbers[0] == numbers[1]
    files = unzipped(duplicated(first, second))
    named = {line[6]: line[5] for line in index(files)}
    assert len(named) == 2
    assert all(code in text_of(files[name]) for name, code in named.items())


def test_a_certificate_kept_no_longer_removes_no_other_from_the_zip() -> None:
    done = duplicated(*certified(someone("a", "Zoé", "Le Dû"), someone("b", "Anne", "Roy")))
    change("UPDATE certificate SET snapshot = NULL WHERE snapshot ->> 'first_name' = 'Anne'")
    change("DELETE FROM rendering r USING certificate k WHERE k.id = r.certificate_id AND k.snapshot IS NULL")
    DocumentMaker.of_this_thread().store.delete(done["result"]["file"]["sha256"], ".zip")
    again = read_file(UUID(done["result"]["file"]["id"])) or b""
    with zipfile.ZipFile(io.BytesIO(again)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert [[*line[1:3], line[7]] for line in index(files)] == [
        ["Zoé", "Le Dû", "duplicated"],
        ["", "", "names_not_kept"],
    ]
    assert len(files) == 2
