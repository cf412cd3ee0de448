"""Tables and properties describe the enrollment plan, also while some addresses are on the suppression list."""

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.enrollment import Capacity, plan_enrollments
from models.person import Person, Refusal
from models.words import DONE_CODES, Code, Policy

BAD = Refusal(Code.INVALID_EMAIL, "email")
ALL, VALID, FULL = Policy.ALL_OR_NOTHING, Policy.VALID_ROWS, Policy.UNTIL_FULL

Row = Person | Refusal


def person(letter: str) -> Person:
    return Person(f"{letter}@example.com", letter.upper(), "Dupont", None, None)


def capacity(seats_left: int, *, known: str = "", live: str = "") -> Capacity:
    """Builds a capacity in which each letter is a person; each enrolled person has an account."""
    accounts, enrolled = ({person(letter).email_norm for letter in letters} for letters in (known + live, live))
    return Capacity(seats_left, accounts, enrolled)


def rows(letters: str) -> list[Row]:
    """Builds rows: a letter is a good row, an exclamation mark a row refused for its own values."""
    return [BAD if letter == "!" else person(letter) for letter in letters]


SHORT = {
    "E": Code.ENROLLED,
    "A": Code.ATTACHED,
    "=": Code.ALREADY_ENROLLED,
    "D": Code.DUPLICATE_IN_FILE,
    "S": Code.NO_SEAT_LEFT,
    "!": Code.INVALID_EMAIL,
    "-": Code.NOT_CARRIED_OUT,
}


@pytest.mark.parametrize(
    ("people", "seats_left", "known", "live", "policy", "expected"),
    [
        # Everything fits: the policies agree.
        ("ab", 2, "", "", ALL, "EE"),
        ("ab", 2, "", "", VALID, "EE"),
        ("ab", 2, "", "", FULL, "EE"),
        ("ab", 2, "b", "", ALL, "EA"),
        ("ab", 1, "", "b", ALL, "E="),
        ("a", 0, "", "a", ALL, "="),
        ("ba", 0, "", "ab", VALID, "=="),
        # A row refused for its own values.
        ("a!b", 3, "", "", ALL, "-!-"),
        ("a!b", 3, "", "", VALID, "E!E"),
        ("a!b", 3, "", "", FULL, "E!E"),
        ("a!", 0, "", "a", ALL, "=!"),
        ("!", 3, "", "", ALL, "!"),
        ("!", 3, "", "", VALID, "!"),
        ("!", 3, "", "", FULL, "!"),
        # Too few seats.
        ("abc", 2, "", "", ALL, "--S"),
        ("abc", 2, "", "", VALID, "--S"),
        ("abc", 2, "", "", FULL, "EES"),
        ("abc", 2, "c", "b", FULL, "E=A"),
        ("acb", 1, "c", "b", FULL, "ES="),
        ("a", 0, "", "", FULL, "S"),
        ("!ab", 1, "", "", VALID, "!-S"),
        ("!ab", 1, "", "", FULL, "!ES"),
        ("abc", -1, "", "b", FULL, "S=S"),  # a contract with drift sells no more seats
        # The same address twice: the first of two good rows wins.
        ("aa", 2, "", "", ALL, "-D"),
        ("aa", 2, "", "", VALID, "ED"),
        ("aa", 2, "", "", FULL, "ED"),
        ("aaa", 1, "", "", FULL, "EDD"),
        ("aba", 1, "", "", FULL, "ESD"),
        ("aa", 2, "", "a", VALID, "=D"),
        ("aa", 0, "", "a", ALL, "=D"),
        ("aa", 2, "a", "", VALID, "AD"),
        # A refused row reserves no address.
        ("bcbc", 1, "", "", FULL, "ESDS"),
        ("abb", 1, "", "", FULL, "ESS"),
        ("abb", 1, "", "", VALID, "-SS"),
    ],
)
def test_the_code_of_each_row(
    people: str, seats_left: int, known: str, live: str, policy: Policy, expected: str
) -> None:
    where = capacity(seats_left, known=known, live=live)
    before = copy.deepcopy(where)
    decided = plan_enrollments(rows(people), where, policy)
    assert [verdict.code for verdict in decided.verdicts] == [SHORT[letter] for letter in expected]
    assert decided.counts == Counter(SHORT[letter] for letter in expected)
    assert decided.seats == sum(letter in "EA" for letter in expected)
    joined = {p.email_norm for p, v in zip(rows(people), expected, strict=True) if isinstance(p, Person) and v in "EA"}
    after = Capacity(before.seats_left - decided.seats, before.known | joined, before.live | joined)
    assert (where.after(decided), where) == (after, before)


