"""Makes the message of a mail from the skeleton of its kind: bytes made before, in which only values are placed.

Two mails of one kind, locale and shape differ in their values alone. So their templates are rendered once, with marks
in place of the values, and kept as encoded pieces; a value is encoded by itself and stands on lines of its own, joined
to the pieces by soft line breaks (RFC 2045, section 6.7). What a reader decodes is what the templates would have made,
to the byte. Three things make sure of it:

* the source of the templates proves that they place values and do nothing else (``workers.mail.placing``);
* a mark that a template compares, or that comes out damaged, refuses the skeleton;
* the first mail of each skeleton is also rendered whole, and both must decode to the same.

A mail without a skeleton is rendered whole. The shape tells the values apart that templates choose by: those that are
None, false or empty, numbers of which sentences make a singular, and words of ours.
"""

import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from jinja2 import TemplateError
from markupsafe import escape

from models.words import EmailKind
from workers.logs import get_logger
from workers.mail.attachments import MailAttachment
from workers.mail.marks import ComputedValueError, MailPlace, NumberMark, ValueMark, cut_at_marks
from workers.mail.message import EncodedMail, SenderIdentity, encode, write_message
from workers.mail.pieces import EncodedPieces, quoted
from workers.mail.placing import PARTS, places_only
from workers.mail.renderer import known_locale, one_line, present, render, shown_value, template, whole_lines

log = get_logger()

WORDS: Final = frozenset({"disabled", "document", "ending", "kind"})
"""Values that are words of ours, by which templates choose sentences: each word has skeletons of its own."""

SHARED: Final = frozenset(
    {"access_url", "company_name", "platform_name", "subject", "support_address", "training_title"}
)
"""Values that many mails share: their encoded forms are kept. Those of one person are not kept once their mail left."""

MOST_SKELETONS: Final = 256
"""The most skeletons that a process keeps, about 10 kB each; the one that was used longest ago goes first."""

MOST_VALUES: Final = 1024
LONGEST_KEPT: Final = 200
"""The most values of each sort that a process keeps, and the most characters of one."""

_SINGULAR: Final = (0, 1)

PLACED: Final[object] = object()
"""Stands in a shape for a value that is placed, which may be any of its type."""

_SUBJECT: Final = MailPlace("subject")

Shape = tuple[tuple[str, type, object], ...]
"""The name and the type of each value, and the value itself where a template may choose by it."""


def make_message(
    kind: EmailKind,
    locale: str,
    context: Mapping[str, Any],
    *,
    to_address: str,
    message_id: str,
    date: datetime,
    identity: SenderIdentity,
) -> bytes:
    """Makes the message of a mail: from its skeleton if it has one, else rendered whole.

    Raises:
      Permanent: as `render` and `write_message` do.
    """
    mail = fill_skeleton(kind, locale, context) or encode(render(kind, locale, context))
    return write_message(mail, to_address=to_address, message_id=message_id, date=date, identity=identity)


def fill_skeleton(kind: EmailKind, locale: str, context: Mapping[str, Any]) -> EncodedMail | None:
    """Places the values of a mail in its skeleton; None when it has none, or when a value cannot be placed."""
    if not places_only(kind):
        return None
    locale = known_locale(locale)
    try:
        more, attachments = present(kind, locale, context)
        shape, values = _shape(context)
        skeleton = None if more else _skeleton(kind, locale, shape)
        if skeleton is None:
            return None
        mail = skeleton.fill(values, attachments)
    except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError):  # rendering it whole raises it too
        return None
    return mail if skeleton.is_proven(mail, kind, context) else None


def _shape(context: Mapping[str, Any]) -> tuple[Shape, dict[str, Any]]:
    """Returns the shape of a mail, and its values as templates may show them; lists and bytes are left out."""
    shape: list[tuple[str, type, object]] = []
    values: dict[str, Any] = {}
    for name, given in context.items():
        value, of, exact = given, type(given), PLACED
        if isinstance(given, str):
            value, of = _shown(name, given), str
            if not value or name in WORDS:
                exact = value
        elif given is None or of is bool or (of is int and given in _SINGULAR):
            exact = given
        elif of is not int and of is not datetime:
            continue
        shape.append((name, of, exact))
        values[name] = value
    return tuple(shape), values


