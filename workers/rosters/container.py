"""Recognises the container of a workbook, and checks that it can be opened without harm.

A container states how much it holds, and that may be a lie. So each part is unpacked once, piece by piece and without
keeping it, before any other code reads it.
"""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, Literal

from models.words import Code
from workers.rosters.refused import RosterRefused

MAX_UNPACKED: Final = 200_000_000
MOST_PARTS: Final = 10_000

_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ZIPS: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_ENCRYPTED_PACKAGE: Final = "EncryptedPackage".encode("utf-16-le")
_CENTRAL_HEADER: Final = b"PK\x01\x02"
_OUR_FIRST_PARTS: Final = re.compile(
    rb"\[Content_Types\]\.xml|_rels/|docProps/|customXml/|xl[/\\]|mimetype(?!application/epub)"
)
_PARTS_OF_OTHERS: Final = re.compile(rb"PK\x03\x04.{26}(?:word|ppt|visio)/", re.DOTALL)
_LOCAL_HEADER: Final = struct.Struct("<4s22xHH")
_DTD: Final = re.compile("<!(?:DOCTYPE|ENTITY)")
_PIECE: Final = 1 << 16
_ODS_TYPE: Final = b"application/vnd.oasis.opendocument.spreadsheet"

Container = Literal["xlsx", "ods"]


def kind_of_container(file: BinaryIO) -> Container | None:
    """Returns the kind of workbook, or None for a file that is no container.

    Raises:
      RosterRefused: ``UNSUPPORTED_FORMAT`` (an old workbook, another kind of zip), ``PASSWORD_PROTECTED``,
        ``UNREADABLE_FILE`` (cut, damaged, with a DTD), ``TOO_LARGE`` (would unpack to more than 200 MB).
    """
    file.seek(0)
    beginning = file.read(8)
    if beginning == _OLE:
        raise _ole(file)
    if not beginning.startswith(_ZIPS):
        return None
    if _count(file, _CENTRAL_HEADER) > MOST_PARTS:  # refused before zipfile holds them all in memory
        raise _too_large()
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OSError) as error:
        raise _cut(file) from error
    with archive:
        kind = _kind(file, archive)
        _check_parts(file, archive)
        return kind


def _ole(file: BinaryIO) -> RosterRefused:
    file.seek(0)
    before = b""
    while piece := file.read(1 << 20):
        if _ENCRYPTED_PACKAGE in before + piece:
            return _locked()
        before = piece[-len(_ENCRYPTED_PACKAGE) :]
    return RosterRefused(Code.UNSUPPORTED_FORMAT, "an old workbook; save it as .xlsx or CSV")


def _count(file: BinaryIO, mark: bytes) -> int:
    file.seek(0)
    return sum(piece.count(mark) for piece in iter(lambda: file.read(1 << 20), b""))


def _cut(file: BinaryIO) -> RosterRefused:
    """Returns why a zip without its end is refused: a cut workbook begins with parts of known names."""
    file.seek(0)
    beginning = file.read(1 << 20)
    if _OUR_FIRST_PARTS.match(beginning, 30) and not _PARTS_OF_OTHERS.search(beginning):
        return RosterRefused(Code.UNREADABLE_FILE, "the workbook is cut or damaged; save it again")
    return RosterRefused(Code.UNSUPPORTED_FORMAT, "a zip, not a workbook")


def _kind(file: BinaryIO, archive: zipfile.ZipFile) -> Container:
    names = {name.replace("\\", "/") for name in archive.namelist()}  # some software writes them so
    if "xl/workbook.xml" in map(str.lower, names):
        return "xlsx"
    if "encrypted-package" in names:  # LibreOffice encrypts whole documents in this way since 24.8
        raise _locked()
    if "content.xml" in names and _is_spreadsheet(file, archive, names):
        return "ods"
    raise RosterRefused(Code.UNSUPPORTED_FORMAT, "a zip that holds no workbook; save it as .xlsx or CSV")


def _is_spreadsheet(file: BinaryIO, archive: zipfile.ZipFile, names: set[str]) -> bool:
    """Tells it by the type at the beginning of the container; encrypted files keep it in clear."""
    if "mimetype" not in names:
        return True
    beginning = next(_unpacked(file, archive.getinfo("mimetype")), b"")
    return beginning.startswith(_ODS_TYPE)


def _check_parts(file: BinaryIO, archive: zipfile.ZipFile) -> None:
    parts = archive.infolist()
    if len(parts) > MOST_PARTS or sum(part.file_size for part in parts) > MAX_UNPACKED:
        raise _too_large()
    if sum(part.compress_size for part in parts) > file.seek(0, io.SEEK_END):
        raise _damaged()  # the same bytes under several names would be unpacked again and again
    if any(part.flag_bits & 1 for part in parts):
        raise _locked()
    left = MAX_UNPACKED
    for part in parts:
        left = _check_part(file, part, left)


def _check_part(file: BinaryIO, part: zipfile.ZipInfo, left: int) -> int:
    """Unpacks a part without keeping it; returns how many bytes the other parts may still hold."""
    markup = part.filename.endswith((".xml", ".rels", ".vml"))
    before = b""
    for piece in _unpacked(file, part):
        left -= len(piece)
        if left < 0:
            raise _too_large()
        if markup and _holds_dtd(before + piece):
            raise RosterRefused(Code.UNREADABLE_FILE, "a part of the workbook has a DTD; save it again")
        if part.filename == "META-INF/manifest.xml" and b"encryption-data" in before + piece:
            raise _locked()
        before = piece[-64:]
    return left


def _holds_dtd(piece: bytes) -> bool:
    """Tells it in UTF-8, and in UTF-16 of either byte order: without its zero bytes it reads the same."""
    return bool(_DTD.search(piece.replace(b"\0", b"").decode("latin-1")))


def _unpacked(file: BinaryIO, part: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yields the content of a part, piece by piece, whatever size the container states."""
    if part.header_offset < 0:  # the directory of a damaged container may say that a part begins there
        raise _damaged()
    file.seek(part.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    try:
        mark, name, extra = _LOCAL_HEADER.unpack(header)
    except struct.error as error:
        raise _damaged() from error
    if mark != _ZIPS[0]:
        raise _damaged()
    file.seek(name + extra, io.SEEK_CUR)
    packed = _packed(file, part.compress_size)
    if part.compress_type == zipfile.ZIP_STORED:
        yield from packed
    elif part.compress_type == zipfile.ZIP_DEFLATED:
        yield from _inflated(packed)
    else:
        raise _damaged()


def _packed(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0 and (piece := file.read(min(size, _PIECE))):
        size -= len(piece)
        yield piece
    if size > 0:
        raise _damaged()


def _inflated(packed: Iterator[bytes]) -> Iterator[bytes]:
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for piece in packed:
            yield inflating.decompress(piece, _PIECE)
            while inflating.unconsumed_tail:
                yield inflating.decompress(inflating.unconsumed_tail, _PIECE)
            if inflating.eof:
                return  # bytes after the end would be collected, and copied with each piece
        yield inflating.flush()
    except zlib.error as error:
        raise _damaged() from error
    if not inflating.eof:
        raise _damaged()


def _locked() -> RosterRefused:
    return RosterRefused(Code.PASSWORD_PROTECTED, "the workbook needs a password; save it without one")


def _damaged() -> RosterRefused:
    return RosterRefused(Code.UNREADABLE_FILE, "the workbook is damaged; save it again")


def _too_large() -> RosterRefused:
    return RosterRefused(Code.TOO_LARGE, f"would unpack to more than {MAX_UNPACKED} bytes; split the file")
