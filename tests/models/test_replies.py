"""Literal answers of the mail servers that French relays are, or hand our mails to, with what each means for a mail.

They come from the sources and manuals of Postfix, Exim, sendmail and Exchange, and from what the providers publish. An
answer is written as it arrives, with mail addresses masked as the mailer masks them.
"""

import pytest

from models.delivery import AttemptFault, DeliveryOutcome, DeliveryReason, SmtpPhase, judge_fault
from models.replies import ReplySubject, hinted_seconds, read_reply
from workers.mail.faults import fault_of_reply

RCPT, BODY, MAIL = SmtpPhase.RCPT, SmtpPhase.BODY, SmtpPhase.MAIL
SENDER, HOST = DeliveryReason.SENDER_REFUSED, DeliveryReason.RELAY_REFUSED
RELAYING, LOGIN = DeliveryReason.RELAYING_DENIED, DeliveryReason.AUTH_REFUSED

OURS = [
    # Postfix, at RCPT because of smtpd_delay_reject
    (RCPT, "554 5.7.1 <a@x.fr>: Sender address rejected: Access denied", SENDER),
    (RCPT, "553 5.7.1 <a@x.fr>: Sender address rejected: not owned by user relay", SENDER),
    (RCPT, "553 5.7.1 <a@x.fr>: Sender address rejected: not logged in", SENDER),
    (RCPT, "450 4.1.8 <a@x.fr>: Sender address rejected: Domain not found", SENDER),
    (RCPT, "550 5.1.8 <a@x.fr>: Sender address rejected: Domain not found", SENDER),
    (RCPT, "550 5.1.0 <a@x.fr>: Sender address rejected: User unknown in virtual mailbox table", SENDER),
    (RCPT, "504 5.5.2 <a@x>: Sender address rejected: need fully-qualified address", SENDER),
    (RCPT, "550 5.7.27 <a@x.fr>: Sender address rejected: Domain x.fr does not accept mail (nullMX)", SENDER),
    (RCPT, "554 5.7.1 <unknown[192.0.2.7]>: Client host rejected: Access denied", HOST),
    (RCPT, "450 4.7.1 Client host rejected: cannot find your hostname, [192.0.2.7]", HOST),
    (RCPT, "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.7]", HOST),
    (RCPT, "554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using zen.spamhaus.org", HOST),
    (RCPT, "450 4.7.1 <worker>: Helo command rejected: Host not found", HOST),
    (RCPT, "504 5.5.2 <worker>: Helo command rejected: need fully-qualified hostname", HOST),
    (RCPT, "451 4.3.5 <b@y.fr>: Recipient address rejected: Server configuration error", HOST),
    (RCPT, "454 4.7.1 <b@y.fr>: Relay access denied", RELAYING),
    (RCPT, "554 5.7.1 <b@y.fr>: Relay access denied", RELAYING),
    (RCPT, "530 5.7.0 Must issue a STARTTLS command first", LOGIN),
    (MAIL, "530 5.7.0 Must issue a STARTTLS command first", LOGIN),
    (RCPT, "554 5.7.1 <b@y.fr>: Recipient address rejected: Authentication required", LOGIN),
    # Exim
    (RCPT, "550 relay not permitted", RELAYING),
    (RCPT, "550 No such domain at this location", RELAYING),
    (RCPT, "550 5.7.1 Account suspended for sending spam", HOST),
    (RCPT, "550-Verification failed for <a@x.fr>\n550-No Such User Here\n550 Sender verify failed", SENDER),
    (RCPT, "550 HELO should be a FQDN or address literal (See RFC 2821 4.1.1.1)", HOST),
    (RCPT, "550 rejected because 192.0.2.7 is in a black list at zen.spamhaus.org", HOST),
    (RCPT, "550 authentication required", LOGIN),
    # sendmail
    (RCPT, "550 5.7.1 <b@y.fr>... Relaying denied. IP name lookup failed [192.0.2.7]", RELAYING),
    (MAIL, "553 5.1.8 <a@x.fr>... Domain of sender address a@x.fr does not exist", SENDER),
    (MAIL, "451 4.1.8 Domain of sender address a@x.fr does not resolve", SENDER),
    # Exchange and Microsoft 365
    (RCPT, "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain", RELAYING),
    (RCPT, "550 5.7.64 TenantAttribution; Relay Access Denied [X.outlook.com]", RELAYING),
    (BODY, "550 5.7.60 SMTP; Client does not have permissions to send as this sender", SENDER),
    (BODY, "554 5.2.252 SendAsDenied; a@x.fr not allowed to send as b@x.fr", SENDER),
    (RCPT, "550 5.7.606 Access denied, banned sending IP [192.0.2.7]", HOST),
    (RCPT, "550 5.1.8 Access denied, bad outbound sender AS(42003)", SENDER),
    (BODY, "550 5.7.515 Access denied, sending domain X.FR does not meet the required authentication level.", SENDER),
    (MAIL, ("550 5.7.1 Unfortunately, messages from [192.0.2.7] weren't sent. Please contact your Internet service"
     " provider since part of their network is on our block list (S3140)."), HOST),
    (RCPT, "550 5.7.708 Service unavailable. Access denied, traffic not accepted from this IP", HOST),
    # Gmail, Yahoo
    (BODY, "550-5.7.26 This mail has been blocked because the sender is unauthenticated.", SENDER),
    (BODY, "550-5.7.25 [192.0.2.7] The IP address sending this message does not have a PTR record", HOST),
    (BODY, "550-5.7.1 [192.0.2.7] The IP you're using to send mail is not authorized to send email directly", HOST),
    (BODY, "554 5.7.9 Message not accepted for policy reasons. See DMARC", SENDER),
    # Orange, IONOS, OVH
    (RCPT, "501 5.1.0 Emetteur invalide. Invalid Sender. OFR004_102", SENDER),
    (BODY, "550-Requested action not taken: mailbox unavailable\n550 Reject due to SPF policy", SENDER),
    (RCPT, "550-Requested action not taken: mailbox unavailable\n550 invalid DNS MX or A/AAAA resource record", SENDER),
    # Providers that we send through
    (BODY, ("554 Message rejected: Email address is not verified. The following identities failed the check in region"
     " EU-WEST-3: formation@x.fr"), SENDER),
    (BODY, "554 Message rejected: Sending suspended for this account. For more information, please check", HOST),
    (RCPT, "525 5.7.1 Unauthorized IP address", HOST),
    (BODY, "550 5.7.1 Sender formation@x.fr is not valid. Validate your sender or authenticate your domain", SENDER),
    (MAIL, "550 5.7.1 Sender address is not yet activated", SENDER),
    (RCPT, "502 5.7.0 Your SMTP account is not yet activated", HOST),
    (RCPT, "550 5.3.5 mail server configuration error", HOST),
    (RCPT, "550 Your account has been temporarily suspended", HOST),
    # Servers that answer in French
    (RCPT, "550 Relais non autorisé", RELAYING),
    (RCPT, "550 Domaine de l'expéditeur inexistant", SENDER),
    (RCPT, "550 Votre compte est suspendu", HOST),
]  # fmt: skip


