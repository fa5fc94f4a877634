"""Flags, their environment twins, and one clear line for what cannot be."""

import argparse
from pathlib import Path

import pytest

from keywright.addresses import Tcp
from keywright.errors import KeywrightError
from keywright.verifier.audit.sink import STANDARD_OUTPUT
from keywright.verifier.http.listener import Unix
from keywright.verifier.limits.limiter import OnFailure
from keywright.verifier.rules.originals import Source
from keywright.verifier.settings import VerifierSettings, add_arguments, from_arguments


def settle(*arguments: str, **environment: str) -> VerifierSettings:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return from_arguments(parser.parse_args(arguments), environment)


def test_nothing_said() -> None:
    """Loopback, the default class, the verifier's own namespace, five minutes."""
    settings = settle()
    assert settings.listen == Tcp("127.0.0.1", 8080)
    assert settings.admin_listen == Tcp("127.0.0.1", 8081)
    assert (settings.namespaces, settings.classes, settings.all_namespaces) == ((), (), False)
    assert settings.max_staleness == 300.0
    assert 1 <= settings.argon2_workers <= 4


def test_every_flag() -> None:
    """Each flag is taken."""
    settings = settle(
        *[
            "--listen",
            "unix:/run/kw.sock",
            "--admin-listen",
            "[::1]:9",
            "--tls-cert",
            "c",
            "--tls-key",
            "k",
            "--client-ca",
            "a",
        ],
        *["--namespace", "a", "--namespace", "b", "--class", "x", "--class", "y", "--max-staleness", "2m30s"],
        *["--argon2-workers", "3", "--argon2-queue", "7", "--max-connections", "9"],
        *["--usage", "off", "--usage-interval", "5m"],
        *["--audit", "a.jsonl", "--audit-allowed", "0.25"],
        *["--rate-limit-store-file", "r", "--rate-limit-on-failure", "closed"],
        *["--owner-cache", "30s", "--introspect", "keys:introspect"],
        *["--introspect-caller", "a/b", "--introspect-caller", "a/c.d"],
    )
    assert settings == VerifierSettings(
        listen=Unix(Path("/run/kw.sock")),
        admin_listen=Tcp("::1", 9),
        tls_cert=Path("c"),
        tls_key=Path("k"),
        client_ca=Path("a"),
        namespaces=("a", "b"),
        classes=("x", "y"),
        max_staleness=150.0,
        argon2_workers=3,
        argon2_queue=7,
        max_connections=9,
        usage=False,
        usage_interval=300.0,
        audit=Path("a.jsonl"),
        audit_allowed=0.25,
        rate_limit_store_file=Path("r"),
        rate_limit_on_failure=OnFailure.CLOSED,
        owner_cache=30.0,
        introspect="keys:introspect",
        introspect_callers=("a/b", "a/c.d"),
    )


def test_every_twin() -> None:
    """Each flag has a twin in the environment; lists are comma-separated, and an empty twin says nothing."""
    settings = settle(
        KEYWRIGHT_LISTEN="0.0.0.0:1",
        KEYWRIGHT_ADMIN_LISTEN=":2",
        KEYWRIGHT_NAMESPACE="a, b,,a",
        KEYWRIGHT_CLASS="x",
        KEYWRIGHT_MAX_STALENESS="10m",
        KEYWRIGHT_ARGON2_WORKERS="2",
        KEYWRIGHT_ARGON2_QUEUE="",
        KEYWRIGHT_MAX_CONNECTIONS="5",
        KEYWRIGHT_RATE_LIMIT_STORE="redis://h",
        KEYWRIGHT_RATE_LIMIT_ON_FAILURE="open",
        KEYWRIGHT_OWNER_CACHE="0s",
        KEYWRIGHT_INTROSPECT="introspect",
        KEYWRIGHT_INTROSPECT_CALLER="a/b, c/d",
    )
    assert settings.owner_cache == 0
    assert (settings.introspect, settings.introspect_callers) == ("introspect", ("a/b", "c/d"))
    assert (settings.listen, settings.admin_listen) == (Tcp("0.0.0.0", 1), Tcp("", 2))
    assert (settings.namespaces, settings.classes) == (("a", "b"), ("x",))
    assert (settings.max_staleness, settings.argon2_workers) == (600.0, 2)
    assert (settings.argon2_queue, settings.max_connections) == (64, 5)
    assert (str(settings.rate_limit_store), settings.rate_limit_on_failure) == ("h:6379", OnFailure.OPEN)
    assert settle(KEYWRIGHT_ALL_NAMESPACES="true").all_namespaces
    assert settle(KEYWRIGHT_RATE_LIMIT_STORE_FILE="f").rate_limit_store_file == Path("f")


