"""The tutorial and the README do what they say: every command, in order, in one shell, with the output that is printed there."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from keywright_local import ControlPlane
from tests.integration.conftest import ROOT
from tests.support.processes import BIN, free_address
from tests.support.proxies import find_program

STEP = re.compile(r"```sh\n(?P<commands>.*?)```(?:\n+```text\n(?P<printed>.*?)```)?", re.DOTALL)
# What stands between the outputs of two steps.
BETWEEN = "--- step ---\n"
TIMEOUT = 400


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of links to this one. What the tutorial writes, and nginx's configuration, are its own."""
    here = tmp_path / "checkout"
    (here / "deploy/proxies").mkdir(parents=True)
    for each in (*ROOT.iterdir(), *(ROOT / "deploy").iterdir()):
        if each.name not in ("deploy", "proxies", "build", ".git"):
            (here / each.relative_to(ROOT)).symlink_to(each)
    shutil.copytree(ROOT / "deploy/proxies/nginx", here / "deploy/proxies/nginx")
    return here


def test_every_step_comes_true(own_plane: ControlPlane, checkout: Path) -> None:
    """On free ports instead of those that the tutorial names; what stands there as … may be anything."""
    steps = [each.groupdict(default="") for each in STEP.finditer((ROOT / "docs/tutorial.md").read_text())]
    assert len(steps) > 10
    moved, environment = on_free_ports(own_plane, checkout)
    commands = [replaced(each["commands"], moved) for each in steps]
    code, output = run(f"echo '{BETWEEN.strip()}'\n".join(commands), checkout, environment)
    logs = "".join(f"\n{each.name}: {each.read_text()}" for each in (checkout / "build/tutorial").glob("*.log"))
    assert code == 0, output + logs
    for step, printed in zip(steps, output.split(BETWEEN), strict=True):
        if step["printed"]:
            expected = ".*".join(map(re.escape, step["printed"].strip().split("…")))
            assert re.fullmatch(expected, printed.strip(), re.DOTALL), f"{step['commands']}\n{printed}{logs}"


# Of the README's blocks: the demo has a test of its own (test_demo.py), and the request to the key service is that of
# docs/guides/rest.md (test_console_guide.py).
NOT_PLAYED = (
    "make demo     # the main job",
    "make demo CONSOLE=1 ",
    'curl -H "Authorization: Bearer $KEY" -H "Content-Type',
)


def test_the_readme_leads_to_a_protected_service(own_plane: ControlPlane, checkout: Path) -> None:
    """With nothing but its own commands, on free ports: 401 without the key, 200 with it."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    played = [each for each in blocks if not each.startswith(NOT_PLAYED)]
    assert len(blocks) - len(played) == len(NOT_PLAYED)
    moved, environment = on_free_ports(own_plane, checkout)
    (checkout / "build").mkdir()
    code, output = run("\n".join(replaced(each, moved) for each in played), checkout, environment)
    assert code == 0, output
    assert "HTTP/1.1 200 OK" in output
    assert re.findall(r"^(?:401|200)$", output, re.MULTILINE) == ["401", "200"], output


def on_free_ports(plane: ControlPlane, checkout: Path) -> tuple[dict[str, str], dict[str, str]]:
    """What stands for what the texts say, in the files of nginx too, and the environment of the shell."""
    nginx = find_program("nginx")
    service, verifier, proxy = (free_address() for _ in range(3))
    moved = {
        "127.0.0.1:3000": service,
        "http.server 3000": f"http.server {service.rpartition(':')[2]}",
        "127.0.0.1:8080": verifier,
        "127.0.0.1:8000": proxy,
        "listen 8000": f"listen {proxy}",
        "/tmp/nginx": str(checkout / "build/nginx"),
        "make venv": "keywright --version",  # which whoever runs the tests has made
    }
    for file in (checkout / "deploy/proxies/nginx").glob("*.conf"):
        file.write_text(replaced(file.read_text(), moved))
    environment = {
        "PATH": f"{BIN}:{plane.kubectl.parent}:{os.environ['PATH']}:{nginx.parent}",
        "HOME": str(checkout),
        "KUBECONFIG": str(plane.kubeconfig),
        "KEYWRIGHT_LISTEN": verifier,
        "KEYWRIGHT_ADMIN_LISTEN": free_address(),
        "KEYWRIGHT_HEALTH_LISTEN": free_address(),
    }
    return moved, environment


def replaced(text: str, moved: dict[str, str]) -> str:
    for said, meant in moved.items():
        text = text.replace(said, meant)
    return text


def run(script: str, folder: Path, environment: dict[str, str]) -> tuple[int | None, str]:
    """Run a script in a shell that ends at the first failure; its exit status (none if it hangs) and what it has said.
    Whatever it has left running is ended.
    """
    output = folder / "output"
    with output.open("wb") as said:
        shell = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        with contextlib.suppress(subprocess.TimeoutExpired):
            shell.wait(TIMEOUT)
        return shell.returncode, output.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
