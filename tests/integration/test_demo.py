"""The first command of the README."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from tests.integration.conftest import ROOT

DEMO = [sys.executable, str(ROOT / "deploy/demo/demo.py")]


def test_the_demo_comes_true_and_leaves_nothing_behind() -> None:
    """Every step holds, the exit status is 0, colour codes are absent from a pipe, no process outlives it."""
    variables = {key: value for key, value in os.environ.items() if key not in ("CLUSTER", "KUBECONFIG", "KEEP")}
    marker = f"demo-{os.getpid()}"
    done = subprocess.run(
        DEMO, env=variables | {"DEMO_MARKER": marker}, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
    assert "came true" in done.stdout
    assert "\x1b[" not in done.stdout
    assert left_over(marker) == []


def test_an_exported_kubeconfig_is_not_purpose() -> None:
    """CLUSTER=current names the context in the first line and wants it confirmed; without a terminal nothing happens."""
    variables = {**os.environ, "CLUSTER": "elsewhere", "KUBECONFIG": "/nonexistent"}
    done = subprocess.run(DEMO, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "CLUSTER" in done.stderr
    assert "Traceback" not in done.stderr


def left_over(marker: str) -> list[str]:
    """Processes that carry the marker in their environment."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                if marker.encode() in (process / "environ").read_bytes():
                    found.append(process.name)
    return found