@pytest.mark.parametrize(
    ("people", "seats_left", "live", "policy", "carried_out", "refused"),
    [
        ("a", 1, "", ALL, True, False),
        ("a!", 1, "", ALL, False, True),
        ("a!", 1, "", VALID, True, False),
        ("ab", 1, "", VALID, False, True),
        ("ab", 1, "", FULL, True, False),
        ("a", 0, "", FULL, True, True),
        ("a", 0, "", ALL, False, True),
        ("a", 0, "a", ALL, True, False),
        ("!", 1, "", VALID, True, True),
        ("a!", 0, "a", ALL, False, True),
    ],
)
def test_whether_a_request_is_done(
    people: str, seats_left: int, live: str, policy: Policy, carried_out: bool, refused: bool
) -> None:
    decided = plan_enrollments(rows(people), capacity(seats_left, live=live), policy)
    assert (decided.carried_out, decided.refused) == (carried_out, refused)


def test_a_good_row_after_a_refused_one_of_the_same_address_is_accepted() -> None:
    refused: Row = Refusal(Code.MISSING_NAME, "first_name")
    decided = plan_enrollments([refused, person("a"), person("a")], capacity(5), FULL)
    assert [v.code for v in decided.verdicts] == [Code.MISSING_NAME, Code.ENROLLED, Code.DUPLICATE_IN_FILE]
    assert [v.field for v in decided.verdicts] == ["first_name", None, "email"]


def test_a_second_request_finds_what_the_first_left() -> None:
    where = capacity(2)
    first = plan_enrollments(rows("ab"), where, ALL)
    assert [v.code for v in first.verdicts] == [Code.ENROLLED, Code.ENROLLED]
    second = plan_enrollments(rows("ac"), where.after(first), FULL)
    assert [v.code for v in second.verdicts] == [Code.ALREADY_ENROLLED, Code.NO_SEAT_LEFT]
    assert where.after(first).after(second) == Capacity(
        0, {"a@example.com", "b@example.com"}, {"a@example.com", "b@example.com"}
    )


def test_a_second_request_finds_nothing_of_one_left_undone() -> None:
    where = capacity(2)
    undone = plan_enrollments(rows("ab!"), where, ALL)
    assert not undone.carried_out
    second = plan_enrollments(rows("ab"), where.after(undone), ALL)
    assert [v.code for v in second.verdicts] == [Code.ENROLLED, Code.ENROLLED]


def test_an_account_planned_on_one_contract_is_known_to_the_next() -> None:
    first = plan_enrollments(rows("a"), Capacity(1, set(), set()), ALL)
    second = plan_enrollments(rows("a"), Capacity(1, first.joining, set()), ALL)
    assert [v.code for v in second.verdicts] == [Code.ATTACHED]


def test_a_row_accepted_by_an_earlier_chunk_is_a_duplicate() -> None:
    taken = {person("a").email_norm}
    decided = plan_enrollments(rows("ab"), capacity(5, live="a"), FULL, taken)
    assert [v.code for v in decided.verdicts] == [Code.DUPLICATE_IN_FILE, Code.ENROLLED]
    assert taken == {person("a").email_norm}


def test_an_empty_request_does_nothing() -> None:
    decided = plan_enrollments([], capacity(1), ALL)
    assert (decided.verdicts, decided.carried_out, decided.refused, decided.seats) == ((), True, True, 0)


LETTERS = st.text(alphabet="abcdefgh!", max_size=20)
ROOMS = st.builds(
    lambda seats, known, live: capacity(seats, known=known, live=live),
    st.integers(0, 8),
    st.text(alphabet="abcdefgh", max_size=4),
    st.text(alphabet="abcdefgh", max_size=4),
)


