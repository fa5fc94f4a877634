"""The state machine of tests/unit, played on a real API server: its schemas, CEL rules, defaults and pruning.

Fewer steps than in memory, because each is some requests.
"""

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from keywright.reconcile.ports import Clock
from keywright_local import ControlPlane
from tests.integration.conftest import CLASS_RULES, install
from tests.support.kube import Kube
from tests.support.real_cluster import RealCluster
from tests.unit.reconcile.machine import Keywright
from tests.unit.reconcile.world import NAMESPACE, World


@pytest.fixture(scope="module")
def kube() -> Iterator[Kube]:
    """An administrator where garbage is collected when the test says so."""
    arguments = {"kube-controller-manager": ["--controllers=*,-garbage-collector-controller"]}
    with ControlPlane(extra_arguments=arguments) as plane:
        install(plane, without=CLASS_RULES)
        kube = Kube(plane.kubeconfig)
        kube.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        yield kube
        kube.close()


def test_any_order_of_things(kube: Kube) -> None:
    """The same rules and the same invariants as in memory; and enough happens for that to mean something."""
    happened: Counter[str] = Counter()

    class OnARealApiServer(Keywright):
        def make_world(self) -> World:
            def cluster(clock: Clock) -> RealCluster:
                return RealCluster(kube, NAMESPACE, clock)

            return World(cluster=cluster)

        def teardown(self) -> None:
            super().teardown()
            happened.update(self.promises.counts)

    machine = OnARealApiServer.TestCase
    machine.settings = settings(
        max_examples=20,
        stateful_step_count=20,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    machine().runTest()
    assert happened["delivered"] > 20
    assert happened["rotated"] > 0
