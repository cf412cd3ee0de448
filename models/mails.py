"""This table holds the properties of each kind of mail: its recipient, how late it may leave, the link it carries.

Without an entry for each kind of mail the import of this module fails. The words of a mail are in ``email_templates``,
the function that writes it is in ``workers/mail/letters``; README.md of ``email_templates`` says how to add one.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final, TypeVar

from models.words import EmailKind, Purpose

Part = TypeVar("Part")


class MailRecipient(StrEnum):
    """The recipient of a kind of mail decides about a mail that is owed while the address of an account changes."""

    ACCOUNT = "account"  # the person who has the account
    REQUESTER = "requester"  # the learner who asked, by their account, or the manager who did, by an address
    ADDRESS = "address"  # one address, old or new, with any account or none
    MANAGER = "manager"  # the manager a contract or a request names
    PORTAL = "portal"  # the people who run a portal


class MailSubject(StrEnum):
    """The name in the subject line. It is never that of a person, because others see subjects on locked screens."""

    TRAINING = "training"
    PLATFORM = "platform"  # the mail is about the account, not about one training


class EnrollmentNews(StrEnum):
    """A mail brings a person one of these news about an enrollment."""

    INVITES = "invites"  # the first mail about it: they have access to the training
    REMINDS = "reminds"  # the invitation once more
    WARNS = "warns"  # their seat will be given back
    ENDS = "ends"  # they are enrolled no longer


@dataclass(frozen=True, slots=True)
class MailSpec:
    """The properties of one kind of mail.

    Parameters:
      recipient: the person or address that gets it.
      lifetime: how long after it was owed it may still be sent; later it ends as ``expired``.
      subject: the name its subject line holds.
      link: the purpose of the link that it must carry.
      news: the news about an enrollment, in a mail to its person.
      despite_bounce: it is also sent to an address that bounced before, because only a new answer counts.
    """

    recipient: MailRecipient
    lifetime: timedelta
    subject: MailSubject = MailSubject.TRAINING
    link: Purpose | None = None
    news: EnrollmentNews | None = None
    despite_bounce: bool = False

    @property
    def follows_account(self) -> bool:
        """Whether the mail is for the person who has the account: an address the account has left gets none."""
        return self.recipient in (MailRecipient.ACCOUNT, MailRecipient.REQUESTER)

    @property
    def chooses_password(self) -> bool:
        """Whether its link leads to the choice of a password."""
        return self.link in (Purpose.ACTIVATION, Purpose.PASSWORD_RESET)


LATE: Final = timedelta(days=5)
"""Most mails may be sent this late: mail servers try for as long (RFC 5321, 4.5.4.1)."""


def for_every_kind(
    given: Mapping[EmailKind, Part], what: str, kinds: Iterable[str] = EmailKind
) -> Mapping[EmailKind, Part]:
    """Returns the mapping unchanged, after checking that it has one entry for each kind of mail.

    Parameters:
      what: the name of an entry, for the error.

    Raises: TypeError that names the kinds without an entry, and the entries of no kind.
    """
    missing, unknown = set(kinds) - given.keys(), given.keys() - set(kinds)
    faults = [f"missing for {sorted(map(str, missing))}"] if missing else []
    faults += [f"of no known kind: {sorted(map(str, unknown))}"] if unknown else []
    if faults:
        raise TypeError(f"{what}: {', '.join(faults)}")
    return given


MAILS: Final = for_every_kind(
    {
        EmailKind.INVITATION: MailSpec(
            MailRecipient.ACCOUNT, LATE, link=Purpose.ACTIVATION, news=EnrollmentNews.INVITES
        ),
        EmailKind.ATTACHMENT: MailSpec(
            MailRecipient.ACCOUNT, LATE, link=Purpose.ACTIVATION, news=EnrollmentNews.INVITES
        ),
        EmailKind.PASSWORD_RESET: MailSpec(
            MailRecipient.ACCOUNT,
            timedelta(minutes=45),  # a quarter of an hour is left to use the link, which lives an hour
            MailSubject.PLATFORM,
            link=Purpose.PASSWORD_RESET,
        ),
        EmailKind.WITHDRAWAL: MailSpec(MailRecipient.ACCOUNT, LATE, news=EnrollmentNews.ENDS),
        EmailKind.REMINDER: MailSpec(
            MailRecipient.ACCOUNT,
            timedelta(days=2),  # later it would meet the next reminder
            link=Purpose.ACTIVATION,
            news=EnrollmentNews.REMINDS,
        ),
        EmailKind.RELEASE_WARNING: MailSpec(
            MailRecipient.ACCOUNT,
            timedelta(days=30),  # a release waits for its warning, and the date in it is computed on the day it is sent
            link=Purpose.ACTIVATION,
            news=EnrollmentNews.WARNS,
        ),
        EmailKind.RELEASE: MailSpec(MailRecipient.ACCOUNT, LATE, news=EnrollmentNews.ENDS),
        EmailKind.CORRECTION_CONFIRMATION: MailSpec(
            MailRecipient.ADDRESS, LATE, MailSubject.PLATFORM, link=Purpose.CORRECTION_CONFIRMATION
        ),
        EmailKind.CORRECTION_NOTICE: MailSpec(
            MailRecipient.ADDRESS, LATE, MailSubject.PLATFORM, link=Purpose.CORRECTION_ANSWER, despite_bounce=True
        ),
        EmailKind.CORRECTION_APPLIED: MailSpec(MailRecipient.ADDRESS, LATE, MailSubject.PLATFORM),
        EmailKind.CORRECTION_ENDED: MailSpec(MailRecipient.ADDRESS, LATE, MailSubject.PLATFORM),
        EmailKind.NAME_CONFIRMATION: MailSpec(
            MailRecipient.ACCOUNT, LATE, MailSubject.PLATFORM, link=Purpose.NAME_CONFIRMATION
        ),
        EmailKind.NAME_CORRECTED: MailSpec(MailRecipient.ACCOUNT, LATE, MailSubject.PLATFORM),
        EmailKind.NAME_ANSWER: MailSpec(MailRecipient.MANAGER, LATE, MailSubject.PLATFORM),
        EmailKind.DETACHMENT: MailSpec(MailRecipient.MANAGER, LATE),
        EmailKind.IMPORT_REPORT: MailSpec(MailRecipient.MANAGER, LATE),
        EmailKind.DUPLICATE: MailSpec(MailRecipient.REQUESTER, LATE),
        EmailKind.RELEASE_REPORT: MailSpec(MailRecipient.MANAGER, LATE),
        EmailKind.ENROLLMENT_REPORT: MailSpec(MailRecipient.MANAGER, LATE),
        EmailKind.UNDELIVERABLE: MailSpec(MailRecipient.MANAGER, LATE),
        EmailKind.WEBHOOKS_FAILING: MailSpec(MailRecipient.PORTAL, timedelta(days=1), MailSubject.PLATFORM),
    },
    "properties (models/mails.py)",
)


def kinds_where(condition: Callable[[MailSpec], bool]) -> tuple[EmailKind, ...]:
    """Returns the kinds of mail with properties that meet a condition."""
    return tuple(kind for kind, spec in MAILS.items() if condition(spec))


FROZEN: Final = kinds_where(lambda spec: spec.recipient is MailRecipient.ADDRESS)
"""These mails go to an address, with any account or none: the old address must hear that it was replaced."""

INVITING: Final = kinds_where(lambda spec: spec.news is EnrollmentNews.INVITES)
"""These mails are the first about an enrollment."""

TELLING_OF_ACCESS: Final = kinds_where(lambda spec: spec.news in (EnrollmentNews.INVITES, EnrollmentNews.REMINDS))
"""These mails show that a person was told of their access to a training."""

ENDING: Final = kinds_where(lambda spec: spec.news is EnrollmentNews.ENDS)
"""These mails would mislead a person who is enrolled on the same contract again before the mail is sent."""

ASKING_ABOUT_CORRECTION: Final = kinds_where(
    lambda spec: spec.link in (Purpose.CORRECTION_CONFIRMATION, Purpose.CORRECTION_ANSWER, Purpose.NAME_CONFIRMATION)
)
"""These mails ask for an answer to a pending correction, and are useless once it has ended."""


def quoted(words: Collection[str]) -> str:
    """Returns words of our own as an SQL list: ``'invitation', 'attachment'``."""
    return ", ".join(f"'{word}'" for word in words)
