"""The space that a node lives in: whatever happens in it, the machine is as it was before."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from keywright_local.errors import NodeUnavailableError
from keywright_local.isolation import SPACE, control_group_roots, refuse_unless_possible
from tests.support.kube import eventually

# Named after the process that made the space.
GROUPS = "keywright-node-{}"
# What a node does to its machine, in little; the sleepers are an orphan and a process of a control group.
MESS = """
import os, subprocess, sys
from pathlib import Path
from keywright_local.isolation import SPACE, control_group_roots
subprocess.run(["ip", "link", "add", "kw-probe", "type", "bridge"], check=True)
subprocess.run(["iptables", "--new-chain", "KW-PROBE"], check=True)
Path("/var/lib/kw-probe").touch()
Path("/run/kw-probe").touch()
subprocess.run(["sh", "-c", "sleep 1000 &"], check=True)
sleeper = subprocess.Popen(["sleep", "1000"])
for root in control_group_roots():
    group = root / os.environ[SPACE] / "inner"
    group.mkdir(parents=True)
    try:
        (group / "cgroup.procs").write_text(str(sleeper.pid))
    except OSError:  # a cpuset without processors takes nobody
        pass
print("made", Path("/proc/sys/kernel/panic").read_text().strip(), flush=True)
"""
RUN = "import sys; from keywright_local.isolation import run_isolated; sys.exit(run_isolated(sys.argv[1:]))"


@pytest.fixture(autouse=True)
def possible() -> None:
    try:
        refuse_unless_possible()
    except NodeUnavailableError as error:
        pytest.skip(f"{error.message} {error.remedy}")


def start(ending: str) -> "subprocess.Popen[str]":
    """A space with a mess in it, whose command then does what ``ending`` says."""
    command = [sys.executable, "-c", RUN, sys.executable, "-c", MESS + ending]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": "deploy/local"}
    )


def inhabitants(maker: int) -> list[str]:
    """Command lines of all processes of the space that process ``maker`` has made."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"{SPACE}={GROUPS.format(maker)}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append((process / "cmdline").read_text())
    return found


def groups(maker: int) -> list[Path]:
    return [root / GROUPS.format(maker) for root in control_group_roots() if (root / GROUPS.format(maker)).exists()]


def assert_clean() -> None:
    assert not Path("/sys/class/net/kw-probe").exists()
    assert not Path("/var/lib/kw-probe").exists()
    assert not Path("/run/kw-probe").exists()
    chains = subprocess.run(["iptables", "--list-rules"], capture_output=True, text=True, check=True).stdout
    assert "KW-PROBE" not in chains


def test_nothing_of_a_space_outlives_its_command() -> None:
    """Devices, packet filters, files, orphans and control groups are gone; the exit code comes through; and the
    settings of the kernel that a kubelet wants are only shown to it.
    """
    before = Path("/proc/sys/kernel/panic").read_text()
    space = start("sys.exit(7)")
    printed, _ = space.communicate(timeout=60)
    assert (printed, space.returncode) == ("made 10\n", 7)
    assert Path("/proc/sys/kernel/panic").read_text() == before
    assert inhabitants(space.pid) == []
    assert groups(space.pid) == []
    assert_clean()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_a_space_ends_with_whoever_made_it(number: signal.Signals) -> None:
    """Killed at once, its processes die with it; empty control groups may stay until the next start."""
    space = start("sleeper.wait()")
    with space:
        assert space.stdout is not None
        assert space.stdout.readline() == "made 10\n"
        assert any("sleep" in each for each in inhabitants(space.pid))
        space.send_signal(number)
    eventually(lambda: not inhabitants(space.pid), within=30)
    assert_clean()
    command = [sys.executable, "-c", RUN, "true"]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": "deploy/local"}, timeout=60)
    assert groups(space.pid) == []
