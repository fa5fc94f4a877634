"""The image: all commands in it, as little else as possible, and everything that a restricted pod asks for."""

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from keywright_local import ControlPlane, LocalClusterError
from keywright_local.docker_daemon import docker_environment
from tests.integration.conftest import ROOT
from tests.support.kube import Kube, eventually
from tests.support.processes import free_address, get

# As a pod of the restricted standard runs, without a network besides.
RESTRICTED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges")
ALONE = (*RESTRICTED, "--network=none")
# What could run a script: gone in the copy that the test of both processes runs.
WITHOUT_SHELL = """
FROM {image}
USER 0
RUN ["python3", "-c", "import glob, os; [os.remove(each) for each in {programs!r} if os.path.lexists(each)]"]
USER 65532:65532
"""
SHELLS = [f"{folder}/{name}" for folder in ("/bin", "/usr/bin") for name in ("bash", "dash", "rbash", "sh", "env")]


class Docker:
    """A daemon, and what this test has made in it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment

    def __call__(self, *arguments: str, text: str | None = None) -> str:
        done = self.run(*arguments, text=text)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def run(self, *arguments: str, text: str | None = None) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["docker", *arguments],
            env=self.environment,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )


@pytest.fixture(scope="module")
def docker() -> Iterator[Docker]:
    """Skips where no daemon runs and none can be started, and fails there if nobody reads skips (CI=true)."""
    with ExitStack() as stack:
        try:
            environment = stack.enter_context(docker_environment())
        except LocalClusterError as error:
            if os.environ.get("CI") == "true":
                pytest.fail(str(error))
            pytest.skip(f"{error.message} {error.remedy}")
        yield Docker(environment)


@pytest.fixture(scope="module")
def image(docker: Docker) -> Iterator[str]:
    """The image on a base of this machine's own, as ``make image BASE=local`` builds it."""
    name = f"keywright-test:{uuid.uuid4().hex[:12]}"
    variables = {**docker.environment, "BASE": "local", "IMAGE": name, "PYTHONPATH": str(ROOT / "deploy/local")}
    command: list[str | Path] = [sys.executable, ROOT / "deploy/image/build.py"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    sys.stdout.write(done.stdout)
    yield name
    docker("image", "rm", "--force", name)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--version",), r"keywright \d+\.\d+\.\d+"),
        (("operator", "--help"), "usage: keywright operator "),
        (("verifier", "--help"), "usage: keywright verifier "),
        (("console", "--help"), "usage: keywright console "),
        (("crds",), "kind: CustomResourceDefinition"),
    ],
    ids=["version", "operator", "verifier", "console", "crds"],
)
@pytest.mark.parametrize("user", ["65532:65532", "1234567:0"])
def test_each_command_runs_as_anybody(
    docker: Docker, image: str, user: str, arguments: tuple[str, ...], said: str
) -> None:
    """Without root, a name for its user, a network or a file system to write to."""
    assert re.search(said, docker("run", "--rm", *ALONE, f"--user={user}", image, *arguments))


def test_what_needs_an_extra_is_there(docker: Docker, image: str) -> None:
    """Redis, Envoy's gRPC, and the console with its pages; a kubeconfig that needs the library that was left out is refused with what would do."""
    modules = "import hiredis, grpc, google.protobuf, uvloop, httptools, kopf"
    modules += "; import keywright.console.run, keywright.console.pages.rendering"
    modules += "; from importlib.resources import files; pages = files('keywright.console.pages')"
    modules += "; assert all((pages / each).is_file() for each in ('templates/base.html', 'static/console.css'))"
    docker("run", "--rm", *ALONE, "--entrypoint=/opt/keywright/bin/python", image, "-c", modules)
    done = docker.run("run", "--rm", *ALONE, "--env=KUBECONFIG=/a:/b", image, "operator")
    assert done.returncode == 1
    assert "takes the kubernetes package" in done.stderr


def test_who_runs_it_is_nobody_special(docker: Docker, image: str) -> None:
    """A number that runAsNonRoot can judge; labels that say what it is; commands in exec form."""
    configuration = json.loads(docker("image", "inspect", "--format={{json .Config}}", image))
    assert configuration["User"] == "65532:65532"
    assert configuration["Entrypoint"] == ["/opt/keywright/bin/keywright"]
    labels = {name.rpartition(".")[2]: value for name, value in configuration["Labels"].items()}
    assert (labels["title"], labels["licenses"]) == ("Keywright", "Apache-2.0")
    assert f"keywright {labels['version']}" == docker("run", "--rm", *ALONE, image, "--version")


LOOK = r"""
import os, re, stat, sys
for folder, folders, files in os.walk("/"):
    if folder == "/":
        folders[:] = set(folders) - {"proc", "sys", "dev"}
    for path in (os.path.join(folder, file) for file in files):
        found = os.lstat(path)
        if not stat.S_ISREG(found.st_mode):
            continue
        if found.st_mode & (stat.S_ISUID | stat.S_ISGID):
            print("becomes another user:", path)
        if re.search(r"/(cc|gcc|g\+\+|ld|pip[0-9.]*)$", path) or folder.endswith("/pip"):
            print("installs or compiles:", path)
        text = open(path, "rb").read() if re.match("/(etc|var|opt)/", path) else b""
        if any(mirror.encode() in text or mirror in path for mirror in sys.argv[1:]):
            print("names a mirror:", path)
"""


