"""How long does a revoked key still work? From the start of the PATCH to the first 401, on the real API server."""

import http.client
import threading
import time
from collections.abc import Iterator

from tests.bench import budgets
from tests.bench.bench import Bench
from tests.bench.cluster import CHEAP_CLASS, create_all, make_namespace, running_operator, with_client
from tests.bench.measures import Measure, percentile
from tests.bench.verifiers import Verifier, verifier

__all__ = ["to_refusal"]

NAMESPACE = "bench-revocation"
LONGEST = 10.0  # seconds that one revocation may take
POLL = 0.001


def to_refusal(bench: Bench) -> Iterator[Measure]:
    """One key after the other, each polled by a client on one connection."""
    plane, names = bench.plane(), [f"key-{number:03}" for number in range(bench.choose(100, 20))]
    kube = make_namespace(bench, NAMESPACE)
    with running_operator(bench):
        spec = {"className": CHEAP_CLASS}
        with_client(plane.kubeconfig, lambda client: create_all(client, NAMESPACE, names, spec))
        keys = {}
        for name in names:
            kube.wait(NAMESPACE, name, Ready="True")
            keys[name] = kube.plain_key(NAMESPACE, name)
        taken = []
        with verifier(bench, plane.kubeconfig, "--namespace", NAMESPACE, "--class", CHEAP_CLASS) as ours:
            for name, key in keys.items():
                client = _Client(ours, key)
                begun = time.monotonic()
                kube.patch(NAMESPACE, name, {"spec": {"revoked": True}})
                taken.append((client.refused_at() - begun) * 1000)
    kube.close()
    yield budgets.REVOCATION.measured(percentile(taken, 99), taken)
    yield budgets.REVOCATION_P50.measured(percentile(taken, 50), taken)


class _Client:
    """Presents one key again and again from a thread of its own until it is refused as revoked."""

    def __init__(self, ours: Verifier, key: str) -> None:
        self._connection = http.client.HTTPConnection(ours.address, timeout=5)
        self._headers = {"Authorization": f"Bearer {key}"}
        self._at: float | None = None
        self._trouble = ""
        assert self._status() == (200, False), "the key does not work yet"
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def refused_at(self) -> float:
        """When the first 401 was seen, on the monotonic clock."""
        self._thread.join()
        self._connection.close()
        assert self._at is not None, self._trouble
        return self._at

    def _status(self) -> tuple[int, bool]:
        self._connection.request("GET", "/verify", headers=self._headers)
        response = self._connection.getresponse()
        return response.status, b"revoked_key" in response.read()

    def _poll(self) -> None:
        deadline = time.monotonic() + LONGEST
        said = (200, False)
        while said == (200, False) and time.monotonic() < deadline:
            time.sleep(POLL)
            said = self._status()
        if said == (401, True):
            self._at = time.monotonic()
        else:
            self._trouble = f"still answered {said[0]} after {LONGEST:.0f} s"
