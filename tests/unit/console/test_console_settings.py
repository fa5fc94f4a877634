"""Flags of the key service, their environment twins, and one clear line for what cannot be."""

import argparse
import ipaddress
from pathlib import Path

import pytest

from keywright.addresses import Tcp
from keywright.console.settings import ConsoleSettings, add_arguments, from_arguments
from keywright.errors import KeywrightError


def settle(*arguments: str, **environment: str) -> ConsoleSettings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return from_arguments(parser.parse_args(arguments), environment)


def test_nothing_said() -> None:
    """Loopback, its own namespace, keys of the default class and tokens, no proxy, a quarter of an hour."""
    settings = settle()
    assert settings == ConsoleSettings()
    assert settings.listen == Tcp("127.0.0.1", 8090)
    assert (settings.keys, settings.tokens, settings.pages, settings.proxy_from) == (True, True, True, ())
    assert (settings.session_minutes, settings.rate_limit, settings.is_secure) == (15, 120, False)


def test_every_flag() -> None:
    """Each flag is taken."""
    settings = settle(
        *["--listen", "0.0.0.0:8443", "--admin-listen", "[::1]:9", "--tls-cert", "c", "--tls-key", "k"],
        *["--client-ca", "a", "--namespace", "a", "--namespace", "b", "--class", "x", "--class", "y", "--keys", "off"],
        *["--tokens", "ON", "--pages", "off", "--proxy-from", "10.0.0.0/8", "--proxy-from", "fd00::/8"],
        *["--proxy-user-header", "X-User", "--proxy-groups-header", "X-Groups", "--session-key-file", "s"],
        *["--session-minutes", "60", "--rate-limit", "7", "--usage", "off", "--usage-interval", "5m"],
    )
    assert settings == ConsoleSettings(
        listen=Tcp("0.0.0.0", 8443),
        admin_listen=Tcp("::1", 9),
        tls_cert=Path("c"),
        tls_key=Path("k"),
        client_ca=Path("a"),
        namespaces=("a", "b"),
        classes=("x", "y"),
        keys=False,
        tokens=True,
        pages=False,
        proxy_from=(ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")),
        proxy_user_header="x-user",
        proxy_groups_header="x-groups",
        session_key_file=Path("s"),
        session_minutes=60,
        rate_limit=7,
        usage=False,
        usage_interval=300.0,
    )
    assert settings.is_secure


def test_the_environment() -> None:
    """Twins do the same, lists by commas; a flag beats its twin; an empty one says nothing."""
    settings = settle(
        *["--rate-limit", "3"],
        KEYWRIGHT_RATE_LIMIT="4",
        KEYWRIGHT_NAMESPACE="a, b,",
        KEYWRIGHT_LISTEN="",
        KEYWRIGHT_INSECURE_LISTEN="true",
    )
    assert (settings.rate_limit, settings.namespaces, settings.listen) == (3, ("a", "b"), Tcp("127.0.0.1", 8090))
    assert settings.is_secure


@pytest.mark.parametrize(
    ("arguments", "says"),
    {
        "no port": (["--listen", "localhost"], "--listen 'localhost' is not possible"),
        "keys to the network": (["--listen", "0.0.0.0:1"], "without TLS would show keys to the network"),
        "keys to all interfaces": (["--listen", ":1"], "without TLS"),
        "keys to a name": (["--listen", "console:1"], "without TLS"),
        "half of TLS": (["--tls-cert", "c"], "belong together"),
        "clients without TLS": (["--client-ca", "c"], "needs TLS"),
        "no namespace": (["--namespace", "Payments"], "--namespace 'Payments' is not possible"),
        "one and all": (["--namespace", "a", "--all-namespaces"], "exclude each other"),
        "a proxy that says nothing": (["--proxy-from", "10.0.0.0/8"], "belong together"),
        "anybody's word": (["--proxy-user-header", "X-User"], "belong together"),
        "anybody's groups": (["--proxy-groups-header", "X-Groups"], "needs --proxy-user-header"),
        "no network": (["--proxy-from", "10.0.0.1/8"], "use a network"),
        "a credential's header": (
            ["--proxy-from", "10.0.0.0/8", "--proxy-user-header", "Authorization"],
            "the name of a header",
        ),
        "no header": (["--proxy-from", "10.0.0.0/8", "--proxy-user-header", "X User"], "the name of a header"),
        "nobody": (["--keys", "off", "--tokens", "off"], "nobody may ask"),
        "too long a session": (["--session-minutes", "61"], "from 1 to 60"),
        "no session": (["--session-minutes", "0"], "from 1 to 60"),
        "no requests": (["--rate-limit", "0"], "from 1 to 65535"),
        "neither on nor off": (["--keys", "yes"], "on or off"),
        "too often": (["--usage-interval", "0s"], "1s or more"),
    }.values(),
)
def test_what_cannot_be(arguments: list[str], says: str) -> None:
    """One line names the flag and what it should look like."""
    with pytest.raises(KeywrightError, match=says):
        settle(*arguments)


@pytest.mark.parametrize("address", ["localhost:1", "127.0.0.1:1", "127.9.9.9:1", "[::1]:1"])
def test_loopback_needs_no_tls(address: str) -> None:
    """Nobody listens in on loopback."""
    assert not settle("--listen", address).is_secure
