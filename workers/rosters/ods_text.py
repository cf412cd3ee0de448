"""Makes the text of cells plain in OpenDocument sheets.

The library that reads workbooks drops tabs and line breaks ("Le⇥Dû" would become "LeDû"), and reads phonetic guides and
drawings as text of the cell they stand in. So these are replaced before the library reads the file.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from typing import BinaryIO, Final

CONTENT: Final = "content.xml"

_BREAK: Final = re.compile(rb"<text:(?:tab|line-break)\b[^>]*?(?:/>|>\s*</text:(?:tab|line-break)>)")
_SPACE: Final = b"<text:s/>"
_NO_TEXT_OF_A_CELL: Final = re.compile(rb"<(/?)(?:draw:|text:ruby-text\b)[^>]*?(/?)>")


def with_plain_text(file: BinaryIO) -> BinaryIO:
    """Returns the same file from its beginning, or a changed copy of an OpenDocument sheet that needs it.

    Raises: ``OSError``, ``ValueError`` or ``zlib.error`` for a damaged container.
    """
    changed = None
    try:
        with zipfile.ZipFile(file) as archive:
            content = archive.read(CONTENT) if CONTENT in archive.namelist() else b""
            if (plain := plain_content(content)) != content:
                changed = _copy(archive, plain)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise ValueError("a damaged container") from error
    file.seek(0)
    return changed or file


def plain_content(content: bytes) -> bytes:
    """Returns the XML of the sheets with a space for each tab and line break, without phonetic guides and drawings."""
    return _BREAK.sub(_SPACE, b"".join(_outside(content)))


def _outside(content: bytes) -> Iterator[bytes]:
    """Yields the pieces of the XML outside drawings and phonetic guides; a drawing may hold drawings."""
    depth = begin = 0
    for tag in _NO_TEXT_OF_A_CELL.finditer(content):
        closing, empty = tag.groups()
        if depth == 0:
            yield content[begin : tag.start()]
        depth += 0 if empty else -1 if closing else 1
        if depth == 0:
            begin = tag.end()
    yield content[begin:]


def _copy(archive: zipfile.ZipFile, content: bytes) -> BinaryIO:
    copy = io.BytesIO()
    with zipfile.ZipFile(copy, "w") as changed:
        for part in archive.infolist():
            if part.filename != CONTENT:
                changed.writestr(part, archive.read(part))
        changed.writestr(CONTENT, content)
    copy.seek(0)
    return copy
