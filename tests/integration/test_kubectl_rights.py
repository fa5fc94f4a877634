"""``kubectl apikey`` with too few rights: what is refused, what is said, and that what is said helps."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable

import pytest

from keywright_local import ControlPlane
from tests.support.kube import Kube, eventually
from tests.support.kubectl import apikey, at_terminal
from tests.support.people import allowed, bind, grant, make_user
from tests.support.processes import Process

KEYS = {"apiGroups": ["keywright.dev"], "resources": ["apikeys"]}


@pytest.fixture
def viewer(plane: ControlPlane, admin: Kube, namespace: str) -> Kube:
    """Somebody who may look, and nothing else."""
    bind(admin, namespace, f"viewer-of-{namespace}", "view")
    kube = Kube(plane.kubeconfig_for(f"viewer-of-{namespace}"))
    allowed(lambda: kube.list(namespace))
    return kube


def advised(text: str) -> list[str]:
    """The command that the message says an administrator should run, without ``kubectl``."""
    found = re.search(r"kubectl (create .+)$", text.strip())
    assert found is not None, text
    return shlex.split(found[1])


def run_as_admin(plane: ControlPlane, command: list[str]) -> None:
    subprocess.run(
        [plane.kubectl, "--kubeconfig", plane.kubeconfig, *command], check=True, capture_output=True, timeout=60
    )


def test_a_viewer_looks_and_changes_nothing(
    viewer: Kube, issue: Callable[..., str], admin: Kube, namespace: str
) -> None:
    """List, show and verify take ``view``; every other command says which right it lacks, and nothing has changed."""
    plain = issue()
    before = admin.get(namespace, "key")["spec"]
    for command in (["list"], ["list", "-o", "json"], ["show", "key"]):
        assert apikey(viewer.kubeconfig, *command, "-n", namespace).status == 0
    assert apikey(viewer.kubeconfig, "verify", "-n", namespace, given=plain).status == 0
    for command, right in (
        (["create", "another"], "create apikeys"),
        (["rotate", "key"], "patch apikeys"),
        (["suspend", "key"], "patch apikeys"),
        (["revoke", "key"], "patch apikeys"),
        (["delete", "key"], "delete apikeys"),
        (["reveal", "key"], "get secrets"),
    ):
        done = apikey(viewer.kubeconfig, *command, "-n", namespace)
        assert done.status == 1
        assert done.out == ""
        assert len(done.err.splitlines()) == 1
        assert f"you (viewer-of-{namespace}) may not {right}" in done.err, done.err
    (left,) = admin.list(namespace)
    assert (left["metadata"]["name"], left["spec"]) == ("key", before)
    assert "annotations" not in left["metadata"]


def test_the_command_that_is_advised_gives_the_right(plane: ControlPlane, viewer: Kube, namespace: str) -> None:
    """An administrator runs it as it stands, and the refused command works."""
    suspended = apikey(viewer.kubeconfig, "create", "made", "-o", "name", "-n", namespace)
    run_as_admin(plane, advised(suspended.err))

    def works() -> bool:
        return apikey(viewer.kubeconfig, "create", "made", "-o", "name", "-n", namespace).status == 0

    eventually(works, within=30)


def test_looking_everywhere_takes_a_right_everywhere(
    plane: ControlPlane, admin: Kube, viewer: Kube, namespace: str
) -> None:
    """Only ``-A`` does; the advice is a binding for the whole cluster."""
    done = apikey(viewer.kubeconfig, "list", "-A")
    assert done.status == 1
    command = advised(done.err)
    assert command[1] == "clusterrolebinding"
    run_as_admin(plane, command)
    eventually(lambda: apikey(viewer.kubeconfig, "list", "-A").status == 0, within=30)
    admin.request("DELETE", f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{command[2]}")


def test_a_policy_is_repeated_in_its_own_words(editor: Kube, namespace: str) -> None:
    """What to ask for, without the names of policy and binding."""
    done = apikey(editor.kubeconfig, "create", "key", "--class", "not-mine", "-n", namespace)
    assert done.status == 1
    assert done.err.startswith("kubectl apikey: refused: you may not use the ApiKeyClass not-mine")
    assert "ValidatingAdmissionPolicy" not in done.err


def test_create_without_the_right_to_read_secrets_says_where_the_key_is(
    plane: ControlPlane, admin: Kube, namespace: str, shared_operator: Process
) -> None:
    """The key was issued; somebody who may can reveal it."""
    maker = make_user(plane, admin, namespace, "maker", KEYS | {"verbs": ["get", "create"]})
    admin.apikey(namespace, "seen")
    allowed(lambda: maker.get(namespace, "seen"))
    done = apikey(maker.kubeconfig, "create", "key", "-n", namespace)
    assert (done.status, done.out) == (1, "")
    assert "its key could not be fetched: it is in its Secret" in done.err
    assert "the right get on secrets" in done.err
    assert admin.plain_key(namespace, "key")


def test_one_key_that_may_not_be_revoked_does_not_stop_the_others(
    plane: ControlPlane, admin: Kube, namespace: str
) -> None:
    """The exit status says that not all was done, and the message which."""
    for name in ("a", "b", "c"):
        admin.apikey(namespace, name, owner={"user": "bob@example.com"})
    admin.apikey(namespace, "others")
    on_call = make_user(plane, admin, namespace, "on-call", KEYS | {"verbs": ["get", "list"]})
    grant(admin, namespace, "on-call", "apikeys", "patch", "a", "c")
    allowed(lambda: on_call.patch(namespace, "c", {"metadata": {"labels": {"seen": "yes"}}}))
    done = apikey(
        on_call.kubeconfig, "revoke", "--owner", "bob@example.com", "--reason", "left", "--yes", "-n", namespace
    )
    assert done.status == 1
    assert done.out == "apikey/a revoked\napikey/c revoked\n"
    assert "b: you (on-call) may not patch apikeys b" in done.err
    assert "1 of 3" in done.err
    revoked = {each["metadata"]["name"]: each["spec"]["revoked"] for each in admin.list(namespace)}
    assert revoked == {"a": True, "b": False, "c": True, "others": False}
    assert admin.get(namespace, "a")["spec"]["revocationReason"] == "left"


def test_revoking_by_owner_names_the_keys_and_asks(editor: Kube, admin: Kube, namespace: str) -> None:
    """Without a terminal it refuses, and without a yes it does nothing."""
    for name in ("a", "b"):
        admin.apikey(namespace, name, owner={"user": "bob@example.com"})
    command = ["revoke", "--owner", "bob@example.com", "-n", namespace]

    def revoked() -> list[str]:
        return [each["metadata"]["name"] for each in admin.list(namespace) if each["spec"]["revoked"]]

    piped = apikey(editor.kubeconfig, *command, given="y\n")
    assert piped.status == 1
    assert "--yes" in piped.err
    for answer, status in (("n\n", 1), ("\n", 1), ("\x04", 130)):
        done = at_terminal(editor.kubeconfig, *command, given=answer, prompt="[y/N]")
        assert done.status == status
        assert "Revoke 2 keys for ever?" in done.out
    assert revoked() == []
    done = at_terminal(editor.kubeconfig, *command, given="y\n", prompt="[y/N]")
    assert done.status == 0
    assert revoked() == ["a", "b"]
    again = apikey(editor.kubeconfig, *command)
    assert again.status == 0
    assert "revoked already" in again.err
    mistyped = apikey(editor.kubeconfig, "revoke", "--owner", "bob", "--yes", "-n", namespace)
    assert mistyped.status == 1
    assert "nothing to revoke" in mistyped.err


def test_revoking_by_label_and_everywhere(plane: ControlPlane, admin: Kube, namespace: str) -> None:
    """The administrator revokes whose keys they may be, in every namespace."""
    for name, team in (("a", "payments"), ("b", "search")):
        admin.create(
            {"kind": "ApiKey", "metadata": {"name": name, "namespace": namespace, "labels": {"team": team}}, "spec": {}}
        )
    done = apikey(plane.kubeconfig, "revoke", "-l", "team=payments", "-A", "--yes")
    assert (done.status, done.out) == (0, f"apikey/a revoked in namespace {namespace}\n")
    assert admin.get(namespace, "b")["spec"]["revoked"] is False
    for wrong in (["a", "-l", "team=search"], ["a", "-A"], []):
        assert apikey(plane.kubeconfig, "revoke", *wrong, "-n", namespace).status == 2


def test_what_users_write_does_not_reach_a_terminal_raw(editor: Kube, admin: Kube, namespace: str) -> None:
    """Escapes in a display name, a description and a reason."""
    evil = "x\x1b]0;title\x07\x1b[2J"
    admin.apikey(namespace, "evil", displayName=evil, description=evil, revoked=True, revocationReason=evil)
    for command in (["list", "-o", "wide"], ["show", "evil"], ["list", "-o", "yaml"], ["list", "-o", "json"]):
        shown = at_terminal(editor.kubeconfig, *command, "-n", namespace, NO_COLOR="1").out
        assert "\x1b" not in shown
        assert "\x07" not in shown
    assert (
        json.loads(apikey(editor.kubeconfig, "show", "evil", "-o", "json", "-n", namespace).out)["spec"]["displayName"]
        == evil
    )
