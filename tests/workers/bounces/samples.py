# ruff: noqa: E501 - an answer of a server is one line
"""Reports as mail servers write them, in words of our own: what each is, whom it names and which code it tells.

Each names anne@client.fr unless it says otherwise, and has the original behind it, with a link that may go nowhere.
"""

from typing import NamedTuple

LINK = "https://formation.example/links/SECRET-OF-ANNE"
ORIGINAL = f"""Return-Path: <rebonds@formation.example>
From: Formation <formation@formation.example>
To: anne@client.fr
Subject: Votre formation
Message-ID: <1.invitation@formation.example>

Bonjour Anne, 550 5.1.1 user unknown <paul@autre.fr>: {LINK}
"""


class Sample(NamedTuple):
    """A report with what is to be read in it."""

    text: str
    kind: str
    status: str = ""
    recipient: str = "anne@client.fr"


def report(words: str, fields: str, *, head: str = "", status_type: str = "message/delivery-status") -> str:
    """A report in three parts as RFC 3464 has it."""
    head = (
        head
        or "From: MAILER-DAEMON@relais.example (Mail Delivery System)\nSubject: Undelivered Mail Returned to Sender"
    )
    return f"""Return-Path: <>
{head}
To: rebonds@formation.example
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary="B1"

--B1
Content-Type: text/plain; charset=utf-8

{words}

--B1
Content-Type: {status_type}

{fields.strip()}

--B1
Content-Type: message/rfc822

{ORIGINAL}
--B1--
"""


def fields(diagnostic: str, status: str = "5.1.1", action: str = "failed", recipient: str = "anne@client.fr") -> str:
    """The two groups of fields of a report about one recipient."""
    return f"""Reporting-MTA: dns; relais.example
Arrival-Date: Mon, 30 Nov 2026 10:00:00 +0100

Final-Recipient: rfc822; {recipient}
Original-Recipient: rfc822;{recipient}
Action: {action}
Status: {status}
Remote-MTA: dns; mx.client.fr
Diagnostic-Code: {diagnostic}"""


def plain(head: str, body: str, *, original: bool = True) -> str:
    """A report of an older server: words alone."""
    return f"Return-Path: <>\n{head}\nTo: rebonds@formation.example\n\n{body}\n{ORIGINAL if original else ''}"


POSTFIX = "Your message could not be delivered to one or more recipients. It is attached below."

