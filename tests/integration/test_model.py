"""The state machine of tests/unit, played on a real API server: its schemas, CEL rules, defaults and pruning.

Fewer steps than in memory, because each is some requests.
"""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from keywright.reconcile.ports import Clock
from keywright_local import ControlPlane
from tests.integration.conftest import CLASS_RULES, install
from tests.support.kube import Kube
from tests.support.real_cluster import RealCluster
from tests.unit.reconcile.test_any_order_of_things import Keywright
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
    """The same rules and the same invariants as in memory."""

    class OnARealApiServer(Keywright):
        def make_world(self) -> World:
            def cluster(clock: Clock) -> RealCluster:
                return RealCluster(kube, NAMESPACE, clock)

            return World(cluster=cluster)

    machine = OnARealApiServer.TestCase
    machine.settings = settings(
        max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
    )
    machine().runTest()
