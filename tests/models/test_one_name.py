"""A person with one name has a sign in the column of the other; the sign is printed nowhere."""

import pytest

from models.person import Person, check_person, full_name, printed_name
from models.words import Code

SIGNS = ("-", ".", "—", "–", "‐", "‑", "−", " - ", "--", "...", "…", "\xa0—\u200b", "－", "．")


@pytest.mark.parametrize("sign", SIGNS)
def test_a_lone_sign_in_one_of_two_names_says_that_there_is_none(sign: str) -> None:
    assert check_person("a@b.fr", sign, "Madonna") == Person("a@b.fr", "", "Madonna", None, None)
    assert check_person("a@b.fr", "Sukarnoto", sign) == Person("a@b.fr", "Sukarnoto", "", None, None)


@pytest.mark.parametrize("sign", SIGNS)
def test_two_signs_or_a_sign_and_nothing_are_no_name(sign: str) -> None:
    assert check_person("a@b.fr", sign, "-")[:2] == (Code.MISSING_NAME, "first_name")
    assert check_person("a@b.fr", sign, "")[:2] == (Code.MISSING_NAME, "last_name")
    assert check_person("a@b.fr", " ", sign)[:2] == (Code.MISSING_NAME, "first_name")


@pytest.mark.parametrize("name", ["Xxx", "?", "0", "N/A", "(néant)", "-a", "A.", "J.-P.", "_", "/", "'", "·"])
def test_every_other_text_is_a_name(name: str) -> None:
    assert check_person("a@b.fr", name, "Dû") == Person("a@b.fr", name, "Dû", None, None)


def test_a_name_is_printed_without_the_sign_and_without_spaces() -> None:
    assert [full_name("", "Madonna"), full_name("Sukarnoto", ""), full_name("Zoé", "Le Dû")] == [
        "Madonna",
        "Sukarnoto",
        "Zoé Le Dû",
    ]
    assert [printed_name(" — "), printed_name("Zoé"), printed_name("-a")] == ["", "Zoé", "-a"]
