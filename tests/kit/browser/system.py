"""The browser tests share one whole system: every process of the Procfile, the embedded parts, the example portal."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import httpx2
import pytest

from scripts.embedded.places import SHORT_ROOT, places
from scripts.embedded.run import LocalSystem
from scripts.portal.settings import SiteSettings, read_settings
from tests.kit.browser.mailbox import Mailbox
from tests.kit.processes.support import PROJECT, wait_until
from tests.kit.servers import copy_migrated_data
from workers.portal_client import Job, Portal

START_SECONDS: Final = 180.0
"""How long the processes may take to start on a busy machine."""

OF_OTHERS: Final = (
    *("DATABASE_URL", "REDIS_URL", "REDIS_NAMESPACE", "SMTP_URL", "MAILBOX_URL", "HOST", "PORT", "LINK_KEYS"),
    *("LINK_BASE_URL", "PORTAL_KEYS", "CERTIFICATE_STORE", "MAIL_FROM", "MATRICULE_FROM_PARTS"),
)
"""Variables that would replace a part of the system."""

BOCAGE: Final = "demo-atelier-bocage"
FERRAND: Final = "demo-cabinet-ferrand"

COMPANIES: Final[Mapping[str, str]] = {BOCAGE: "Atelier du Bocage", FERRAND: "Cabinet Ferrand & Associés"}

ORGANISATION: Final = (
    *("organisation", "put", "horizon", "--portal", "demo", "--place", "Tours"),
    *("--legal-name", "Horizon Formation SAS", "--address", "12 rue des Tanneurs", "--address", "37000 Tours"),
    *("--signatory-name", "Hélène Castaing", "--signatory-quality", "Directrice de la formation"),
)


class WholeSystem(NamedTuple):
    """A system that runs.

    Parameters:
      site: the address of « Gestion entreprise », without a slash at its end.
      portal: the public API, with a key for everything.
      settings: those of the site.
    """

    site: str
    portal: Portal
    mailbox: Mailbox
    settings: SiteSettings

    def done(self, job: Job) -> Job:
        """Waits until a job is done as it was asked."""
        found = self.portal.wait_for(job)
        assert found.state == "succeeded", found
        return found


@contextmanager
def whole_system(kept: Path) -> Iterator[WholeSystem]:
    """Starts a system in a folder of its own, and removes it at the end; without fsync, so its speed says nothing.

    Parameters:
      kept: the folder where migrated data stay for the next run.
    """
    with ExitStack() as undo:
        folder = undo.enter_context(_folder(kept))
        with pytest.MonkeyPatch.context() as during:
            for name in OF_OTHERS:
                during.delenv(name, raising=False)
            output = undo.enter_context((folder / "output").open("w"))
            local = undo.enter_context(LocalSystem(folder, durable=False, site=True, output=output))
        environment = local.environment
        site = environment["MANAGER_URL"].rstrip("/")
        wait_until(lambda: _answers(site), seconds=START_SECONDS, say=(folder / "output").read_text)
        portal = undo.enter_context(Portal(environment["PORTAL_URL"], key=environment["PORTAL_KEY"]))
        system = WholeSystem(site, portal, Mailbox(environment["MAILBOX_URL"]), read_settings(folder / "portal-site"))
        for reference, name in COMPANIES.items():
            system.done(portal.put_company(reference, name=name))
        command = [sys.executable, "-m", "workers.cli", *ORGANISATION]
        subprocess.run(command, cwd=PROJECT, env=os.environ | environment, capture_output=True, check=True)
        yield system


@contextmanager
def _folder(kept: Path) -> Iterator[Path]:
    """Makes a data folder with migrated data, which PostgreSQL's user can enter."""
    folder = Path(tempfile.mkdtemp(dir=SHORT_ROOT, prefix="matricule-test-"))
    folder.chmod(0o755)
    where = places(folder)
    try:
        copy_migrated_data(kept, where)
        yield folder
    finally:
        for place in {folder, *where.outside}:
            shutil.rmtree(place, ignore_errors=True)


def _answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False, timeout=5, follow_redirects=True).status_code == 200
    except httpx2.TransportError:
        return False
