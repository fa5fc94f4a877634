"""Servers that are compared with each other: up at the same time, held on one core, with the same keys."""

import contextlib
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from tests.bench import objects
from tests.bench.bench import Bench
from tests.bench.contender import TARGET, Contender
from tests.bench.verifiers import Verifier, rules, verifier

__all__ = ["Contest", "Name"]

VERIFY = f"/verify{TARGET}"

T = TypeVar("T")


class Name(StrEnum):
    """Who is who, as the table and the plots say it, in the order of the plots."""

    LIMIT = "nginx return 204"
    VERIFIER = "verifier"
    AUDIT = "verifier, audit on"
    MEMORY_LIMITS = "verifier, 3 limits in memory"
    REDIS_LIMITS = "verifier, 3 limits on Redis"
    STARLETTE = "Starlette, SHA-256 in a dict"
    MIDDLEWARE = "Starlette + keywright.asgi"
    ARGON2 = "Starlette, argon2 each time"
    NGINX = "nginx alone"
    NGINX_ASKS = "nginx + verifier"
    ENVOY = "Envoy alone"
    ENVOY_OWN = "Envoy + api_key_auth"
    ENVOY_ASKS = "Envoy + verifier"
    ENVOY_ASKS_GRPC = "Envoy + verifier by gRPC"
    AUTHORINO = "Authorino"


@dataclass(slots=True)
class Contest:
    """Servers that are up. ``verifiers`` are those among and behind them whose own counts can be asked."""

    bench: Bench
    keys: int
    stack: contextlib.ExitStack
    contenders: list[Contender] = field(default_factory=list)
    verifiers: dict[str, Verifier] = field(default_factory=dict)

    def start(self, server: contextlib.AbstractContextManager[T]) -> T:
        """Have a server up until the contest ends."""
        return self.stack.enter_context(server)

    def verifier(self, name: str, kubeconfig: Path, *flags: str) -> Verifier:
        """Start a verifier with the rules of all contests."""
        flags = ("--all-namespaces", *rules(self.bench), *flags)
        found = self.start(verifier(self.bench, kubeconfig, *flags, core=self.bench.cores.server))
        assert found.count("keys") == self.keys, f"the verifier holds {found.count('keys')} keys of {self.keys}"
        self.verifiers[name] = found
        return found

    def enter_verifier(self, name: str, kubeconfig: Path, *flags: str) -> None:
        """Start one that is asked directly."""
        found = self.verifier(name, kubeconfig, *flags)
        self.contenders.append(Contender(name=name, address=found.address, target=VERIFY))

    def check(self) -> None:
        """What the verifiers counted: no key was proven twice, and each option was at work.

        Raises:
            AssertionError: if not; then the rates are not what their rows say.

        """
        presented = len(objects.presentable(self.keys))
        for name, each in self.verifiers.items():
            proofs = each.count('decisions_total{code="allowed"}') - each.count("proof_hits_total")
            assert 0 < proofs <= presented, f"{name} proved {proofs} times for {presented} keys"
        for name, counter in (
            (Name.AUDIT, "audit_lines_total"),
            (Name.MEMORY_LIMITS, 'limit_decisions_total{by="memory"}'),
            (Name.REDIS_LIMITS, 'limit_decisions_total{by="store"}'),
        ):
            if name in self.verifiers:
                each = self.verifiers[name]
                allowed = each.count('decisions_total{code="allowed"}')
                assert each.count(counter) >= 0.99 * allowed, f"{name}: {counter} is {each.count(counter)} of {allowed}"
