"""Two spellings of one name, or two people: the rule that tells them apart when an address is already an account's.

A manager types "DUPONT", "Anne Sophie"; the account says "Anne-Sophie", "Dupont-Martin". Both name one person. "Karim
Haddad" at the address of "Jeanne Martin" does not, and the manager is asked to check the address.
"""

import re
import unicodedata
from typing import Final, NamedTuple

PARTICLES: Final = frozenset(
    {"al", "ben", "da", "das", "de", "del", "dela", "den", "der", "des", "di", "do", "dos", "du"}
    | {"el", "l", "d", "la", "las", "le", "les", "los", "van", "von", "y", "zu"}
)
"""Words that many last names share: two names with nothing else in common are not the same."""

SHORT_FORMS: Final = {
    "alex": ("alexandr", "alexis"),
    "ben": ("benjamin", "benoit"),
    "caro": ("caroline",),
    "cathy": ("catherine",),
    "chris": ("christ",),
    "dom": ("dominique",),
    "fred": ("frederi",),
    "greg": ("gregor",),
    "isa": ("isabelle",),
    "jo": ("jol", "johan", "joseph", "josiane"),
    "manu": ("emanu", "manul"),
    "mat": ("mathi",),
    "max": ("maxim",),
    "nath": ("nathalie",),
    "nico": ("nicol",),
    "phil": ("philip",),
    "sam": ("samul", "samir", "samia"),
    "seb": ("sebastien",),
    "steph": ("stephan",),
    "theo": ("theodor", "theophil"),
    "tom": ("thomas",),
    "tony": ("anthony", "antoine"),
    "vero": ("veronique",),
    "vince": ("vincent",),
    "wil": ("wiliam",),
}
"""Short first names of everyday use, each with the beginnings of the long names it stands for.

All are written as ``_words`` returns names: "Joël" is "jol", and "Will" is "wil".
"""

ABBREVIATIONS: Final = {"st": "saint", "ste": "sainte"}
"""Words of names that are often written short."""

_NO_NAME: Final = "\0"
_LIGATURES: Final = str.maketrans({"œ": "oe", "æ": "ae", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})
_GERMAN_UMLAUT: Final = re.compile("([aou])e")
_DOUBLED: Final = re.compile(r"([b-df-hj-np-tv-z])\1")
_BETWEEN_WORDS: Final = re.compile(r"[\W_]+")
_Words = tuple[str, ...]


class FullName(NamedTuple):
    """The first and the last name of a person; one of them may be empty."""

    first_name: str
    last_name: str


def names_differ(given: FullName, known: FullName) -> bool:
    """Tells whether two names are more than two spellings of one, so that they may be the names of two people.

    Spelling is: capitals, accents, ligatures, umlauts and doubled consonants (Mohamed, Mohammed); hyphens, spaces,
    apostrophes and dots; the order of first and last name; one of several first or last names; initials, "St" for
    "Saint" or a common short form of a first name.

    Parameters:
      given: the name that a manager typed.
      known: the name that the account has.
    """
    if given == known:
        return False  # also where neither has a word
    typed, kept = _both(given), _both(known)
    return not (_agree(typed, kept) or _agree(typed[::-1], kept) or _all(typed) == _all(kept))


def _both(name: FullName) -> tuple[_Words, _Words]:
    return _words(name.first_name), _words(name.last_name)


def _all(names: tuple[_Words, _Words]) -> list[str]:
    """Returns all words, whichever of the two names they stand in."""
    return sorted(names[0] + names[1])


def _agree(typed: tuple[_Words, _Words], kept: tuple[_Words, _Words]) -> bool:
    """Tells whether both names agree; where one is missing on a side, the other one decides."""
    said = [(one, other) for one, other in zip(typed, kept, strict=True) if one and other]
    return bool(said) and all(_one_of_several(one, other) for one, other in said)


def _one_of_several(one: _Words, other: _Words) -> bool:
    """Tells whether one name is the other, or some of its parts."""
    if _run_together(one) & _run_together(other):
        return True
    fewer, more = sorted((one, other), key=len)
    if len(more) > 1 and fewer == ("".join(word[0] for word in more),):  # JC: Jean-Christophe
        return True
    meant = [word for word in fewer if word not in PARTICLES] or fewer
    return all(any(_same_word(word, another) for another in more) for word in meant)


def _run_together(words: _Words) -> set[str]:
    """Returns the name as one word, with its particles and without those it begins with: ``delatour``, ``latour``."""
    whole = {"".join(words)}
    while len(words) > 1 and words[0] in PARTICLES:
        words = words[1:]
        whole.add("".join(words))
    return whole


def _same_word(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    if one == other or (len(shorter) == 1 and longer.startswith(shorter)):
        return True
    return longer.startswith(SHORT_FORMS.get(shorter, (_NO_NAME,)))


def _words(name: str) -> _Words:
    """Returns the words of a name without capitals, accents, signs and doubled consonants, abbreviations in full.

    An umlaut and its two letters are the same.
    """
    folded = _without_marks(name).casefold().translate(_LIGATURES)
    words = (ABBREVIATIONS.get(word, word) for word in _BETWEEN_WORDS.split(_without_marks(folded)) if word)
    return tuple(_DOUBLED.sub(r"\1", _GERMAN_UMLAUT.sub(r"\1", word)) for word in words)


def _without_marks(name: str) -> str:
    return "".join(
        character for character in unicodedata.normalize("NFKD", name) if not unicodedata.combining(character)
    )
