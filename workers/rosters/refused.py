"""The error of a roster file that cannot be read as a whole."""

from models.words import Code
from workers.errors import MatriculeError


class RosterRefused(MatriculeError):
    """The file as a whole cannot be read; nothing of it was taken.

    Parameters:
      code: one of the file codes of ``models.words.Code``.
      detail: the fault and the advice, in English for logs, without any value of the file.
    """

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(f"{code.value}: {detail}")
        self.code = code
        self.detail = detail
