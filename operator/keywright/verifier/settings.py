"""What a verifier is told at its start: flags, each with an environment twin, read once and passed down."""

import argparse
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from keywright.addresses import Tcp, parse_tcp
from keywright.domain.times import parse_duration
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
    twin_of,
)
from keywright.verifier.audit.sink import STANDARD_OUTPUT
from keywright.verifier.http.listener import Address, parse_address
from keywright.verifier.keys.rights import SCOPE
from keywright.verifier.limits.limiter import OnFailure
from keywright.verifier.limits.store_address import StoreAddress, parse_store
from keywright.verifier.rules.originals import Source

__all__ = ["VerifierSettings", "add_arguments", "from_arguments"]

# A quiet watch gives a sign of life once a minute and is opened anew after 90 s without one, so anything shorter
# would refuse requests for no reason.
LEAST_STALENESS = 120.0

# What follows from a right that was taken away may take as long to act.
LONGEST_OWNER_CACHE = 300.0

DEFAULT_LISTEN = Tcp("127.0.0.1", 8080)
DEFAULT_ADMIN_LISTEN = Tcp("127.0.0.1", 8081)

_CALLER = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?/[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierSettings:
    """``namespaces`` empty means: the verifier's own. ``classes`` empty means: the default class."""

    listen: Address = DEFAULT_LISTEN
    admin_listen: Tcp = DEFAULT_ADMIN_LISTEN
    grpc_listen: Address | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    namespaces: tuple[str, ...] = ()
    all_namespaces: bool = False
    classes: tuple[str, ...] = ()
    max_staleness: float = 300.0
    request_from: Source = Source.PATH
    rules: Path | None = None
    argon2_workers: int = 1
    argon2_queue: int = 64
    max_connections: int = 1024
    usage: bool = True
    usage_interval: float = 60.0
    audit: Path | None = None
    audit_allowed: float = 1.0
    rate_limit_store: StoreAddress | None = None
    rate_limit_store_file: Path | None = None
    rate_limit_on_failure: OnFailure = OnFailure.LOCAL
    owner_cache: float = 10.0
    introspect: str | None = None
    introspect_callers: tuple[str, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags. Values are checked by :func:`from_arguments`, whichever way they came."""
    flag, switch = partial(add_flag, parser), partial(add_switch, parser)
    flag("listen", "where /verify is served (default: 127.0.0.1:8080)", "HOST:PORT|unix:PATH")
    flag("admin-listen", "health and metrics (default: 127.0.0.1:8081)", "HOST:PORT")
    flag("grpc-listen", "answer Envoy's ext_authz over gRPC too, without TLS (default: no)", "HOST:PORT|unix:PATH")
    flag("tls-cert", "serve /verify over TLS with this certificate chain (PEM)", "FILE")
    flag("tls-key", "private key of --tls-cert (PEM)", "FILE")
    flag("client-ca", "accept only clients with a certificate of these authorities (PEM)", "FILE")
    flag("namespace", "namespace whose keys are trusted (default: the verifier's own)", "NS", repeats=True)
    switch("all-namespaces", "trust the keys of every namespace")
    flag("class", "ApiKeyClass whose keys are accepted (default: the default class)", "NAME", repeats=True)
    flag("max-staleness", "answer 503 after this long without a word from the API server (default: 5m)", "TIME")
    flag(
        "request-from",
        "how the proxy describes the original request to the rules: path after /verify (Envoy, Gateway API), original "
        "X-Original-… headers (nginx), forwarded X-Forwarded-… headers (Traefik, Caddy, HAProxy) (default: path)",
        "|".join(Source),
    )
    flag("rules", "what requests need beyond a live key; read again when it changes (default: nothing)", "FILE")
    flag("argon2-workers", "argon2 runs at a time (default: cores less one, at most 4)", "N")
    flag("argon2-queue", "first uses that may wait for an argon2 run (default: 64)", "N")
    flag("max-connections", "client connections at a time (default: 1024)", "N")
    flag(
        "audit",
        "write a JSON line for each decision: a file, - for standard output, or off (default: off)",
        "FILE|-|off",
    )
    flag("audit-allowed", "share of the allowed requests that get an audit line (default: 1, all)", "SHARE")
    flag("usage", "publish when keys were last used, as ApiKeyUsage (default: on)", "on|off")
    flag("usage-interval", "how often; what a crash loses (default: 1m)", "TIME")
    flag("rate-limit-store", "Redis or Valkey that counts for all verifiers (default: each counts for itself)", "URL")
    flag("rate-limit-store-file", "file that holds the URL of the store, for one with a password", "FILE")
    flag("rate-limit-on-failure", "while the store is away: local (default), open or closed", "MODE")
    flag("owner-cache", "how long it is remembered what the owner of a key may do (default: 10s)", "TIME")
    flag("introspect", "serve POST /introspect (RFC 7662) at --admin-listen, to keys with this scope", "SCOPE")
    flag("introspect-caller", "ApiKey that may introspect others", "NS/NAME", repeats=True)


def from_arguments(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> VerifierSettings:
    """Settle flags, environment and defaults, in this order.

    Raises:
        KeywrightError: for a value that cannot be, naming the flag and what it should look like.

    """
    defaults = VerifierSettings()
    given = Given(arguments, environment)
    read, several = given.read, given.several

    def count(name: str, default: int) -> int:
        return read(name, parse_positive, default, "a whole number from 1 to 65535")

    address_form = "HOST:PORT, as in 127.0.0.1:8080"
    settings = VerifierSettings(
        listen=read("listen", parse_address, defaults.listen, f"{address_form}, or unix:/path/to/socket"),
        admin_listen=read("admin-listen", parse_tcp, defaults.admin_listen, address_form),
        grpc_listen=read("grpc-listen", parse_address, None, f"{address_form}, or unix:/path/to/socket"),
        tls_cert=read("tls-cert", Path, None, "a file"),
        tls_key=read("tls-key", Path, None, "a file"),
        client_ca=read("client-ca", Path, None, "a file"),
        namespaces=several("namespace"),
        all_namespaces=read("all-namespaces", parse_boolean, default=False, form="true or false"),
        classes=several("class"),
        max_staleness=read("max-staleness", _seconds, defaults.max_staleness, "2m or more, as in 5m"),
        request_from=read("request-from", Source, defaults.request_from, "path, original or forwarded"),
        rules=read("rules", Path, None, "a file"),
        argon2_workers=count("argon2-workers", min(4, max(1, len(os.sched_getaffinity(0)) - 1))),
        argon2_queue=count("argon2-queue", defaults.argon2_queue),
        max_connections=count("max-connections", defaults.max_connections),
        usage=read("usage", parse_on_off, defaults.usage, "on or off"),
        audit=read("audit", _audit, None, "a file, - for standard output, or off"),
        audit_allowed=read("audit-allowed", _share, defaults.audit_allowed, "a share from 0 to 1, as in 0.01"),
        usage_interval=read("usage-interval", parse_interval, defaults.usage_interval, "1s or more, as in 1m"),
        rate_limit_store=_store(arguments.rate_limit_store, environment.get(twin_of("rate-limit-store"))),
        rate_limit_store_file=read("rate-limit-store-file", Path, None, "a file"),
        rate_limit_on_failure=read(
            "rate-limit-on-failure", OnFailure, defaults.rate_limit_on_failure, "local, open or closed"
        ),
        owner_cache=read("owner-cache", _owner_cache, defaults.owner_cache, "0s to 5m, as in 10s"),
        introspect=read("introspect", _scope, None, "one scope without *, as in keys:introspect"),
        introspect_callers=several("introspect-caller"),
    )
    _check(settings)
    return settings


def _check(settings: VerifierSettings) -> None:
    _check_introspection(settings)
    check_tls(settings.tls_cert, settings.tls_key, settings.client_ca)
    if settings.grpc_listen is not None and settings.tls_cert is not None:
        raise KeywrightError("--grpc-listen has no TLS and excludes --tls-cert: give one of them, or two verifiers")
    check_namespaces(settings.namespaces, everywhere=settings.all_namespaces)
    if settings.audit is None and settings.audit_allowed != 1:
        raise KeywrightError("--audit-allowed is about the audit log: give --audit too")
    has_store = settings.rate_limit_store is not None
    if has_store and settings.rate_limit_store_file is not None:
        raise KeywrightError("--rate-limit-store and --rate-limit-store-file exclude each other: give one of them")
    if settings.rate_limit_on_failure is not OnFailure.LOCAL and not (has_store or settings.rate_limit_store_file):
        raise KeywrightError("--rate-limit-on-failure is about a store: give --rate-limit-store-file too")


def _check_introspection(settings: VerifierSettings) -> None:
    for caller in settings.introspect_callers:
        if not _CALLER.fullmatch(caller):
            raise KeywrightError(f"--introspect-caller {caller!r} is not possible: use NAMESPACE/NAME of an ApiKey")
    if (settings.introspect is None) != (not settings.introspect_callers):
        raise KeywrightError(
            "--introspect and --introspect-caller belong together: give the scope, and each ApiKey that may ask"
        )


def _store(flag: str | None, twin: str | None) -> StoreAddress | None:
    """Unlike other values it is never repeated in a message, because it may hold a password."""
    text = flag or twin
    if not text:
        return None
    try:
        address = parse_store(text)
    except ValueError as error:
        raise KeywrightError(f"--rate-limit-store is {error}: use redis://redis.example:6379/0") from None
    if flag and address.password is not None:
        raise KeywrightError(
            "--rate-limit-store holds a password, which everybody on this machine can read: "
            f"give the URL by --rate-limit-store-file, or by {twin_of('rate-limit-store')} in the environment"
        )
    return address


def _seconds(text: str) -> float:
    seconds = parse_duration(text).total_seconds()
    if seconds < LEAST_STALENESS:
        raise ValueError
    return seconds


def _owner_cache(text: str) -> float:
    seconds = parse_duration(text).total_seconds()
    if seconds > LONGEST_OWNER_CACHE:
        raise ValueError
    return seconds


def _scope(text: str) -> str:
    if not SCOPE.fullmatch(text):
        raise ValueError(text)
    return text


def _audit(text: str) -> Path | None:
    if text == "off":
        return None
    if text == "on":
        raise ValueError(text)
    return STANDARD_OUTPUT if text == "-" else Path(text)


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise ValueError
    return share
