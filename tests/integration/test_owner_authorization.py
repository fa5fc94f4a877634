"""Keys that may do what their owners may, with a real API server: its RBAC decides, and a change of it changes the key."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keywright_local import ControlPlane
from tests.integration.conftest import Namespaces
from tests.support.kube import Kube, eventually
from tests.support.people import RBAC, bind
from tests.support.processes import Process, get, verifier

GROUP = "kubevision.test"
RULES = f"""\
rules:
- {{path: /healthz, allow: anonymous}}
- {{path: /plain, methods: [GET]}}
- path: /api/*
  authorize: {{group: {GROUP}, resource: clusters, namespace: $2, name: $3, verb: {{GET: get, DELETE: delete}}}}
- {{path: /all, methods: [GET], authorize: {{nonResource: {{path: /kubevision-test/all, verb: get}}}}}}
- {{path: /logs, methods: [GET], authorize: {{group: "", resource: pods, subresource: log, verb: get}}}}
"""
SOON = 30


@pytest.fixture
def owned(shared_operator: Process, make_class: Callable[..., str]) -> str:
    """A class whose keys may do what their owners may."""
    assert shared_operator.popen.poll() is None
    return make_class(authorization="Owner", hashing={"algorithm": "sha256"})


@pytest.fixture
def issue(admin: Kube, namespace: str, owned: str) -> Callable[..., str]:
    """Issue a key for an owner; its plain key."""

    def make(user: str, *groups: str, name: str = "key") -> str:
        admin.apikey(namespace, name, className=owned, owner={"user": user, "groups": list(groups)})
        admin.wait(namespace, name, Active="True")
        return admin.plain_key(namespace, name)

    return make


def account(plane: ControlPlane, admin: Kube, namespace: str, *roles: str) -> Path:
    """A verifier's account with these ClusterRoles everywhere, and no others."""
    made = {"metadata": {"name": "verifier", "namespace": namespace}}
    admin.request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", made)
    for role in roles:
        bind_account(admin, namespace, role)
    return plane.kubeconfig_for_service_account(namespace, "verifier")


def bind_account(admin: Kube, namespace: str, role: str) -> None:
    subject = {"kind": "ServiceAccount", "name": "verifier", "namespace": namespace}
    bind_everywhere(admin, f"{namespace}-{role}", role, subject)


def bind_everywhere(admin: Kube, name: str, role: str, subject: dict[str, str]) -> None:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}
    body = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    admin.request("POST", f"{RBAC}/clusterrolebindings", body)


@contextlib.contextmanager
def judging(kubeconfig: Path, folder: Path, owned: str, *flags: str) -> Iterator[tuple[str, str, Path]]:
    """A verifier of the class with RULES: where it judges, its admin listener, its log."""
    rules, log = folder / "rules.yaml", folder / "log"
    rules.write_text(RULES)
    chosen = ("--class", owned, "--rules", str(rules), "--usage", "off", *flags)
    with verifier(kubeconfig, log, *chosen) as (_, listen, admin):
        yield listen, admin, log


@pytest.fixture
def asker(plane: ControlPlane, admin: Kube, namespace: str) -> Path:
    """The kubeconfig of an account with the rights of deploy/rbac for a verifier that asks for owners."""
    return account(plane, admin, namespace, "keywright-verifier", "keywright-owner-reviewer")


def status(listen: str, path: str, plain: str) -> int:
    return get(listen, f"/verify{path}", X_API_Key=plain)[0]


def becomes(listen: str, path: str, plain: str, code: int, within: float = SOON) -> None:
    eventually(lambda: status(listen, path, plain) == code, within=within, what=f"{path} {code}")


def known(listen: str, plain: str) -> None:
    """Wait until the verifier knows the key: where no owner is asked for, the answer is 403 instead of 401."""
    becomes(listen, "/plain", plain, 403)


def make_role(admin: Kube, namespace: str, *rules: dict[str, Any]) -> None:
    body = {"metadata": {"name": "clusters"}, "rules": list(rules)}
    admin.request("POST", f"{RBAC}/namespaces/{namespace}/roles", body)


GET_CLUSTERS = {"apiGroups": [GROUP], "resources": ["clusters"], "verbs": ["get"]}


def test_a_change_of_the_owners_roles_changes_the_key(
    admin: Kube,
    namespace: str,
    make_namespace: Namespaces,
    issue: Callable[..., str],
    asker: Path,
    owned: str,
    tmp_path: Path,
) -> None:
    """Bound: 200. Unbound: 403. By the namespace and the verb that the request is about, within the cache time."""
    user, other = f"alice-of-{namespace}", make_namespace(admin)
    plain = issue(user)
    make_role(admin, namespace, GET_CLUSTERS)
    with judging(asker, tmp_path, owned, "--owner-cache", "1s") as (listen, probes, _log):
        known(listen, plain)
        path = f"/api/{namespace}/prod"
        # 503 until the verifier's own rights have come round.
        becomes(listen, path, plain, 403)
        bind(admin, namespace, user, "clusters", "Role")
        becomes(listen, path, plain, 200)
        answer = get(listen, f"/verify{path}/nodes/7", X_API_Key=plain)
        assert (answer[0], answer[1]["x-auth-subject"]) == (200, user)
        assert status(listen, f"/api/{other}/prod", plain) == 403
        assert status(listen, "/api/prod", plain) == 403
        assert status(listen, "/plain", plain) == 403
        assert status(listen, path, "") == 401
        admin.request("DELETE", f"{RBAC}/namespaces/{namespace}/rolebindings/{user}-clusters")
        becomes(listen, path, plain, 403)
        bind(admin, namespace, user, "clusters", "Role")
        becomes(listen, path, plain, 200)
        figures = get(probes, "/metrics")[2]
        for by in ("remembered", "allowed", "denied"):
            line = next(each for each in figures.splitlines() if f'owner_answers_total{{by="{by}"}}' in each)
            assert float(line.split()[1]) > 0


def test_groups_count_also_those_of_everybody(
    admin: Kube, namespace: str, issue: Callable[..., str], asker: Path, owned: str, tmp_path: Path
) -> None:
    """The owner's own, system:authenticated, and those of service accounts: as when the owner comes himself."""
    keys = {
        "team": issue(f"bob-of-{namespace}", f"team-of-{namespace}", name="team"),
        "other": issue(f"bob-of-{namespace}", name="other"),
        "bot": issue(f"system:serviceaccount:{namespace}:bot", name="bot"),
    }
    make_role(admin, namespace, {**GET_CLUSTERS, "resourceNames": ["named"]})
    path = f"{RBAC}/namespaces/{namespace}/rolebindings"
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "clusters"}
    with judging(asker, tmp_path, owned, "--owner-cache", "1s") as (listen, _probes, _log):
        for plain in keys.values():
            known(listen, plain)
        target = f"/api/{namespace}/named"
        for group, names in {
            f"team-of-{namespace}": {"team"},
            f"system:serviceaccounts:{namespace}": {"bot"},
            "system:authenticated": {"team", "other", "bot"},
        }.items():
            subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group}
            admin.request("POST", path, {"metadata": {"name": "group"}, "roleRef": reference, "subjects": [subject]})
            for name in names:
                becomes(listen, target, keys[name], 200)
            for name in keys.keys() - names:
                assert status(listen, target, keys[name]) == 403, (group, name)
            assert status(listen, f"/api/{namespace}/another", keys["team"]) == 403
            admin.request("DELETE", f"{path}/group")
            for name in names:
                becomes(listen, target, keys[name], 403)


def test_paths_of_ones_own_and_subresources(
    admin: Kube, namespace: str, issue: Callable[..., str], asker: Path, owned: str, tmp_path: Path
) -> None:
    """What system:discovery gives to everybody opens nothing here."""
    user = f"carol-of-{namespace}"
    plain = issue(user)
    rules = [
        {"nonResourceURLs": ["/kubevision-test/*"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    ]
    admin.request("POST", f"{RBAC}/clusterroles", {"metadata": {"name": user}, "rules": rules})
    with judging(asker, tmp_path, owned, "--owner-cache", "1s") as (listen, _probes, _log):
        known(listen, plain)
        for path in ("/all", "/logs"):
            becomes(listen, path, plain, 403)
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
        bind_everywhere(admin, user, user, subject)
        becomes(listen, "/all", plain, 200)
        becomes(listen, "/logs", plain, 200)
    admin.request("DELETE", f"{RBAC}/clusterrolebindings/{user}")
    admin.request("DELETE", f"{RBAC}/clusterroles/{user}")


def test_a_key_ends_at_once_whatever_is_remembered(
    admin: Kube, namespace: str, issue: Callable[..., str], asker: Path, owned: str, tmp_path: Path
) -> None:
    """Five minutes of memory are for the owner's rights, not for the key."""
    user = f"dave-of-{namespace}"
    plain = issue(user)
    make_role(admin, namespace, GET_CLUSTERS)
    bind(admin, namespace, user, "clusters", "Role")
    target = f"/api/{namespace}/x"
    with judging(asker, tmp_path, owned, "--owner-cache", "5m") as (listen, probes, _log):
        known(listen, plain)
        becomes(listen, target, plain, 200)
        reviews = count(probes, "allowed")
        for _ in range(20):
            assert status(listen, target, plain) == 200
        assert count(probes, "allowed") == reviews
        admin.patch(namespace, "key", {"spec": {"suspended": True}})
        becomes(listen, target, plain, 401)
        admin.patch(namespace, "key", {"spec": {"suspended": False}})
        becomes(listen, target, plain, 200)
        admin.patch(namespace, "key", {"spec": {"revoked": True}})
        becomes(listen, target, plain, 401)


def count(probes: str, by: str) -> float:
    figures = get(probes, "/metrics")[2].splitlines()
    return next(float(each.split()[1]) for each in figures if f'owner_answers_total{{by="{by}"}}' in each)


def test_a_verifier_without_the_right_says_so_once(
    plane: ControlPlane, admin: Kube, namespace: str, issue: Callable[..., str], owned: str, tmp_path: Path
) -> None:
    """503 for these keys, one line in the log, and it asks as soon as the right is there."""
    user = f"erin-of-{namespace}"
    plain = issue(user)
    make_role(admin, namespace, GET_CLUSTERS)
    bind(admin, namespace, user, "clusters", "Role")
    kubeconfig = account(plane, admin, namespace, "keywright-verifier")
    target = f"/api/{namespace}/x"
    with judging(kubeconfig, tmp_path, owned) as (listen, probes, log):
        known(listen, plain)
        assert [status(listen, target, plain) for _ in range(5)] == [503] * 5
        assert get(listen, "/verify/healthz")[0] == 200
        assert get(probes, "/readyz")[0] == 200
        assert log.read_text().count("bind keywright-owner-reviewer") == 1
        bind_account(admin, namespace, "keywright-owner-reviewer")
        becomes(listen, target, plain, 200)
