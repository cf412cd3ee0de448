"""The web page of the local mailbox. Mails are hostile: they may not run, load or send anything.

Each of three defences is enough alone: autoescaped templates, a Content-Security-Policy that allows no script on any
page, and a sandboxed frame around the HTML part. Links stay clickable and open in a new tab. Only requests made to
127.0.0.1 or localhost by name are answered, so that a web site cannot read the mails by DNS rebinding.
"""

import re
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from scripts.embedded.mail_folder import Mail, MailFolder, Summary

SHOWN_MAILS = 200
SHOWN_SOURCE = 256 * 1024
PAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
MAIL_POLICY = (
    "sandbox allow-popups allow-popups-to-escape-sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)
HEAD = re.compile(r"<head(\s[^>]*)?>", re.IGNORECASE)
NEW_TAB = '<base target="_blank">'

templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "pages"), autoescape=True, undefined=StrictUndefined
)


class InertHeaders:
    """Adds the headers that forbid scripts to every answer, also to errors, unless the answer has stricter ones."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_inert(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.setdefault("Content-Security-Policy", PAGE_POLICY)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "no-referrer"
                headers["Cross-Origin-Resource-Policy"] = "same-origin"
                headers["Cache-Control"] = "no-store"
            await send(message)

        await self._app(scope, receive, send_inert)


class Pages:
    """The routes are plain functions, which Starlette runs in threads beside the loop that receives mails."""

    def __init__(self, folder: MailFolder) -> None:
        self._folder = folder

    def list_mails(self, request: Request) -> Response:
        """Lists the mails, newest first; `?to=` restricts them to one recipient."""
        to = request.query_params.get("to", "").strip()
        mails = self._folder.summaries(to)
        page = templates.get_template("list.html")
        return HTMLResponse(page.render(mails=mails[:SHOWN_MAILS], total=len(mails), to=to))

    def list_json(self, request: Request) -> Response:
        """Lists the same mails with all fields for programs."""
        mails = self._folder.summaries(request.query_params.get("to", "").strip())
        return JSONResponse([as_json(mail) for mail in mails])

    def show_mail(self, request: Request) -> Response:
        """Shows one mail: its HTML in a sandboxed frame, its text, headers and source."""
        mail = self._mail(request)
        source = mail.source[:SHOWN_SOURCE].decode("utf-8", "replace")
        cut = len(mail.source) > SHOWN_SOURCE
        return HTMLResponse(templates.get_template("mail.html").render(mail=mail, source=source, cut=cut))

    def show_html(self, request: Request) -> Response:
        """Returns the HTML part alone for the frame; scripts stay forbidden when it is opened by itself."""
        html = self._mail(request).html
        if html is None:
            raise HTTPException(404, "This mail has no HTML part.")
        return HTMLResponse(with_new_tab(html), headers={"Content-Security-Policy": MAIL_POLICY})

    def download(self, request: Request) -> Response:
        """Returns the mail as it was received, below two lines with its envelope."""
        mail = self._mail(request)
        headers = {"Content-Disposition": f'attachment; filename="{mail.summary.id}.eml"'}
        return Response(mail.source, media_type="message/rfc822", headers=headers)

    def _mail(self, request: Request) -> Mail:
        mail = self._folder.mail(request.path_params["mail_id"])
        if mail is None:
            raise HTTPException(404, "There is no such mail.")
        return mail


def as_json(mail: Summary) -> dict[str, object]:
    """Returns the fields of a mail for programs."""
    return {
        "id": mail.id,
        "to": mail.to,
        "from": mail.sender,
        "subject": mail.subject,
        "date": mail.date,
        "message_id": mail.message_id,
        "recipients": mail.recipients,
        "received_at": mail.received_at.isoformat(),
    }


def with_new_tab(html: str) -> str:
    """Makes links open in a new tab; the tag goes inside the head, so that the doctype stays first."""
    found = HEAD.search(html)
    if found is None:
        return NEW_TAB + html
    return html[: found.end()] + NEW_TAB + html[found.end() :]


def mailbox_app(folder: MailFolder) -> Starlette:
    """Builds the web application for a folder of mails."""
    pages = Pages(folder)
    return Starlette(
        routes=[
            Route("/", pages.list_mails),
            Route("/mails.json", pages.list_json),
            Route("/mails/{mail_id}.eml", pages.download),
            Route("/mails/{mail_id}/html", pages.show_html),
            Route("/mails/{mail_id}", pages.show_mail),
        ],
        middleware=[
            Middleware(InertHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False),
        ],
    )
