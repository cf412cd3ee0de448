"""The parts that the handlers of a site share, in ``request.app.state.site``."""

from starlette.requests import Request

from scripts.portal.companies import open_companies, open_portal
from scripts.portal.drafts import Drafts
from scripts.portal.freshness import Freshness
from scripts.portal.reports import EndedImports
from scripts.portal.sessions import Sessions
from scripts.portal.settings import SiteSettings
from scripts.portal.texts import Texts


class Site:
    """The shared parts; threads use them at the same time.

    Parameters:
      learners: the client of the learner's side.
      freshness: the latest event of each contract.
      drafts: the people of the latest forms.
      ended_imports: the reports of imports that change no more.
    """

    def __init__(self, settings: SiteSettings) -> None:
        self.settings = settings
        self.texts = Texts()
        self.sessions = Sessions(settings.secret)
        self.companies = open_companies(settings)
        self.learners = open_portal(settings, settings.learner_key)
        self.freshness = Freshness()
        self.drafts = Drafts()
        self.ended_imports = EndedImports()

    def close(self) -> None:
        """Closes the connections."""
        for company in self.companies.values():
            company.portal.close()
        self.learners.close()


def site_of(request: Request) -> Site:
    """Returns the shared parts of the site that answers this request."""
    site = request.app.state.site
    assert isinstance(site, Site)
    return site
