"""Reads of whom or what a refusal of a mail server speaks: of us, of the recipient's address, or of the message.

The table below is read from its top, and the first row that fits decides. A row fits by the enhanced code (RFC 3463,
7372, 7505 and the register of IANA) or by words; the three digits of the reply count only when no row fits
(``models.delivery``). The rows that take the blame from the recipient stand first, because servers give one code to
many things: Postfix says 5.7.1 of a sender, a client and a recipient alike, Gmail 5.2.1 of a mailbox that is closed and
of one that gets too many mails this hour.
"""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Final, NamedTuple


class ReplySubject(StrEnum):
    """The side that a refusal speaks of."""

    GREYLISTING = "greylisting"  # the server makes unknown senders wait
    MAILBOX_RATE = "mailbox_rate"  # this recipient takes no mail at the moment, mostly because of too many
    MAILBOX_FULL = "mailbox_full"
    OUR_RATE = "our_rate"  # we send too many mails, or have sent all that our contract allows
    SENDER = "sender"  # our sender address, its domain, or the records that let us send for it
    CLIENT = "client"  # our host: its IP address, its names, its reputation, its account
    RELAYING = "relaying"  # the server carries no mail of ours to others
    LOGIN = "login"  # a login or encryption is required
    SETUP = "setup"  # the server that we send through is set up wrongly
    NO_MAILBOX = "no_mailbox"  # the recipient's address does not exist, or no longer
    MESSAGE = "message"  # its size or content
    SERVER = "server"  # the state of the server: its disk, its tables, its filters
    POLICY = "policy"  # a rule that is not named: it may be about anything
    UNCLEAR = "unclear"


class ReplyReading(NamedTuple):
    """One row of the table.

    Parameters:
      codes: the last two parts of enhanced codes, such as ``1.1`` of 5.1.1; ``6.`` stands for all that begin so.
      words: a pattern of the words, in English or French; None when the codes alone decide.
    """

    subject: ReplySubject
    codes: tuple[str, ...] = ()
    words: re.Pattern[str] | None = None

    def fits(self, enhanced: str | None, text: str) -> bool:
        detail = (enhanced or "")[2:]
        by_code = any(detail.startswith(code) if code.endswith(".") else detail == code for code in self.codes)
        return by_code or (self.words is not None and self.words.search(text) is not None)


def _words(*alternatives: str) -> re.Pattern[str]:
    return re.compile("|".join(alternatives), re.IGNORECASE)


def _codes(subject: int, details: Iterable[int]) -> tuple[str, ...]:
    return tuple(f"{subject}.{detail}" for detail in details)


_REFUSED: Final = (
    r"(?:reject|refus|den(?:y|ied)|not |n't |must|unknown|invalid|unverified|unauth|block|black|banned|fail|mismatch"
    r"|disabled|suspend|restrict|non autoris|inconnu|invalide|inexistant|need )"
)
_SENDER: Final = (
    r"(?:sender|originator|[ée]metteur|exp[ée]diteur|mail ?from|envelope[ -]from|return[ -]path|from address)"
)
_UNWANTED: Final = r"(?:invalid|unknown|unverified|bad|blocked|banned|forged|spoofed|suspicious|unauthori[sz]ed)"
_MAILBOX: Final = (
    r"(?:user|recipient|mailbox|mail ?box|account|address|local part|destinataire|adresse|bo[iî]te|compte)"
)