@given(LETTERS, ROOMS, st.sampled_from(Policy))
def test_seats_verdicts_and_room_agree(letters: str, where: Capacity, policy: Policy) -> None:
    people, before = rows(letters), copy.deepcopy(where)
    decided = plan_enrollments(people, where, policy)
    assert len(decided.verdicts) == len(people) == decided.counts.total()
    joined = joining(people, [v.code for v in decided.verdicts])
    assert len(joined) == len(set(joined)) == decided.seats <= before.seats_left
    assert not set(joined) & before.live
    after = Capacity(before.seats_left - len(joined), before.known | set(joined), before.live | set(joined))
    assert (where.after(decided), where) == (after, before)
    if not decided.carried_out:
        assert decided.seats == 0
    if policy is ALL:
        assert decided.carried_out == all(v.code in DONE_CODES for v in decided.verdicts)


@given(LETTERS, ROOMS)
def test_each_person_has_one_good_row_which_is_the_first(letters: str, where: Capacity) -> None:
    done: set[str] = set()
    for letter, verdict in zip(letters, plan_enrollments(rows(letters), where, FULL).verdicts, strict=True):
        assert (verdict.code is Code.DUPLICATE_IN_FILE) == (letter in done)
        if verdict.code in DONE_CODES:
            done.add(letter)


@given(LETTERS, ROOMS, st.integers(1, 6))
def test_until_full_in_chunks_is_the_same_as_at_once(letters: str, where: Capacity, size: int) -> None:
    people, standing = rows(letters), where
    whole = plan_enrollments(people, where, FULL)
    codes: list[Code] = []
    taken: set[str] = set()
    for start in range(0, len(people), size):
        chunk = people[start : start + size]
        part = plan_enrollments(chunk, standing, FULL, taken)
        standing, verdicts = standing.after(part), part.verdicts
        codes += [v.code for v in verdicts]
        done = zip(chunk, verdicts, strict=True)
        taken |= {p.email_norm for p, v in done if isinstance(p, Person) and v.code in DONE_CODES}
    assert (codes, standing) == ([v.code for v in whole.verdicts], where.after(whole))


def joining(people: Sequence[Row], codes: Sequence[Code]) -> list[str]:
    takes_a_seat = (Code.ENROLLED, Code.ATTACHED)
    pairs = zip(people, codes, strict=True)
    return [p.email_norm for p, code in pairs if isinstance(p, Person) and code in takes_a_seat]


KEPT_FROM = SHORT | {"x": Code.SUPPRESSED_ADDRESS}


@pytest.mark.parametrize(
    ("people", "seats_left", "known", "live", "policy", "expected"),
    [  # no mail is sent to b
        ("b", 3, "", "", FULL, "x"),
        ("b", 3, "b", "", FULL, "x"),
        ("ab", 2, "", "", ALL, "-x"),
        ("abc", 2, "", "", VALID, "ExE"),  # leaves its seat to the rows after it
        ("abc", 2, "", "", FULL, "ExE"),
        ("b", 0, "", "", FULL, "x"),  # a reason that can be removed comes first
        ("b", 0, "", "b", ALL, "="),  # already enrolled: nothing is sent
        ("bb", 3, "", "", FULL, "xx"),  # a refused row reserves no address
    ],
)
def test_no_one_is_enrolled_under_a_suppressed_address(
    people: str, seats_left: int, known: str, live: str, policy: Policy, expected: str
) -> None:
    since = {person("b").email_norm: datetime(2026, 3, 2, tzinfo=UTC)}
    where = replace(capacity(seats_left, known=known, live=live), suppressed=since)
    decided = plan_enrollments(rows(people), where, policy)
    assert [verdict.code for verdict in decided.verdicts] == [KEPT_FROM[letter] for letter in expected]
    assert {verdict.field for verdict in decided.verdicts if verdict.code is Code.SUPPRESSED_ADDRESS} <= {"email"}
    assert where.after(decided).seats_left == seats_left - sum(letter in "EA" for letter in expected)
