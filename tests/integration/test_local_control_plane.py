"""The embedded control plane keeps what it promises: real API, real RBAC, nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import keywright_local
from keywright_local import (
    CONTEXT_NAME,
    AuditLevel,
    BinariesUnavailableError,
    ClusterChoiceError,
    ControlPlane,
    LocalClusterError,
    StartError,
    find_binaries,
    named_cluster,
    versions,
)
from keywright_local.ports import pick_free_port

_PACKAGE_PARENT = Path(keywright_local.__file__).parents[1]


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane(audit=True, audit_level=AuditLevel.REQUEST_RESPONSE) as running:
        yield running


def kubectl(plane: ControlPlane, *arguments: str, kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
    identity = ["--kubeconfig", str(kubeconfig or plane.kubeconfig)]
    command = [str(plane.kubectl), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def wait_until(is_met: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not (met := is_met()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return met


def processes_of(directory: Path) -> list[int]:
    """Process ids of everything whose command line names the folder."""
    listing = subprocess.run(
        ["ps", "-ww", "-e", "-o", "pid=", "-o", "args="], capture_output=True, text=True, check=True
    )
    lines = [line.split(None, 1) for line in listing.stdout.splitlines()]
    return [int(pid) for pid, *arguments in lines if str(directory) in " ".join(arguments)]


def by_hand(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "keywright_local", *arguments],
        env={**os.environ, "PYTHONPATH": str(_PACKAGE_PARENT), "CLUSTER": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


class TestRunningPlane:
    def test_serves_the_pinned_version_with_admission_policies(self, plane: ControlPlane) -> None:
        """The server is what go.mod pins, and both kinds of admission policy are served as v1."""
        version = json.loads(kubectl(plane, "version", "-o", "json").stdout)["serverVersion"]
        assert version["gitVersion"].startswith("v1.")
        kinds = kubectl(plane, "api-resources", "--api-group=admissionregistration.k8s.io", "-o", "name")
        assert "validatingadmissionpolicies.admissionregistration.k8s.io" in kinds.stdout
        assert "mutatingadmissionpolicies.admissionregistration.k8s.io" in kinds.stdout

    def test_is_ready_for_service_accounts(self, plane: ControlPlane) -> None:
        """The default service account is there as soon as the plane is."""
        assert kubectl(plane, "get", "serviceaccount", "default", "-n", "default").returncode == 0

    def test_names_its_context_so_that_a_test_can_tell_it_is_ours(self, plane: ControlPlane) -> None:
        """Each kubeconfig has one context, of the published name, at the plane's server."""
        for path in (plane.kubeconfig, plane.kubeconfig_for("somebody")):
            config = json.loads(path.read_text())
            assert config["current-context"] == CONTEXT_NAME
            assert [entry["cluster"]["server"] for entry in config["clusters"]] == [plane.server]

    def test_an_ordinary_user_has_the_rights_that_rbac_gives_and_no_other(self, plane: ControlPlane) -> None:
        """A user's request is refused, and granted after a binding to one of the user's groups."""
        alice = plane.kubeconfig_for("alice", ["payments"])
        refused = kubectl(plane, "get", "secrets", "-n", "default", kubeconfig=alice)
        assert "Forbidden" in refused.stderr
        assert 'User "alice"' in refused.stderr
        kubectl(plane, "create", "role", "reader", "-n", "default", "--verb=list", "--resource=secrets")
        kubectl(plane, "create", "rolebinding", "reader", "-n", "default", "--role=reader", "--group=payments")
        assert wait_until(lambda: kubectl(plane, "get", "secrets", "-n", "default", kubeconfig=alice).returncode == 0)
        bob = plane.kubeconfig_for("bob")
        assert kubectl(plane, "get", "secrets", "-n", "default", kubeconfig=bob).returncode != 0

    def test_a_service_account_acts_by_its_token(self, plane: ControlPlane) -> None:
        """The token is accepted and means the service account."""
        kubectl(plane, "create", "serviceaccount", "robot", "-n", "default")
        robot = plane.kubeconfig_for_service_account("default", "robot")
        whoami = kubectl(plane, "auth", "whoami", "-o", "json", kubeconfig=robot)
        user = json.loads(whoami.stdout)["status"]["userInfo"]
        assert user["username"] == "system:serviceaccount:default:robot"
        assert "system:serviceaccounts:default" in user["groups"]

    def test_says_which_service_account_is_missing(self, plane: ControlPlane) -> None:
        """A token for nobody is an error that names the account and the remedy."""
        with pytest.raises(LocalClusterError, match="default/nobody") as caught:
            plane.kubeconfig_for_service_account("default", "nobody")
        assert "create" in caught.value.remedy

    def test_deletes_a_namespace_with_all_that_is_in_it(self, plane: ControlPlane) -> None:
        """Deleting a namespace completes, so the controllers work."""
        kubectl(plane, "create", "namespace", "short-lived")
        kubectl(plane, "create", "configmap", "some", "-n", "short-lived", "--from-literal=a=b")
        deleted = kubectl(plane, "delete", "namespace", "short-lived", "--timeout=30s")
        assert deleted.returncode == 0, deleted.stderr
        assert "NotFound" in kubectl(plane, "get", "namespace", "short-lived").stderr

    def test_collects_what_a_deleted_owner_leaves(self, plane: ControlPlane) -> None:
        """An object goes when its owner goes."""
        kubectl(plane, "create", "configmap", "parent", "-n", "default")
        uid = kubectl(plane, "get", "configmap", "parent", "-n", "default", "-o", "jsonpath={.metadata.uid}")
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "parent", "uid": uid.stdout}
        patch = json.dumps({"metadata": {"ownerReferences": [owner]}})
        kubectl(plane, "create", "configmap", "child", "-n", "default")
        kubectl(plane, "patch", "configmap", "child", "-n", "default", "-p", patch)
        kubectl(plane, "delete", "configmap", "parent", "-n", "default")
        assert wait_until(lambda: "NotFound" in kubectl(plane, "get", "configmap", "child", "-n", "default").stderr)

    def test_audit_log_tells_who_did_what(self, plane: ControlPlane) -> None:
        """A request and its body are in the audit log as soon as it is answered."""
        kubectl(plane, "create", "configmap", "audited", "-n", "default", "--from-literal=colour=blue")
        events = [json.loads(line) for line in plane.audit_log.read_text().splitlines()]
        (created,) = [
            event
            for event in events
            if event["verb"] == "create" and event.get("requestObject", {}).get("data") == {"colour": "blue"}
        ]
        assert created["user"]["username"] == "keywright-local-admin"
        assert created["stage"] == "ResponseComplete"

    def test_keeps_its_files_to_itself(self, plane: ControlPlane) -> None:
        """Nobody else can enter the folder, and no file with keys or data is readable by others."""
        assert stat.S_IMODE(plane.directory.stat().st_mode) == 0o700
        files = [path for path in plane.directory.rglob("*") if path.is_file()]
        assert files
        assert [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077] == []

    @pytest.mark.parametrize("kill", [False, True], ids=["in order", "killed"])
    def test_survives_an_outage_of_the_api_server(self, plane: ControlPlane, kill: bool) -> None:
        """Stopped, the server answers nobody; started, it has its address and its data."""
        name = f"outage-{str(kill).lower()}"
        kubectl(plane, "create", "configmap", name, "-n", "default")
        server = plane.server
        plane.stop_api_server(kill=kill)
        assert "refused" in kubectl(plane, "get", "namespaces").stderr
        plane.start_api_server()
        assert plane.server == server
        assert kubectl(plane, "get", "configmap", name, "-n", "default").returncode == 0


