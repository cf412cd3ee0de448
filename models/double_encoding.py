"""Recognises text that was encoded as UTF-8 and then read in another encoding: ``LefÃ©bure`` for ``Lefébure``.

Such a text is damaged before it comes here, whatever carries it: a file, a workbook or a request. Each row of the table
says which reading leaves which trace; no name in any language has one of them.
"""

import re
from typing import Final, NamedTuple

_HIGH: Final = "\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
"""The bytes 0x80 to 0xBF, which go on a letter in UTF-8, as Windows-1252 and ISO-8859-1 show them."""

_ODD: Final = "‚„…†‡‰‹•™›ˇ˘¦§¨©«¬®°±˛´µ¶·¸»˝"
"""Signs among them that no letter of a name is followed by, as Windows-1250 shows them."""


class Trace(NamedTuple):
    """A trace that one wrong reading of UTF-8 leaves in a text.

    Parameters:
      letters: the letters that were lost.
      pattern: a regular expression of the trace.
      example: a damaged text.
    """

    letters: str
    pattern: str
    example: str


TRACES: Final = (
    Trace("é, ñ, č, œ, š: most letters of Europe", f"[ÃÄÅ][{_HIGH}]", "LefÃ©bure"),
    Trace("a no-break space, « or °", "Â[\x80-\xbf]", "Le\xc2\xa0Dû"),
    Trace("ș and ț of Romanian", "È[™›˜\x98\x99\x9b]", "IonuÈ›"),
    Trace("’, “ and –", "â€", "Dâ€™Artagnan"),
    Trace("ơ and ư of Vietnamese", "Æ[°¡]", "TrÆ°Æ¡ng"),
    Trace("ạ, ễ and other letters of Vietnamese", f"á[º»](?!\xa0)[{_HIGH}]", "Nguyá»…n"),
    Trace("an accent that follows its letter (NFD)", "[A-Za-z]Ì[\x80-\xbf€‚ƒ„†‡ˆ‰Š‹ŒŽ•˜™š›œžŸ]", "SteÌ\x81phane"),
    Trace("Cyrillic", f"(?:[ÐÑ][{_HIGH}]){{2}}", "Ð¡ÐµÑ€Ð³ÐµÐ¹"),
    Trace("Greek", f"(?:[ÎÏ][{_HIGH}]){{2}}", "Î\x9dÎ¯ÎºÎ¿Ï‚"),
    Trace("Hebrew and Arabic", f"(?:[×ØÙÚÛ][{_HIGH}]){{2}}", "Ù…Ø\xadÙ…Ø¯"),
    Trace("Chinese, Japanese, Korean and Thai", f"(?:[à-í][{_HIGH}]{{2}}){{2}}", "æ\x9d\x8eå°\x8fé¾\x8d"),
    Trace("a picture", f"ðŸ[{_HIGH}]", "ZoÃ© ðŸ˜€"),
    Trace("a byte order mark", "ï»¿", "ï»¿Nom"),
    Trace("any letter, read as MacRoman", r"[√≈]\S", "Lef√©bure"),
    Trace("any letter, read as a code page of DOS", "[\u2500-\u259f]", "Lef├®bure"),
    Trace("any letter, read as Windows-1250", f"[ĂĹ][{_ODD}Ż]|Ĺ[“’]", "LefĂ©bure"),
    Trace("any letter, read as Windows-1251 or Windows-1253", "[A-Za-z][ГΓ]", "LefГ©bure"),
    Trace("é and the like, in UTF-7", r"\+A[M-P][A-Za-z0-9+/]-", "Lef+AOk-bure"),
)
"""The traces, each with a text that has it."""

_ANY_TRACE: Final = re.compile("|".join(trace.pattern for trace in TRACES))


def is_double_encoded(text: str) -> bool:
    """Tells whether a text shows UTF-8 that was read in another encoding."""
    return (not text.isascii() or "+A" in text) and _ANY_TRACE.search(text) is not None