READINGS: Final = (
    ReplyReading(
        ReplySubject.GREYLISTING,
        words=_words(r"gr[ae]y[ -]?list"),
    ),
    ReplyReading(
        ReplySubject.MAILBOX_RATE,
        words=_words(
            r"receiving (?:e-?mails?|mail|messages)\b.{0,40}(?:rate|quickly|fast)",
            r"(?:recipient|user|mailbox)\b[^.;]{0,40}\b(?:rate limit|too (?:many|quickly|fast))",
            r"too many (?:e-?mails|mails|messages) (?:for|to) (?:this|the) (?:recipient|user|mailbox)",
        ),
    ),
    ReplyReading(
        ReplySubject.OUR_RATE,
        codes=("7.28",),
        words=_words(
            r"throttl|rate[ -]?limit|slow(?:ing)? down|too fast|too quickly",
            r"(?:sending|send|sender|submission|outgoing|outbound|connection)[ -](?:rate|limit)\b",
            r"(?:message|mail) rate\b",
            r"(?:sending|sender|smtp|outgoing|outbound)[ -]quota|quota (?:is |has been )?exceeded for (?:sender|your)",
            r"too many (?:\w+ ){0,2}(?:mails|e-?mails|messages)\b(?! in (?:\w+ )?(?:mail|in)box)",
            r"too many (?:\w+ ){0,2}(?:connections|sessions|recipients|errors|requests|spams)\b",
            r"too much (?:e-?mail|mail|spam)\b",
            r"exceeded (?:the |its )?threshold",
            r"trop de (?:connexions|messages|mails|e-?mails|destinataires)",
            r"(?:daily|hourly|monthly|per[ -](?:day|hour|minute))\b[^.;]{0,30}\b(?:limit|quota)",
            r"(?:limit|quota)\b[^.;]{0,30}\b(?:daily|hourly|monthly|per[ -](?:day|hour|minute))",
        ),
    ),
    ReplyReading(
        ReplySubject.MAILBOX_FULL,
        codes=("2.2",),
        words=_words(
            rf"{_MAILBOX}\b[^.;]{{0,30}}\b(?:is |est )?(?:full|pleine?|over ?quota|exceed\w* (?:its |the )?quota)\b",
            r"\b(?:full|over ?quota) (?:mailbox|inbox)|over (?:its |the )?quota",
            r"insufficient (?:mailbox|disk) (?:space|quota)|mailbox (?:size|quota) (?:limit )?exceeded",
            r"quota (?:is |has been )?(?:exceeded|d[ée]pass)(?! for (?:sender|your))",
        ),
    ),
    ReplyReading(  # Exchange and Microsoft 365: this recipient takes mails of some senders only
        ReplySubject.POLICY,
        codes=_codes(7, (124, 129, 133, 134, 135, 136)),
        words=_words(
            r"RESOLVER\.RST\.",
            r"reject due to policy restrictions",
            r"only (?:accepts?|allows?|receives?) (?:e-?mails?|mails?|messages?) from",
        ),
    ),
    ReplyReading(
        ReplySubject.SENDER,
        codes=("1.7", "1.8", *_codes(7, (20, 21, 22, 23, 24, 26, 27, 29, 60, 509, 515))),
        words=_words(
            rf"{_SENDER}(?:['’]?s)?\b[^.;,]{{0,60}}?{_REFUSED}",
            rf"{_UNWANTED} (?:outbound |envelope )?{_SENDER}",
            r"domain of sender|sender verif|validate your sender|not owned by user",
            r"send(?:ing)? as this|send ?as ?denied",
            r"not (?:allowed|authori[sz]ed|permitted) to send (?:from|as|on behalf|mail from)",
            r"identit(?:y|ies) failed|address is not verified|domain is not verified|invalid dns mx",
            r"\bspf\b|\bdkim\b|\bdmarc\b",
        ),
    ),
    ReplyReading(
        ReplySubject.RELAYING,
        codes=_codes(7, (54, 64)),
        words=_words(
            r"no such domain at this location",  # Exim, of a domain that it carries no mail for
            r"relay(?:ing)?\b[^.;]{0,30}?\b(?:denied|prohibited|not |disallow|reject|refus|restrict)",
            r"(?:unable|not (?:permitted|allowed|authori[sz]ed)|refus\w*|denied) to relay",
            r"(?:do(?:es)? not|don['’]t|can ?not|can['’]t|won['’]t|will not) relay",
            r"relais\b[^.;]{0,30}?\b(?:refus|interdit|non autoris)",
        ),
    ),
    ReplyReading(
        ReplySubject.LOGIN,
        codes=_codes(7, (8, 9, 10, 11, 12, 13, 14, 30, 57)),
        words=_words(
            r"authenti[cf]|\bauth\b|smtp[ -]auth|log ?in first|pop before smtp",
            r"starttls|(?:tls|ssl|encryption|encrypted connection)\b[^.;]{0,20}\b(?:required|needed|must|mandatory)",
            r"(?:requires?|must use|without) (?:tls|ssl|encryption)",
        ),
    ),
    ReplyReading(
        ReplySubject.CLIENT,
        codes=_codes(7, (25, 501, 502, 503, 506, 508, 511, 512, 513, *range(606, 650))),
        words=_words(
            r"client (?:host|ip|address|name|was not|blocked)",
            r"\b(?:helo|ehlo)\b|reverse (?:dns|hostname|lookup|name)|\bptr\b|\brdns\b|cannot find your",
            r"\byour (?:ip|isp|host|server|mail ?server|network|smtp|access|connection|message from)\b",
            r"\b(?:sending|source|banned|dynamic|unauthori[sz]ed) (?:ips?|mta|host|server)\b|\b(?:the|this) ip\b",
            r"\bvotre (?:serveur|h[ôo]te|compte|connexion)\b",
            r"ip address|adresse ip|sending (?:is |has been )?(?:suspended|paused|disabled|blocked)",
            r"(?:block|black|deny)[ -]?list|blocked using|dnsbl|\brbls?\b|spamhaus|spamcop|barracuda|reputation",
            r"your (?:smtp |sending )?(?:account|service|subscription)\b",
            r"(?:suspended|disabled|blocked)\b[^.;]{0,20}\b(?:for|due to|because of)\b[^.;]{0,20}\b(?:spam|abuse)",
        ),
    ),
    ReplyReading(
        ReplySubject.SETUP,
        codes=("3.5",),
        words=_words(r"configuration (?:error|problem)"),
    ),
    ReplyReading(
        ReplySubject.MAILBOX_RATE,
        words=_words(rf"{_MAILBOX}\b[^.;:]{{0,30}}\btemporarily (?:un|not |disabled|closed|inactive|locked)"),
    ),
    ReplyReading(
        ReplySubject.NO_MAILBOX,
        codes=(*_codes(1, (1, 2, 3, 6, 10)), "2.1"),
        words=_words(
            rf"(?:unknown|no such|invalid|inactive|disabled|unrouteable|no longer valid) (?:\w+ )?{_MAILBOX}",
            rf"no (?:such )?{_MAILBOX} (?:here|by that name|found)|no such (?:person|domain|e-?mail)",
            rf"{_MAILBOX}\b[^.;:]{{0,60}}?\b(?:unknown|not found|unavailable|disabled|inactive|deactivated|closed"
            r"|invalide?|inconnue?|inexistante?|archiv[ée]e?|expired|suspended|not known|not (?:a )?valid|no longer"
            r"|(?:does|did|do)(?: not|n['’]t) exist|cannot be found|can't be found|not exist|n['’ ]existe p)",
            r"recipient not found|recipientnotfound|not a known (?:user|recipient)|doesn['’]t have an? \S+ account",
            r"undeliverable address|address rejected: access denied\. as\(|#5\.1\.0 address rejected",
            r"utilisateur inconnu",
        ),
    ),
    ReplyReading(
        ReplySubject.SERVER,
        codes=_codes(3, (0, 1, 2, 3)),
        words=_words(
            r"temporary lookup failure|insufficient system|no space left|local error",
            r"service (?:is )?(?:currently |temporarily )?(?:unavailable|not available)|service refus[ée]",
        ),
    ),
    ReplyReading(
        ReplySubject.POLICY,
        codes=("7.",),
    ),
    ReplyReading(
        ReplySubject.MESSAGE,
        codes=("2.3", "3.4", "6."),
        words=_words(
            r"message (?:file |size )?(?:is )?(?:too (?:big|large|long)|exceeds)|size limit|maximum (?:message )?size",
            r"\bcontent\b[^.;]{0,30}\b(?:reject|denied|not |block)|virus|malware|\bspam\b|pourriel|suspicio",
        ),
    ),
)