@pytest.mark.parametrize(("phase", "answer", "reason"), OURS)
def test_a_refusal_that_speaks_of_us_fails_no_mail(phase: SmtpPhase, answer: str, reason: DeliveryReason) -> None:
    verdict = judge_fault(fault(phase, answer))
    assert verdict.reason is reason
    assert verdict.doubts_relay
    assert verdict.outcome is (DeliveryOutcome.CONFIGURATION if phase is MAIL else DeliveryOutcome.RETRY)


RATES = [
    (RCPT, "454 Throttling failure: Daily message quota exceeded."),
    (MAIL, "454 Throttling failure: Maximum sending rate exceeded."),
    (BODY, "550 5.4.5 Daily user sending limit exceeded. For more information on Gmail sending limits go to"),
    (RCPT, "550 5.1.90 Your message can't be sent because you've reached your daily limit for message recipients"),
    (RCPT, "450 4.7.1 Error: too much mail from 192.0.2.7: too many messages in one hour"),
    (RCPT, "451 4.7.650 The mail server [192.0.2.7] has been temporarily rate limited due to IP reputation"),
    (RCPT, "452 4.5.3 Error: too many recipients"),
    (MAIL, "450 4.7.1 Error: too many connections from 192.0.2.7"),
    (BODY, "550 5.7.28 There is an unusual rate of unsolicited mail"),
]


@pytest.mark.parametrize(("phase", "answer"), RATES)
def test_a_rate_of_ours_makes_all_mails_wait(phase: SmtpPhase, answer: str) -> None:
    verdict = judge_fault(fault(phase, answer))
    assert verdict.reason is DeliveryReason.THROTTLED
    assert DeliveryOutcome.RELAY_DOWN in (verdict.outcome, verdict.suspect)


