"""Settings that are derived from others, and settings that are refused at once."""

from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import create_engine

from workers.settings import Settings


def settings(**given: Any) -> Settings:
    required: dict[str, Any] = {"database_url": "postgresql://h/d", "redis_url": "redis://h:6379/0"}
    return Settings(**(required | given))


@pytest.mark.parametrize(
    ("mail_from", "platform_name", "named"),
    [
        ("Horizon Formation <ne-pas-repondre@horizon.example>", "", "Horizon Formation"),
        ('"Horizon, la formation" <a@horizon.example>', "", "Horizon, la formation"),
        ("ne-pas-repondre@horizon.example", "", "horizon.example"),
        ("<ne-pas-repondre@horizon.example>", "", "horizon.example"),
        ("Horizon Formation <a@horizon.example>", "Mon espace", "Mon espace"),
        ("", "Mon espace", "Mon espace"),
        ("", "", ""),
    ],
)
def test_the_platform_has_the_name_its_mails_come_from(
    monkeypatch: pytest.MonkeyPatch, mail_from: str, platform_name: str, named: str
) -> None:
    monkeypatch.delenv("PLATFORM_NAME", raising=False)
    monkeypatch.delenv("MAIL_FROM", raising=False)
    given = {"mail_from": mail_from} | ({"platform_name": platform_name} if platform_name else {})
    assert settings(**given).platform_name == named


@pytest.mark.parametrize(
    "url",
    [
        "redis://h:6379/0",
        "redis://u:p@h/0?socket_timeout=3",
        "rediss://h",
        "unix:///run/valkey.sock?db=0",
        "redis+sentinel://u:p@h:26379,i:26379/m/0",
        "rediss+sentinel://h:1/m?sentinel_password=hush",
    ],
)
def test_addresses_of_redis(url: str) -> None:
    assert settings(redis_url=url).redis_url == url


@pytest.mark.parametrize(
    "url",
    [
        *("", "localhost:6379/0", "http://h", "redis://h:port/0", "redis://u:hush/6@h:1/0", "redis://h/0?hush=1"),
        *("redis+sentinel://", "redis+sentinel://h:1", "redis+sentinel://h/m/0", "redis+sentinel://:hush@h:x/m/0"),
        *("redis+sentinel://h:1,/m/0", "redis+sentinel://h:0/m/0", "redis+sentinel://h:1/m/hush"),
        *("redis+sentinel://h:1/m/0/1", "redis+sentinel://h:1/m/0?hush=1", "sentinel://h:1/m/0"),
    ],
)
def test_an_unusable_url_is_refused_and_not_shown(url: str) -> None:
    with pytest.raises(ValidationError, match="redis_url") as refused:
        settings(redis_url=url)
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "hosts", "ports", "attributes"),
    [
        ("postgresql://u:p@h/d", "h", None, None),
        ("postgresql://u:a%2Cb@h:1/d", "h", 1, None),
        ("postgresql://u@/d?host=/run/pg", "/run/pg", None, None),
        ("postgresql://u:p@h:1,i:2/d", "h,i", "1,2", "read-write"),
        ("postgresql+psycopg://h,i:2", "h,i", ",2", "read-write"),
        ("postgresql://u:p@h:1,i:2/d?target_session_attrs=any&sslmode=require", "h,i", "1,2", "any"),
        ("postgresql://u:p@[::1]:1,[::2]:2/d", "::1,::2", "1,2", "read-write"),
        ("postgresql://u:a,b@%2Frun%2Fa:1,%2Frun%2Fb:2/d", "/run/a,/run/b", "1,2", "read-write"),
        ("postgresql://u:p@/d?host=h,i&port=1,2", "h,i", "1,2", "read-write"),
        ("postgresql://u:p@/d?host=h:1&host=i:2", "h,i", "1,2", "read-write"),
    ],
)
def test_a_database_may_have_several_hosts(
    given: str, hosts: str, ports: str | int | None, attributes: str | None
) -> None:
    engine = create_engine(settings(database_url=given).database_url)
    _, options = engine.dialect.create_connect_args(engine.url)
    found = (options["host"], options.get("port"), options.get("target_session_attrs"))
    assert found == (hosts, ports, attributes)
    assert options.get("password") in (None, "p", "a,b")


