"""The manager who asks for a page."""

from dataclasses import dataclass, field

from starlette.requests import Request

from scripts.portal.companies import Company
from scripts.portal.languages import language_of
from scripts.portal.sessions import MANAGER, SignInNeeded
from scripts.portal.site import site_of
from workers.portal_client import Contract, Portal


@dataclass
class Visitor:
    """A manager who is signed in.

    Parameters:
      contract: the reference of the contract that is shown; empty when the company has none.
    """

    company: Company
    contract: str
    language: str
    _read: Contract | None = field(default=None, repr=False)

    @property
    def portal(self) -> Portal:
        """The client with the key of the company."""
        return self.company.portal

    @property
    def contract_reference(self) -> str:
        """The reference of the contract that is shown."""
        return self.contract

    def counters(self, *, fresh: bool = False) -> Contract:
        """Returns the contract with its counters, read once for a page.

        Parameters:
          fresh: read it again, after something was changed.

        Raises: PortalError.
        """
        if self._read is None or fresh:
            self._read = self.portal.contract(self.contract)
        return self._read


def signed_in(request: Request) -> Visitor:
    """Returns the manager who is signed in.

    Raises: SignInNeeded, which leads to the sign-in page and back; what was typed is kept.
    """
    site = site_of(request)
    values = site.sessions.live(request, MANAGER)
    company = site.companies.get(values.get("company", ""))
    if company is None:
        raise SignInNeeded(MANAGER, ended=True)
    visitor = Visitor(company, values.get("contract", ""), language_of(request))
    request.state.visitor = visitor
    return visitor
