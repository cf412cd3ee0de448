"""Reads the one file of a ``multipart/form-data`` body while it arrives (RFC 7578)."""

import logging
from typing import TYPE_CHECKING, Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from models.words import Code
from workers.api.problems import ApiProblem, FieldError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FIELD: Final = "file"
"""The name of the field with the file; a form has no other."""

logging.getLogger("python_multipart.multipart").setLevel(logging.CRITICAL)  # it would log bytes of the client


class FormFile:
    """The file of a form.

    Parameters:
      boundary: the boundary that the header `Content-Type` gives.
      name: the name that the form gives to the file; None before it has come, and when it gives none.

    Raises: ApiProblem when the form has anything else in it, or is none.
    """

    def __init__(self, boundary: bytes) -> None:
        self.name: str | None = None
        self._content = bytearray()
        self._files = 0
        self._ended = False
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        try:
            self._parser = MultipartParser(boundary, self._callbacks())
        except FormParserError:
            raise no_form() from None

    def feed(self, data: bytes) -> bytes:
        """Reads the next bytes of the body; returns those of the file among them."""
        try:
            self._parser.write(data)
        except FormParserError:
            raise no_form() from None
        content = bytes(self._content)
        self._content.clear()
        return content

    def end(self) -> None:
        """Checks that the form came to its end, with a file."""
        if not self._ended or self._files != 1:
            raise no_form()

    def _callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_content,
            "on_part_data": lambda data, start, end: self._content.extend(data[start:end]),
            "on_end": self._end_form,
        }

    def _begin_part(self) -> None:
        self._disposition = b""

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)
        self._header.clear()
        self._value.clear()

    def _begin_content(self) -> None:
        _, options = parse_options_header(self._disposition.decode("latin-1"))
        self._files += 1
        if options.get(b"name") != FIELD.encode() or self._files > 1:
            raise no_form()
        if b"filename" in options:
            self.name = options[b"filename"].decode("utf-8", "replace")

    def _end_form(self) -> None:
        self._ended = True


def read_boundary(content_type: str) -> bytes | None:
    """Returns the boundary of a form; None for a body that is none.

    Raises: ApiProblem for a form without one.
    """
    kind, options = parse_options_header(content_type)
    if kind != b"multipart/form-data":
        return None
    if not options.get(b"boundary"):
        raise no_form()
    return options[b"boundary"]


def no_form() -> ApiProblem:
    """Makes the problem of a form that is not read."""
    error = FieldError(FIELD, Code.INVALID_REQUEST, "multipart/form-data with this one field is required")
    return ApiProblem(Code.INVALID_REQUEST, errors=[error], hang_up=True)
