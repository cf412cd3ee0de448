"""Finds the well-known mail domain that was probably meant: ``gmial.com`` is one keystroke away from ``gmail.com``.

It is only ever a question to the manager: an address is neither changed nor refused for it. The rules keep false alarms
rare:

* one keystroke: a letter too many, too few or wrong, or two neighbours exchanged;
* a domain of the table, and a domain known to exist beside one (``REAL``), is what it says;
* another ending that exists (``yahoo.gr``) is what it says; ``.co``, ``.cm`` and ``.om`` for ``.com`` are not;
* a short name (``free``, ``sfr``, ``gmx``) is one keystroke away from too much: it is only suggested for one of its own
  letters typed twice, or for an ending that does not exist.
"""

from functools import lru_cache
from typing import Final

_PROVIDERS_WRITTEN = """
    gmail.com googlemail.com hotmail.com hotmail.fr hotmail.be outlook.com outlook.fr outlook.be
    live.com live.fr live.be msn.com yahoo.com yahoo.fr yahoo.ca ymail.com icloud.com me.com mac.com
    aol.com aol.fr gmx.com gmx.fr gmx.net gmx.de orange.fr orange.com wanadoo.fr laposte.net free.fr
    sfr.fr neuf.fr bbox.fr numericable.fr club-internet.fr noos.fr aliceadsl.fr cegetel.net voila.fr
    libertysurf.fr caramail.com caramail.fr protonmail.com protonmail.ch proton.me pm.me bluewin.ch
    skynet.be telenet.be proximus.be videotron.ca sympatico.ca mailo.com mailo.fr netcourrier.com
"""
PROVIDERS: Final = frozenset(_PROVIDERS_WRITTEN.split())
"""The mail providers of people in France and its neighbours."""

_REAL_WRITTEN = """
    mail.com email.com xmail.com zmail.com qmail.com smail.com fmail.com hmail.com cloud.com grange.fr
    range.fr oranges.fr voile.fr outlook.kr mail.fr mailo.net
"""
REAL: Final = frozenset(_REAL_WRITTEN.split())
"""Domains of others that are one keystroke away from a provider."""

SHORT: Final = 5
"""Letters before the dot: a name with fewer is a short one."""

# Endings that exist and are one keystroke away from those of the table.
_REAL_ENDINGS_WRITTEN = """
    ar br cr er gr hr ir kr lr mr pr sr tr fi fj fk fm fo ae ba bb bd bf bg bh bi bj bm bn bo br bs bt
    bw by bz be ce de dj dk dm do dz ee ge
    ie je ke le me ne pe re se ve ye ca cc cd cf cg ci ck cl cn cr cu cv cw cx cy cz
    ga la ma na pa sa ua va ah ch gh mh ph sh th md mg mk ml mm mn mo mp mq ms mt mu mv mw mx my mz cam
    bet ne et
"""
_REAL_ENDINGS: Final = frozenset(_REAL_ENDINGS_WRITTEN.split())


@lru_cache(maxsize=10_000)
def similar_domain(domain: str) -> str | None:
    """Returns the provider that was probably meant by a domain in lower case, or None."""
    if domain in PROVIDERS or domain in REAL:
        return None
    return next((meant for meant in sorted(PROVIDERS) if _is_slip(domain, meant)), None)


def did_you_mean(email_norm: str) -> str | None:
    """Returns the domain that was probably meant in an address, or None."""
    return similar_domain(email_norm.rpartition("@")[2])


def _is_slip(typed: str, meant: str) -> bool:
    if not one_keystroke(typed, meant):
        return False
    name, _, ending = typed.rpartition(".")
    meant_name, _, meant_ending = meant.rpartition(".")
    if name == meant_name:
        return ending not in _REAL_ENDINGS
    return len(meant_name) >= SHORT or (ending == meant_ending and _doubled(name, meant_name))


def _doubled(name: str, meant: str) -> bool:
    """Tells whether one letter of a name was typed twice."""
    return any(name == meant[:place] + meant[place - 1] + meant[place:] for place in range(1, len(meant) + 1))


def one_keystroke(one: str, other: str) -> bool:
    """Tells whether two different texts are one letter or one exchange of neighbours apart (Damerau)."""
    if one == other or abs(len(one) - len(other)) > 1:
        return False
    same = next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )
    rest, rest_of_other = one[same:], other[same:]
    return (
        rest[1:] == rest_of_other[1:]
        or rest[1:] == rest_of_other
        or rest == rest_of_other[1:]
        or (rest[:2] == rest_of_other[:2][::-1] and rest[2:] == rest_of_other[2:])
    )
