"""The READMEs of the quickstart and the three systems: each command is run, and shows what the README says."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from keywright_local import ControlPlane
from tests.integration.conftest import ROOT, apply
from tests.support.installed_system import await_class_rules
from tests.support.kube import Kube, eventually
from tests.support.people import await_owner_filling
from tests.support.processes import BIN, free_address, operator
from tests.support.system_rows import ROWS
from tests.support.terminal import Step, read_steps, shell

SYSTEMS = ["quickstart", *sorted({row.system for row in ROWS})]


@pytest.fixture(scope="module")
def cluster(
    own_plane: ControlPlane, own_admin: Kube, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """What the README of the project installs on a cluster: every policy, and an operator."""
    apply(own_plane, ROOT / "deploy/admission")
    account = own_plane.kubeconfig_for_service_account("keywright-system", "keywright-operator")
    await_owner_filling(own_admin, "default")
    # The others are at work once this is refused.
    own_admin.create({"kind": "ApiKeyClass", "metadata": {"name": "probe"}, "spec": {"roles": []}})
    await_class_rules(own_admin, "default", "probe")
    own_admin.delete(None, "probe", kind="ApiKeyClass")
    with operator(account, tmp_path_factory.mktemp("operator") / "log"):
        yield own_plane


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_readme_shows_what_happens(cluster: ControlPlane, system: str, tmp_path: Path) -> None:
    """In a copy of its folder, with ports of its own in place of the default ones. In the end nothing is left running."""
    folder = tmp_path / system
    shutil.copytree(ROOT / "examples" / system, folder)
    kubeconfig = tmp_path / "kubeconfig"
    shutil.copy(cluster.kubeconfig, kubeconfig)
    listen, admin, service, probes = (free_address() for _ in range(4))
    environment = {
        "PATH": f"{BIN}:{cluster.kubectl.parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "KUBECONFIG": str(kubeconfig),
        "KEYWRIGHT_LISTEN": listen,
        "KEYWRIGHT_ADMIN_LISTEN": admin,
    }
    text = (folder / "README.md").read_text()
    for said, meant in {"8080": listen, "8081": admin, "8090": service, "8091": probes}.items():
        text = text.replace(f"127.0.0.1:{said}", meant)
    steps = read_steps(text)
    assert len(steps) > 15
    with shell(folder, environment) as terminal:
        for step in steps:
            terminal.play(step)
        # The shell is there still, and what was started in it is not.
        eventually(lambda: not is_listening(listen) and not is_listening(admin))


def is_listening(address: str) -> bool:
    host, port = address.split(":")
    with socket.socket() as connection:
        return connection.connect_ex((host, int(port))) == 0


def test_an_output_that_is_not_so_is_noticed(tmp_path: Path) -> None:
    """… stands for something on its line, and for nothing else."""
    (step,) = read_steps("```console\n$ seq 2 && \\\n> echo key 3 ends\n1\n2\nkey … ends\n```\n```sh\n$ other\n```\n")
    assert step == Step(command="seq 2 && \\\necho key 3 ends", output="1\n2\nkey … ends\n")
    with shell(tmp_path, {"PATH": "/usr/bin:/bin"}) as terminal:
        terminal.play(step)
        for wrong in ("1\n2\n", "1\n…\n", "1\n2\nkey … end\n", "1\n2\nkey 3 ends\n4\n", ""):
            with pytest.raises(AssertionError, match="instead of"):
                terminal.play(Step(command=step.command, output=wrong))
