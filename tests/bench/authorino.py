"""Authorino, where ``AUTHORINO`` names its program: on the embedded control plane, asked over its raw HTTP interface.

Configured as its guide "Authentication with API keys" says: an AuthConfig for the host, one labelled Secret a key. It has
not been run: there was no build of it at hand. What does not fit a release of it breaks this group, with Authorino's log, and
no other.
"""

import base64
import contextlib
import os
from collections.abc import Iterator
from typing import Any

from kubernetes.client import ApiException

from tests.bench import budgets, objects
from tests.bench.bench import Bench
from tests.bench.contender import TARGET, Contender
from tests.bench.contest import Name
from tests.bench.machine import pinned
from tests.bench.measures import Measure, SkippedError, median_ratio
from tests.bench.rivalry import FEW, rate, rates_of
from tests.bench.verifiers import rules, verifier_with
from tests.bench.waiting import wait_listening
from tests.support.kube import Kube, eventually
from tests.support.processes import free_address, start

__all__ = ["http_check"]

NAMESPACE = "authorino"
_GROUP, _VERSION = "authorino.kuadrant.io", "v1beta3"
_SCHEMA = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
# Just enough of its definition for what is used here; the real one needs its conversion webhook.
_DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"authconfigs.{_GROUP}"},
    "spec": {
        "group": _GROUP,
        "scope": "Namespaced",
        "names": {"kind": "AuthConfig", "plural": "authconfigs", "singular": "authconfig"},
        "versions": [
            {
                "name": _VERSION,
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": _SCHEMA},
                "subresources": {"status": {}},
            }
        ],
    },
}
_CONFIG = {
    "apiVersion": f"{_GROUP}/{_VERSION}",
    "kind": "AuthConfig",
    "metadata": {"name": "bench"},
    "spec": {
        "hosts": ["127.0.0.1"],
        "authentication": {
            "keys": {
                "apiKey": {"selector": {"matchLabels": {"group": "bench"}}},
                "credentials": {"authorizationHeader": {"prefix": "Bearer"}},
            }
        },
    },
}


def http_check(bench: Bench) -> Iterator[Measure]:
    """The verifier and Authorino with few keys, in turns on one core.

    Raises:
        SkippedError: unless there is an Authorino to measure.

    """
    if not os.environ.get("AUTHORINO"):
        raise SkippedError("there is no Authorino: name its program, AUTHORINO=/path/to/authorino")
    core = bench.cores.server
    with _authorino(bench, FEW) as theirs, verifier_with(bench, FEW, *rules(bench), core=core) as ours:
        contender = Contender(name=Name.VERIFIER, address=ours.address, target=f"/verify{TARGET}")
        rates = rates_of(bench, [contender, theirs], FEW)
    ratio, ratios = median_ratio(rates[Name.VERIFIER], rates[Name.AUTHORINO])
    yield budgets.AUTHORINO.measured(ratio, ratios)
    yield rate(Name.AUTHORINO, FEW).median_of(rates[Name.AUTHORINO])


@contextlib.contextmanager
def _authorino(bench: Bench, keys: int) -> Iterator[Contender]:
    """With so many keys, which should be few: each is a Secret in a real API server."""
    kube = Kube(bench.plane().kubeconfig)
    kube.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", _DEFINITION)
    kube.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    path = f"/apis/{_GROUP}/{_VERSION}/namespaces/{NAMESPACE}/authconfigs"
    eventually(lambda: _is_served(kube, path), what="AuthConfigs are served")
    kube.request("POST", path, _CONFIG)
    for number in range(keys):
        kube.request("POST", f"/api/v1/namespaces/{NAMESPACE}/secrets", _secret(number))
    check, metrics, health = (free_address().rpartition(":")[2] for _ in range(3))
    command = [os.environ["AUTHORINO"], "server", f"--watch-namespace={NAMESPACE}", f"--ext-auth-http-port={check}"]
    command += ["--ext-auth-grpc-port=0", "--oidc-http-port=0", f"--metrics-addr=127.0.0.1:{metrics}"]
    command += [f"--health-probe-addr=127.0.0.1:{health}"]
    log = bench.folder / "authorino.log"
    with start(pinned(bench.cores.server, command), kubeconfig=bench.plane().kubeconfig, log=log) as process:
        wait_listening(process, f"127.0.0.1:{check}")
        yield Contender(name=Name.AUTHORINO, address=f"127.0.0.1:{check}", target="/check", shows=None)


def _is_served(kube: Kube, path: str) -> bool:
    try:
        kube.request("GET", path)
    except ApiException:
        return False
    return True


def _secret(number: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": f"key-{number}",
            "labels": {f"{_GROUP}/managed-by": "authorino", "group": "bench"},
        },
        "data": {"api_key": base64.b64encode(objects.plain_key(number).text.encode()).decode()},
    }
