"""The tests of forms use these: a form is sent, its job is done, and the page is read that the browser comes to."""

import re
from html import unescape
from typing import Any

from tests.kit.actors.committed_jobs import claimed
from tests.kit.builders.imports import work
from tests.scripts.portal.conftest import Answer, Browser
from workers.actors.registry import do_jobs
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS
from workers.requests.queues import Queue


def do_everything() -> None:
    """Does all jobs that are due, as the workers would."""
    for queue in (Queue.ENROLLMENTS, Queue.MAINTENANCE):
        if due := claimed(queue):
            BatchRun(JOBS, do_jobs).run(due)
    work()


def sent(browser: Browser, url: str, fields: dict[str, Any], *, page: str | None = None, **options: Any) -> Answer:
    """Sends a form with a fresh key, does its job, and returns the page to which the answer leads."""
    return resent(browser, url, browser.hidden(page or url) | fields, **options)


def resent(browser: Browser, url: str, fields: dict[str, Any], **options: Any) -> Answer:
    """Sends a form with its hidden fields, does its job, and returns the page to which the answer leads."""
    answer = browser.client.post(url, data=fields, follow_redirects=False, **options)
    do_everything()
    return browser.get(answer.headers["location"]) if answer.status_code == 303 else answer


def said(answer: Answer) -> str:
    """Returns what a page says, with plain spaces."""
    body = re.sub(r"<(script|style).*?</\1>", " ", answer.text, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())