def _shown(name: str, value: str) -> str:
    if name in SHARED and len(value) <= LONGEST_KEPT:
        return _kept_shown(name, value)
    return str(shown_value(name, value))


@lru_cache(maxsize=MOST_VALUES)
def _kept_shown(name: str, value: str) -> str:
    return str(shown_value(name, value))


@dataclass(slots=True)
class MailSkeleton:
    """All that mails of one kind, locale and shape have in common.

    Parameters:
      places: the places of the mail, each once; the last is the subject, as a value of the HTML.
      subject: text and indexes of places in turn.
      proven: whether its first mail decoded to what rendering makes; None before the first.
    """

    locale: str
    places: Sequence[MailPlace]
    subject: Sequence[str]
    subject_order: Sequence[int]
    text: EncodedPieces
    html: EncodedPieces
    proven: bool | None = None

    def fill(self, values: Mapping[str, Any], attachments: tuple[MailAttachment, ...]) -> EncodedMail:
        """Places the values of one mail."""
        locale = self.locale
        shown = [place.shown(values[place.name], locale) for place in self.places[:-1]]
        words = list(self.subject)
        words[1::2] = [shown[index] for index in self.subject_order]
        subject = one_line("".join(words))
        both = [_encoded(place, text) for place, text in zip(self.places, [*shown, subject], strict=True)]
        text = self.text.fill([plain for plain, _ in both])
        html = self.html.fill([rich for _, rich in both])
        return EncodedMail(subject, text, html, locale, attachments)

    def is_proven(self, mail: EncodedMail, kind: EmailKind, context: Mapping[str, Any]) -> bool:
        """Tells whether this skeleton makes what rendering makes; its first mail is made both ways."""
        if self.proven is None:
            self.proven = _decoded(mail) == _decoded(encode(render(kind, self.locale, context)))
            if not self.proven:
                log.error("mail.skeleton_differs", kind=kind, locale=self.locale)
        return self.proven


def _decoded(mail: EncodedMail) -> EncodedMail:
    return mail._replace(text=binascii.a2b_qp(mail.text), html=binascii.a2b_qp(mail.html))


@lru_cache(maxsize=MOST_SKELETONS)
def _skeleton(kind: EmailKind, locale: str, shape: Shape) -> MailSkeleton | None:
    """Makes a skeleton; None when a template computes with a value, or misses one."""
    stand_ins = {name: _stand_in(name, of, exact) for name, of, exact in shape}
    given = (stand_ins, stand_ins, stand_ins | {_SUBJECT.name: ValueMark(_SUBJECT)})
    try:
        rendered = [template(locale, kind, part).render(some) for part, some in zip(PARTS, given, strict=True)]
        cuts = [cut_at_marks(text) for text in (rendered[0], whole_lines(rendered[1]), rendered[2])]
    except (ComputedValueError, TemplateError, TypeError, ValueError, AttributeError, ArithmeticError):
        return None
    (subject, _), (text, _), (html, _) = cuts
    if not "".join(subject).strip():
        return None
    found = dict.fromkeys(place for _, in_one in cuts for place in in_one if place != _SUBJECT)
    places = [*found, _SUBJECT]
    orders = [[places.index(place) for place in in_one] for _, in_one in cuts]
    words = tuple(one for piece in subject for one in (piece, ""))[:-1]
    bodies = EncodedPieces.of(text, orders[1]), EncodedPieces.of(html, orders[2])
    return MailSkeleton(locale, places, words, orders[0], *bodies)


def _stand_in(name: str, of: type, exact: object) -> object:
    if exact is not PLACED:
        return exact
    return (NumberMark if of is int else ValueMark)(MailPlace(name))


def _encoded(place: MailPlace, text: str) -> tuple[bytes, bytes]:
    if (place.form or place.name in SHARED) and len(text) <= LONGEST_KEPT:
        return _kept_encoded(text)
    return _encoded_both_ways(text)


def _encoded_both_ways(text: str) -> tuple[bytes, bytes]:
    """Encodes a value for the text and for the HTML."""
    plain, escaped = quoted(text), str(escape(text))
    return plain, plain if escaped == text else quoted(escaped)


_kept_encoded: Final[Callable[[str], tuple[bytes, bytes]]] = lru_cache(maxsize=MOST_VALUES)(_encoded_both_ways)
