"""Finds the encoding of a text file, or refuses the file when it is not certain.

A mark at the beginning decides; else it is UTF-8 if every byte fits; else Windows-1252 or ISO-8859-15 if nothing speaks
against it. The file is read to its end, a part at a time.
"""

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from models.words import Code
from workers.rosters.refused import RosterRefused

PART: Final = 1 << 20
_OVERLAP: Final = 16
"""Characters of the part before that are read again: the patterns below span at most four."""

_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_UTF32_MARKS: Final = (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")

# Every pattern below begins with a class of rare characters, so that the regex engine skips to them.

# UTF-8 bytes of é, œ, NBSP, ’, ễ, 😀 and the like: in a file that is not UTF-8 they show that two encodings are mixed.
_UTF8_AMONG_OTHERS: Final = re.compile(
    rb"[\xc2-\xdf\xe1\xe2\xf0](?:(?<=[\xc2\xc3\xc5])[\x80-\xbf]|(?<=\xe2)\x80[\x90-\xaf]|(?<=\xe1)[\xb8-\xbb][\x80-\xbf]"
    rb"|(?<=\xf0)\x9f[\x80-\xbf]{2}|(?<=[\xc2-\xdf])[\x80-\xbf][\xc4-\xdf][\x80-\xbf])"
)

# The characters that é, è, ê, œ, ’ of MacRoman or DOS become when they are read as Windows-1252.
_LETTER: Final = r"[^\W\d_]"
_SMALL: Final = "[a-zß-öø-ÿœšž]"
_NEVER: Final = "[ƒˆ˜‡‚]"  # É and à of the Macintosh, ç and é of DOS
_SIGN: Final = "[„…†‰‹“”•–—™›‘]"
_CAPITAL: Final = "[ŠŽŒŸËÌÍÎÏÔÕØÙÞ]"
_READ_WRONGLY: Final = re.compile(
    rf"[ƒˆ˜‡‚„…†‰‹“”•–—™›‘€×ŠŽŒŸËÌÍÎÏÔÕØÙÞ¤¦¨´¸¡¢£¥§®¯±](?:(?<={_NEVER})"
    rf"|(?<={_LETTER}{_SIGN})(?<!\b[DLdl]‘)(?={_SMALL})"  # No‘l, Beno”t, C™me, Lo‹c; d‘Almeras is an apostrophe
    rf"|(?<=[A-Z][„†‰™‹›])(?=[A-Z])"  # J™RG, M†LLER
    rf"|(?<={_LETTER}[¡¢£])|(?<={_LETTER}[¥§®¯±])(?={_LETTER})"  # Garc¡a, Ram¢n, MU¥OZ
    rf"|(?<={_LETTER}[€×])(?={_LETTER})"  # FRAN€OIS
    rf"|(?<={_LETTER}[‘“])(?<!\b[DLdl]‘)"  # Zo‘
    rf"|(?<={_SMALL}{_CAPITAL})|(?<={_LETTER}{_CAPITAL})(?=[A-Z]?{_SMALL})"  # JosŽ, sÏur; LŽa, LÕHostis
    rf"|(?<={_LETTER}[¤¦¨])|(?<!{_LETTER}.)(?<=[¤¦¨´¸])(?={_LETTER}))"
)
# These letters are ö, û, Ä in other encodings: they are trusted only beside letters that no other encoding has there.
_DOUBTFUL: Final = re.compile("[ŠŽšžŸ](?:(?<!Ÿ)|(?<![A-Z].)|(?=[a-z]))")
_CERTAIN: Final = re.compile("[à-ÿ](?:(?=[a-z])|(?<=[a-z].))")

# The eight places where ISO-8859-15 differs from Windows-1252 (€ Š š Ž ž Œ œ Ÿ there; ¤ ¦ ¨ ´ ¸ ¼ ½ ¾ here): letters
# beside letters. A fraction stands behind a digit; an accent behind a small letter, or behind the one consonant or O a
# word begins with, is an apostrophe (aujourd´hui, L´Hostis, O´Brien), for Ž is a capital.
_ANY_LETTER: Final = rb"[A-Za-z\xc0-\xff]"
_APOSTROPHE: Final = rb"(?<=[a-z\xdf-\xff]\xb4)|(?<=\b[B-DF-HJ-TV-Zb-df-hj-tv-z]\xb4)"
_FRACTION: Final = rb"(?<=[0-9][\xbc\xbd\xbe])|(?<=[0-9] [\xbc\xbd\xbe])"
_LATIN_9: Final = re.compile(
    rb"[\xa4\xa6\xa8\xb4\xb8\xbc\xbd\xbe](?:(?<=\xa4)|(?!"
    + _APOSTROPHE
    + rb"|(?<=[0-9][\xbc\xbd\xbe]))(?:(?="
    + _ANY_LETTER
    + rb")|(?<="
    + _ANY_LETTER
    + rb".)))",
    re.DOTALL,
)
_LATIN_1: Final = re.compile(rb"[\xb4\xbc\xbd\xbe](?:" + _FRACTION + rb"|" + _APOSTROPHE + rb")", re.DOTALL)
_WINDOWS_ONLY: Final = re.compile(rb"[\x80-\x9f]")


def find_encoding(file: BinaryIO) -> str:
    """Returns the Python name of the file's encoding: ``utf-8-sig``, ``utf-8``, ``utf-16-le``, ``utf-16-be``,
    ``windows-1252`` or ``iso-8859-15``.

    Raises:
      RosterRefused: ``ENCODING_NOT_RECOGNISED``.
    """
    file.seek(0)
    beginning = file.read(4)
    if beginning in _UTF32_MARKS:
        raise not_recognised("UTF-32")
    mark = next((name for bytes_, name in _UTF16_MARKS.items() if beginning.startswith(bytes_)), None)
    if mark is not None:
        if not _fits(file, mark):
            raise not_recognised("UTF-16 in places only")
        return mark
    marked = beginning.startswith(_UTF8_MARK)
    if _fits(file, "utf-8"):
        return "utf-8-sig" if marked else "utf-8"
    if marked:
        raise not_recognised("UTF-8 in places only")
    return _one_byte_encoding(file)


def codec(encoding: str) -> str:
    """Returns the codec that reads a whole file of this encoding and skips its mark."""
    return "utf-16" if encoding.startswith("utf-16") else encoding


def not_recognised(seen: str) -> RosterRefused:
    """Makes the refusal of a file with an uncertain encoding."""
    return RosterRefused(Code.ENCODING_NOT_RECOGNISED, f"{seen}; save the file as CSV UTF-8")


def _parts(file: BinaryIO) -> Iterator[bytes]:
    file.seek(0)
    while part := file.read(PART):
        yield part


def _fits(file: BinaryIO, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for part in _parts(file):
            decoder.decode(part)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _one_byte_encoding(file: BinaryIO) -> str:
    latin_9 = latin_1 = windows = doubtful = certain = wrong = False
    before = b""
    for part in _parts(file):
        seen = before + part
        before = seen[-_OVERLAP:]
        if _UTF8_AMONG_OTHERS.search(seen):
            raise not_recognised("UTF-8 in places only")
        latin_9 = latin_9 or bool(_LATIN_9.search(seen))
        latin_1 = latin_1 or bool(_LATIN_1.search(seen))
        windows = windows or bool(_WINDOWS_ONLY.search(seen))
        text = seen.decode("windows-1252", "replace")
        if "\ufffd" in text:
            raise not_recognised("a byte that is no character of Windows-1252")
        wrong = wrong or bool(_READ_WRONGLY.search(text))
        doubtful = doubtful or bool(_DOUBTFUL.search(text))
        certain = certain or bool(_CERTAIN.search(text))
    if latin_9 and not windows:
        if latin_1:
            raise not_recognised("signs of ISO-8859-1 and of ISO-8859-15")
        return "iso-8859-15"
    if wrong or (doubtful and not certain) or (latin_9 and windows):
        raise not_recognised("words come out damaged as Windows-1252")
    return "windows-1252"
