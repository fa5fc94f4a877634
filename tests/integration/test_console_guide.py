"""The guide to REST does what it shows: its class, its commands, its answers."""

import re
import shutil
from pathlib import Path

from keywright_local import ControlPlane
from tests.integration.conftest import ROOT
from tests.support.installation import kubectl
from tests.support.processes import BIN, free_address, operator
from tests.support.terminal import read_steps, shell


def test_every_command_shows_what_the_guide_says(own_plane: ControlPlane, tmp_path: Path) -> None:
    """With ports of its own in place of the default ones."""
    text = (ROOT / "docs/guides/rest.md").read_text()
    for said in ("127.0.0.1:8090", "127.0.0.1:8091"):
        text = text.replace(said, free_address())
    (key_class,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert kubectl(own_plane, "apply", "-f", "-", text=key_class).returncode == 0
    kubeconfig = tmp_path / "kubeconfig"
    shutil.copy(own_plane.kubeconfig, kubeconfig)
    environment = {
        "PATH": f"{BIN}:{own_plane.kubectl.parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "KUBECONFIG": str(kubeconfig),
    }
    steps = read_steps(text)
    assert len(steps) > 10
    account = own_plane.kubeconfig_for_service_account("keywright-system", "keywright-operator")
    with operator(account, tmp_path / "operator.log"), shell(tmp_path, environment) as terminal:
        for step in steps:
            terminal.play(step)
