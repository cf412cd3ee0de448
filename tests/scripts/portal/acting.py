"""The tests of what a manager asks for use these: the work that follows, and what a page shows."""

import re
from html import unescape

from tests.kit.actors.committed_jobs import claimed
from tests.kit.processes.support import rows
from tests.scripts.portal.conftest import Answer, Browser
from workers.actors import certificates
from workers.actors.registry import do_jobs
from workers.engine.claimer import BatchRun
from workers.engine.ledger import JOBS
from workers.requests.queues import Queue


def work() -> None:
    """Does the jobs that wait, and the documents they ask for."""
    for queue in (Queue.ENROLLMENTS, Queue.MAINTENANCE):
        BatchRun(JOBS, do_jobs).run(claimed(queue))
    while jobs := claimed(Queue.CERTIFICATES):
        certificates.do_batch(jobs)


def enrollment(name: str, contract: str = "C-1") -> str:
    """Returns the enrollment of a person on a contract."""
    [(found,)] = rows(
        "SELECT e.id FROM enrollment e JOIN account a ON a.id = e.account_id JOIN contract c ON c.id = e.contract_id"
        " WHERE a.email_norm = :email AND c.reference = :contract",
        email=f"{name}@example.com",
        contract=contract,
    )
    return str(found)


def done(browser: Browser, answer: Answer) -> Answer:
    """Does the work of a form that was sent, and goes on to its result."""
    assert answer.status_code == 200, answer.text
    assert "Votre demande est en cours" in words(answer), words(answer)
    work()
    return browser.get(str(answer.url))


def words(answer: Answer) -> str:
    """Returns the text of a page, with plain spaces."""
    text = unescape(re.sub(r"<[^>]+>", " ", re.sub(r"(?s)<head>.*?</head>", "", answer.text)))
    return " ".join(text.replace("\N{NARROW NO-BREAK SPACE}", " ").replace("\N{NO-BREAK SPACE}", " ").split())


def heading(answer: Answer) -> str:
    """Returns the main heading of a page."""
    [found] = re.findall(r"(?s)<h1[^>]*>(.*?)</h1>", answer.text)
    return unescape(re.sub(r"<[^>]+>", "", found)).replace("\N{NARROW NO-BREAK SPACE}", " ").strip()


def jobs(kind: str) -> int:
    """Returns how many jobs of a kind there are."""
    [(number,)] = rows("SELECT count(*) FROM job WHERE kind = :kind", kind=kind)
    return int(str(number))
