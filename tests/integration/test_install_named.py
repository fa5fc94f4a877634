"""``make e2e`` in a cluster of somebody's: it removes all CRDs in the end, so it does not begin unless that was meant."""

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keywright_local import AuditLevel, ControlPlane, named_cluster
from tests.e2e.__main__ import in_named
from tests.integration.conftest import ROOT
from tests.support.audit import requests
from tests.support.installation import kubectl

USER = "somebody"


@pytest.fixture(scope="module")
def theirs() -> Iterator[ControlPlane]:
    """A cluster without Keywright."""
    with ControlPlane(audit=True, audit_level=AuditLevel.METADATA) as plane:
        yield plane


def variables(plane: ControlPlane, confirmed: str = "") -> dict[str, str]:
    kubeconfig = plane.kubeconfig_for(USER, ["system:masters"])
    return {"CLUSTER": "current", "KUBECONFIG": str(kubeconfig), "IMAGE": "keywright:dev", "CONFIRM": confirmed}


def context(plane: ControlPlane) -> str:
    cluster = named_cluster({**os.environ, **variables(plane)})
    assert cluster is not None
    return cluster.context


def e2e(
    plane: ControlPlane, *arguments: str, confirmed: str = "", stdin: int = subprocess.DEVNULL
) -> "subprocess.CompletedProcess[str]":
    """What ``make e2e`` runs."""
    environment = {**os.environ, **variables(plane, confirmed), "PYTHONPATH": str(ROOT / "deploy/local")}
    return subprocess.run(
        [sys.executable, "-m", "tests.e2e", *arguments],
        cwd=ROOT,
        env=environment,
        stdin=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def asked_for(plane: ControlPlane) -> set[str]:
    """The verbs of all that was asked for by it."""
    return {each.verb for each in requests(plane.audit_log) if each.user == USER}


@pytest.mark.parametrize("confirmed", ["", "another-context"])
def test_without_a_confirmation_it_only_looks(theirs: ControlPlane, confirmed: str) -> None:
    """What is confirmed is this context by name, not that there is one."""
    done = e2e(theirs, confirmed=confirmed)
    assert done.returncode == 1
    assert f"without a terminal, say CONFIRM={context(theirs)}" in done.stderr
    assert asked_for(theirs) == {"get"}


def test_at_a_terminal_it_asks(theirs: ControlPlane) -> None:
    """Anything but the context's name is a no."""
    ours, its = pty.openpty()
    try:
        os.write(ours, b"yes\n")
        done = e2e(theirs, stdin=its)
    finally:
        os.close(ours)
        os.close(its)
    assert done.returncode == 1
    assert "its CRDs and all ApiKeys included" in done.stdout
    assert "not confirmed, nothing was done" in done.stderr
    assert asked_for(theirs) == {"get"}


@pytest.mark.parametrize("file", ["crds/apikeyclasses.yaml", "crds/apikeys.yaml", "deploy/rbac/namespace.yaml"])
def test_it_refuses_a_cluster_that_has_some_of_it(theirs: ControlPlane, file: str) -> None:
    """Even when it is confirmed: any of the CRDs may hold somebody's objects."""
    made = kubectl(theirs, "create", "-o", "name", "-f", ROOT / file)
    assert made.returncode == 0, made.stderr
    try:
        done = e2e(theirs, confirmed=context(theirs))
        assert done.returncode == 1
        assert f"e2e: {made.stdout.strip()} is there already" in done.stderr
        assert asked_for(theirs) == {"get"}
    finally:
        assert kubectl(theirs, "delete", "-f", ROOT / file).returncode == 0


def test_a_confirmed_cluster_is_taken(theirs: ControlPlane) -> None:
    """So nothing else stood in the way of those that were refused."""
    done = e2e(theirs, "--collect-only", "-q", confirmed=context(theirs))
    assert (done.returncode, done.stderr) == (0, "")
    assert "test_it_installs" in done.stdout


def test_it_stays_in_the_cluster_that_was_confirmed(
    theirs: ControlPlane, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Even if somebody switches contexts meanwhile."""
    for name, value in variables(theirs, context(theirs)).items():
        monkeypatch.setenv(name, value)
    shared = shutil.copy(os.environ["KUBECONFIG"], tmp_path / "kubeconfig")
    monkeypatch.setenv("KUBECONFIG", str(shared))
    cluster = named_cluster()
    assert cluster is not None
    for change in (
        ("set-cluster", "elsewhere", "--server=https://elsewhere.example.com"),
        ("set-context", "elsewhere", "--cluster=elsewhere"),
        ("use-context", "elsewhere"),
    ):
        subprocess.run([cluster.kubectl, "config", *change], check=True)
    template = "jsonpath={.clusters[0].cluster.server}"
    assert in_named(cluster, [str(cluster.kubectl), "config", "view", "--minify", "-o", template]) == 0
    assert capfd.readouterr().out.splitlines()[-1] == cluster.server
