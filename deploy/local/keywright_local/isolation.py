"""Run a command in a space of its own, in which a node can do as it likes (see ``node_space``).

A kubelet and its container runtime change the machine they run on: network devices, packet filters, mounts, folders,
control groups. All but the last are confined by namespaces, and end with them however the command ends; control groups
are named after the space and removed here, those of spaces that were killed at the next start.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from keywright_local.errors import NodeUnavailableError
from keywright_local.supervisor import make_child_setup

__all__ = ["SPACE", "control_group_roots", "refuse_unless_possible", "run_isolated"]

#: The environment variable that names the space to whoever runs in it; also the name of its control groups.
SPACE = "KEYWRIGHT_NODE_SPACE"
_PREFIX = "keywright-node-"
_SCRIPT = Path(__file__).with_name("node_space.py")
_GROUPS = Path("/sys/fs/cgroup")
_UNSHARE = ("unshare", "--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc")
_REMOVAL_SECONDS = 10.0


def run_isolated(command: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Run ``command`` in a new space and answer its exit code; nothing of the space is left.

    Raises NodeUnavailableError where this machine allows no such space.
    """
    refuse_unless_possible()
    _sweep()
    name = f"{_PREFIX}{os.getpid()}"
    space = subprocess.Popen(
        [*_UNSHARE, sys.executable, "-I", "-S", str(_SCRIPT), *command],
        env={**environment, SPACE: name},
        preexec_fn=make_child_setup(),  # noqa: PLW1509 - there is one thread
    )
    try:
        while True:
            try:
                return space.wait()
            except KeyboardInterrupt:
                # The command got it too, and ends in its own time.
                continue
    finally:
        space.kill()
        space.wait()
        _remove_groups(name)


def refuse_unless_possible() -> None:
    """Raise NodeUnavailableError, with what to do, unless a node can run here."""
    other_ways = "CLUSTER=kind runs the same in Docker, CLUSTER=current on a cluster of yours."
    if not sys.platform.startswith("linux"):
        raise NodeUnavailableError("Pods need Linux.", remedy=other_ways)
    if os.geteuid() != 0:
        raise NodeUnavailableError("Only root can run a node.", remedy=f"run it as root; or {other_ways}")
    if shutil.which("unshare") is None:
        raise NodeUnavailableError("There is no unshare.", remedy="install util-linux.")
    refusals = {
        "network, mount and process namespaces": _try_namespaces(),
        "control groups": _try_control_groups(),
    }
    for what, refusal in refusals.items():
        if refusal:
            raise NodeUnavailableError(
                f"This machine lets root make no {what}: {refusal}.",
                remedy=f"run it on a machine or in a container with CAP_SYS_ADMIN; or {other_ways}",
            )


def control_group_roots() -> list[Path]:
    """The root of the unified hierarchy, or those of the controllers (version 1)."""
    if (_GROUPS / "cgroup.controllers").exists():
        return [_GROUPS]
    return [folder for folder in _GROUPS.iterdir() if folder.is_dir() and not folder.is_symlink()]


def _try_namespaces() -> str:
    command = [*_UNSHARE, "mount", "-t", "tmpfs", "probe", "/run"]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    return tried.stderr.strip() if tried.returncode else ""


def _try_control_groups() -> str:
    try:
        for root in control_group_roots():
            probe = root / f"{_PREFIX}{os.getpid()}"
            probe.mkdir(exist_ok=True)
            probe.rmdir()
    except OSError as error:
        return str(error)
    return ""


def _sweep() -> None:
    """Remove the control groups of spaces whose process is gone."""
    for root in control_group_roots():
        for folder in root.glob(f"{_PREFIX}*"):
            if not Path("/proc", folder.name.removeprefix(_PREFIX)).exists():
                _remove_groups(folder.name)


def _remove_groups(name: str) -> None:
    """Remove the groups of a space from all hierarchies; the kernel takes a moment to empty them."""
    deadline = time.monotonic() + _REMOVAL_SECONDS
    for root in control_group_roots():
        for folder in _deepest_first(root / name):
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > deadline:
                        break
                    time.sleep(0.05)


def _deepest_first(folder: Path) -> Iterator[Path]:
    for inner in folder.glob("*/"):
        yield from _deepest_first(inner)
    yield folder
