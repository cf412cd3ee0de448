"""Numbers French law has a training organisation state: its establishment, its declaration of activity."""

import re
from typing import Final

from models.words import Code

_LA_POSTE: Final = "356000000"
_SIRET: Final = re.compile(r"[0-9]{14}")
_ACTIVITY_NUMBER: Final = re.compile(r"[0-9]{2}(?:[0-9]{2}|2[AB])[0-9]{7}")


def clean_siret(text: str) -> str | Code:
    """The 14 digits of an establishment, spaces left out.

    Returns: the digits; or ``INVALID_SIRET`` when they are not 14 or their sum says that one is wrong (Luhn; by the
    plain sum for the establishments of La Poste, whose numbers INSEE gave otherwise).
    """
    digits = "".join(text.split())
    if not _SIRET.fullmatch(digits) or not digits.strip("0"):  # nothing but zeros would add up
        return Code.INVALID_SIRET
    if digits.startswith(_LA_POSTE) and sum(map(int, digits)) % 5 == 0:
        return digits
    doubled = (int(one) * (2 - place % 2) for place, one in enumerate(digits))
    return digits if sum(number - 9 * (number > 9) for number in doubled) % 10 == 0 else Code.INVALID_SIRET


def clean_activity_number(text: str) -> str | Code:
    """The number of a declaration of activity (Code du travail, L. 6351-1): 11 characters, spaces left out.

    Returns: the number, or ``INVALID_ACTIVITY_NUMBER``. A letter stands only in the departments of Corsica (2A, 2B).
    """
    number = "".join(text.split()).upper()
    return number if _ACTIVITY_NUMBER.fullmatch(number) else Code.INVALID_ACTIVITY_NUMBER
