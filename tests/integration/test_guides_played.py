"""What guides show at a terminal is what happens: each command, in order, in one shell. A list says where that is not so."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from keywright_local import ControlPlane
from tests.integration.conftest import ROOT
from tests.support.installation import kubectl
from tests.support.kube import Kube
from tests.support.processes import BIN, free_address, operator, serving
from tests.support.terminal import read_steps, shell

GUIDES = ROOT / "docs/guides"
# Guides, the namespace in which each is played, and how many of its YAML blocks are applied before.
PLAYED = {
    "delivery": ("deliveries", 5),
    "introspection": ("orders", 1),
    "kubectl": ("payments", 0),
    "restore": ("restored", 0),
    "usage": ("used", 0),
}
# How many blocks of commands each guide has that are not played from top to bottom, by PLAYED or test_console_guide.py.
# Of some, another test runs the block or a command of it.
NOT_PLAYED = {
    "console": 4,
    "gitops": 2,
    "hardening": 1,
    "in-process": 1,
    "install": 6,
    "kubectl": 2,
    "proxies": 6,
    "rate-limits": 1,
    "rules": 1,
    "secret-scanning": 1,
}
BLOCK = re.compile(r"^ *```(?P<language>[^\n]*)\n(?P<text>.*?)^ *```$", re.DOTALL | re.MULTILINE)
PROGRAM = re.compile(r"\$ |(?:kubectl|keywright|curl|make|helm|pip|jq)\b")


@pytest.fixture(scope="module")
def cluster(
    own_plane: ControlPlane, own_admin: Kube, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """An operator, and the namespaces."""
    for namespace, _ in PLAYED.values():
        own_admin.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    account = own_plane.kubeconfig_for_service_account("keywright-system", "keywright-operator")
    with operator(account, tmp_path_factory.mktemp("operator") / "log"):
        yield own_plane


@pytest.mark.parametrize("guide", PLAYED)
def test_a_guide_shows_what_happens(cluster: ControlPlane, guide: str, tmp_path: Path) -> None:
    """A verifier of its namespace runs. Free ports stand in place of those that are named."""
    namespace, applied = PLAYED[guide]
    kubeconfig = tmp_path / "kubeconfig"
    shutil.copy(cluster.kubeconfig, kubeconfig)
    environment = {
        "PATH": f"{BIN}:{cluster.kubectl.parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "KUBECONFIG": str(kubeconfig),
        "KEYWRIGHT_LISTEN": free_address(),
    }
    text = (GUIDES / f"{guide}.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[:applied]
    assert len(blocks) == applied
    chosen = ("config", "--kubeconfig", str(kubeconfig), "set-context", "--current", "--namespace", namespace)
    assert kubectl(cluster, *chosen).returncode == 0
    for block in blocks:
        done = kubectl(cluster, "apply", "--kubeconfig", kubeconfig, "-f", "-", text=block)
        assert done.returncode == 0, done.stderr
    admin = free_address()
    soon = ("--usage-interval", "1s")
    with (
        serving("verifier", cluster.kubeconfig, tmp_path / "log", *soon, namespaces=[namespace]) as (_, verifier, _),
        shell(tmp_path, environment) as terminal,
    ):
        for said, meant in {"127.0.0.1:8080": verifier, "127.0.0.1:8081": admin, "0.0.0.0:8081": admin}.items():
            text = text.replace(said, meant)
        steps = read_steps(text)
        assert steps
        for step in steps:
            terminal.play(step)


def test_what_is_not_played_is_known() -> None:
    """A command that is new in a guide is played, or counted here by whoever writes it."""
    found = {guide.stem: len(blocks_not_played(guide)) for guide in sorted(GUIDES.glob("*.md"))}
    assert {guide: number for guide, number in found.items() if number} == NOT_PLAYED


def blocks_not_played(guide: Path) -> list[str]:
    """What stands in them."""
    is_played = guide.stem in {*PLAYED, "rest"}
    found: list[str] = []
    for block in BLOCK.finditer(guide.read_text()):
        match block["language"]:
            case "console" if not is_played:
                found.append(block["text"])
            case "sh" | "bash":
                found.append(block["text"])
            case "" if PROGRAM.match(block["text"].strip()):
                found.append(block["text"])
    return found