def test_nothing_in_it_helps_an_intruder_or_tells_where_it_was_made(docker: Docker, image: str) -> None:
    """No program that becomes root, no installer, no compiler, no address of a mirror."""
    listed = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)"], capture_output=True, text=True, check=True
    )
    mirrors = {re.sub(r"^\w+://", "", line).strip("/") for line in listed.stdout.split()} - {""}
    assert mirrors
    look = ("run", "--rm", *RESTRICTED, "--network=none", "--user=0", "--cap-add=DAC_OVERRIDE", "--entrypoint=python3")
    assert docker(*look, image, "-c", LOOK, *mirrors) == ""


def test_it_is_as_large_as_the_guide_says(docker: Docker, image: str) -> None:
    """What is ours in it, within 5 %."""
    guide = (ROOT / "docs/guides/install.md").read_text()
    said = re.search(r"What is ours in it is the last layer: (\d+) MiB", guide)
    assert said is not None
    sizes = docker("history", "--human=false", "--format={{.Size}}", image).split()
    assert next(int(size) for size in sizes if size != "0") / 2**20 == pytest.approx(int(said[1]), rel=0.05)


def test_it_can_be_built_again_to_the_byte(docker: Docker, image: str) -> None:
    """What is ours in it: the layer that is copied. The base's own part is as reproducible as the base."""
    first = layers(docker, image)
    again = f"{image}-again"
    history = docker("image", "inspect", "--format={{json .Config.Labels}}", image)
    revision = json.loads(history)["org.opencontainers.image.revision"]
    epoch = subprocess.run(
        ["git", "-C", ROOT, "log", "-1", "--format=%ct", revision], capture_output=True, text=True, check=True
    )
    arguments = ["BASE=keywright-base:local", f"SOURCE_DATE_EPOCH={epoch.stdout.strip()}"]
    try:
        flags = [part for each in arguments for part in ("--build-arg", each)]
        docker(
            "build",
            "--quiet",
            "--no-cache",
            "--network=none",
            *flags,
            "--tag",
            again,
            str(ROOT / "build/image/context"),
        )
        assert layers(docker, again)[-1] == first[-1]
    finally:
        docker.run("image", "rm", "--force", again)
        docker.run("image", "prune", "--force", "--filter=label=dev.keywright.stage=build")


def layers(docker: Docker, image: str) -> list[str]:
    found: list[str] = json.loads(docker("image", "inspect", "--format={{json .RootFS.Layers}}", image))
    return found


@contextmanager
def container(docker: Docker, image: str, kubeconfig: Path, *arguments: str) -> Iterator[Callable[[], int]]:
    """A command on this machine's network; with it comes how to stop it, which answers its exit status."""
    mount = f"--volume={kubeconfig}:/kubeconfig:ro"
    name = docker(
        "run", "--detach", *RESTRICTED, "--network=host", mount, "--env=KUBECONFIG=/kubeconfig", image, *arguments
    )

    def stop() -> int:
        docker("stop", "--time=30", name)
        return int(docker("inspect", "--format={{.State.ExitCode}}", name))

    try:
        yield stop
    finally:
        logs = docker.run("logs", name)
        sys.stdout.write(logs.stdout + logs.stderr)
        docker("rm", "--force", name)


def test_both_processes_work_without_a_shell(
    docker: Docker, image: str, plane: ControlPlane, admin: Kube, namespace: str, tmp_path: Path
) -> None:
    """In containers that hold no shell at all: a key is issued, judged, and both end when they are told to."""
    bare = f"{image}-bare"
    docker(
        "build",
        "--quiet",
        "--network=none",
        "--tag",
        bare,
        "-",
        text=WITHOUT_SHELL.format(image=image, programs=SHELLS),
    )
    account = tmp_path / "kubeconfig"
    token = plane.kubeconfig_for_service_account("keywright-system", "keywright-operator")
    account.write_text(token.read_text())
    account.chmod(0o644)
    try:
        assert docker.run("run", "--rm", *ALONE, "--entrypoint=/bin/sh", bare, "-c", "true").returncode != 0
        health, admin_address, listen = free_address(), free_address(), free_address()
        operator = ("operator", f"--namespace={namespace}", f"--health-listen={health}")
        verifier = ("verifier", f"--namespace={namespace}", f"--listen={listen}", f"--admin-listen={admin_address}")
        with container(docker, bare, account, *operator) as stop_operator:
            with container(docker, bare, account, *verifier) as stop_verifier:
                for address in (health, admin_address):
                    eventually(lambda at=address: get(at, "/readyz")[0] == 200, within=60)  # type: ignore[misc]
                admin.apikey(namespace, "key")
                admin.wait(namespace, "key", within=60, Active="True")
                plain = admin.plain_key(namespace, "key")
                eventually(lambda: get(listen, X_API_Key=plain)[0] == 200)
                assert get(listen, X_API_Key=plain[:-1])[0] == 401
                assert stop_verifier() == 0
            assert stop_operator() == 0
    finally:
        docker.run("image", "rm", "--force", bare)
