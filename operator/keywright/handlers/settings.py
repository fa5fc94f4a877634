"""What the operator process is told at its start, from flags and their environment twins."""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass

from keywright.addresses import Address, parse_address

__all__ = ["OperatorSettings", "add_arguments", "from_arguments"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSettings:
    """Settings of ``keywright operator``. No namespaces means all of them."""

    namespaces: tuple[str, ...] = ()
    health_listen: Address
    workers: int = 32


def add_arguments(parser: argparse.ArgumentParser, environment: Mapping[str, str]) -> None:
    """Declare the flags. Each has a twin ``KEYWRIGHT_…`` in the environment; a flag wins over it."""
    named = environment.get("KEYWRIGHT_NAMESPACE", "")
    parser.add_argument(
        "--namespace",
        metavar="NS",
        action="append",
        default=None,
        help="reconcile this namespace only; may be repeated (default: all; KEYWRIGHT_NAMESPACE, comma-separated)",
    )
    parser.set_defaults(environment_namespaces=tuple(part for part in named.split(",") if part))
    parser.add_argument(
        "--health-listen",
        metavar="HOST:PORT",
        default=environment.get("KEYWRIGHT_HEALTH_LISTEN", "127.0.0.1:8082"),
        help="where /healthz and /readyz are served (default: 127.0.0.1:8082; KEYWRIGHT_HEALTH_LISTEN)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=int(environment.get("KEYWRIGHT_WORKERS", "32")),
        help="how many ApiKeys are worked on at once (default: 32; KEYWRIGHT_WORKERS)",
    )


def from_arguments(arguments: argparse.Namespace) -> OperatorSettings:
    """Read the parsed flags.

    Raises:
        KeywrightError: if an address cannot be read.

    """
    return OperatorSettings(
        namespaces=tuple(arguments.namespace or arguments.environment_namespaces),
        health_listen=parse_address(arguments.health_listen, "--health-listen"),
        workers=max(1, arguments.workers),
    )
