"""Encodes a body in pieces between which encoded values are placed (quoted-printable, RFC 2045, section 6.7).

A value stands on lines of its own, joined to the pieces around it by soft line breaks, so that no line depends on the
length of another.
"""

import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

_SOFT_BREAK: Final = b"=\r\n"
_LONGEST_LINE: Final = 75  # without the "=" of a soft line break


@dataclass(frozen=True, slots=True)
class EncodedPieces:
    """A body with a hole for each of its values.

    Parameters:
      pieces: encoded text, and nothing for each hole, in turn.
      order: for each hole, the index of its value.
    """

    pieces: tuple[bytes, ...]
    order: tuple[int, ...]

    @classmethod
    def of(cls, texts: Sequence[str], order: Sequence[int]) -> Self:
        """Encodes the texts between the values."""
        last = len(texts) - 1
        encoded = [_encoded(text, first=index == 0, last=index == last) for index, text in enumerate(texts)]
        return cls(tuple(one for piece in encoded for one in (piece, b""))[:-1], tuple(order))

    def fill(self, values: Sequence[bytes]) -> bytes:
        """Returns the body with its values, which are encoded already."""
        filled = list(self.pieces)
        filled[1::2] = [values[index] for index in self.order]
        return b"".join(filled)


def _encoded(text: str, *, first: bool, last: bool) -> bytes:
    """Encodes the text between two values: a soft line break stands beside each where no line ends anyway."""
    encoded = quoted(text)
    if not last and encoded.endswith(b"=20"):  # a space may stand before the soft break that follows
        encoded = encoded[:-3] + b" "
    before = b"" if first or text.startswith("\n") else _SOFT_BREAK
    after = b"" if last or not text or text.endswith("\n") else _SOFT_BREAK
    return before + encoded + after


def quoted(text: str) -> bytes:
    """Encodes text that begins a line; its last line leaves room for a soft line break.

    A dot or "From " at the beginning is encoded as well, because mail servers and mailboxes change these.
    """
    encoded = binascii.b2a_qp(text.encode("utf-8", "replace"), istext=True).replace(b"\n", b"\r\n")
    if encoded.startswith((b".", b"From ")):
        encoded = b"=%02X" % encoded[0] + _SOFT_BREAK + encoded[1:]
    if len(encoded) - encoded.rfind(b"\n") - 1 > _LONGEST_LINE:
        cut = -3 if encoded[-3:-2] == b"=" else -1
        encoded = encoded[:cut] + _SOFT_BREAK + encoded[cut:]
    return encoded
