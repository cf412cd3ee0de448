"""Companies with a manager who may sign in, each with the client that has its key."""

from collections.abc import Mapping
from typing import NamedTuple

from scripts.portal.settings import SiteSettings
from workers.portal_client import Portal

PATIENCE_SECONDS = 4.0
TIMEOUT_SECONDS = 10.0


class Company(NamedTuple):
    """A company that is a customer of the site.

    Parameters:
      manager: the name of its manager.
      portal: the client with the key of this company; threads share it.
    """

    reference: str
    name: str
    manager: str
    portal: Portal


def open_portal(settings: SiteSettings, key: str) -> Portal:
    """Opens a client that gives up soon: a person waits for the page."""
    return Portal(settings.matricule, key=key, timeout=TIMEOUT_SECONDS, patience=PATIENCE_SECONDS)


def open_companies(settings: SiteSettings) -> Mapping[str, Company]:
    """Returns the companies by their references."""
    return {
        one.reference: Company(one.reference, one.name, one.manager, open_portal(settings, one.key))
        for one in settings.companies
    }