SAMPLES: dict[str, Sample] = {
    "postfix_user_unknown": Sample(
        report(
            POSTFIX,
            fields(
                "smtp; 550 5.1.1 <anne@client.fr>: Recipient address rejected: User unknown in virtual mailbox table"
            ),
        ),
        "hard",
        "5.1.1",
    ),
    "postfix_no_domain": Sample(
        report(
            POSTFIX,
            fields(
                "X-Postfix; Host or domain name not found. Name service error for name=client.fr type=A: Host not found",
                "5.4.4",
            ),
        ),
        "hard",
        "5.4.4",
    ),
    "postfix_null_mx": Sample(
        report(POSTFIX, fields("X-Postfix; Domain client.fr does not accept mail (nullMX)", "5.1.0")), "hard", "5.1.0"
    ),
    "postfix_expired": Sample(
        report(POSTFIX, fields("X-Postfix; connect to mx.client.fr[192.0.2.7]:25: Connection timed out", "4.4.1")),
        "soft",
        "4.4.1",
    ),
    "postfix_delayed": Sample(
        report(
            "This is a warning only. You do not need to resend.",
            fields("X-Postfix; connect to mx.client.fr: Connection refused", "4.4.1", "delayed"),
        ),
        "delay",
        "4.4.1",
    ),
    "postfix_relayed": Sample(
        report("Delivery was requested to be told.", fields("smtp; 250 2.0.0 Ok: queued as 4F", "2.0.0", "relayed")),
        "other",
        "2.0.0",
    ),
    "postfix_full": Sample(
        report(POSTFIX, fields("smtp; 552 5.2.2 <anne@client.fr>: mailbox is full", "5.2.2")), "soft", "5.2.2"
    ),
    "postfix_spam": Sample(
        report(POSTFIX, fields("smtp; 554 5.7.1 Message rejected as spam by content filter", "5.7.1")), "soft", "5.7.1"
    ),
    "exim_report": Sample(
        report("A message that you sent could not be delivered.", fields("smtp; 550 Unrouteable address", "5.0.0")),
        "hard",
        "5.0.0",
    ),
    "exim_plain": Sample(
        plain(
            "From: Mail Delivery System <Mailer-Daemon@mx.client.fr>\nSubject: Mail delivery failed: returning message to sender\n"
            "Auto-Submitted: auto-replied\nX-Failed-Recipients: anne@client.fr",
            "A message that you sent could not be delivered to its recipients. This is a permanent error:\n\n  anne@client.fr\n"
            "    host mx.client.fr [192.0.2.7]\n    SMTP error from remote mail server after RCPT TO:<anne@client.fr>:\n"
            "    550 5.1.1 no such user here\n\n------ This is a copy of the message, including all the headers. ------\n",
        ),
        "hard",
        "5.1.1",
    ),
    "exim_plain_without_code": Sample(
        plain(
            "From: Mail Delivery System <Mailer-Daemon@mx.client.fr>\nSubject: Mail delivery failed: returning message to sender\n"
            "X-Failed-Recipients: anne@client.fr",
            "The following address(es) failed:\n\n  anne@client.fr\n    retry timeout exceeded\n\n------ This is a copy of the message ------\n",
        ),
        "soft",
    ),
    "exim_warning": Sample(
        plain(
            "From: Mail Delivery System <Mailer-Daemon@mx.client.fr>\nSubject: Warning: message 1abCdE-0001 delayed 24 hours",
            "A message that you sent has not yet been delivered after 24 hours on the queue.\n\n  anne@client.fr\n    host mx: Connection timed out\n",
        ),
        "delay",
        recipient="",
    ),
    "exchange_not_found": Sample(
        report(
            "Le message n'a pas pu être remis.",
            fields(
                "smtp; 550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient anne@client.fr not found by SMTP address lookup",
                "5.1.10",
            ),
            head="From: postmaster@client.onmicrosoft.com\nSubject: =?utf-8?Q?Non_remis=C2=A0:_Votre_formation?=",
        ),
        "hard",
        "5.1.10",
    ),
    "exchange_access_denied": Sample(
        report(
            "Remote server returned an error.",
            fields("smtp; 550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", "5.4.1"),
        ),
        "hard",
        "5.4.1",
    ),
    "exchange_senders_only": Sample(
        report(
            "Your message could not be delivered.",
            fields("smtp; 550 5.7.133 RESOLVER.RST.SenderNotAuthenticatedForGroup; authentication required", "5.7.133"),
        ),
        "soft",
        "5.7.133",
    ),
    "exchange_internal": Sample(
        report("Undeliverable", fields("smtp; 550 5.1.1 RESOLVER.ADR.ExRecipNotFound; not found", "5.1.1")),
        "hard",
        "5.1.1",
    ),
    "gmail_unknown": Sample(
        report(
            "Address not found",
            fields(
                "smtp; 550-5.1.1 The email account that you tried to reach does not exist. Please try double-checking the address. 550 5.1.1 NoSuchUser - gsmtp"
            ),
            head="From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>\nSubject: Delivery Status Notification (Failure)",
        ),
        "hard",
        "5.1.1",
    ),
    "gmail_disabled": Sample(
        report(
            "Address disabled",
            fields("smtp; 550 5.2.1 The email account that you tried to reach is disabled - gsmtp", "5.2.1"),
        ),
        "hard",
        "5.2.1",
    ),
    "gmail_rate": Sample(
        report(
            "The recipient gets too much mail.",
            fields(
                "smtp; 550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional messages",
                "5.2.1",
            ),
        ),
        "soft",
        "5.2.1",
    ),
    "gmail_over_quota": Sample(
        report(
            "Inbox full", fields("smtp; 552 5.2.2 The email account that you tried to reach is over quota", "5.2.2")
        ),
        "soft",
        "5.2.2",
    ),
    "gmail_delay": Sample(
        report(
            "Delivery incomplete",
            fields("smtp; The recipient server did not accept our requests to connect.", "4.4.1", "delayed"),
        ),
        "delay",
        "4.4.1",
    ),
    "gmail_smtputf8": Sample(
        report(
            "Address not found",
            fields("smtp; 550 5.1.1 NoSuchUser", "5.1.1"),
            status_type="message/global-delivery-status",
        ),
        "hard",
        "5.1.1",
    ),
    "orange_invalid": Sample(
        report(
            "Ce message n'a pas pu être remis.",
            fields("smtp; 550 5.1.1 Adresse d au moins un destinataire invalide. Invalid recipient. OFR204_416 [416]"),
        ),
        "hard",
        "5.1.1",
    ),
    "orange_quota": Sample(
        report("Boîte pleine", fields("smtp; 552 5.2.2 Boite du destinataire pleine. OFR_417 [417]", "5.2.2")),
        "soft",
        "5.2.2",
    ),
    "laposte_unknown": Sample(
        report(
            "Échec de remise",
            fields("smtp; 550 5.5.0 Adresse inconnue : service refuse. Please check the address. LPN007_510", "5.5.0"),
        ),
        "hard",
        "5.5.0",
    ),
    "laposte_refused": Sample(
        report(
            "Échec de remise", fields("smtp; 550 5.7.1 Service refuse. Veuillez essayer plus tard. LPN007_405", "5.7.1")
        ),
        "soft",
        "5.7.1",
    ),
    "free_unknown": Sample(
        report("Echec", fields("smtp; 550 5.2.1 This mailbox has been blocked due to inactivity", "5.2.1")),
        "hard",
        "5.2.1",
    ),
    "free_spam": Sample(report("Echec", fields("smtp; 550 spam detected", "5.0.0")), "soft", "5.0.0"),
    "sfr_unknown": Sample(
        report("Non remis", fields("smtp; 550 5.1.1 User unknown SFR_IN_104", "5.1.1")), "hard", "5.1.1"
    ),
    "yahoo_no_account": Sample(
        report(
            "Sorry.",
            fields(
                "smtp; 554 delivery error: dd This user doesn't have a yahoo.fr account (anne@client.fr) [0] - mta1",
                "5.0.0",
            ),
        ),
        "hard",
        "5.0.0",
    ),
    "yahoo_disabled": Sample(
        report(
            "Sorry.",
            fields(
                "smtp; 554 30 Sorry, your message to anne@client.fr cannot be delivered. This mailbox is disabled (554.30).",
                "5.0.0",
            ),
        ),
        "hard",
        "5.0.0",
    ),
    "yahoo_deferred": Sample(
        report(
            "Given up after days.",
            fields(
                "smtp; 421 4.7.0 [TSS04] Messages from 192.0.2.1 temporarily deferred due to user complaints", "5.4.7"
            ),
        ),
        "soft",
    ),
    "ovh_unknown": Sample(
        report(
            "Undelivered",
            fields("smtp; 550 5.1.1 <anne@client.fr>: Email address could not be found, or was misspelled (G8)"),
        ),
        "hard",
        "5.1.1",
    ),
    "ovh_suspended": Sample(
        report("Undelivered", fields("smtp; 550 5.2.0 account is over its sending quota today", "5.2.0")),
        "soft",
        "5.2.0",
    ),
    "sendmail_user_unknown": Sample(
        report(
            "   ----- The following addresses had permanent fatal errors -----\n<anne@client.fr>\n    (reason: 550 5.1.1 <anne@client.fr>... User unknown)",
            fields("SMTP; 550 5.1.1 <anne@client.fr>... User unknown"),
            head="From: Mail Delivery Subsystem <MAILER-DAEMON@mx.client.fr>\nSubject: Returned mail: see transcript for details",
        ),
        "hard",
        "5.1.1",
    ),
    "sendmail_warning": Sample(
        report(
            "Warning: message still undelivered after 4 hours",
            fields("SMTP; 451 4.7.1 Greylisting in action", "4.7.1", "delayed"),
        ),
        "delay",
        "4.7.1",
    ),
    "qmail": Sample(
        plain(
            "From: MAILER-DAEMON@mx.client.fr\nSubject: failure notice",
            "Hi. This is the qmail-send program at mx.client.fr.\nI'm afraid I wasn't able to deliver your message to the following addresses.\n"
            "This is a permanent error; I've given up. Sorry it didn't work out.\n\n<anne@client.fr>:\n"
            "192.0.2.7 does not like recipient.\nRemote host said: 550 5.1.1 mailbox unknown\nGiving up on 192.0.2.7.\n\n"
            "--- Below this line is a copy of the message.\n",
        ),
        "hard",
        "5.1.1",
    ),
    "qmail_no_mailbox": Sample(
        plain(
            "From: MAILER-DAEMON@mx.client.fr\nSubject: failure notice",
            "Hi. This is the qmail-send program at mx.client.fr.\nI'm afraid I wasn't able to deliver your message to the following addresses.\n"
            "This is a permanent error; I've given up. Sorry it didn't work out.\n\n<anne@client.fr>:\n"
            "Sorry, no mailbox here by that name. (#5.1.1)\n\n--- Below this line is a copy of the message.\n",
        ),
        "hard",
        "5.1.1",
    ),
    "qmail_two_recipients": Sample(
        plain(
            "From: MAILER-DAEMON@mx.client.fr\nSubject: failure notice",
            "Hi. This is the qmail-send program at mx.client.fr.\nI'm afraid I wasn't able to deliver your message to the following addresses.\n"
            "This is a permanent error; I've given up. Sorry it didn't work out.\n\n<anne@client.fr>:\n"
            "The mailbox is over quota. (#5.2.2)\n\n<autre@client.fr>:\nSorry, no mailbox here by that name. (#5.1.1)\n\n"
            "--- Below this line is a copy of the message.\n",
        ),
        "soft",
        "5.2.2",
    ),
    "courier": Sample(
        report("UNDELIVERABLE MAIL", fields("smtp; 550 User <anne@client.fr> unknown.", "5.0.0")), "hard", "5.0.0"
    ),
    "zimbra_inactive": Sample(
        report("Undelivered", fields("smtp; 550 5.1.1 account is inactive", "5.1.1")), "hard", "5.1.1"
    ),
    "dovecot_lmtp_quota": Sample(
        report(
            "Undelivered", fields("smtp; 552 5.2.2 <anne@client.fr> Quota exceeded (mailbox for user is full)", "5.2.2")
        ),
        "soft",
        "5.2.2",
    ),
    "icloud": Sample(
        report("Undelivered", fields("smtp; 550 5.1.1 unknown or illegal alias: anne@client.fr", "5.1.1")),
        "hard",
        "5.1.1",
    ),
    "mimecast": Sample(
        report(
            "Undelivered",
            fields("smtp; 550 Invalid Recipient - https://community.mimecast.com/docs/DOC-1369#550", "5.0.0"),
        ),
        "hard",
        "5.0.0",
    ),
    "proofpoint_blocked": Sample(
        report("Undelivered", fields("smtp; 554 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.1", "5.7.1")),
        "soft",
        "5.7.1",
    ),
    "amazon_ses": Sample(
        report(
            "An error occurred while trying to deliver the mail",
            fields("smtp; 550 5.1.1 <anne@client.fr>: user does not exist", "5.1.1"),
        ),
        "hard",
        "5.1.1",
    ),
    "dmarc_refused": Sample(
        report(
            "Undelivered",
            fields(
                "smtp; 550 5.7.26 Unauthenticated email from formation.example is not accepted due to DMARC policy",
                "5.7.26",
            ),
        ),
        "soft",
        "5.7.26",
    ),
    "loop": Sample(report("Undelivered", fields("smtp; 554 5.4.6 Too many hops", "5.4.6")), "soft", "5.4.6"),
    "forwarded_elsewhere": Sample(
        report(
            "Undelivered",
            "Reporting-MTA: dns; mx.client.fr\n\nFinal-Recipient: rfc822; anne.privee@ailleurs.fr\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 user unknown",
        ),
        "hard",  # of the address it names, which is not ours
        "5.1.1",
        "anne.privee@ailleurs.fr",
    ),
    "no_details": Sample(
        plain(
            "From: postmaster@client.fr\nSubject: Undeliverable: Votre formation",
            "Your message was not delivered.\n",
            original=False,
        ),
        "soft",
        recipient="",
    ),
    "complaint": Sample(
        f"""From: feedback@fai.example
To: plaintes@formation.example
Subject: FW: Votre formation
MIME-Version: 1.0
Content-Type: multipart/report; report-type=feedback-report; boundary="B1"

--B1
Content-Type: text/plain

This is an email abuse report.
--B1
Content-Type: message/feedback-report

Feedback-Type: abuse
User-Agent: Fai/1.0
Version: 1
Original-Mail-From: <rebonds@formation.example>
Original-Rcpt-To: <anne@client.fr>

--B1
Content-Type: message/rfc822

{ORIGINAL}
--B1--
""",
        "complaint",
    ),
    "not_spam_after_all": Sample(
        "Content-Type: multipart/report; report-type=feedback-report; boundary=B1\n\n--B1\nContent-Type: message/feedback-report\n\n"
        "Feedback-Type: not-spam\nOriginal-Rcpt-To: anne@client.fr\n--B1--\n",
        "other",
        recipient="",
    ),
    "dmarc_forensic": Sample(
        "Content-Type: multipart/report; report-type=feedback-report; boundary=B1\n\n--B1\nContent-Type: message/feedback-report\n\n"
        "Feedback-Type: auth-failure\nAuth-Failure: dmarc\n--B1--\n",
        "other",
        recipient="",
    ),
    "absent_in_french": Sample(
        "From: anne@client.fr\nSubject: =?utf-8?Q?R=C3=A9ponse_automatique_:_Votre_formation?=\nAuto-Submitted: auto-replied\n\n"
        "Je suis absente. anne@client.fr 550 5.1.1 user unknown\n",
        "auto_reply",
        recipient="",
    ),
    "absent_in_english": Sample(
        "From: anne@client.fr\nSubject: Automatic reply: Votre formation\n\nI am away.\n", "auto_reply", recipient=""
    ),
    "absent_with_a_null_sender": Sample(
        "Return-Path: <>\nFrom: anne@client.fr\nSubject: Out of Office: Votre formation\nAuto-Submitted: auto-replied\n\nAway.\n",
        "auto_reply",
        recipient="",
    ),
    "vacation_of_sieve": Sample(
        "From: anne@client.fr\nSubject: Re: Votre formation\nAuto-Submitted: auto-replied (vacation)\n\nLe bureau est ferm\xe9.\n",
        "auto_reply",
        recipient="",
    ),
    "read_receipt": Sample(
        "From: anne@client.fr\nSubject: Lu : Votre formation\nContent-Type: multipart/report; report-type=disposition-notification; boundary=B1\n\n"
        "--B1\nContent-Type: message/disposition-notification\n\nFinal-Recipient: rfc822; anne@client.fr\nDisposition: manual-action/MDN-sent-manually; displayed\n--B1--\n",
        "auto_reply",
        recipient="",
    ),
    "a_person_who_answers": Sample(
        "From: anne@client.fr\nSubject: Re: Votre formation\n\nBonjour, anne@client.fr est mon adresse.\n> 550 5.1.1 user unknown\n",
        "other",
        recipient="",
    ),
    "empty": Sample("", "other", recipient=""),
}