@pytest.mark.parametrize("setting", ["mail_from", "mail_reply_to", "mail_bounce_address", "support_address"])
@pytest.mark.parametrize(
    "given", ["nobody", "x y@z.fr", "a@x.fr <b@y.fr>", "a@x.fr, b@y.fr", "Horizon, la formation <a@x.fr>", "A <a@x.fr"]
)
def test_what_is_not_exactly_one_address_stops_at_the_start(setting: str, given: str) -> None:
    with pytest.raises(ValidationError, match=rf"(?s){setting}.*not exactly one mail address: give it as"):
        settings(**{setting: given})


@pytest.mark.parametrize("setting", ["mail_reply_to", "mail_bounce_address", "support_address"])
def test_only_the_sender_has_a_name(setting: str) -> None:
    assert settings(mail_from=' "A, B" <a@x.fr>').mail_from == '"A, B" <a@x.fr>'
    assert settings(**{setting: " a@école.fr "}).model_dump()[setting] == "a@école.fr"
    with pytest.raises(ValidationError, match=setting):
        settings(**{setting: "Aide <a@x.fr>"})


@pytest.mark.parametrize("given", ["debug", "Debug", "DEBUG"])
def test_the_log_level_is_read_in_any_case(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", given)
    assert settings().log_level == "DEBUG"


def test_a_wrong_log_level_is_named_with_what_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOG_LEVEL", "chatty")
    with pytest.raises(ValidationError, match=r"(?s)log_level.*'DEBUG', 'INFO', 'WARNING', 'ERROR' or 'CRITICAL'"):
        settings()


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("10.0.0.7", "10.0.0.7"),
        ("10.0.0.7, 10.1.0.0/16,2001:db8::/32 ", "10.0.0.7,10.1.0.0/16,2001:db8::/32"),
        ("", ""),
    ],
)
def test_proxies_are_named_by_address_or_network(given: str, read: str) -> None:
    assert settings(trusted_proxies=given).trusted_proxies == read


@pytest.mark.parametrize(
    "given", ["*", "10.0.0.7,*", "0.0.0.0/0", "::/0", "proxy.internal", "10.0.0.7/16", "10.0.0.256"]
)
def test_a_proxy_wildcard_is_refused_by_name(given: str) -> None:
    with pytest.raises(ValidationError, match="trusted_proxies") as refused:
        settings(trusted_proxies=given)
    assert repr(given.rpartition(",")[2]) in str(refused.value)


@pytest.mark.parametrize("hosts", ["ops.example.fr:8021", "https://ops.example.fr", "a b", "*", "ops..fr", "-a.fr"])
def test_names_of_hosts_are_names_alone(hosts: str) -> None:
    with pytest.raises(ValidationError, match="ops_hosts"):
        settings(ops_hosts=hosts)


def test_names_of_hosts_are_compared_in_small_letters() -> None:
    assert settings(ops_hosts=" Ops.Example.FR, ops2 ,").ops_hosts == "ops.example.fr,ops2"


@pytest.mark.parametrize("secret", ["short", "x" * 31, "x" * 31 + " ", "é" * 40, "x" * 40 + "\n"])
def test_a_secret_of_a_proxy_can_be_sent_and_not_guessed(secret: str) -> None:
    with pytest.raises(ValidationError, match="ops_proxy_secret") as refused:
        settings(ops_proxy_secret=secret)
    assert secret not in str(refused.value)


@pytest.mark.parametrize(
    "given", ["r@x.fr", "r+*@*.fr", "*+*@x.fr", "r@*", "*", "A <r+*@x.fr>", f"{'r' * 23}*@x.fr", "r *@x.fr"]
)
def test_a_return_address_has_one_place_for_the_mark_of_a_mail(given: str) -> None:
    with pytest.raises(ValidationError, match=r"(?s)mail_return_address.*rebonds\+\*@example.fr"):
        settings(mail_return_address=given)
    assert settings(mail_return_address=f" {'R' * 21}+*@x.fr ").mail_return_address == f"{'r' * 21}+*@x.fr"
