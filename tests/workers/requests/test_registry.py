"""Every request that is written is known by its kind, and what is said of kinds is said of some that exist."""

import importlib
import pkgutil
from collections.abc import Iterator

import pytest
from sqlmodel import Session, select

from models.job import RETRY_POLICIES
from models.schedule import Schedule
from workers import requests
from workers.requests.base import Request
from workers.requests.enrollment import Enroll, Withdraw
from workers.requests.registry import KINDS, by_kind


def written() -> Iterator[type[Request]]:
    """The requests of every module of the package, whether the registry knows the module or not."""
    for module in pkgutil.iter_modules(requests.__path__, "workers.requests."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Request) and "kind" in vars(value):
                yield value


def test_every_request_is_known_by_its_kind() -> None:
    found = set(written())
    assert found == set(KINDS.values())
    assert len(found) == len({request.kind for request in found})


def test_what_the_clock_makes_is_kept_for_days_only(session: Session) -> None:
    scheduled = set(session.exec(select(Schedule.kind)))
    assert len(scheduled) > 5
    assert [kind for kind in scheduled if not (KINDS[kind].routine and KINDS[kind].internal)] == []


def test_kinds_with_retries_of_their_own_exist() -> None:
    assert RETRY_POLICIES.keys() <= KINDS.keys()


def test_two_requests_of_one_kind_are_refused() -> None:
    class Copied(Enroll):
        kind = Withdraw.kind

    with pytest.raises(TypeError, match="Withdraw and Copied have the same kind, 'withdraw'"):
        by_kind([Withdraw, Enroll, Copied])
