"""What the measures on the real API server share: namespaces, an operator, many ApiKeys at once."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from keywright.kube.client import ApiClient, Manifest, connect
from keywright.kube.credentials import load
from keywright.kube.resources import APIKEYS
from tests.bench.bench import Bench
from tests.support import audit
from tests.support.kube import Kube, status_of
from tests.support.processes import Process, operator

__all__ = [
    "CHEAP_CLASS",
    "create_all",
    "make_namespace",
    "operator_requests",
    "ready",
    "running_operator",
    "with_client",
]

CONCURRENCY = 16
CHEAP_CLASS = "bench-cheap"
OPERATOR = "system:serviceaccount:keywright-system:keywright-operator"
READS = {"get", "list", "watch"}

T = TypeVar("T")


@contextlib.contextmanager
def running_operator(bench: Bench, *flags: str, ready: bool = True) -> Iterator[Process]:
    """The operator for all namespaces, with the rights of deploy/rbac and no others."""
    account = bench.plane().kubeconfig_for_service_account("keywright-system", "keywright-operator")
    with operator(account, bench.folder / "operator.log", *flags, ready=ready) as process:
        yield process


def make_namespace(bench: Bench, name: str) -> Kube:
    """A namespace with a class of sha256 keys beside it, for measures that are not about argon2."""
    kube = Kube(bench.plane().kubeconfig)
    kube.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    if not any(each["metadata"]["name"] == CHEAP_CLASS for each in kube.list(None, "ApiKeyClass")):
        spec = {"prefix": "kw_bench", "hashing": {"algorithm": "sha256"}}
        kube.create({"kind": "ApiKeyClass", "metadata": {"name": CHEAP_CLASS}, "spec": spec})
    return kube


def operator_requests(bench: Bench, *, writes: bool) -> int:
    """Requests of the operator so far, by the API server's audit log: all of them, or those that were not reads."""
    found = (each.verb for each in audit.requests(bench.plane().audit_log) if each.user == OPERATOR)
    return sum(verb not in READS if writes else True for verb in found)


def with_client(kubeconfig: Path, work: Callable[[ApiClient], Awaitable[T]]) -> T:
    """Run some asynchronous work with a client of its own."""

    async def run() -> T:
        async with connect(load({"KUBECONFIG": str(kubeconfig)}), connections=CONCURRENCY + 4) as client:
            return await work(client)

    return asyncio.run(run())


async def create_all(client: ApiClient, namespace: str, names: Sequence[str], spec: dict[str, Any]) -> None:
    """Create ApiKeys, several at a time, so that the creating is not what takes long."""
    turns = asyncio.Semaphore(CONCURRENCY)

    async def create(name: str) -> None:
        manifest: Manifest = {
            "apiVersion": APIKEYS.api_version,
            "kind": "ApiKey",
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        }
        async with turns:
            await client.create(APIKEYS, namespace, manifest)

    await asyncio.gather(*map(create, names))


async def ready(client: ApiClient, namespace: str) -> int:
    """How many ApiKeys of a namespace are Ready."""
    found = 0
    async for page in client.list_pages(APIKEYS, namespace):
        found += sum(status_of(item).get("Ready", "").startswith("True") for item in page["items"] or ())
    return found
