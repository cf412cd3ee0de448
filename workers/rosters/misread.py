"""Finds out by the names of people that a file was read in the wrong encoding.

Windows-1252 gives every byte a letter or a sign, so a file in nearly any other encoding can be read: ``Wałęsowski`` of
Windows-1250 becomes ``Wa³êsowski``. The table ``GIVEAWAYS`` lists, for each encoding, the signs that stand in no name
and the runs of letters that no West European name has. Other columns are not looked at: their text may be anything.
Names without a giveaway are accepted, and reports show the first ones with accents to the manager.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, NamedTuple

from models.double_encoding import is_double_encoded
from workers.rosters.encoding import not_recognised

ONE_BYTE: Final = ("windows-1252", "iso-8859-15")
"""The encodings with one byte a letter that are read; a file in another one is refused."""

SHOWN: Final = 5
"""The number of rows with accented names that reports show."""

_UP: Final = "A-ZÀ-ÖØ-ÞŒŠŽŸ"
_SMALL: Final = "a-zß-öø-ÿœšž"
_LETTER: Final = f"[{_UP}{_SMALL}]"
_ACCENTED: Final = "[À-ÖØ-öø-ÿŒœŠšŽžŸ]"
_BEGIN: Final = f"(?<!{_LETTER})"
_END: Final = f"(?!{_LETTER})"
_PARTICLE: Final = (
    "à|a|al|au|aux|ben|d|da|de|del|den|der|des|di|dit|do|dos|du|e|el|en|et|l|la|le|les|né|née|ou|sous|sur|te|ten|ter"
    "|van|von|y|zu"
)
"""Words of a name that begin with a small letter."""

_HARD: Final = "[bcdfghjklmnpqrstvwxz]"  # a consonant


class Giveaway(NamedTuple):
    """A sign that a name was read as Windows-1252 and is in another encoding.

    Parameters:
      encodings: the encodings that it speaks of.
      because: the signs or runs of letters, and why no name has them.
      pattern: a regular expression of them.
      examples: names as Windows-1252 shows them, damaged.
      any_case: capitals and small letters are the same to the pattern.
      in_unicode: it shows damage in Unicode files too, saved after a wrong reading.
    """

    encodings: str
    because: str
    pattern: str
    examples: tuple[str, ...]
    any_case: bool = True
    in_unicode: bool = False


GIVEAWAYS: Final = (
    Giveaway(
        "Windows-1250, 1251, 1257; ISO-8859-2, -4, -5, -13; Thai",
        "a sign inside a word or before it, where these encodings have ł, ą, ż, š",
        rf"(?<={_LETTER})[¡¢£¥§¬¯±¶¹³²µ¼½¾¿×÷¤¦¨¸©®«»](?={_LETTER})"
        rf"|(?<![{_UP}{_SMALL}\w])[£¥§¬¯±¶¹³¤¦¢©®µ](?={_LETTER})"
        rf"|(?<=[aeiouyáéíóúý])[¹³±]{_END}|(?<={_LETTER})[¡¢£¿¯¶µ§©÷]{_END}",
        ("Wa³êsowski", "£ukasz", "Gra¿yna", "Micha³", "Tomá¹", "TOMÁ©", "Vr»ák"),
        in_unicode=True,
    ),
    Giveaway(
        "Windows-1250 and ISO-8859-16 (Romanian)",
        "ª and º in a word or before it, where these encodings have Ş and ş; Mª and Nº are abbreviations",
        rf"ª(?={_LETTER})|(?<={_LETTER}{{4}})º|º(?={_LETTER})",
        ("ªtefan", "Grigoraº", "Muºat"),
        in_unicode=True,
    ),
    Giveaway(
        "MacRoman; DOS 437, 850, 852, 866",
        "signs that stand beside no letter, where these encodings have é, É, à, ê",
        rf"[ƒˆ˜‡‰™](?={_LETTER})|(?<={_LETTER})[ƒˆ˜‡‰‚„‹]|›(?={_LETTER})"
        rf"|(?<={_LETTER})[†…€×÷](?={_LETTER})|(?<={_LETTER})•|(?<!\S)…(?=[{_SMALL}]{{2}})|(?<!\S)€(?={_LETTER}{{2}})|(?<=[A-KM-Z])·(?=[A-Z])"
        r"|[ƒˆ‰‡†™•¢£¤¥§©¬®¯±²³µ¶¹¼¾¿×÷˜‹›¨¦]{2}|[€‚ƒ„…†‡ˆ‰Š‹ŒŽ•–—˜™š›œžŸ][¡-ª¬-º¼-¿]"
        r"|\A(?=\S*[¡-¿])[^\x00-\xa0]{2,}\Z",
        ("ƒlodie", "Jos‚", "J„ger", "C™me", "Lo•c", "FRAN€OIS", "Garc¡a"),
        any_case=False,
        in_unicode=True,
    ),
    Giveaway(
        "DOS 437 and 850; MacRoman",
        "a no-break space for á before the rest of a word that is no particle; ’ for í in endings of Spanish",
        rf"(?<={_LETTER})\xa0(?=[{_SMALL}])(?!\xa0(?:{_PARTICLE})\b)"
        rf"|[a-z][bcdfglmnrstv]’(?:a|as|n|nez|tez|o){_END}",
        ("Su\xa0rez", "Mar’a", "Ben’tez"),
        any_case=False,
    ),
    Giveaway(
        "MacRoman; DOS 437 and 850",
        "quotation marks and dashes before a small letter inside a word, where these encodings have ë, î, ô, û, ù",
        rf"(?<={_LETTER})[“”‘](?=[{_SMALL}])(?<!\b[A-Za-z]‘)(?<!jourd‘)"
        rf"|^[^„‚“‘]*{_LETTER}[‘“]{_END}(?<!\b[A-Za-z]‘)"
        rf"|(?<={_LETTER})[–—](?=[{_SMALL}])(?![–—](?:{_PARTICLE})\b)"
        rf"|(?<=[A-Z])[„†‰™‹›šœž](?=[A-Z])",
        ("No‘l", "Beno”t", "Zo‘", "Br–l‚", "MšLLER"),
        any_case=False,
    ),
    Giveaway(
        "MacRoman; DOS 437 and 850; Windows-1258",
        "a rare capital after a small letter, where these encodings have é, ü, œ, ’, è or an accent",
        rf"(?<=[{_SMALL}])(?<!\bMac)(?<!\bMc)(?<!\bNic)(?<!\bFitz)(?<!\bLe)(?<!\bLa)(?<!\bDe)[ŠŽŒŸËÌÍÎÏÔÕØÙÛÞÐÒÝ]"
        rf"|{_BEGIN}[A-Z][ŽŠŒŸÕÏ](?=[{_SMALL}])|{_BEGIN}[DLdl]Õ(?=[A-Z])",
        ("JosŽ", "MŸller", "CÏur", "LÕHostis", "BenoŒt", "NguyêÞn"),
        any_case=False,
    ),
    Giveaway(
        "MacRoman; DOS 437 and 850",
        "š or ž between consonants or before w, where these encodings have ö, û, Ä, Ü",
        rf"[bcdfghjklmnpqstvwxz][šž]{_HARD}|r[šž][lhmtr]|[šž]w",
        ("Jšrg", "Mšller", "Bržl", "SCHŽFER"),
    ),
    Giveaway(
        "Windows-1251, 1253, 1255, 1256; KOI8-R; ISO-8859-5 to -8; Chinese, Japanese, Korean",
        "a word of accented letters alone, or three of them in a row; Icelandic has ð or þ, Turkish ç, Ñáñez ñ",
        rf"{_BEGIN}(?![äöüõ]{{2}}{_END}){_ACCENTED}{{2,}}{_END}|{_ACCENTED}{{4}}|(?:(?![ðþç]|ñ[áéíóúü]ñ){_ACCENTED}){{3}}",
        ("Ñåðãåé", "Ëè", "Ðáðáäüðïõëïò", "ãÍãÏ"),
    ),
    Giveaway(
        "Windows-1250, 1257 and 1258; ISO-8859-2 and -13",
        "two accented letters side by side that no West European language has so",
        rf"(?![ðþ]{_ACCENTED}|{_ACCENTED}[ðþ]|ß|{_ACCENTED}ß|ñ[áéíóúü]|[áéíóúü]ñ|ü[áéíó]|ç|{_ACCENTED}ç"
        rf"|[äöüõå]{{2}}|[šž]|{_ACCENTED}[šž]|[éèëï]{{2}}|[áéíóú]{{2}}|ø[åæ]|[æå]ø){_ACCENTED}{{2}}",
        ("Dvoøák", "Horáèek", "Trâìn"),
    ),
    Giveaway(
        "Windows-1250 and ISO-8859-2 (Polish)",
        "œ for ś: after a vowel, at the end, or before w, c, l, m; in French œ follows a consonant",
        rf"(?<=[aeiouy])œ|{_BEGIN}œ(?=[wclmpkzg])|(?<={_LETTER}{{3}})œ{_END}|jœ",
        ("Œwierczek", "Œliwa", "Leœniak", "Kuœ"),
    ),
    Giveaway(
        "Windows-1250 and ISO-8859-2 (Polish, Croatian)",
        "æ for ć: after a vowel, or before w and k",
        rf"(?<=[aiouáéíóúèeo])æ|{_BEGIN}æ[wk]",
        ("Petroviæ", "Æwik"),
    ),
    Giveaway(
        "Windows-1250 and ISO-8859-2 (Polish)",
        "ñ for ń before a consonant; in Spanish a vowel follows, in Breton ch",
        r"ñ[bdfgklmnpqrstvwxz]|ñc(?!h)",
        ("Kamiñski", "Wroñcz"),
    ),
    Giveaway(
        "Windows-1250 and ISO-8859-2 (Polish)",
        "ê for ę beside the consonants of Polish",
        rf"ê(?:dz|cz|sz|ck|bs|gr[oz]|tk[ao]|b[ao]{_END}|k{_END}|pk|pi|ks|z|gl|dr)|(?:dzi|szcz|rz|cz|sz)ê"
        rf"|iê(?=[bcdgkpst])|{_BEGIN}(?:gês|kêp[ay]|rêk|stêp|wêg)",
        ("Dêbski", "Ziêba", "Jêdrzej", "Wêgrzyn", "Kêpa", "Stêpniak"),
    ),
    Giveaway(
        "Windows-1250 and ISO-8859-2 (Czech)",
        "ø for ř beside a vowel; in Danish and Norwegian a consonant precedes it, or i, y and e at the end",
        rf"(?<=[aouáéíóúýìè])ø|eø(?={_LETTER})|ø[áéíìúý]|øez|bøet|iøi|[ln]dø[ei]|{_BEGIN}pø[ei]",
        ("Oøech", "Jiøí", "Bøezina"),
    ),
    Giveaway(
        "Windows-1250 and ISO-8859-2 (Czech, Slovak, Croatian); Windows-1257",
        "è for č, ì for ě and ù for ů where French, Italian and Gaelic have none",
        rf"[áóúíý]è|[aeiou]èk|aè[ceí]|oèe|uèe|[aoui]è[aiou]|[lnr]è[aiou]|èek|èík|èi[cæ]|èov"
        rf"|[bdgjklnprstvzš]iè{_END}|[kntv]aè{_END}|{_BEGIN}è[aeiou]|{_BEGIN}ì[aeiou]"
        rf"|[nd]ìk|ìj{_END}|tìj|jtìch|nìm[ec]|tìp|{_BEGIN}vìr|[ks]vìt|ndìl|{_BEGIN}bìl|mìst|ùž|{_BEGIN}[hkrt]ù[lms]"
        rf"|òk|[aeo]ò[aoá]|{_BEGIN}ï[ou]",
        ("Kuèera", "Èerny", "Kovaè", "Babiè", "Zdenìk", "Nìmec", "Vojtìch", "Hùlka", "Zdeòka", "Ïurko"),
    ),
    Giveaway(
        "Windows-1250 (Romanian)",
        "ã for ă before a consonant or u in a long name; in Portuguese o, e, s or the end follows",
        rf"{_BEGIN}(?={_LETTER}{{5}}){_LETTER}*ã(?:[bcdfghjklmnpqrtvwxz]|u)|icã{_END}",
        ("Bãlan", "Rãzvan", "Mãdãlina"),
    ),
    Giveaway(
        "Windows-1250 and ISO-8859-2 (Hungarian)",
        "õ for ő and û for ű in places of Hungarian; in Portuguese e follows õ, Estonian has none at the end",
        rf"{_BEGIN}(?={_LETTER}{{4}}){_LETTER}*{_HARD}õ{_END}|{_LETTER}{{3}}õs{_END}|õ(?:cs|ny|sz)"
        rf"|(?:sz|gy){_LETTER}*[õû]|ûcs|dûs|fûz",
        ("Gergõ", "Erdõs", "Szõke", "Szûcs", "Hegedûs"),
    ),
    Giveaway(
        "Windows-1250, 1257 and 1258; ISO-8859-13",
        "ð for đ and š: at the beginning of a word or after a consonant; Icelandic has it after vowels, r, f, g, l",
        rf"{_BEGIN}ð|[bcdhjkmnpqstvwxzçñò]ð|ð[kpt]",
        ("Ðorðe", "Ðimkus", "Kalniòð", "Ðinh"),
    ),
    Giveaway(
        "Windows-1254 and ISO-8859-9 (Turkish); Windows-1250 (Romanian); Windows-1257",
        "þ for ş, ţ and ž: at the end, after a vowel, or before a vowel that follows no þ in Icelandic",
        r"þ(?![óúöjryoáæíév]|u[rl]|e[óby]|eng|iðr|al[íi]a|ang)|[aeiouâû]þ",
        ("Þahin", "Ayþe", "Barýþ", "Ionuþ", "Þemaitis"),
    ),
    Giveaway(
        "Windows-1254 and ISO-8859-9 (Turkish)",
        "ð for ğ in places of Turkish",
        rf"oðl[ua]|[ao]ðan{_END}|oðu[zkl]|aðl[aý]|aðc|tuð|buð|{_BEGIN}y[aiu]ð|iðit|[db]að{_END}|[ao]ðb|{_BEGIN}uðu|oðu{_END}"
        rf"|öðü|aðr[ýi]|aðý|{_BEGIN}doðr|{_BEGIN}daðd|{_BEGIN}aða{_END}",
        ("Þahinoðlu", "Erdoðan", "Oðuz", "Tuðba", "Yaðmur", "Yiðit", "Uður", "Doðru"),
    ),
    Giveaway(
        "Windows-1254 and ISO-8859-9 (Turkish)",
        "ý for ı and Ý for İ in places of Turkish; Icelandic and Czech have it elsewhere",
        rf"{_BEGIN}ý(?:m[agp]|[bhkls]|n{_LETTER}|re[mn]|rf|d[ir])|yý|ýl[dmk]|ýz{_END}|ýr[ck]|ýk{_END}|dýn|ltýn|cý|lýç|kýz|sým{_END}|[klmnrz]lý{_END}"
        rf"|{_LETTER}mýr{_END}|{_LETTER}{{2}}[cdghklnpsvz]ýr{_END}|{_LETTER}{{2}}(?!l){_LETTER}ýn{_END}"
        rf"|{_BEGIN}(?:akýn|aslý|fýra|kýrm|kýsa|rýza|sarý|sýla|sýrm|sýrr|sýtk|tanrý)",
        ("Yýlmaz", "Aydýn", "Ýbrahim", "DEMÝR", "Kýlýç", "Sarý", "Akýn", "Aslýhan"),
    ),
    Giveaway(
        "Windows-1254 and 1257; ISO-8859-9 and -13",
        "ð, þ or ý in a word with a letter that no language with ð, þ or ý has",
        rf"{_BEGIN}(?={_LETTER}*[ðþý]){_LETTER}*[çüâîûêëïàèìòùãõ]",
        ("Çaðlar", "Gülþen", "Ðarûnas"),
    ),
    Giveaway(
        "Windows-1257 and ISO-8859-13 (Latvian, Lithuanian)",
        "ç for ē between consonants; endings of Lithuanian names with ë for ė; ò for ņ before a or š",
        rf"[bcdfghjkmpqstvwxz]ç{_HARD}|{_BEGIN}ç[bdfgjkmnpqstv]|(?:ien|ait|yt|ut|ûn)ë{_END}|iò[aðst]|ûnas|uðis|iðka",
        ("Bçrzs", "Kazlauskienë", "Liepiòa"),
    ),
    Giveaway(
        "Windows-1258 (Vietnamese)",
        "ò for the dot below after a vowel, and ý for ư before ng",
        r"[ao]ò[mnc]|ýng",
        ("Phaòm", "Hýng"),
    ),
    Giveaway("Windows-1251; KOI8-R; ISO-8859-5", "ß at the beginning of a word", rf"{_BEGIN}ß", ("ßna",)),
)
"""The giveaways, each with names that show it."""


def _compiled(giveaways: Iterable[Giveaway]) -> tuple[re.Pattern[str], ...]:
    """Compiles the patterns: one that takes capitals for small letters, and one that does not."""
    kinds = ([one.pattern for one in giveaways if one.any_case is any_case] for any_case in (True, False))
    any_case, as_written = kinds
    return re.compile("|".join(any_case), re.IGNORECASE), re.compile("|".join(as_written))


_WINDOWS_1252: Final = _compiled(GIVEAWAYS)
_UNICODE: Final = _compiled([one for one in GIVEAWAYS if one.in_unicode])


# The eight places where ISO-8859-15 differs from Windows-1252, which has signs there: letters beside letters. A
# fraction stands behind a digit; an accent behind a small letter, or behind the one consonant or O a word begins with,
# is an apostrophe (aujourd´hui, L´Hostis, O´Brien), for Ž is a capital.
_TO_LATIN_9: Final = str.maketrans("¤¦¨´¸¼½¾", "€ŠšŽžŒœŸ")
_APOSTROPHE: Final = rf"(?<=[{_SMALL}]´)|(?<=\b[B-DF-HJ-TV-Zb-df-hj-tv-z]´)"
_LATIN_9: Final = re.compile(
    rf"[¤¦¨´¸¼½¾](?:(?<=¤)|(?!{_APOSTROPHE}|(?<=[0-9][¼½¾]))(?:(?={_LETTER})|(?<={_LETTER}.)))", re.DOTALL
)
_LATIN_1: Final = re.compile(rf"[´¼½¾](?:(?<=[0-9][¼½¾])|(?<=[0-9] [¼½¾])|{_APOSTROPHE})")
_WINDOWS_ONLY: Final = re.compile("[€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]")

_IN_HEADERS: Final = re.compile(rf"[€£¥§©®°±µ¹²³‰™‹›«»•]|(?<!{_LETTER})[ƒ¼½¾]")
"""Signs of units, prices and footnotes, which columns have beside letters: ``Montant €HT``, ``Taille (µm)``."""

_LOOKED_AT: Final = 400
"""Characters of a name that are looked at: no longer one is stored (``models.person.MAX_NAME``)."""

UNDEFINED: Final = "\N{REPLACEMENT CHARACTER}"
"""The sign that stands for a byte without a letter in Windows-1252."""


class _Evidence(NamedTuple):
    """The evidence of one cell: damage under each of the two readings, and which of the two it speaks for."""

    damaged_windows: bool
    damaged_latin_9: bool
    latin_9: bool
    latin_1: bool
    windows: bool


def is_damaged(text: str, encoding: str | None) -> bool:
    """Tells whether a text shows that it was read in the wrong encoding, or encoded twice.

    Parameters:
      encoding: the encoding it was read in; None for the text of a workbook.
    """
    if is_double_encoded(text):
        return True
    return UNDEFINED in text or _damaged(text, _WINDOWS_1252) if encoding in ONE_BYTE else _damaged(text, _UNICODE)


def _damaged(text: str, patterns: Iterable[re.Pattern[str]]) -> bool:
    return any(pattern.search(text) for pattern in patterns)


@lru_cache(maxsize=1 << 15)
def _evidence(text: str) -> _Evidence:
    windows, latin_9 = bool(_WINDOWS_ONLY.search(text)), bool(_LATIN_9.search(text))
    damaged = _damaged(text, _WINDOWS_1252)
    other = _damaged(text.translate(_TO_LATIN_9), _WINDOWS_1252) if latin_9 else damaged
    return _Evidence(damaged, other, latin_9, bool(_LATIN_1.search(text)), windows)


@dataclass(slots=True)
class NameJudge:
    """Looks at the header and the names of a file, row by row, and then says its encoding.

    Parameters:
      encoding: the encoding that the bytes allow; ``windows-1252`` stands for both with one byte a letter. None for a
        workbook.
      first_name, last_name: the indices of the columns.
      accented: the positions of the first rows with names that another encoding would show otherwise.
    """

    encoding: str | None
    first_name: int
    last_name: int
    accented: list[int] = field(default_factory=list)
    _damaged_windows: int | None = None
    _damaged_latin_9: int | None = None
    _latin_9: bool = False
    _latin_1: bool = False
    _windows: bool = False

    def look_at_header(self, line: int, cells: Iterable[str]) -> None:
        """Looks at the names of the columns, also unused ones. Raises: RosterRefused, as ``look_at``."""
        for cell in cells:
            if not cell.isascii():
                text = cell[:_LOOKED_AT]
                self._look(line, text if is_double_encoded(text) else _IN_HEADERS.sub("", text))

    def look_at(self, position: int, line: int, cells: Sequence[str]) -> None:
        """Looks at the two names of a row.

        Raises: RosterRefused for text that was encoded twice, and for a byte without a letter.
        """
        for index in (self.first_name, self.last_name):
            cell = cells[index] if index < len(cells) else ""
            if cell.isascii() and "+A" not in cell:
                continue
            self._look(line, cell[:_LOOKED_AT])
            if self.encoding in ONE_BYTE and len(self.accented) < SHOWN and position not in self.accented:
                self.accented.append(position)

    def conclude(self) -> str | None:
        """Returns the encoding of the file. Raises: RosterRefused when the names are not in it."""
        if self.encoding not in ONE_BYTE:
            return self.encoding
        if self._latin_9 and (self._latin_1 or self._windows):
            raise not_recognised("signs of ISO-8859-15 and of another encoding")
        damaged = self._damaged_latin_9 if self._latin_9 else self._damaged_windows
        if damaged is not None:
            raise not_recognised(f"names come out damaged, first on line {damaged}")
        return "iso-8859-15" if self._latin_9 else "windows-1252"

    def _look(self, line: int, text: str) -> None:
        if is_double_encoded(text):
            raise not_recognised(f"text that was encoded twice, first on line {line}")
        if self.encoding not in ONE_BYTE:
            if _damaged(text, _UNICODE):
                raise not_recognised(f"names that were damaged before, first on line {line}")
            return
        if UNDEFINED in text:
            raise not_recognised(f"a byte that is no letter of Windows-1252, on line {line}")
        seen = _evidence(text)
        self._latin_9, self._latin_1 = self._latin_9 or seen.latin_9, self._latin_1 or seen.latin_1
        self._windows = self._windows or seen.windows
        if seen.damaged_windows and self._damaged_windows is None:
            self._damaged_windows = line
        if seen.damaged_latin_9 and self._damaged_latin_9 is None:
            self._damaged_latin_9 = line
