"""Two replicas that share a Lease: one works, and when it dies, stops, hangs or leaves, the other goes on."""

import contextlib
import itertools
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from keywright.domain import hashing
from keywright_local import ControlPlane
from tests.integration.conftest import Namespaces
from tests.support.audit import requests
from tests.support.kube import Kube, eventually
from tests.support.processes import Process, free_address, get, operator

KEYS = 60
WORKERS = 32
CLASS = "cheap-and-available"
_numbers = itertools.count()


@dataclass(frozen=True)
class Replica:
    """An operator with an identity of its own in the audit log."""

    process: Process
    probes: str
    user: str

    @property
    def leads(self) -> bool:
        return "keywright_operator_leading 1\n" in get(self.probes, "/metrics")[2]


@pytest.fixture
def namespace(own_admin: Kube, make_namespace: Namespaces) -> str:
    """Shadows the shared one: these tests count requests, on a control plane of their own."""
    if not any(each["metadata"]["name"] == CLASS for each in own_admin.list(None, "ApiKeyClass")):
        spec = {"hashing": {"argon2id": {"memoryKiB": 1024, "iterations": 1}}}
        own_admin.create({"kind": "ApiKeyClass", "metadata": {"name": CLASS}, "spec": spec})
    return make_namespace(own_admin)


@contextlib.contextmanager
def replica(plane: ControlPlane, namespace: str, folder: Path) -> Iterator[Replica]:
    """A ready replica for one namespace, with the Lease in the same."""
    user, probes = f"replica-{next(_numbers)}", free_address()
    account = plane.kubeconfig_for(user, ["system:masters"])
    flags = ["--lease", f"{namespace}/operator", "--health-listen", probes]
    with operator(account, folder / user, *flags, namespaces=[namespace], ready=False) as process:
        eventually(lambda: get(probes, "/readyz")[0] == 200, within=40, what=process.log)
        yield Replica(process, probes, user)


@contextlib.contextmanager
def pair(plane: ControlPlane, namespace: str, folder: Path) -> Iterator[tuple[Replica, Replica]]:
    """A leader, and one that stands by; both are ready."""
    with replica(plane, namespace, folder) as first:
        eventually(lambda: first.leads)
        with replica(plane, namespace, folder) as second:
            assert not second.leads
            yield first, second


def until_leading(one: Replica, *, within: float = 15.0) -> float:
    """Wait until a replica leads; after how many seconds it did."""
    begun = time.monotonic()
    eventually(lambda: one.leads, within=within, what=one.process.log)
    return time.monotonic() - begun


def create(kube: Kube, namespace: str, names: list[str]) -> None:
    for name in names:
        kube.apikey(namespace, name, className=CLASS)


def names_of(prefix: str, count: int = KEYS) -> list[str]:
    return [f"{prefix}-{number}" for number in range(count)]


def assert_issued_once(plane: ControlPlane, kube: Kube, namespace: str, names: list[str]) -> None:
    """One record each, proven by the Secret; no Secret was created twice; only what workers had in hand was replaced."""
    eventually(lambda: all(each["status"]["phase"] == "Active" for each in kube.list(namespace)), within=60)
    found = {each["metadata"]["name"]: each["status"]["keys"] for each in kube.list(namespace)}
    assert set(names) <= set(found)
    for name in names:
        (record,) = found[name]
        assert record["state"] == "Current"
        assert hashing.verify(record["hash"], kube.plain_key(namespace, name))
    made = [each for each in requests(plane.audit_log) if each.namespace == namespace and each.code < 300]
    creates = Counter(each.name for each in made if each.resource == "secrets" and each.verb == "create")
    assert max(creates.values()) == 1
    # Of a request whose sender was killed, the audit log may know no answer.
    assert len(set(names) - set(creates)) <= WORKERS
    # Pending and Current are one write each; more tell of a proposal that was replaced, because its writer died. Where
    # the log knows no answer to the dead writer's proposal, its fenced Secret tells of it: created empty, then filled.
    statuses = Counter(each.name for each in made if each.subresource == "status" and each.resource == "apikeys")
    fenced = {each.name for each in made if each.resource == "secrets" and each.verb == "update"}
    replaced = {name for name in names if statuses[name] > 2}
    assert len(replaced | fenced) <= WORKERS


def test_a_killed_leader_is_replaced_within_15_seconds(
    own_plane: ControlPlane, own_admin: Kube, namespace: str, tmp_path: Path
) -> None:
    """kill -9 while keys are being issued: the other goes on, and no ApiKey has two keys."""
    before, after = names_of("before"), names_of("after")
    with pair(own_plane, namespace, tmp_path) as (leader, other):
        create(own_admin, namespace, before)
        leader.process.kill()
        create(own_admin, namespace, after)
        took = until_leading(other)
        assert get(other.probes, "/readyz")[0] == 200
        assert_issued_once(own_plane, own_admin, namespace, before + after)
    assert took <= 15