LATER = [
    # Gmail: this mailbox gets too many mails at the moment, and is not closed
    (("550-5.2.1 The user you are trying to contact is receiving mail at a rate that\n550-5.2.1 prevents additional"
     " messages from being delivered. For more information, please visit"), DeliveryReason.DEFERRED),
    ("450-4.2.1 The user you are trying to contact is receiving mail too quickly.", DeliveryReason.DEFERRED),
    ("450 4.2.0 <b@y.fr>: Recipient address rejected: Greylisted, see http://pg.example", DeliveryReason.DEFERRED),
    ("450 4.7.1 <host[192.0.2.7]>: Client host rejected: Greylisted", DeliveryReason.DEFERRED),
    ("450 4.1.1 <b@y.fr>: Recipient address rejected: unverified address: Address verification in progress",
     DeliveryReason.DEFERRED),
    ("450 4.1.2 <b@y.fr>: Recipient address rejected: Domain not found", DeliveryReason.DEFERRED),
    ("550 5.2.0 mailbox temporarily unavailable", DeliveryReason.DEFERRED),
    ("550 5.2.1 Mailbox is temporarily disabled", DeliveryReason.DEFERRED),
    ("451 Temporary local problem - please try later", DeliveryReason.DEFERRED),
    ("451 4.3.0 <b@y.fr>: Temporary lookup failure", DeliveryReason.DEFERRED),
    ("452 4.3.1 Insufficient system storage", DeliveryReason.DEFERRED),
    ("552-5.2.2 The email account that you tried to reach is over quota.", DeliveryReason.MAILBOX_FULL),
    ("452 4.2.2 The recipient's inbox is out of storage space.", DeliveryReason.MAILBOX_FULL),
    ("550 Mailbox is full", DeliveryReason.MAILBOX_FULL),
    ("552 5.1.1 <b@y.fr> mailbox full", DeliveryReason.MAILBOX_FULL),
    ("550 5.2.0 Boite du destinataire pleine. Recipient overquota. OFR_417", DeliveryReason.MAILBOX_FULL),
    ("554 mailbox quota exceeded", DeliveryReason.MAILBOX_FULL),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "reason"), LATER)
def test_a_mailbox_that_takes_no_mail_at_the_moment_is_no_bounce(answer: str, reason: DeliveryReason) -> None:
    verdict = judge_fault(fault(RCPT, answer))
    assert (verdict.outcome, verdict.reason) == (DeliveryOutcome.RETRY, reason)
    assert not verdict.doubts_relay


NO_MAILBOX = [
    "550 5.1.1 <b@y.fr>: Recipient address rejected: User unknown in local recipient table",
    "550 5.1.1 <b@y.fr>: Recipient address rejected: User unknown in relay recipient table",
    "550 5.1.1 <b@y.fr>: Recipient address rejected: undeliverable address: host mx.y.fr[192.0.2.9] said: 550 no",
    "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302).",
    "550 Requested action not taken: mailbox unavailable",
    "550-5.1.1 The email account that you tried to reach does not exist. Please try double-checking",
    "550-5.2.1 The email account that you tried to reach is disabled. Learn more at",
    "550-5.2.1 The email account that you tried to reach is inactive.",
    "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient b@y.fr not found by SMTP address lookup",
    "550 5.4.1 Recipient address rejected: Access denied. AS(201806281) [X.outlook.com]",
    "556 5.1.10 Recipient address has null MX",
    "550 5.1.2 <b@y.fr>: Recipient address rejected: Domain not found",
    "550 Unrouteable address",
    "550 No Such User Here",
    "550 <b@y.fr> No such user on this server",
    "550 mailbox not found",
    "550 User unknown",
    "550 unknown user account",
    "550 5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient. OFR204_416 [416]",
    "550 5.1.0 Adresse d au moins un destinataire invalide. Invalid recipient. LPN007_510",
    "550 5.2.1 This mailbox has been blocked due to inactivity",
    "550 5.0.0 Utilisateur inconnu",
    "550 #5.1.0 Address rejected.",
    "553 5.3.0 <b@y.fr>... User unknown",
]


@pytest.mark.parametrize("answer", NO_MAILBOX)
def test_an_address_without_a_mailbox_is_a_bounce(answer: str) -> None:
    verdict = judge_fault(fault(RCPT, answer))
    assert (verdict.outcome, verdict.reason) == (DeliveryOutcome.FAILED, DeliveryReason.ADDRESS_REJECTED)


