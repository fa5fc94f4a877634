"""A real API server for the integration tests: embedded, or the one that CLUSTER=current names."""

import itertools
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from keywright_local import AuditLevel, ControlPlane, named_cluster
from keywright_local.packaging_tools import PackagingTools
from tests.support.installation import tools_or_skip
from tests.support.kube import Kube
from tests.support.people import allowed, bind
from tests.support.processes import Process, operator, verifier

ROOT = Path(__file__).parents[2]
# It tells at admission what the operator says by a condition. The operator has to say it in any case, and most tests
# are about that, so they do without; it has tests of its own.
CLASS_RULES = ROOT / "deploy/admission/class-rules.yaml"


def install(plane: ControlPlane, *, without: Path | None = None) -> None:
    """The CRDs, roles and admission policies, as the README installs them; ``without`` names a policy's file."""
    rbac = ROOT / "deploy/rbac"
    policies = [path for path in sorted((ROOT / "deploy/admission").glob("*.yaml")) if path != without]
    for files in ([ROOT / "crds"], [rbac / "namespace.yaml", rbac, *policies]):
        apply(plane, *files)
    run_kubectl(plane, "wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")


def apply(plane: ControlPlane, *paths: Path) -> None:
    """Apply files, and whole folders with what is in them, as the administrator."""
    run_kubectl(plane, "apply", "-R", *(argument for path in paths for argument in ("-f", str(path))))


def run_kubectl(plane: ControlPlane, *arguments: str) -> None:
    command = [str(plane.kubectl), "--kubeconfig", str(plane.kubeconfig), *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what the shared operator said of its namespace."""
    report = yield
    process, namespace = item.funcargs.get("shared_operator"), item.funcargs.get("namespace")
    if report.failed and isinstance(process, Process) and isinstance(namespace, str):
        lines = [line for line in process.log.splitlines() if f"{namespace}/" in line]
        report.sections.append(("the operator of it", "\n".join(lines[-30:])))
    return report


@pytest.fixture(scope="session", autouse=True)
def embedded_only() -> None:
    """These tests stop API servers and act as many users: they never run against a cluster of somebody's."""
    if named_cluster() is not None:
        pytest.exit("integration tests use the embedded control plane only: unset CLUSTER", returncode=2)


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """The control plane that most tests share, with every request in its audit log."""
    with ControlPlane(audit=True, audit_level=AuditLevel.METADATA) as started:
        install(started, without=CLASS_RULES)
        yield started


@pytest.fixture(scope="module")
def own_plane() -> Iterator[ControlPlane]:
    """A control plane for one module that stops it, or counts everything in it."""
    with ControlPlane(audit=True, audit_level=AuditLevel.METADATA) as started:
        install(started, without=CLASS_RULES)
        yield started


@pytest.fixture(scope="session")
def admin(plane: ControlPlane) -> Iterator[Kube]:
    kube = Kube(plane.kubeconfig)
    yield kube
    kube.close()


@pytest.fixture(scope="module")
def own_admin(own_plane: ControlPlane) -> Iterator[Kube]:
    kube = Kube(own_plane.kubeconfig)
    yield kube
    kube.close()


@pytest.fixture(scope="session")
def shared_operator(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """One operator for all namespaces, with the rights of deploy/rbac and no others."""
    account = plane.kubeconfig_for_service_account("keywright-system", "keywright-operator")
    log = tmp_path_factory.mktemp("operator") / "log"
    with operator(account, log, "--log-format", "json", "--log-level", "debug") as process:
        yield process


@pytest.fixture(scope="session")
def verifying(plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A verifier of all namespaces; the address it judges at. It keeps to itself what was used: whoever counts writes
    or events has a verifier of his own.
    """
    log = tmp_path_factory.mktemp("verifier") / "log"
    with verifier(plane.kubeconfig, log, "--usage", "off") as (_, listen, _admin):
        yield listen


@pytest.fixture(scope="session")
def tools() -> PackagingTools:
    return tools_or_skip()


Namespaces = Callable[[Kube], str]
_counter = itertools.count()


@pytest.fixture
def make_namespace() -> Iterator[Namespaces]:
    made: list[tuple[Kube, str]] = []

    def make(kube: Kube) -> str:
        name = f"test-{next(_counter)}"
        kube.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        made.append((kube, name))
        return name

    yield make
    for kube, name in made:
        kube.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def namespace(admin: Kube, make_namespace: Namespaces) -> str:
    return make_namespace(admin)


@pytest.fixture
def editor(plane: ControlPlane, admin: Kube, namespace: str) -> Iterator[Kube]:
    """A user who may edit the test's namespace, and nothing else."""
    user = f"editor-of-{namespace}"
    bind(admin, namespace, user, "edit")
    kube = Kube(plane.kubeconfig_for(user))
    allowed(lambda: kube.list(namespace))
    yield kube
    kube.close()


@pytest.fixture
def make_class(admin: Kube) -> Iterator[Callable[..., str]]:
    """Make a class of this spec; it goes with the test. ``default=True`` marks it."""
    made: list[str] = []

    def make(*, default: bool = False, **spec: Any) -> str:
        name = f"class-{next(_counter)}"
        metadata = {"name": name, "annotations": {"keywright.dev/is-default-class": "true" if default else "false"}}
        admin.create({"kind": "ApiKeyClass", "metadata": metadata, "spec": spec})
        made.append(name)
        return name

    yield make
    for name in made:
        admin.delete(None, name, kind="ApiKeyClass")


@pytest.fixture
def issue(shared_operator: Process, admin: Kube, namespace: str) -> Callable[..., str]:
    """Make the ApiKey ``key`` and return its plain key once it is active."""
    assert shared_operator.popen.poll() is None

    def make(**spec: Any) -> str:
        admin.apikey(namespace, "key", **spec)
        admin.wait(namespace, "key", Active="True")
        return admin.plain_key(namespace, "key")

    return make
