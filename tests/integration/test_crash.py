"""Kill -9 of the operator before and after each write: of an issue, of the takeover that follows, and of an end."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from keywright.domain import hashing
from keywright.domain.times import format_instant
from keywright_local import ControlPlane
from tests.integration.conftest import ROOT, Namespaces
from tests.support.kube import Kube, eventually
from tests.support.processes import operator, start

# An issue is four writes: Pending record, Secret, Current record, event.
ISSUE = [f"{when}:{write}" for write in (1, 2, 3, 4) for when in ("before", "after")]
# A takeover is five: fence, new Pending record, Secret, Current record, event.
TAKEOVER = [f"{when}:{write}" for write in (1, 2, 3, 4, 5) for when in ("before", "after")]

# The end of a key whose Secret is kept is four writes: status, event, the mark in the Secret, status with its version.
END = [f"{when}:{write}" for write in (1, 2, 3, 4) for when in ("before", "after")]


def crash(plane: ControlPlane, namespace: str, failpoint: str, folder: Path, *, within: float = 40) -> None:
    """Run the operator over one namespace until its failpoint kills it."""
    command = [sys.executable, "-m", "tests.support.failpoint_operator", namespace, failpoint]
    log = folder / f"{namespace}-{failpoint}.log"
    with start(
        command, kubeconfig=plane.kubeconfig, log=log, environment={"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}"}
    ) as process:
        try:
            status = process.popen.wait(within)
        except subprocess.TimeoutExpired:
            pytest.fail(f"never reached {failpoint}: {process.log}")
    assert status == -9, process.log


def assert_issued_once(kube: Kube, namespace: str) -> None:
    manifest = kube.wait(namespace, "key", Ready="True", Active="True", SecretDelivered="True", within=45)
    records = manifest["status"]["keys"]
    plain = kube.plain_key(namespace, "key")
    assert [each["state"] for each in records] == ["Current"]
    assert hashing.verify(records[0]["hash"], plain)
    secret = kube.secret(namespace, "key")
    assert secret is not None
    assert manifest["status"]["secretUID"] == secret["metadata"]["uid"]
    assert manifest["status"]["maskedKey"].startswith(plain[:20])


def test_issue_survives_a_kill_at_each_write(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """Whatever write of an issue the operator dies at, the next one ends with one key, in the Secret and in status."""
    namespaces = {failpoint: make_namespace(own_admin) for failpoint in ISSUE}
    for failpoint, namespace in namespaces.items():
        own_admin.apikey(namespace, "key")
        crash(own_plane, namespace, failpoint, tmp_path)
    with operator(own_plane.kubeconfig, tmp_path / "log", namespaces=list(namespaces.values())):
        for namespace in namespaces.values():
            assert_issued_once(own_admin, namespace)


def test_takeover_survives_a_kill_at_each_write(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path
) -> None:
    """The operator that replaces an abandoned Pending record may die at each of its writes as well."""
    namespaces = {failpoint: make_namespace(own_admin) for failpoint in TAKEOVER}
    for namespace in namespaces.values():
        own_admin.apikey(namespace, "key")
        crash(own_plane, namespace, "after:1", tmp_path)
    for failpoint, namespace in namespaces.items():
        crash(own_plane, namespace, failpoint, tmp_path)
    with operator(own_plane.kubeconfig, tmp_path / "log", namespaces=list(namespaces.values())):
        for namespace in namespaces.values():
            assert_issued_once(own_admin, namespace)


@pytest.mark.parametrize("phase", ["Revoked", "Expired"])
def test_the_mark_of_a_kept_secret_survives_a_kill_at_each_write(
    own_plane: ControlPlane, own_admin: Kube, make_namespace: Namespaces, tmp_path: Path, phase: str
) -> None:
    """The end is recorded first. Whatever write the operator dies at, the next one marks the Secret that is kept, so that
    nobody adopts it with a key that has ended.
    """
    namespaces = {failpoint: make_namespace(own_admin) for failpoint in END}
    before = {}
    with operator(own_plane.kubeconfig, tmp_path / "first", namespaces=list(namespaces.values())):
        for namespace in namespaces.values():
            own_admin.apikey(namespace, "key", secret={"whenInactive": "Keep"})
        for namespace in namespaces.values():
            own_admin.wait(namespace, "key", Active="True")
            before[namespace] = own_admin.plain_key(namespace, "key")
    ends_at = datetime.now(UTC) + timedelta(seconds=2)
    change = {"revoked": True} if phase == "Revoked" else {"expiresAt": format_instant(ends_at)}
    for namespace in namespaces.values():
        own_admin.patch(namespace, "key", {"spec": change})
    eventually(lambda: datetime.now(UTC) > ends_at)
    reached = {}
    for failpoint, namespace in namespaces.items():
        crash(own_plane, namespace, failpoint, tmp_path)
        recorded = own_admin.get(namespace, "key")["status"]["phase"]
        reached[failpoint] = (recorded, mark_in(own_admin, namespace))
    assert reached["before:1"] == ("Active", None)
    # In between a restart is all that can save the mark.
    assert [reached[each] for each in ("after:1", "before:2", "after:2", "before:3")] == [(phase, None)] * 4
    assert reached["after:3"] == (phase, phase)
    with operator(own_plane.kubeconfig, tmp_path / "second", namespaces=list(namespaces.values())):
        for namespace in namespaces.values():
            own_admin.wait(namespace, "key", Active=f"False/Key{phase}", SecretDelivered="True", within=45)
            eventually(partial(is_marked, own_admin, namespace, phase), within=45)
            assert own_admin.plain_key(namespace, "key") == before[namespace]


def mark_in(kube: Kube, namespace: str) -> str | None:
    """What the Secret says of the end of its key."""
    secret = kube.secret(namespace, "key")
    assert secret is not None
    mark: str | None = secret["metadata"]["annotations"].get("keywright.dev/ended")
    return mark


def is_marked(kube: Kube, namespace: str, phase: str) -> bool:
    return mark_in(kube, namespace) == phase