UNNAMED = [
    (RCPT, "554 5.7.1 <b@y.fr>: Recipient address rejected: Access denied", DeliveryReason.POLICY),
    (RCPT, "550 5.7.1 Access denied", DeliveryReason.POLICY),
    (RCPT, "550 Administrative prohibition", DeliveryReason.RECIPIENT_REFUSED),
    (RCPT, "554 Transaction failed", DeliveryReason.RECIPIENT_REFUSED),
    (RCPT, "550 5.2.0 Mail rejete. Mail rejected. OFR_506 [506]", DeliveryReason.RECIPIENT_REFUSED),
    (RCPT, "550 5.4.4 Unable to route", DeliveryReason.RECIPIENT_REFUSED),
    (BODY, "550 5.7.1 message content rejected", DeliveryReason.POLICY),
    (BODY, "550 spam detected", DeliveryReason.MESSAGE_REJECTED),
    (BODY, "552 5.3.4 Error: message file too big", DeliveryReason.MESSAGE_REJECTED),
    (MAIL, "552 5.3.4 Message size exceeds fixed limit", DeliveryReason.MESSAGE_REJECTED),
    # Exchange: one recipient, a group or a list takes mails of some senders only
    (RCPT, "550 5.7.1 RESOLVER.RST.AuthRequired; authentication required", DeliveryReason.POLICY),
    (RCPT, "550 5.7.1 RESOLVER.RST.NotAuthorized; not authorized", DeliveryReason.POLICY),
    (RCPT, "550 5.7.124 Sender not in allowed-senders list", DeliveryReason.POLICY),
    (
        RCPT,
        (
            "550 5.7.129 RESOLVER.RST.RestrictedToRecipientsPermission; not authorized to send to recipient because"
            " the sender isn't on the recipient's list of senders to accept mail from"
        ),
        DeliveryReason.POLICY,
    ),
    (
        BODY,
        (
            "550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required; Delivery restriction"
            " check failed because the sender was not authenticated when sending to this group"
        ),
        DeliveryReason.POLICY,
    ),
    (RCPT, "550 5.7.134 Sender was not authenticated when sending to this mailbox", DeliveryReason.POLICY),
    (RCPT, "550 5.1.1 This mailbox only accepts mail from known senders", DeliveryReason.POLICY),
    # GMX and web.de begin every refusal with these words
    (
        RCPT,
        "550-Requested action not taken: mailbox unavailable\n550 Reject due to policy restrictions.",
        DeliveryReason.POLICY,
    ),
    (BODY, "554 5.6.0 malformed", DeliveryReason.MESSAGE_REJECTED),
    (BODY, "552-5.7.0 This message was blocked because its content presents a potential", DeliveryReason.POLICY),
]


@pytest.mark.parametrize(("phase", "answer", "reason"), UNNAMED)
def test_a_refusal_that_names_no_address_is_no_bounce(phase: SmtpPhase, answer: str, reason: DeliveryReason) -> None:
    verdict = judge_fault(fault(phase, answer))
    assert (verdict.outcome, verdict.reason, verdict.blames) == (DeliveryOutcome.FAILED, reason, True)


def fault(phase: SmtpPhase, answer: str) -> AttemptFault:
    """Returns the fault of an answer of one or several lines, as aiosmtplib gives it."""
    lines = answer.split("\n")
    return fault_of_reply(
        int(lines[0][:3]), "\n".join(line[4:] if line[:3].isdigit() else line for line in lines), phase
    )


def test_words_that_take_the_blame_from_the_recipient_come_before_codes() -> None:
    assert read_reply("5.1.1", "sender address rejected: user unknown") is ReplySubject.SENDER
    assert read_reply("5.1.1", "user unknown") is ReplySubject.NO_MAILBOX
    assert read_reply("5.7.1", "blocked") is ReplySubject.POLICY
    assert read_reply(None, "blocked") is ReplySubject.UNCLEAR


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("4.7.1 Greylisted, try again in 300 seconds", 300),
        ("4.2.0 Greylisted for 300 seconds (see http://isg.ee.ethz.ch/tools/postgrey/help/y.fr.html)", 300),
        ("try again in 5 minutes", 300),
        ("Please try again later in 2 hours", 7200),
        ("retry after 45s", 45),
        ("retry in 1 min.", 60),
        ("please retry your message in about 10 minutes", 600),
        ("try again in 1 second", 1),
        ("Veuillez réessayer dans 10 minutes", 600),
        ("wait 60 minutes", 3600),
        ("4.7.1 Greylisted", None),
        ("10.0.0.1 is slow", None),
        ("your message was delayed 3 seconds", None),
        ("timeout exceeded 300 seconds", None),
        ("retry timeout exceeded after 300 seconds", None),
        ("try again later; connection timed out after 300 seconds", None),
        ("waited 30 seconds for an answer", None),
        ("try again later. Last contact was 5 minutes ago", None),
        ("tried 3 s", None),
    ],
)  # fmt: skip
def test_only_a_request_to_come_back_names_a_delay(text: str, seconds: float | None) -> None:
    assert hinted_seconds(text) == seconds
