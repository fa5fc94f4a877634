"""What the key service is told at its start: flags, each with an environment twin, read once and passed down."""

import argparse
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from keywright.addresses import Tcp, parse_tcp
from keywright.errors import KeywrightError
from keywright.flags import (
    Given,
    add_flag,
    add_switch,
    check_namespaces,
    check_tls,
    parse_boolean,
    parse_interval,
    parse_on_off,
    parse_positive,
)

__all__ = ["ConsoleSettings", "Network", "add_arguments", "from_arguments"]

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LONGEST_SESSION = 60
DEFAULT_LISTEN = Tcp("127.0.0.1", 8090)
DEFAULT_ADMIN_LISTEN = Tcp("127.0.0.1", 8091)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)
# What says something else already: of a credential, of the connection, or of where a request came from.
_TAKEN = frozenset(
    {"authorization", "connection", "content-length", "content-type", "cookie", "host", "origin", "transfer-encoding"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsoleSettings:
    """``namespaces`` empty means: the service's own. ``classes`` empty means: the default class."""

    listen: Tcp = DEFAULT_LISTEN
    admin_listen: Tcp = DEFAULT_ADMIN_LISTEN
    insecure_listen: bool = False
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    namespaces: tuple[str, ...] = ()
    all_namespaces: bool = False
    classes: tuple[str, ...] = ()
    keys: bool = True
    tokens: bool = True
    pages: bool = True
    proxy_from: tuple[Network, ...] = ()
    proxy_user_header: str | None = None
    proxy_groups_header: str | None = None
    session_key_file: Path | None = None
    session_minutes: int = 15
    rate_limit: int = 120
    usage: bool = True
    usage_interval: float = 60.0

    @property
    def is_secure(self) -> bool:
        """Whether browsers come over TLS, here or at the proxy in front, so that cookies may say so."""
        return self.tls_cert is not None or self.insecure_listen


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags. Values are checked by :func:`from_arguments`, whichever way they came."""
    flag, switch = partial(add_flag, parser), partial(add_switch, parser)
    flag("listen", "where /v1 and the pages are served (default: 127.0.0.1:8090)", "HOST:PORT")
    flag("admin-listen", "health and metrics (default: 127.0.0.1:8091)", "HOST:PORT")
    flag("tls-cert", "serve over TLS with this certificate chain (PEM)", "FILE")
    flag("tls-key", "private key of --tls-cert (PEM)", "FILE")
    flag("client-ca", "accept only clients with a certificate of these authorities (PEM)", "FILE")
    switch(
        "insecure-listen",
        "listen beyond loopback without TLS: a proxy in front terminates it, and nobody gets round it",
    )
    flag("namespace", "namespace whose keys are served (default: the service's own)", "NS", repeats=True)
    switch("all-namespaces", "serve the keys of every namespace")
    flag("class", "ApiKeyClass whose keys may ask (default: the default class)", "NAME", repeats=True)
    flag("keys", "whether a Keywright key may ask, with scope keys:read or keys:manage (default: on)", "on|off")
    flag("tokens", "whether a Kubernetes token may ask (default: on)", "on|off")
    flag("pages", "whether there are pages for a browser (default: on)", "on|off")
    flag("proxy-from", "network of a front proxy that says who asks (default: none)", "CIDR", repeats=True)
    flag("proxy-user-header", "header in which it names the user", "NAME")
    flag("proxy-groups-header", "header in which it names the groups, comma-separated or repeated", "NAME")
    flag("session-key-file", "32 bytes or more that sign sessions, the same for all replicas (default: random)", "FILE")
    flag("session-minutes", "how long somebody stays signed in (default: 15)", "1..60")
    flag("rate-limit", "requests a minute that one caller has (default: 120)", "N")
    flag("usage", "publish when the keys that asked were last used, as ApiKeyUsage (default: on)", "on|off")
    flag("usage-interval", "how often; what a crash loses (default: 1m)", "TIME")


def from_arguments(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> ConsoleSettings:
    """Settle flags, environment and defaults, in this order.

    Raises:
        KeywrightError: for a value that cannot be, naming the flag and what it should look like.

    """
    defaults = ConsoleSettings()
    given = Given(arguments, environment)
    read, several = given.read, given.several
    address_form, header_form = "HOST:PORT, as in 127.0.0.1:8090", "the name of a header, as in X-Auth-Request-User"
    settings = ConsoleSettings(
        listen=read("listen", parse_tcp, defaults.listen, address_form),
        admin_listen=read("admin-listen", parse_tcp, defaults.admin_listen, address_form),
        insecure_listen=read("insecure-listen", parse_boolean, default=False, form="true or false"),
        tls_cert=read("tls-cert", Path, None, "a file"),
        tls_key=read("tls-key", Path, None, "a file"),
        client_ca=read("client-ca", Path, None, "a file"),
        namespaces=several("namespace"),
        all_namespaces=read("all-namespaces", parse_boolean, default=False, form="true or false"),
        classes=several("class"),
        keys=read("keys", parse_on_off, defaults.keys, "on or off"),
        tokens=read("tokens", parse_on_off, defaults.tokens, "on or off"),
        pages=read("pages", parse_on_off, defaults.pages, "on or off"),
        proxy_from=tuple(map(_network, several("proxy-from"))),
        proxy_user_header=read("proxy-user-header", _header, None, header_form),
        proxy_groups_header=read("proxy-groups-header", _header, None, header_form),
        session_key_file=read("session-key-file", Path, None, "a file"),
        session_minutes=read("session-minutes", _minutes, defaults.session_minutes, "a whole number from 1 to 60"),
        rate_limit=read("rate-limit", parse_positive, defaults.rate_limit, "a whole number from 1 to 65535"),
        usage=read("usage", parse_on_off, defaults.usage, "on or off"),
        usage_interval=read("usage-interval", parse_interval, defaults.usage_interval, "1s or more, as in 1m"),
    )
    _check(settings)
    return settings


def _check(settings: ConsoleSettings) -> None:
    check_tls(settings.tls_cert, settings.tls_key, settings.client_ca)
    check_namespaces(settings.namespaces, everywhere=settings.all_namespaces)
    if bool(settings.proxy_from) != (settings.proxy_user_header is not None):
        raise KeywrightError("--proxy-from and --proxy-user-header belong together: say who is believed, and what")
    if settings.proxy_groups_header is not None and settings.proxy_user_header is None:
        raise KeywrightError("--proxy-groups-header needs --proxy-user-header and --proxy-from")
    if not (settings.keys or settings.tokens or settings.proxy_from):
        raise KeywrightError("nobody may ask: leave --keys or --tokens on, or name a proxy by --proxy-from")
    is_open = not _is_loopback(settings.listen.host) and settings.tls_cert is None
    if is_open and not settings.insecure_listen:
        raise KeywrightError(
            f"--listen {settings.listen} without TLS would show keys to the network: give --tls-cert and --tls-key, "
            "or --insecure-listen where a proxy in the same pod or mesh terminates TLS"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        raise KeywrightError(f"--proxy-from {text!r} is not possible: use a network, as in 10.0.0.0/24") from None


def _header(text: str) -> str:
    if not _HEADER.fullmatch(text) or text.lower() in _TAKEN:
        raise ValueError(text)
    return text.lower()


def _minutes(text: str) -> int:
    number = int(text)
    if not 1 <= number <= LONGEST_SESSION:
        raise ValueError(text)
    return number