class TestStartAndEnd:
    def test_leaves_nothing_behind(self, tmp_path: Path) -> None:
        """After the block no process runs and the folder is gone."""
        directory = tmp_path / "plane"
        with ControlPlane(directory) as running:
            assert running.directory == directory
            assert len(processes_of(directory)) == 4
        assert processes_of(directory) == []
        assert not directory.exists()

    @pytest.mark.parametrize("victim", ["parent", "supervisor"])
    def test_programs_die_with_whoever_started_them(self, tmp_path: Path, victim: str) -> None:
        """kill -9 of the parent ends all and removes the folder; of the supervisor, ends all."""
        directory = tmp_path / "plane"
        program = (
            "import sys, time, pathlib, keywright_local\n"
            "with keywright_local.ControlPlane(pathlib.Path(sys.argv[1])) as plane:\n"
            "    print(plane._plane.supervisor.pid, flush=True)\n"
            "    time.sleep(600)\n"
        )
        parent = subprocess.Popen(
            [sys.executable, "-c", program, directory],
            env={**os.environ, "PYTHONPATH": str(_PACKAGE_PARENT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        with parent:
            try:
                assert parent.stdout is not None
                supervisor = int(parent.stdout.readline())
                programs = set(processes_of(directory)) - {parent.pid, supervisor}
                assert len(programs) == 3
                os.kill(parent.pid if victim == "parent" else supervisor, signal.SIGKILL)
                assert wait_until(lambda: programs.isdisjoint(processes_of(directory)))
            finally:
                parent.kill()
        if victim == "parent":
            assert wait_until(lambda: not directory.exists())

    def test_shows_the_log_of_what_did_not_start(self, tmp_path: Path) -> None:
        """A failed start names the program, shows its last words and leaves nothing."""
        directory = tmp_path / "plane"
        broken = ControlPlane(directory, extra_arguments={"kube-apiserver": ["--no-such-flag"]})
        with pytest.raises(StartError, match="kube-apiserver ended with code 1") as caught:
            broken.start()
        assert "unknown flag: --no-such-flag" in str(caught.value)
        assert not directory.exists()

    def test_takes_another_port_when_one_is_stolen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A port that somebody takes between choice and use costs a retry, no failure."""
        with socket.create_server(("127.0.0.1", pick_free_port())) as thief:
            stolen = thief.getsockname()[1]
            choices = [stolen, pick_free_port()]
            monkeypatch.setattr("keywright_local.control_plane.pick_free_port", lambda: choices.pop(0))
            with ControlPlane() as running:
                assert running.server != f"https://127.0.0.1:{stolen}"

    def test_does_not_take_a_folder_that_is_in_use(self, tmp_path: Path) -> None:
        """A folder with files is refused, since the plane would remove it in the end."""
        (tmp_path / "thesis.txt").write_text("ten years of work")
        with pytest.raises(LocalClusterError, match="not an empty folder"):
            ControlPlane(tmp_path).start()
        assert (tmp_path / "thesis.txt").exists()

    def test_works_in_a_folder_of_a_long_name(self, tmp_path: Path) -> None:
        """A path longer than a Unix socket may have is no obstacle."""
        with ControlPlane(tmp_path / ("long-" * 30)) as running:
            assert kubectl(running, "get", "namespaces").returncode == 0


class TestByHand:
    def test_stays_up_until_taken_down(self, tmp_path: Path) -> None:
        """up, up again, status, kubeconfig, down, down again: each does what it says."""
        directory = tmp_path / "by-hand"
        place = ["--directory", str(directory)]
        try:
            first = by_hand("up", *place)
            assert first.returncode == 0, first.stderr
            kubeconfig = directory / "kubeconfig"
            assert first.stdout == f"export KUBECONFIG={kubeconfig}\n"
            second = by_hand("up", *place)
            assert "already up" in second.stderr
            assert second.stdout == first.stdout
            assert by_hand("status", *place).returncode == 0
            assert by_hand("kubeconfig", *place).stdout == f"{kubeconfig}\n"
        finally:
            down = by_hand("down", *place)
        assert down.returncode == 0, down.stderr
        assert not directory.exists()
        assert processes_of(directory) == []
        assert "nothing was up" in by_hand("down", *place).stderr
        assert by_hand("status", *place).returncode == 3

    def test_down_never_signals_a_stranger(self, tmp_path: Path) -> None:
        """A process that merely has the recorded number is left alone."""
        directory = tmp_path / "by-hand"
        directory.mkdir()
        with subprocess.Popen(["sleep", "60"]) as stranger:
            try:
                state = {"holder": stranger.pid, "holder_born": "long ago", "server": "", "kubeconfig": ""}
                (directory / "state.json").write_text(json.dumps(state))
                down = by_hand("down", "--directory", str(directory))
                assert "nothing was up" in down.stderr
                assert stranger.poll() is None
            finally:
                stranger.kill()
        assert not directory.exists()

    def test_down_leaves_a_folder_alone_that_is_not_a_plane(self, tmp_path: Path) -> None:
        """Nothing is removed that no control plane has written."""
        (tmp_path / "thesis.txt").write_text("ten years of work")
        refused = by_hand("down", "--directory", str(tmp_path))
        assert refused.returncode == 1
        assert "What to do:" in refused.stderr
        assert (tmp_path / "thesis.txt").exists()

    def test_up_starts_nothing_when_a_cluster_is_named(self, plane: ControlPlane, tmp_path: Path) -> None:
        """CLUSTER=current shows the cluster in use and leaves it at that."""
        directory = tmp_path / "by-hand"
        shown = by_hand("up", "--directory", str(directory), CLUSTER="current", KUBECONFIG=str(plane.kubeconfig))
        assert shown.returncode == 0
        assert plane.server in shown.stderr
        assert not directory.exists()


class TestNamedCluster:
    def test_an_exported_kubeconfig_alone_is_no_choice(self, plane: ControlPlane) -> None:
        """Without CLUSTER the embedded plane is meant, whatever KUBECONFIG says."""
        assert named_cluster({**os.environ, "CLUSTER": "", "KUBECONFIG": str(plane.kubeconfig)}) is None

    def test_current_is_the_context_kubectl_uses(self, plane: ControlPlane, tmp_path: Path) -> None:
        """CLUSTER=current tells context and server, and exports a kubeconfig that works."""
        environment = {**os.environ, "CLUSTER": "current", "KUBECONFIG": str(plane.kubeconfig)}
        named = named_cluster(environment)
        assert named is not None
        assert (named.context, named.server) == (CONTEXT_NAME, plane.server)
        exported = named.export_kubeconfig(tmp_path / "kubeconfig", environment)
        assert stat.S_IMODE(exported.stat().st_mode) == 0o600
        assert kubectl(plane, "get", "namespaces", kubeconfig=exported).returncode == 0

    def test_any_other_value_is_refused_with_the_valid_ones(self) -> None:
        """A typing error must not silently mean another cluster."""
        with pytest.raises(ClusterChoiceError, match="CLUSTER=prod") as caught:
            named_cluster({"CLUSTER": "prod"})
        assert "CLUSTER=current" in caught.value.remedy
        assert "CLUSTER=embedded" in caught.value.remedy

    def test_current_without_a_context_is_refused(self, tmp_path: Path) -> None:
        """An empty kubeconfig is an error that says how to choose a context."""
        environment = {**os.environ, "CLUSTER": "current", "KUBECONFIG": str(tmp_path / "none")}
        with pytest.raises(ClusterChoiceError, match="no current context") as caught:
            named_cluster(environment)
        assert "use-context" in caught.value.remedy


def write_program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


class TestFindingBinaries:
    def environment(self, tmp_path: Path, **more: str) -> dict[str, str]:
        """A machine with an empty cache and no programs but the shell's."""
        return {
            "KEYWRIGHT_CACHE": str(tmp_path / "cache"),
            "PATH": f"{tmp_path / 'bin'}{os.pathsep}/bin",
            "HOME": str(tmp_path),
            **more,
        }

    def test_says_what_to_do_when_go_is_missing(self, tmp_path: Path) -> None:
        """Without Go the message names the version needed and the ways around it."""
        environment = self.environment(tmp_path, PATH=str(tmp_path / "bin"))
        with pytest.raises(BinariesUnavailableError, match="Go is not installed") as caught:
            find_binaries(environment, report=print)
        for hint in (versions.read_pinned_versions().go, "KUBEBUILDER_ASSETS", "CLUSTER=current"):
            assert hint in caught.value.remedy

    def test_says_what_to_do_when_go_is_too_old(self, tmp_path: Path) -> None:
        """An old Go is named with its version, and so is the one needed."""
        write_program(tmp_path / "bin" / "go", "echo go1.20.3")
        with pytest.raises(BinariesUnavailableError, match=r"found go1\.20\.3, needed go1\.\d+") as caught:
            find_binaries(self.environment(tmp_path), report=print)
        assert "install Go" in caught.value.remedy

    def test_assets_chosen_by_name_win_over_the_cache(self, tmp_path: Path) -> None:
        """Every program in KUBEBUILDER_ASSETS is taken from there, without any build."""
        assets = tmp_path / "assets"
        for program in versions.PROGRAMS:
            write_program(assets / program, "exit 0")
        found = find_binaries(self.environment(tmp_path, KUBEBUILDER_ASSETS=str(assets)), report=print)
        assert found.kube_apiserver == assets / "kube-apiserver"
        assert found.kube_controller_manager == assets / "kube-controller-manager"

    def test_assets_without_an_api_server_are_refused(self, tmp_path: Path) -> None:
        """A wrong KUBEBUILDER_ASSETS is an error and not silently passed over."""
        environment = self.environment(tmp_path, KUBEBUILDER_ASSETS=str(tmp_path))
        with pytest.raises(BinariesUnavailableError, match="no etcd and no kube-apiserver"):
            find_binaries(environment, report=print)

    def test_assets_of_another_minor_version_need_their_own_controllers(self, tmp_path: Path) -> None:
        """Our controller manager is not put before an API server that is older."""
        assets = tmp_path / "assets"
        write_program(assets / "etcd", "exit 0")
        write_program(assets / "kube-apiserver", "echo Kubernetes v1.29.0")
        environment = self.environment(tmp_path, KUBEBUILDER_ASSETS=str(assets))
        with pytest.raises(BinariesUnavailableError, match=r"Kubernetes v1\.29\.0"):
            find_binaries(environment, report=print)

    def test_two_at_once_build_once(self, tmp_path: Path) -> None:
        """Whoever comes second waits and takes what the first has built."""
        write_program(
            tmp_path / "bin" / "go",
            f"""
            case "$1" in
              env) echo go99.0;;
              -C) while [ "$1" != -o ]; do shift; done
                  echo "$3" >> {tmp_path}/built; sleep 0.2
                  printf '#!/bin/sh\\n' > "$2"; chmod 755 "$2";;
              *) exit 1;;
            esac""",
        )
        reports: list[str] = []
        environment = self.environment(tmp_path)
        both = [threading.Thread(target=find_binaries, args=(environment, reports.append)) for _ in range(2)]
        for one in both:
            one.start()
        for one in both:
            one.join(60)
        assert len((tmp_path / "built").read_text().splitlines()) == len(versions.PROGRAMS)
        assert any("another process" in line for line in reports)
        assert any("about" in line for line in reports)
        found = find_binaries(environment, report=reports.append)
        assert list(found.kubectl.parent.glob(".build-*")) == []

    def test_a_failed_build_shows_what_go_said(self, tmp_path: Path) -> None:
        """The error holds the compiler's words and leaves no half-made program."""
        write_program(
            tmp_path / "bin" / "go",
            """case "$1" in env) echo go99.0;; *) echo "dial tcp: no route to host" >&2; exit 1;; esac""",
        )
        with pytest.raises(BinariesUnavailableError, match="Building etcd failed") as caught:
            find_binaries(self.environment(tmp_path), report=print)
        assert "no route to host" in caught.value.details
        assert list((tmp_path / "cache").rglob("etcd")) == []