def test_a_leader_that_is_told_to_stop_hands_over_at_once(
    own_plane: ControlPlane, own_admin: Kube, namespace: str, tmp_path: Path
) -> None:
    """SIGTERM, as in a rolling update: nobody waits for a lease to end; what was in order is not looked at again."""
    names = names_of("key", 20)
    with pair(own_plane, namespace, tmp_path) as (leader, other):
        create(own_admin, namespace, names)
        eventually(lambda: all(each["status"]["phase"] == "Active" for each in own_admin.list(namespace)), within=60)
        # Whoever stands by knows it too: what he learnt of after the lead was his, he would look at.
        issued = "keywright_apikey_issue_timestamp_seconds{"
        eventually(lambda: get(other.probes, "/metrics")[2].count(issued) == len(names))
        assert leader.process.stop() == 0
        assert until_leading(other) < 8
        lease = own_admin.request("GET", f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/operator")
        assert lease["spec"]["leaseTransitions"] == 1
        asked = [each for each in requests(own_plane.audit_log) if each.user == other.user]
        assert {each.resource for each in asked if each.verb not in ("list", "watch")} == {"leases"}
        own_admin.apikey(namespace, "new", className=CLASS)
        assert_issued_once(own_plane, own_admin, namespace, [*names, "new"])


def test_a_leader_that_hangs_does_no_harm_when_it_wakes_up(
    own_plane: ControlPlane, own_admin: Kube, namespace: str, tmp_path: Path
) -> None:
    """kill -STOP amid its work, the other takes over, kill -CONT: it writes nothing more, stands by, and leads again
    when the other is killed.
    """
    early, late, last = names_of("early"), names_of("late", 20), names_of("last", 5)
    with pair(own_plane, namespace, tmp_path) as (leader, other):
        create(own_admin, namespace, early)
        leader.process.popen.send_signal(signal.SIGSTOP)
        try:
            create(own_admin, namespace, late)
            until_leading(other)
            assert_issued_once(own_plane, own_admin, namespace, early + late)
            stopped = [each for each in requests(own_plane.audit_log) if each.user == leader.user]
        finally:
            leader.process.popen.send_signal(signal.SIGCONT)
        eventually(lambda: "standing by" in leader.process.log)
        assert not leader.leads
        woken = [each for each in requests(own_plane.audit_log) if each.user == leader.user][len(stopped) :]
        # What it was sending when it was stopped still arrives. It conflicts, but for an event, which has no version: that
        # tells of a status that was written before.
        written = [each for each in woken if each.verb in ("create", "update", "delete") and each.code < 300]
        assert {each.resource for each in written} <= {"leases", "events"}
        told = {each.name.rpartition(".")[0] for each in written if each.resource == "events"}
        assert told <= {each.name for each in stopped if each.subresource == "status" and each.code < 300}
        assert other.leads
        other.process.kill()
        create(own_admin, namespace, last)
        until_leading(leader)
        assert_issued_once(own_plane, own_admin, namespace, early + late + last)


def test_two_that_believe_to_lead_mint_each_key_once(
    own_plane: ControlPlane, own_admin: Kube, namespace: str, tmp_path: Path
) -> None:
    """Two Leases by mistake, one for each replica: the write order alone keeps every key single (invariant 8)."""
    names = names_of("key")
    flags = [["--lease", f"{namespace}/one"], ["--lease", f"{namespace}/two"]]
    with (
        operator(own_plane.kubeconfig, tmp_path / "a", *flags[0], namespaces=[namespace]),
        operator(own_plane.kubeconfig, tmp_path / "b", *flags[1], namespaces=[namespace]),
    ):
        create(own_admin, namespace, names)
        assert_issued_once(own_plane, own_admin, namespace, names)


def test_an_outage_of_the_api_server_costs_the_lead_and_no_restart(
    own_plane: ControlPlane, own_admin: Kube, namespace: str, tmp_path: Path
) -> None:
    """A leader that cannot renew stops by itself, and takes the Lease again when it is back."""
    with replica(own_plane, namespace, tmp_path) as alone:
        # An operator that is still finding out what the API server has ends with it, and is started again.
        own_admin.apikey(namespace, "key", className=CLASS)
        own_admin.wait(namespace, "key", Active="True", within=40)
        assert alone.leads
        own_plane.stop_api_server(kill=True)
        try:
            eventually(lambda: not alone.leads, within=15)
        finally:
            own_plane.start_api_server()
        until_leading(alone, within=40)
        assert alone.process.popen.poll() is None


def test_without_rights_to_the_lease_it_is_not_ready(own_plane: ControlPlane, namespace: str, tmp_path: Path) -> None:
    """A rollout stops there, instead of replacing replicas that work by some that cannot."""
    account = own_plane.kubeconfig_for_service_account("keywright-system", "keywright-operator")
    probes = free_address()
    flags = ["--lease", f"{namespace}/operator", "--health-listen", probes]
    with operator(account, tmp_path / "log", *flags, ready=False) as process:
        eventually(lambda: "403 Forbidden" in process.log, within=40)
        said = f"the lease {namespace}/operator has been neither read nor taken yet\n"
        eventually(lambda: get(probes, "/readyz")[2] == said)
        assert get(probes, "/readyz")[0] == 503
        assert get(probes, "/healthz")[0] == 200
        assert "keywright_operator_leading 0\n" in get(probes, "/metrics")[2]
        assert process.log.count("403 Forbidden") == 1
