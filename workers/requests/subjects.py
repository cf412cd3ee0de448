"""The records that a request names, by which a key that is limited to some companies is judged."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID


class NamedSubjects(NamedTuple):
    """The records of a portal that a request is about.

    Parameters:
      companies: references of companies.
      contracts: references of contracts; each belongs to a company.
      enrollments: identifiers of enrollments; each is on a contract.
      jobs: identifiers of imports; each is on a contract.
      all_companies: the request is about the portal, a training or a person as a whole.
    """

    companies: Sequence[str] = ()
    contracts: Sequence[str] = ()
    enrollments: Sequence[UUID] = ()
    jobs: Sequence[UUID] = ()
    all_companies: bool = False


ALL_COMPANIES = NamedSubjects(all_companies=True)
"""The subjects of a request that only a key for all companies of its portal may send."""
