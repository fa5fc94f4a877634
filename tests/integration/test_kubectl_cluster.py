"""``kubectl apikey`` and the cluster: how it is reached, how long it is waited for, and what shells complete."""

import base64
import json
import os
import signal
import stat
import subprocess
from pathlib import Path
from random import Random

import pytest

from keywright.domain import plainkey
from keywright_local import ControlPlane
from tests.integration.conftest import Namespaces
from tests.support.kube import Kube, eventually
from tests.support.kubectl import PROGRAM, apikey, environment_of
from tests.support.processes import BIN, free_address


@pytest.fixture
def place(own_admin: Kube, make_namespace: Namespaces) -> str:
    """A namespace of a control plane without an operator, with the ApiKeys a and b."""
    namespace = make_namespace(own_admin)
    for name in ("a", "b"):
        own_admin.apikey(namespace, name)
    return namespace


def document(path: Path) -> dict[str, list[dict[str, dict[str, str]]]]:
    found: dict[str, list[dict[str, dict[str, str]]]] = json.loads(path.read_text())
    return found


def test_a_credential_plugin_is_asked(own_plane: ControlPlane, place: str, tmp_path: Path) -> None:
    """As kubectl does; and it may read standard input without eating the key."""
    config = document(own_plane.kubeconfig)
    user = config["users"][0]["user"]
    status = {
        "clientCertificateData": base64.b64decode(user["client-certificate-data"]).decode(),
        "clientKeyData": base64.b64decode(user["client-key-data"]).decode(),
    }
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    (tmp_path / "answer").write_text(json.dumps(answer))
    plugin = tmp_path / "plugin"
    plugin.write_text(f"#!/bin/sh\ncat > {tmp_path}/eaten\ncat {tmp_path}/answer\n")
    plugin.chmod(plugin.stat().st_mode | stat.S_IXUSR)
    execute = {"apiVersion": answer["apiVersion"], "command": str(plugin), "interactiveMode": "IfAvailable"}
    changed = config | {"users": [{"name": config["users"][0]["name"], "user": {"exec": execute}}]}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps(changed))
    done = apikey(kubeconfig, "list", "-n", place, "-o", "name")
    assert done.out.split() == ["apikey.keywright.dev/a", "apikey.keywright.dev/b"], done.err
    unknown = plainkey.generate("kw_live", Random(7)).text
    assert "unknown here" in apikey(kubeconfig, "verify", "-n", place, given=unknown).err
    plugin.write_text("#!/bin/sh\necho the login has ended >&2\nexit 1\n")
    failed = apikey(kubeconfig, "list", "-n", place)
    assert failed.status == 1
    assert "the login has ended" in failed.err
    assert "log in again" in failed.err


def test_context_and_namespace_are_those_of_kubectl(own_plane: ControlPlane, place: str, tmp_path: Path) -> None:
    """``KUBECONFIG`` may name several files; ``--context`` picks; the namespace of the context is the default."""
    config = document(own_plane.kubeconfig)
    other = {
        "apiVersion": "v1",
        "kind": "Config",
        "contexts": [{"name": "placed", "context": config["contexts"][0]["context"] | {"namespace": place}}],
    }
    second = tmp_path / "second"
    second.write_text(json.dumps(other))
    both = f"{own_plane.kubeconfig}{os.pathsep}{second}"
    names = apikey(None, "list", "-o", "name", "--context", "placed", KUBECONFIG=both)
    assert names.out.split() == ["apikey.keywright.dev/a", "apikey.keywright.dev/b"], names.err
    assert apikey(None, "list", "-o", "name", KUBECONFIG=both).out == ""
    flagged = apikey(None, "list", "-o", "name", "-n", place, "--kubeconfig", str(own_plane.kubeconfig))
    assert flagged.out == names.out
    wrong = apikey(None, "list", "--context", "nowhere", KUBECONFIG=both)
    assert wrong.status == 1
    assert "has no context nowhere: it has keywright-local, placed" in wrong.err


def test_without_an_operator_waiting_ends_with_that_question(own_plane: ControlPlane, place: str) -> None:
    """At the timeout, and not with "not found"."""
    done = apikey(own_plane.kubeconfig, "create", "waits", "--timeout", "2s", "-n", place)
    assert (done.status, done.out) == (1, "")
    assert f"no operator has looked at waits: does one run, and for namespace {place}?" in done.err


