"""What the guides show is what the API server takes."""

import re
import subprocess
from pathlib import Path

import pytest

from keywright_local import ControlPlane
from tests.integration.conftest import ROOT

GUIDES = sorted((ROOT / "docs/guides").glob("*.md"))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_the_yaml_of_a_guide_applies(plane: ControlPlane, guide: Path) -> None:
    """Every YAML block of a guide is accepted, strictly."""
    blocks = re.findall(r"```yaml\n(.*?)```", guide.read_text(), re.DOTALL)
    assert blocks
    command = [str(plane.kubectl), "--kubeconfig", str(plane.kubeconfig), "apply", "--dry-run=server", "-f", "-"]
    for block in blocks:
        done = subprocess.run(command, input=block, text=True, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_examples_apply(plane: ControlPlane) -> None:
    """So are the examples, but for what is no object: rules files and pipelines."""
    files = [path for path in sorted((ROOT / "examples").rglob("*.yaml")) if "apiVersion:" in path.read_text()]
    assert {path.name for path in (ROOT / "examples").rglob("*.yaml")} - {path.name for path in files} == {
        "rules.yaml",
        "github-actions.yaml",
        "gitlab-ci.yaml",
    }
    command = [str(plane.kubectl), "--kubeconfig", str(plane.kubeconfig), "apply", "--dry-run=server"]
    chosen = [argument for path in files for argument in ("-f", str(path))]
    done = subprocess.run([*command, *chosen], text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
