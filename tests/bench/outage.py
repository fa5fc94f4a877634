"""The API server is gone for ten minutes: how long does a verifier answer from memory, what then, and when is it back?"""

import http.client
import time
from collections.abc import Iterator

from tests.bench import budgets
from tests.bench.bench import Bench
from tests.bench.cluster import CHEAP_CLASS, create_all, make_namespace, running_operator, with_client
from tests.bench.measures import Measure
from tests.bench.verifiers import Verifier, verifier

__all__ = ["of_api_server"]

NAMESPACE = "bench-outage"
POLL = 0.1
LONGEST_RETURN = 120.0


def of_api_server(bench: Bench) -> Iterator[Measure]:
    """One proven key, asked about ten times a second throughout; in the end it is revoked."""
    plane, kube = bench.plane(), make_namespace(bench, NAMESPACE)
    gone, staleness = bench.choose(600.0, 150.0), bench.choose("5m", "2m")
    with running_operator(bench):
        with_client(plane.kubeconfig, lambda client: create_all(client, NAMESPACE, ["key"], {"className": CHEAP_CLASS}))
        kube.wait(NAMESPACE, "key", Ready="True")
        key = kube.plain_key(NAMESPACE, "key")
    flags = ["--namespace", NAMESPACE, "--class", CHEAP_CLASS, "--max-staleness", staleness]
    with verifier(bench, plane.kubeconfig, *flags) as ours:
        assert _ask(ours, key) == 200, "the key does not work yet"
        began = time.monotonic()
        plane.stop_api_server(kill=True)
        try:
            served, others = _follow(ours, key, until=began + gone)
        finally:
            plane.start_api_server()
        back = time.monotonic()
        _until(ours, key, 200)
        returned = time.monotonic() - back
        kube.patch(NAMESPACE, "key", {"spec": {"revoked": True}})
        asked = time.monotonic()
        _until(ours, key, 401)
        refused = time.monotonic() - asked
    kube.close()
    yield budgets.OUTAGE_SERVED.measured(served)
    yield budgets.OUTAGE_OTHERS.measured(others)
    yield budgets.OUTAGE_RETURNED.measured(returned)
    yield budgets.OUTAGE_REVOKED.measured(refused)


def _follow(ours: Verifier, key: str, *, until: float) -> tuple[float, int]:
    """For how many seconds the key was accepted without a break, and how many answers after that were not 503."""
    began = last = time.monotonic()
    others, is_serving = 0, True
    while time.monotonic() < until:
        time.sleep(POLL)
        status = _ask(ours, key)
        is_serving = is_serving and status == 200
        if is_serving:
            last = time.monotonic()
        elif status != 503:
            others += 1
    return last - began, others


def _until(ours: Verifier, key: str, status: int) -> None:
    deadline = time.monotonic() + LONGEST_RETURN
    while _ask(ours, key) != status:
        assert time.monotonic() < deadline, f"not answered {status} within {LONGEST_RETURN:.0f} s"
        time.sleep(POLL)


def _ask(ours: Verifier, key: str) -> int:
    connection = http.client.HTTPConnection(ours.address, timeout=5)
    try:
        connection.request("GET", "/verify", headers={"Authorization": f"Bearer {key}"})
        return connection.getresponse().status
    finally:
        connection.close()
