"""``make e2e``: prepare images and programs, then run the tests where pods can run.

Without CLUSTER that is a node of our own, in namespaces that end with the tests; CLUSTER=kind makes a cluster in Docker;
CLUSTER=current takes the cluster of kubectl's current context, after asking, with an image that it can pull (IMAGE).
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from keywright_local import LocalClusterError, NamedCluster, find_binaries, named_cluster
from keywright_local.docker_daemon import DockerUnavailableError, docker_environment
from keywright_local.errors import NodeUnavailableError
from keywright_local.isolation import refuse_unless_possible, run_isolated
from keywright_local.node_binaries import find_node_binaries
from keywright_local.node_images import with_libraries, write_image
from keywright_local.versions import read_pinned_versions
from tests.e2e.installations import CRDS, SYSTEM
from tests.e2e.places import IMAGES, Images

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build/e2e"
NGINX = "localhost/keywright-e2e-nginx:dev"


def main(arguments: Sequence[str]) -> int:
    """Run the tests in the place that CLUSTER names; answers the exit code."""
    command = [sys.executable, "-m", "pytest", str(Path(__file__).parent), "-v", *arguments]
    try:
        if os.environ.get("CLUSTER") == "kind":
            return subprocess.run([ROOT / "deploy/kind/with-kind", "make", "e2e"], check=False, cwd=ROOT).returncode
        if (cluster := named_cluster()) is not None:
            return in_named(cluster, command)
        return on_own_node(command)
    except LocalClusterError as error:
        say(str(error))
        return 1


def say(line: str) -> None:
    """One line, before what the tests print."""
    sys.stdout.write(f"e2e: {line}\n")
    sys.stdout.flush()


def in_named(cluster: NamedCluster, command: Sequence[str]) -> int:
    """In a cluster of somebody's, if he says so."""
    image = os.environ.get("IMAGE")
    if not image:
        sys.exit("e2e: say IMAGE=… : a name under which this cluster finds what `make image` has built")
    say(f"CLUSTER=current: kube context {cluster.context} at {cluster.server}")
    if there := find_installation(cluster):
        sys.exit(f"e2e: {there} is there already: this would remove it in the end. Take a cluster without Keywright")
    if os.environ.get("CONFIRM") != cluster.context:
        if not sys.stdin.isatty():
            sys.exit(f"e2e: to use the context {cluster.context} without a terminal, say CONFIRM={cluster.context}")
        asked = (
            "This installs Keywright and removes it again, its CRDs and all ApiKeys included. Type the context's name: "
        )
        if input(asked) != cluster.context:
            sys.exit("e2e: not confirmed, nothing was done")
    images = Images(keywright=image, nginx=os.environ.get("NGINX_IMAGE") or "nginx:1.29")
    # What was confirmed is this cluster, wherever kubectl's current context may lead by now.
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = cluster.export_kubeconfig(Path(folder) / "kubeconfig")
        environment = {**_environment(images), "KUBECONFIG": str(kubeconfig)}
        return subprocess.run(command, env=environment, check=False, cwd=ROOT).returncode


def find_installation(cluster: NamedCluster) -> str:
    """What the cluster has of Keywright that would be removed: any of its CRDs, the namespace."""
    command = [str(cluster.kubectl), "--context", cluster.context, "get", "--ignore-not-found", "-o", "name"]
    looked_for = [*CRDS, f"namespace/{SYSTEM}"]
    done = subprocess.run([*command, *looked_for], stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    return " and ".join(done.stdout.split())


def on_own_node(command: Sequence[str]) -> int:
    """On a node of our own, or a line that says why not: a machine that allows none is nobody's mistake.

    What is not installed is one where nobody reads that line (CI=true).
    """
    try:
        refuse_unless_possible()
    except NodeUnavailableError as reason:
        say(f"skipped. {reason}")
        return 0
    try:
        find_node_binaries()
        nginx = find_nginx()
        with docker_environment():
            pass
    except (NodeUnavailableError, DockerUnavailableError) as reason:
        say(f"skipped. {reason}")
        return 1 if os.environ.get("CI") == "true" else 0
    find_binaries()
    return run_isolated(command, _environment(build_images(nginx)))


def find_nginx() -> Path:
    """Debian's."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin")
    if program is None:
        raise NodeUnavailableError("There is no nginx.", remedy="run `make test-deps`, or install nginx-light.")
    return Path(program)


def build_images(nginx: Path) -> Images:
    """The image that users get, and nginx with the libraries it has on this machine."""
    # Here nothing is pulled, unless somebody names a base that can be.
    base = os.environ.get("BASE") or "local"
    made = subprocess.run(
        ["make", "--no-print-directory", "image", f"BASE={base}", "IMAGE=keywright:dev"], check=False, cwd=ROOT
    )
    if made.returncode != 0:
        raise LocalClusterError("The image cannot be built.", remedy="see what `make image` says above.")
    BUILD.mkdir(parents=True, exist_ok=True)
    archive = write_image(
        BUILD / "nginx.tar",
        reference=NGINX,
        files=with_libraries(nginx),
        entrypoint=[str(nginx)],
        versions=read_pinned_versions(),
    )
    return Images(
        keywright="keywright:dev", nginx=NGINX, archives=[str(ROOT / "build/image/keywright.tar"), str(archive)]
    )


def _environment(images: Images) -> dict[str, str]:
    return {**os.environ, IMAGES: json.dumps(asdict(images))}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