def read_reply(enhanced: str | None, text: str) -> ReplySubject:
    """Returns what a refusal speaks of.

    Parameters:
      enhanced: its RFC 3463 code (``5.1.1``), if it has one.
      text: its words on one line.
    """
    return next((row.subject for row in READINGS if row.fits(enhanced, text)), ReplySubject.UNCLEAR)


_NUMBER: Final = r"(\d{1,5}) ?(seconds?|secs?|secondes?|s|minutes?|mins?|hours?|hrs?|heures?|h)\b"
_HINT: Final = re.compile(
    r"\b(?:try|retry|retrying|resend|reconnect|come back|back|wait|greylisted|r[ée]essaye[rz])\b"
    r"(?:[ ,:]+(?:again|later|back|it|your message|the message|please|veuillez))*"
    r"[ ,:]+(?:(?:in|after|for|at least|another|about|dans|apr[èe]s)[ ]+){0,2}" + _NUMBER,
    re.IGNORECASE,
)


def hinted_seconds(text: str) -> float | None:
    """Returns the delay in seconds after which a server wants the mail again ("try again in 5 minutes"), or None.

    Only a request to come back is a hint: "delayed 3 seconds" and "timeout of 300 seconds exceeded" tell what happened.
    """
    found = _HINT.search(text)
    if found is None:
        return None
    unit = found[2].lower()
    return float(found[1]) * (3600 if unit.startswith("h") else 60 if unit.startswith("m") else 1)
