"""The SMTP side of the local mailbox accepts everything, or plays the fault that the address asks for.

anna+451@example.fr   refused for now at RCPT (any 4xx code)
anna+550@example.fr   refused for good at RCPT (any 5xx code)
anna+drop@example.fr  stored, then the connection is dropped before the answer: the sender cannot know
"""

import asyncio
import re

from aiosmtpd.smtp import SMTP, Envelope, Session

from scripts.embedded.mail_folder import MailFolder

FAULT = re.compile(r"\+(drop|[45]\d\d)@", re.IGNORECASE)
ENHANCED = {"451": "4.7.1 Greylisted, try again later", "550": "5.1.1 User unknown"}
SIZE_LIMIT = 32 * 1024 * 1024


def fault_of(address: str) -> str:
    """Returns the fault that an address asks for: `drop`, a reply code, or an empty text."""
    found = FAULT.search(address)
    return found[1].lower() if found else ""


class MailboxHandler:
    """aiosmtpd calls a method of this class for each step of a session, so it chose their names."""

    def __init__(self, folder: MailFolder) -> None:
        self._folder = folder

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Accepts a recipient, or answers with the code in its address."""
        del server, session
        code = fault_of(address)
        if code.isdigit():
            return f"{code} {ENHANCED.get(code, code[0] + '.0.0 Asked for by the address')}"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Stores the mail, then answers, or drops the connection when a recipient asks for it."""
        del session
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        mail_id = self._folder.deliver(envelope.mail_from or "", envelope.rcpt_tos, content)
        if any(fault_of(address) == "drop" for address in envelope.rcpt_tos):
            if isinstance(server.transport, asyncio.WriteTransport):
                server.transport.abort()
            await asyncio.Event().wait()  # the lost connection cancels this session before it can answer
        return f"250 2.0.0 OK: queued as {mail_id}"


def session(folder: MailFolder) -> SMTP:
    """Creates the protocol of one connection."""
    return SMTP(
        MailboxHandler(folder),
        hostname="mailbox.localhost",  # else aiosmtpd looks up the name of this machine, which can take seconds
        ident="Matricule mailbox",
        data_size_limit=SIZE_LIMIT,
        enable_SMTPUTF8=True,
    )
