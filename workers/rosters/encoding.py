"""Finds the encoding that the bytes of a text file allow, or refuses the file.

A mark at the beginning decides; else it is UTF-8 if every byte fits; else each byte is a letter. The file is read to
its end, a part at a time. Which of the encodings with one byte a letter it is, and whether its names came through, is
found out by the names (``workers/rosters/misread.py``).
"""

import codecs
from collections.abc import Iterator
from typing import BinaryIO, Final

from models.words import Code
from workers.rosters.refused import RosterRefused

PART: Final = 1 << 20

_UTF8_MARK: Final = b"\xef\xbb\xbf"
_UTF16_MARKS: Final = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_UTF32_MARKS: Final = (b"\xff\xfe\x00\x00", b"\x00\x00\xfe\xff")


def find_encoding(file: BinaryIO) -> str:
    """Returns the Python name of the file's encoding: ``utf-8-sig``, ``utf-8``, ``utf-16-le``, ``utf-16-be``, or
    ``windows-1252`` for every encoding with one byte a letter.

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
    return "windows-1252"


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