def test_an_interrupt_is_clean(own_plane: ControlPlane, own_admin: Kube, place: str) -> None:
    """Ctrl-C while it waits: two lines, exit status 130, and the ApiKey is there."""
    # A shell that runs in the background ignores interrupts, and so does everything that it starts: what this process
    # catches instead is the default again in a new program.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            [PROGRAM, "create", "interrupted", "--timeout", "10m", "-n", place],
            env=environment_of(own_plane.kubeconfig),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        eventually(lambda: any(each["metadata"]["name"] == "interrupted" for each in own_admin.list(place)), within=60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 130
    assert out == b""
    assert b"Traceback" not in err
    assert err.endswith(b"kubectl apikey: interrupted\n")


def test_kubectl_finds_and_completes_it(own_plane: ControlPlane, place: str) -> None:
    """As a plugin: commands, flags and, from the cluster, names."""
    environment = environment_of(own_plane.kubeconfig) | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}

    def kubectl(*arguments: str) -> str:
        done = subprocess.run(
            [own_plane.kubectl, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    assert kubectl("apikey", "list", "-n", place, "-o", "name").startswith("apikey.keywright.dev/a\n")
    commands = [line.split("\t")[0] for line in kubectl("__complete", "apikey", "re").splitlines()]
    assert commands == ["resume", "reveal", "revoke", ":4"]
    assert kubectl("__complete", "apikey", "show", "-n", place, "").splitlines()[:2] == ["a", "b"]
    assert kubectl("__complete", "apikey", "show", "-n", place, "b").splitlines() == ["b", ":4"]
    assert "--all-namespaces" in kubectl("__complete", "apikey", "list", "--a")
    assert kubectl("__complete", "apikey", "verify", "--file", "").splitlines() == [":0"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_the_program_itself(own_plane: ControlPlane, place: str, shell: str) -> None:
    """The script that is printed asks the program, which answers in that shell's way."""
    script = apikey(None, "completion", shell)
    assert script.status == 0
    assert f"_KUBECTL_APIKEY_COMPLETE={shell}_complete" in script.out
    asked = apikey(
        own_plane.kubeconfig,
        _KUBECTL_APIKEY_COMPLETE=f"{shell}_complete",
        COMP_WORDS=f"kubectl-apikey show -n {place} " + ("b" if shell != "fish" else ""),
        COMP_CWORD="b" if shell == "fish" else "4",
    )
    assert asked.status == 0
    assert "plain" in asked.out
    assert "b" in asked.out.replace(",", "\n").split("\n")[1:]


def test_the_script_for_bash_is_one_that_bash_takes(tmp_path: Path) -> None:
    """It is evaluated, and completes the command."""
    script = tmp_path / "script"
    script.write_text(apikey(None, "completion", "bash").out)
    done = subprocess.run(
        ["bash", "--norc", "-c", f"source {script} && complete -p kubectl-apikey"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "kubectl-apikey" in done.stdout


def test_a_cluster_without_keywright_is_said_to_be_one(own_plane: ControlPlane, own_admin: Kube, place: str) -> None:
    """For that the CRDs are taken away, so nothing may come after this but the outage."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/apikeys.keywright.dev"
    own_admin.request("DELETE", path)

    def look() -> bool:
        return "install Keywright there" in apikey(own_plane.kubeconfig, "list", "-n", place).err

    eventually(look, within=60)


def test_an_api_server_that_is_away_is_one_line(own_plane: ControlPlane) -> None:
    """For every command that needs it, and no wait of minutes; shells that complete hear nothing."""
    own_plane.stop_api_server()
    for command in (["list"], ["show", "a"], ["create", "x"], ["revoke", "a", "b"], ["reveal", "a"]):
        done = apikey(own_plane.kubeconfig, *command)
        assert (done.status, done.out) == (1, "")
        assert len(done.err.splitlines()) == 1
        assert "cannot be reached" in done.err
    plain = plainkey.generate("kw_live", Random(7)).text
    unsure = apikey(own_plane.kubeconfig, "verify", given=plain)
    assert unsure.status == 1
    assert "--offline" in unsure.err
    nobody = apikey(own_plane.kubeconfig, "verify", "--url", f"http://{free_address()}/verify", given=plain)
    assert nobody.status == 1
    assert "cannot be asked" in nobody.err
    words = "kubectl-apikey show "
    completed = apikey(own_plane.kubeconfig, _KUBECTL_APIKEY_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD="2")
    assert completed.err == ""