def test_a_flag_wins_over_its_twin() -> None:
    """What stands on the command line is nearer."""
    settings = settle("--class", "x", "--listen", "h:1", KEYWRIGHT_CLASS="y,z", KEYWRIGHT_LISTEN="h:2")
    assert (settings.classes, settings.listen) == (("x",), Tcp("h", 1))


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--listen", "8080"], "--listen"),
        (["--listen", "host:http"], "--listen"),
        (["--grpc-listen", "8080"], "--grpc-listen"),
        (["--grpc-listen", "127.0.0.1:1", "--tls-cert", "a", "--tls-key", "b"], "--grpc-listen"),
        (["--listen", "host:70000"], "--listen"),
        (["--listen", "::1:80"], "--listen"),
        (["--listen", "unix:"], "--listen"),
        (["--admin-listen", "unix:/a"], "--admin-listen"),
        (["--max-staleness", "5"], "--max-staleness"),
        (["--max-staleness", "0s"], "--max-staleness"),
        (["--max-staleness", "1m59s"], "--max-staleness"),
        (["--argon2-workers", "0"], "--argon2-workers"),
        (["--argon2-queue", "many"], "--argon2-queue"),
        (["--max-connections", "-1"], "--max-connections"),
        (["--usage", "maybe"], "--usage"),
        (["--usage-interval", "0s"], "--usage-interval"),
        (["--usage-interval", "often"], "--usage-interval"),
        (["--audit", "on"], "--audit"),
        *((["--audit", "-", "--audit-allowed", share], "--audit-allowed") for share in ("1.1", "-1", "nan", "1%")),
        (["--audit-allowed", "0.5"], "--audit too"),
        (["--tls-cert", "c"], "--tls-key"),
        (["--tls-key", "k"], "--tls-cert"),
        (["--client-ca", "a"], "--tls-cert"),
        (["--rate-limit-on-failure", "fail"], "--rate-limit-on-failure"),
        (["--rate-limit-on-failure", "open"], "--rate-limit-on-failure"),
        (["--rate-limit-store", "redis://h", "--rate-limit-store-file", "f"], "--rate-limit-store-file"),
        (["--namespace", "a", "--all-namespaces"], "--namespace"),
        *((["--namespace", name], "--namespace") for name in ("Payments", "a b", "../x", "a-", "x" * 64, "é")),
        (["--owner-cache", "5m1s"], "--owner-cache"),
        (["--owner-cache", "10"], "--owner-cache"),
        (["--introspect", "keys:*", "--introspect-caller", "a/b"], "--introspect"),
        (["--introspect", "a", "--introspect-caller", "a"], "--introspect-caller"),
        (["--introspect", "a", "--introspect-caller", "a/b/c"], "--introspect-caller"),
        (["--introspect", "a"], "--introspect-caller"),
        (["--introspect-caller", "a/b"], "--introspect"),
    ],
)
def test_what_cannot_be_is_one_line(arguments: list[str], names: str) -> None:
    """The line names the flag and says what to do."""
    with pytest.raises(KeywrightError) as refusal:
        settle(*arguments)
    text = str(refusal.value)
    assert names in text
    assert "\n" not in text
    assert ": use " in text or ": give " in text


def test_where_audit_lines_go() -> None:
    """Nowhere unless asked for; a file, or standard output."""
    assert (settle().audit, settle("--audit", "off").audit) == (None, None)
    assert settle("--audit", "-").audit == STANDARD_OUTPUT
    given = settle(KEYWRIGHT_AUDIT="/var/log/a", KEYWRIGHT_AUDIT_ALLOWED="0")
    assert (given.audit, given.audit_allowed) == (Path("/var/log/a"), 0.0)


def test_a_wrong_twin_is_one_line_too() -> None:
    """A boolean that is none is not taken for false."""
    with pytest.raises(KeywrightError, match="--all-namespaces 'yes' is not possible: use true or false"):
        settle(KEYWRIGHT_ALL_NAMESPACES="yes")


def test_rules_and_where_the_request_is_described() -> None:
    """A file and one of three sources; the twins as well."""
    given = settle("--rules", "r.yaml", "--request-from", "forwarded")
    assert (given.rules, given.request_from) == (Path("r.yaml"), Source.FORWARDED)
    twin = settle(KEYWRIGHT_RULES="r.yaml", KEYWRIGHT_REQUEST_FROM="original")
    assert (twin.rules, twin.request_from) == (Path("r.yaml"), Source.ORIGINAL)
    assert (settle().rules, settle().request_from) == (None, Source.PATH)
    with pytest.raises(KeywrightError, match="--request-from 'nginx' is not possible: use path, original or forwarded"):
        settle("--request-from", "nginx")
