"""The first command of the README."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

from tests.integration.conftest import ROOT
from tests.support.visitor import Visitor

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


def test_the_console_opens_and_closes() -> None:
    """CONSOLE=1 prints an address and a token that signs a person in; Ctrl-C ends everything, with exit status 0, also
    where a script has started it in the background and it inherits that Ctrl-C is ignored.
    """
    variables = {key: value for key, value in os.environ.items() if key not in ("CLUSTER", "KUBECONFIG", "KEEP")}
    marker = f"demo-console-{os.getpid()}"
    with subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", *DEMO],
        env=variables | {"DEMO_MARKER": marker, "CONSOLE": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        try:
            address, token = where_to_sign_in(demo)
            guest = Visitor(address)
            assert guest.get("/").status == 303
            assert guest.sign_in(token).status == 303
            page = guest.get("/")
            assert page.status == 200
            for shown in ("Checkout service", "Trial of the new dashboard", "The laptop before this one"):
                assert shown in page.text
            form = "/keys/keywright-demo/new"
            made = guest.submit(form, form, displayName="Made by the guest", role="readonly", ends="30d")
            assert "kw_demo_" in made.text
            demo.send_signal(signal.SIGINT)
            assert demo.wait(60) == 0
        finally:
            demo.terminate()
            demo.wait(60)
    assert left_over(marker) == []


def where_to_sign_in(demo: "subprocess.Popen[str]") -> tuple[str, str]:
    """The address and the token, as soon as they are printed."""
    said: list[str] = []
    assert demo.stdout is not None
    for line in demo.stdout:
        said.append(line)
        if line.startswith("Ctrl-C"):
            break
    text = "".join(said)
    found = re.search(r"Open http://(\S+)/ and sign in .*\n\n(\S+)\n", text)
    assert found is not None, text
    return found[1], found[2]
