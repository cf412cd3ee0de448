"""Statuses, policies and result codes are stored in tables and sent to portals in these words.

This module imports only the standard library, so that a portal's process can use it without a database driver.
The sentence people read for a code lives in ``email_templates/locales``, never in Python.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NoReturn


class UnknownWordError(ValueError):
    """A stored word that this release does not know: a newer release wrote it."""


class StoredWord(StrEnum):
    """The base of words that tables hold; during a release an older process may read words of the newer one."""

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise UnknownWordError(f"{value!r:.100} is no {cls.__name__} of this release")


class JobState(StoredWord):
    """The state of a job; the last four are final."""

    QUEUED = "queued"  # recorded; waits for its `due_at`
    RUNNING = "running"  # claimed by a worker under a lease
    SUCCEEDED = "succeeded"  # the policy was carried out; counts by code are in the result
    REFUSED = "refused"  # a business answer: nothing was changed, the code says why
    DEAD = "dead"  # gave up after its attempts, or killed its worker three times; an operator can retry it
    CANCELLED = "cancelled"  # stopped before it began


class EmailState(StoredWord):
    """The state of a mail."""

    OWED = "owed"  # written with its cause; waits for its `due_at`
    SENDING = "sending"  # claimed by a mailer under a lease
    SENT = "sent"  # the relay answered 250 to the whole message
    UNCERTAIN = "uncertain"  # the connection was lost inside DATA; sent again later under the same Message-ID
    FAILED = "failed"  # refused for good, or it killed its mailer three times
    SUPPRESSED = "suppressed"  # not sent: the address is on the suppression list
    EXPIRED = "expired"  # not sent in time; sending it now would mislead
    CANCELLED = "cancelled"  # no longer wanted (the person was withdrawn, or its link was voided for another mail)
    BOUNCED = "bounced"  # it was sent, and a server reported later that the address does not exist
    COMPLAINED = "complained"  # it was sent, and its recipient called it spam


class DeliveryState(StrEnum):
    """The fate of a mail, as a manager is told."""

    QUEUED = "queued"  # leaves in a moment
    DEFERRED = "deferred"  # was not taken yet, and is tried again
    SENT = "sent"  # the relay took it
    UNCERTAIN = "uncertain"  # the connection was lost at the end: perhaps it was taken
    UNDELIVERABLE = "undeliverable"  # refused for good, at once or later
    COMPLAINED = "complained"  # taken, and called spam by its recipient: the address gets no more mails
    NOT_SENT = "not_sent"  # not tried: too late, no longer wanted, or the address is on the suppression list


class WebhookState(StoredWord):
    """The state of a webhook."""

    OWED = "owed"  # written with its cause; waits for its `due_at`, or a sender holds it under a lease
    HELD = "held"  # its endpoint is disabled: it waits until the endpoint is enabled again
    DELIVERED = "delivered"  # the endpoint answered with a status from 200 to 299
    FAILED = "failed"  # given up: its endpoint was enabled again without it, or it is no longer wanted


class WebhookEvent(StoredWord):
    """The types of events that an endpoint of a portal can be told."""

    JOB_FINISHED = "job.finished"  # a job has its final state, whatever that is
    PARTICIPANT_ENROLLED = "participant.enrolled"
    PARTICIPANT_WITHDRAWN = "participant.withdrawn"  # the seat is free again
    PARTICIPANT_DETACHED = "participant.detached"  # the person said "this is not me"; the seat may stay used
    PARTICIPANT_PROGRESSED = "participant.progressed"  # something new is known of the progress
    PARTICIPANT_COMPLETED = "participant.completed"
    ACCOUNT_ACTIVATED = "account.activated"  # the person chose a first password
    EMAIL_UNDELIVERABLE = "email.undeliverable"  # a mail did not leave, or came back, and why
    CERTIFICATE_ISSUED = "certificate.issued"
    CERTIFICATE_REPLACED = "certificate.replaced"  # a corrected certificate takes the place of another
    CERTIFICATE_REVOKED = "certificate.revoked"
    CONTRACT_SEATS_LOW = "contract.seats_low"  # 75 or 90 % of the seats are used; once, until it falls again
    CONTRACT_FULL = "contract.full"  # no seat is left; once, until it falls again
    ROSTER_FINISHED = "roster.finished"  # the import of a file has ended
    WEBHOOK_TEST = "webhook.test"  # asked for, to try an endpoint


class Progress(StoredWord):
    """The progress of a participant in the training."""

    NOT_STARTED = "not_started"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"


class Policy(StoredWord):
    """The choice of the portal when some people cannot be enrolled."""

    ALL_OR_NOTHING = "all_or_nothing"  # nothing is done if one person is refused
    VALID_ROWS = (
        "valid_rows"  # invalid rows are refused; nothing is done if the valid ones need more seats than are left
    )
    UNTIL_FULL = "until_full"  # in input order until the contract is full; the rest is `no_seat_left`


class Purpose(StoredWord):
    """The action a link leads to."""

    ACTIVATION = "activation"
    PASSWORD_RESET = "password_reset"  # noqa: S105 - the name of a purpose, not a password
    CORRECTION_CONFIRMATION = "correction_confirmation"  # sent to the new address: its holder confirms it
    CORRECTION_ANSWER = "correction_answer"  # sent to the old address: its holder agrees or cancels
    NOT_ME = "not_me"  # a person enrolled by mistake leaves the contract
    NAME_CONFIRMATION = "name_confirmation"  # the person confirms their corrected name, or refuses it


class CorrectionState(StoredWord):
    """The state of a correction of an address or of a name; all but the first are final."""

    PENDING = "pending"  # waits for the new address, and for the old one's agreement or silence; for the person
    APPLIED = "applied"  # the account has the new address, the new name
    CANCELLED = "cancelled"  # the old address or the person refused, or its grounds have changed
    SUPERSEDED = "superseded"  # another correction of the same account replaced it
    EXPIRED = "expired"  # not confirmed in time


class EmailKind(StoredWord):
    """A mail is rendered from the folder of ``email_templates`` with this name."""

    INVITATION = "invitation"  # choose a password: the account was never activated
    ATTACHMENT = "attachment"  # an existing account now has access to one more training
    PASSWORD_RESET = "password_reset"  # noqa: S105 - choose a new password
    WITHDRAWAL = "withdrawal"  # no longer enrolled in a training
    REMINDER = "reminder"  # the invitation's link once more: the account was not activated yet
    RELEASE_WARNING = "release_warning"  # the seat will be given back unless the account is activated
    RELEASE = "release"  # the seat was given back: the account was never activated
    CORRECTION_CONFIRMATION = "correction_confirmation"  # to the new address: confirm it
    CORRECTION_NOTICE = "correction_notice"  # to the old address: it is being replaced, agree or cancel
    CORRECTION_APPLIED = "correction_applied"  # to both addresses: the account has the new one
    CORRECTION_ENDED = "correction_ended"  # to the new address and the manager: why it was not made
    NAME_CONFIRMATION = "name_confirmation"  # to the person: confirm the corrected name, or refuse it
    NAME_CORRECTED = "name_corrected"  # to the person: the account has the corrected name
    NAME_ANSWER = "name_answer"  # to the manager: the person confirmed the name or did not
    DETACHMENT = "detachment"  # to the manager: a person said "this is not me"
    IMPORT_REPORT = "import_report"  # to the sender of a file: its results, and the rows to correct
    DUPLICATE = "duplicate"  # to the requester: duplicates of certificates, attached or behind a link
    RELEASE_REPORT = "release_report"  # to the manager: the seats that will be released, or were
    ENROLLMENT_REPORT = "enrollment_report"  # to the manager: the result for each person
    UNDELIVERABLE = "undeliverable"  # to the manager: addresses that do not exist, and to correct them
    WEBHOOKS_FAILING = "webhooks_failing"  # to the people who run a portal: an endpoint fails, or was disabled


class Code(StoredWord):
    """A stable code answers a job, one person of a job, or a validation error."""

    # These codes are no refusal: the result for one person.
    ENROLLED = "enrolled"  # a new account was created and enrolled
    ATTACHED = "attached"  # the account existed: attached, with the names it was registered with
    ALREADY_ENROLLED = "already_enrolled"  # nothing to do; costs no seat

    WITHDRAWN = "withdrawn"  # no longer enrolled; the seat is free again
    ALREADY_WITHDRAWN = "already_withdrawn"  # nothing to do
    RECORDED = "recorded"  # the progress is known now
    AGREEMENT_AWAITED = "agreement_awaited"  # the new address has confirmed before; the old one may still refuse
    UNCHANGED = "unchanged"  # an event that says nothing new: a repeat, or older than what is known
    SENT = "sent"  # a mail is owed; it leaves in a moment
    ACTIVATION_SENT_INSTEAD = "activation_sent_instead"  # no password to reset yet: the activation link is sent
    CORRECTED = "corrected"  # the account has the new address
    CONFIRMATION_SENT = "confirmation_sent"  # the new address must confirm, the old one may refuse
    NAME_CORRECTED = "name_corrected"  # the account has the new name
    NAME_CONFIRMATION_SENT = "name_confirmation_sent"  # the person must confirm the new name
    DETACHED = "detached"  # the person said "this is not me" and left; the seat may stay used
    EXPORTED = "exported"  # all that is kept about a person
    ERASED = "erased"  # only certificates still name the person, as the law asks
    CANCELLED = "cancelled"  # stopped; the part that was done stays done
    ISSUED = "issued"  # the certificate has its number
    DUPLICATED = "duplicated"  # a numbered duplicate of the certificate was made
    REISSUED = "reissued"  # a corrected certificate takes the place of the other
    REVOKED = "revoked"  # the certificate is no longer valid
    REQUESTED = "requested"  # recorded; if an account has the address, a mail leaves in a moment

    # These codes accompany the result of one person, in its detail.
    NAMES_DIFFER = "names_differ"  # the account of the address has another person's name: the address may be wrong

    # These codes refuse one person.
    NOT_FOUND = "not_found"  # no such enrollment on this contract, or of this portal
    ALREADY_STARTED = "already_started"  # has begun the training: the seat stays used
    THROTTLED = "throttled"  # too many requests; the detail says when the next one is accepted
    ALREADY_ACTIVATED = "already_activated"  # has a password and needs no invitation
    NOT_DUE = "not_due"  # keeps the seat: the contract releases no seats, or not yet
    SHARED_ACCOUNT = "shared_account"  # belongs to another company or portal too: an operator can do it, with a reason
    ADDRESS_TAKEN = "address_taken"  # another account has this address
    NOT_COMPLETED = "not_completed"  # has not completed the training: no certificate yet
    NOT_ISSUED = "not_issued"  # has completed the training; the certificate is not issued yet
    CERTIFICATE_REVOKED = "certificate_revoked"  # for good: neither corrected nor duplicated any more
    NAME_NOT_PRINTABLE = "name_not_printable"  # our fonts cannot print the person's name: correct it
    VALUE_NOT_PRINTABLE = "value_not_printable"  # nor another text of the certificate; the field says which
    NAMES_NOT_KEPT = "names_not_kept"  # the names of the person are no longer kept
    IMPLAUSIBLE_TIME = "implausible_time"  # an event says that more time was spent than has passed
    NOT_RENDERED = "not_rendered"  # this one document could not be made; the others were
    MISSING_EMAIL = "missing_email"
    INVALID_EMAIL = "invalid_email"
    MISSING_NAME = "missing_name"
    UNSAFE_VALUE = "unsafe_value"  # damaged, control or bidirectional characters, an encoded word of mail headers
    NAME_TOO_LONG = "name_too_long"
    INVALID_LOCALE = "invalid_locale"
    VALUE_TOO_LONG = "value_too_long"
    DUPLICATE_IN_FILE = "duplicate_in_file"  # the same address as an earlier accepted row of the same request
    SUPPRESSED_ADDRESS = "suppressed_address"  # mails to it bounced, or an operator added it to the list
    NO_SEAT_LEFT = "no_seat_left"
    NOT_CARRIED_OUT = "not_carried_out"  # acceptable, but the policy left the whole request undone

    # These codes refuse a whole request.
    ALREADY_FINISHED = "already_finished"  # nothing is left to stop
    NOT_FINISHED = "not_finished"  # the import is still running: stop it first
    UNKNOWN_ORGANISATION = "unknown_organisation"  # no organisation signs for this portal: matricule organisation
    UNSUPPORTED_IMAGE = "unsupported_image"
    IMAGE_TOO_LARGE = "image_too_large"
    INVALID_COLOUR = "invalid_colour"
    LOW_CONTRAST = "low_contrast"  # too light to be read on white
    INVALID_URL = "invalid_url"  # of a training or a portal: http or https, a host, no user and no password
    INVALID_SIRET = "invalid_siret"
    INVALID_ACTIVITY_NUMBER = "invalid_activity_number"
    UNKNOWN_COMPANY = "unknown_company"
    UNKNOWN_TRAINING = "unknown_training"
    UNKNOWN_CONTRACT = "unknown_contract"
    CONTRACT_NOT_STARTED = "contract_not_started"
    CONTRACT_EXPIRED = "contract_expired"
    SEATS_BELOW_ENROLLED = "seats_below_enrolled"
    CONTRACT_MOVED = "contract_moved"  # a contract keeps its company and its training
    INVALID_REQUEST = "invalid_request"
    UNKNOWN_KIND = "unknown_kind"
    UNKNOWN_PORTAL = "unknown_portal"
    UNREADABLE_MESSAGE = "unreadable_message"
    REQUEST_TOO_LARGE = "request_too_large"
    NOT_RECORDABLE = "not_recordable"  # the database failed on this request alone: send it under another key
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"  # the same key was used before with another body

    # These codes answer a call of the HTTP API that was not accepted.
    IDEMPOTENCY_KEY_REQUIRED = "idempotency_key_required"
    UNAUTHORIZED = "unauthorized"  # no key, or one that is unknown, expired or revoked
    INSUFFICIENT_SCOPE = "insufficient_scope"  # the key may not be used for this
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_CANCELLABLE = "not_cancellable"  # only the import of a file can be stopped
    NOT_KEPT = "not_kept"  # the file was there, and is kept no longer
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"  # nothing was accepted: try again under the same key
    INTERNAL_ERROR = "internal_error"

    # These codes refuse a roster file.
    UNREADABLE_FILE = "unreadable_file"
    UNSUPPORTED_FORMAT = "unsupported_format"
    ENCODING_NOT_RECOGNISED = "encoding_not_recognised"
    MISSING_COLUMN = "missing_column"
    EMPTY_FILE = "empty_file"
    PASSWORD_PROTECTED = "password_protected"  # noqa: S105
    TOO_LARGE = "too_large"
    TOO_SLOW = "too_slow"  # the data sent to a page did not arrive in time
    TOO_MANY_CHANGES = "too_many_changes"  # the file would add more people than its inbox allows
    WRONG_FOLDER = "wrong_folder"  # a file in the folder says that it is for another contract
    INVALID_CRON = "invalid_cron"  # the times at which an inbox expects a file cannot be read

    # These codes answer a link or a new password.
    INVALID_LINK = "invalid_link"
    EXPIRED_LINK = "expired_link"
    USED_LINK = "used_link"
    PASSWORD_TOO_SHORT = "password_too_short"  # noqa: S105
    PASSWORD_TOO_LONG = "password_too_long"  # noqa: S105
    PASSWORDS_DIFFER = "passwords_differ"
    PASSWORD_TOO_COMMON = "password_too_common"  # noqa: S105 - in lists of leaks, or keys in a row
    PASSWORD_TOO_PERSONAL = "password_too_personal"  # noqa: S105 - little more than a name or an address

    # These codes answer a sign-in.
    WRONG_CREDENTIALS = "wrong_credentials"  # the address or the password; the answer does not say which
    SIGN_IN_LOCKED = "sign_in_locked"  # too many wrong passwords in a row


class Scope(StoredWord):
    """The uses that a key of a portal may have."""

    ENROLL = "enroll"  # enrol, withdraw and correct people; upload files
    ACCOUNTS = "accounts"  # resend invitations and password resets
    CERTIFICATES = "certificates"  # duplicate certificates, and fetch the documents
    PROGRESS = "progress"  # report the progress of the LMS
    READ = "read"  # read contracts, participants and jobs
    SIGN_IN = "sign_in"  # check credentials, and ask for a forgotten password
    ADMIN = "admin"  # record companies, trainings and contracts; set up webhooks


DONE_CODES = frozenset({Code.ENROLLED, Code.ATTACHED, Code.ALREADY_ENROLLED})
"""These codes mean that the person is enrolled as asked; every other code of an enrollment is a refusal."""

HINT_CODES = frozenset({Code.NAMES_DIFFER})
"""These codes change no result: each stands in the detail of a person's result as a key, and says what to check."""

_HINTS = tuple(code for code in Code if code in HINT_CODES)


def hints_of(detail: Mapping[str, Any] | None) -> list[Code]:
    """Returns the codes in the detail of a result that say what to check, in their order."""
    return [code for code in _HINTS if code in detail] if detail else []


LOCALES = ("fr", "en")
"""Mails and pages exist in these languages; the first is the default."""
