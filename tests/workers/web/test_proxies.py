"""The address of a visitor behind a proxy: only a proxy named in the settings is trusted."""

import httpx
import pytest

from tests.kit.processes.serving import serving
from tests.kit.processes.support import forget, rows

OTHER_CODE = "/certificates/0000-0000-0000-0000"


def counted(site: httpx.Client, *forwarded: str) -> int:
    """Returns the number of networks for which these views were counted."""
    for one in forwarded:
        assert site.get(OTHER_CODE, headers={"X-Forwarded-For": one}).status_code == 404
    [(networks,)] = rows("SELECT count(DISTINCT subject) FROM throttle")
    return int(str(networks))


@pytest.mark.parametrize(
    ("trusted", "networks"), [("127.0.0.1", 2), ("127.0.0.0/8", 2), ("192.0.2.1", 1), ("", 1), (None, 2)]
)
def test_a_visitor_behind_a_named_proxy_is_counted_by_their_own_address(
    fresh_database: str, monkeypatch: pytest.MonkeyPatch, trusted: str | None, networks: int
) -> None:
    if trusted is not None:
        monkeypatch.setenv("TRUSTED_PROXIES", trusted)
    forget()
    with serving() as site:
        assert counted(site, "198.51.100.1", "198.51.100.2", "198.51.100.1") == networks


def test_an_address_claimed_before_the_proxy_is_not_trusted(site: httpx.Client) -> None:
    claimed = [f"203.0.113.{last}, 198.51.100.1" for last in range(3)]
    assert counted(site, *claimed) == 1


@pytest.mark.parametrize(
    ("looks", "networks"),
    [
        (("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"), 1),
        (("2001:db8:1:2::1", "2001:db8:1:3::1"), 2),
        (("::ffff:198.51.100.1", "198.51.100.1"), 1),
        (("::ffff:198.51.100.1", "::ffff:198.51.100.2"), 2),
        (("198.51.100.1", "198.51.100.2"), 2),
    ],
)
def test_a_household_is_one_network_with_all_its_addresses(
    site: httpx.Client, looks: tuple[str, str], networks: int
) -> None:
    assert counted(site, *looks) == networks
