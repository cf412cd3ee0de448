"""The settings of the site: a file of JSON that only its owner reads, since it holds the keys."""

import json
from pathlib import Path
from typing import Any, NamedTuple


class CompanyAccess(NamedTuple):
    """A company with a manager who may sign in.

    Parameters:
      manager: the name of the manager, as the page greets them.
      key: a key of the portal that is limited to this company.
    """

    reference: str
    name: str
    manager: str
    key: str


class SiteSettings(NamedTuple):
    """The settings of the site.

    Parameters:
      matricule: the URL of ``/v1``.
      secret: signs the sessions and the forms.
      learner_key: a key for the learner's side: `sign_in`, `read`, `progress`, `certificates`.
      webhook_secrets: of the endpoint at which the site is told of events; empty: pages are fresh when they are loaded.
      mailbox: the address of the page on which the mails of a demonstration are read; None without one.
    """

    matricule: str
    secret: str
    companies: tuple[CompanyAccess, ...]
    learner_key: str
    platform: str
    support: str
    webhook_secrets: tuple[str, ...] = ()
    mailbox: str | None = None

    def as_json(self) -> str:
        """Returns the text of the file."""
        return json.dumps(self._asdict() | {"companies": [one._asdict() for one in self.companies]})


def read_settings(file: Path) -> SiteSettings:
    """Reads the file.

    Raises: OSError, ValueError, KeyError or TypeError when it is not there or not whole.
    """
    told: dict[str, Any] = json.loads(file.read_text())
    told["companies"] = tuple(CompanyAccess(**one) for one in told["companies"])
    told["webhook_secrets"] = tuple(told.get("webhook_secrets", ()))
    return SiteSettings(**told)
