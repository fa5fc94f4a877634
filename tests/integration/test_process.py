"""The operator as a process: what it says when something is missing, and how it starts and stops."""

import time
from pathlib import Path

import pytest

from keywright_local import ControlPlane
from tests.integration.conftest import install
from tests.support.kube import Kube, eventually
from tests.support.processes import BIN, free_address, get, operator, start

OPERATOR: list[str | Path] = [BIN / "keywright", "operator"]


def test_it_waits_for_crds_and_rights(tmp_path: Path) -> None:
    """Without CRDs, and then without rights, one clear line each; then it works without a restart."""
    probes = free_address()
    with ControlPlane() as plane:
        powerless = plane.kubeconfig_for("late", ["none"])
        command = [*OPERATOR, "--health-listen", probes]
        with start(command, kubeconfig=powerless, log=tmp_path / "log") as process:
            eventually(lambda: "may not list apikeyclasses" in process.log, within=30)
            kube = Kube(plane.kubeconfig)
            binding = {
                "metadata": {"name": "late"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "late"}],
            }
            kube.request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
            eventually(lambda: "keywright crds | kubectl apply -f -" in process.log, within=30)
            install(plane)
            eventually(lambda: get(probes, "/readyz")[0] == 200, within=30)
            kube.apikey("default", "key")
            kube.wait("default", "key", Active="True")
            # The API server shows a status before the operator has its answer.
            issued = 'keywright_operator_transitions_total{reason="KeyIssued"} 1'
            eventually(lambda: issued in get(probes, "/metrics")[2].splitlines())
            shown = get(probes, "/metrics")[2].splitlines()
            assert "keywright_operator_apikeys 1" in shown
            assert any(line.startswith("keywright_apikey_issue_timestamp_seconds{") for line in shown)
            waiting = [line for line in process.log.splitlines() if "waiting:" in line]
            assert len(waiting) == len(set(waiting)) <= 4
            assert process.stop() == 0
            kube.close()


def test_it_waits_for_an_api_server(plane: ControlPlane, tmp_path: Path) -> None:
    """An unreachable API server is waited for with one line, and SIGTERM ends the waiting."""
    closed = plane.kubeconfig.read_text().replace(plane.server, f"https://{free_address()}")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(closed)
    with start(OPERATOR, kubeconfig=kubeconfig, log=tmp_path / "log") as process:
        eventually(lambda: "is not to be reached" in process.log, within=30)
        time.sleep(3)
        assert process.log.count("is not to be reached") == 1
        assert process.stop() == 0


@pytest.mark.parametrize(
    ("flags", "environment", "status", "line"),
    [
        ([], {}, 1, "set KUBECONFIG"),
        ([], {"KUBECONFIG": "/nonexistent"}, 1, "check KUBECONFIG"),
        (["--health-listen", "nonsense"], {"KUBECONFIG": "/nonexistent"}, 1, "--health-listen"),
        (["--workers", "many"], {}, 1, "--workers"),
        (["--unknown"], {}, 2, "--unknown"),
    ],
)
def test_wrong_flags_and_files(
    tmp_path: Path, flags: list[str], environment: dict[str, str], status: int, line: str
) -> None:
    """One clear line and an exit status; no traceback."""
    with start([*OPERATOR, *flags], kubeconfig=None, log=tmp_path / "log", environment=environment) as process:
        assert process.popen.wait(20) == status
        assert line in process.log
        assert "Traceback" not in process.log


def test_a_taken_address_is_one_line(plane: ControlPlane, tmp_path: Path) -> None:
    """The health port is in use: said so, exit status 1."""
    probes = free_address()
    with operator(plane.kubeconfig, tmp_path / "a", "--health-listen", probes, ready=False) as first:
        eventually(lambda: get(probes, "/readyz")[0] == 200, within=30, what=first.log)
        command = [*OPERATOR, "--health-listen", probes]
        with start(command, kubeconfig=plane.kubeconfig, log=tmp_path / "b") as second:
            assert second.popen.wait(20) == 1
            assert "choose another --health-listen" in second.log
            assert "Traceback" not in second.log


def test_it_stops_when_told(plane: ControlPlane, tmp_path: Path) -> None:
    """SIGTERM: exit status 0 within seconds."""
    with operator(plane.kubeconfig, tmp_path / "log") as process:
        started = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - started < 10
        assert "Traceback" not in process.log


@pytest.mark.parametrize("delay", [0, 0.004, 0.008, 0.012, 0.016])
def test_it_stops_when_told_while_it_starts(plane: ControlPlane, tmp_path: Path, delay: float) -> None:
    """A signal that comes before the framework listens for signals is not lost."""
    command = [*OPERATOR, "--health-listen", free_address()]
    with start(command, kubeconfig=plane.kubeconfig, log=tmp_path / "log") as process:
        while "watching all namespaces" not in process.log:
            assert process.popen.poll() is None, process.log
            time.sleep(0.002)
        time.sleep(delay)
        assert process.stop() == 0


def test_other_namespaces_are_left_alone(tmp_path: Path) -> None:
    """`--namespace` twice: both are reconciled, a third is not."""
    with ControlPlane() as own:
        install(own)
        kube = Kube(own.kubeconfig)
        for name in ("one", "two", "three"):
            kube.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        with operator(own.kubeconfig, tmp_path / "log", namespaces=["one", "two"]):
            for name in ("one", "two", "three"):
                kube.apikey(name, "key")
            kube.wait("one", "key", Active="True")
            kube.wait("two", "key", Active="True")
            time.sleep(1)
            assert kube.get("three", "key")["status"]["phase"] == "Pending"
        kube.close()
