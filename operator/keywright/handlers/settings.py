"""What the operator process is told at its start, from flags and their environment twins."""

import argparse
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from keywright.addresses import Tcp, parse_tcp
from keywright.errors import KeywrightError
from keywright.flags import check_namespaces

__all__ = ["OperatorSettings", "add_arguments", "from_arguments"]

_LEASE = re.compile(r"([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)/([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """Settings of ``keywright operator``. No namespaces means all of them."""

    namespaces: tuple[str, ...] = ()
    usage_namespaces: tuple[str, ...] = ()
    health_listen: Tcp
    workers: int = 32
    per_key_metrics: bool = True
    lease: tuple[str, str] | None = None
    """Namespace and name of the Lease that replicas share; ``None`` for an operator that is alone."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags. Values are checked by :func:`from_arguments`, whichever way they came."""
    parser.add_argument(
        "--namespace",
        metavar="NS",
        action="append",
        help="reconcile this namespace only; may be repeated (default: all) [KEYWRIGHT_NAMESPACE, comma-separated]",
    )
    parser.add_argument(
        "--usage-namespace",
        metavar="NS",
        action="append",
        help="with --namespace: where else verifiers publish ApiKeyUsage; may be repeated "
        "[KEYWRIGHT_USAGE_NAMESPACE, comma-separated]",
    )
    parser.add_argument(
        "--health-listen",
        metavar="HOST:PORT",
        help="where /healthz, /readyz and /metrics are served (default: 127.0.0.1:8082) [KEYWRIGHT_HEALTH_LISTEN]",
    )
    parser.add_argument(
        "--workers", metavar="N", help="ApiKeys that are worked on at once (default: 32) [KEYWRIGHT_WORKERS]"
    )
    parser.add_argument(
        "--per-key-metrics",
        metavar="BOOL",
        choices=("true", "false"),
        help="offer the instants of each ApiKey, up to 10,000 (default: true) [KEYWRIGHT_PER_KEY_METRICS]",
    )
    parser.add_argument(
        "--lease",
        metavar="NAMESPACE/NAME",
        help="work only while this replica holds that Lease (default: no lease, always work) [KEYWRIGHT_LEASE]",
    )


def from_arguments(arguments: argparse.Namespace, environment: Mapping[str, str] = os.environ) -> OperatorSettings:
    """Settle flags, environment and defaults, in this order.

    Raises:
        KeywrightError: for a value that cannot be, naming the flag and what it should look like.

    """

    def several(given: list[str] | None, twin: str) -> tuple[str, ...]:
        named = given or environment.get(twin, "").split(",")
        return tuple(dict.fromkeys(each.strip() for each in named if each.strip()))

    namespaces = several(arguments.namespace, "KEYWRIGHT_NAMESPACE")
    usage_namespaces = several(arguments.usage_namespace, "KEYWRIGHT_USAGE_NAMESPACE")
    check_namespaces(namespaces)
    check_namespaces(usage_namespaces, named_by="--usage-namespace")
    if usage_namespaces and not namespaces:
        raise KeywrightError("--usage-namespace belongs to --namespace: without it all namespaces are watched")
    listen = arguments.health_listen or environment.get("KEYWRIGHT_HEALTH_LISTEN") or "127.0.0.1:8082"
    workers = arguments.workers or environment.get("KEYWRIGHT_WORKERS") or "32"
    if not workers.isascii() or not workers.isdigit() or not 1 <= int(workers) <= 1024:
        raise KeywrightError(f"--workers {workers!r} is not possible: use a whole number from 1 to 1024")
    per_key = arguments.per_key_metrics or environment.get("KEYWRIGHT_PER_KEY_METRICS") or "true"
    if per_key not in ("true", "false"):
        raise KeywrightError(f"--per-key-metrics {per_key!r} is not possible: use true or false")
    lease = arguments.lease or environment.get("KEYWRIGHT_LEASE") or None
    named_lease = _LEASE.fullmatch(lease) if lease is not None else None
    if lease is not None and named_lease is None:
        raise KeywrightError(
            f"--lease {lease!r} is not possible: use NAMESPACE/NAME, as in keywright-system/keywright-operator"
        )
    try:
        address = parse_tcp(listen)
    except ValueError:
        raise KeywrightError(
            f"--health-listen {listen!r} is not possible: use HOST:PORT, as in 127.0.0.1:8082"
        ) from None
    return OperatorSettings(
        namespaces=namespaces,
        usage_namespaces=usage_namespaces,
        health_listen=address,
        workers=int(workers),
        per_key_metrics=per_key == "true",
        lease=(named_lease[1], named_lease[3]) if named_lease is not None else None,
    )
