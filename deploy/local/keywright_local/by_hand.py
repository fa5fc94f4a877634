"""A control plane that outlives the command that started it, until ``down``.

``up`` leaves a holder process behind which is nothing but a ``with`` block around
a ControlPlane; its number and start time are written into the plane's folder,
so that ``down`` never signals a stranger who was given the same number.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

from keywright_local.components import AuditLevel
from keywright_local.control_plane import ControlPlane
from keywright_local.errors import LocalClusterError, StartError
from keywright_local.private_files import write_private

__all__ = ["HOLD", "RunningPlane", "bring_up", "find_running", "hold", "take_down"]

#: The command of the process that keeps a plane running.
HOLD = "hold"
_STATE = "state.json"
# What the holder says when all is well; anything else it says is a reason for failure.
_IS_UP = "is up"
_PATIENCE_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPlane:
    """A control plane started by hand, as its folder describes it."""

    holder: int
    holder_born: str
    server: str
    kubeconfig: Path


def _read_birth(process: int) -> str | None:
    """When a process was born, in words that no later process of its number shares."""
    stat = Path(f"/proc/{process}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            # Field 22, counted after the name in brackets, which may hold anything.
            fields = stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        # A zombie is dead, only nobody has asked for its exit code yet.
        return None if fields[0] == "Z" else f"{boot} {fields[19]}"
    asked = subprocess.run(["ps", "-o", "lstart=", "-p", str(process)], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None


def find_running(directory: Path) -> RunningPlane | None:
    """The plane in ``directory``, if its holder is alive and is the one that wrote there."""
    try:
        state = json.loads((directory / _STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    plane = RunningPlane(**{**state, "kubeconfig": Path(state["kubeconfig"])})
    return plane if _read_birth(plane.holder) == plane.holder_born else None


def bring_up(directory: Path, audit: AuditLevel | None) -> RunningPlane:
    """Start a plane in ``directory`` that stays; the one that runs there if there is one."""
    with _exclusive_use(directory):
        if running := find_running(directory):
            return running
        _remove_remains(directory)
        _start_holder(directory, audit)
        running = find_running(directory)
    if running is None:
        raise StartError(
            "The control plane ended as soon as it was up.",
            remedy="try again; somebody ended it, or the machine is out of memory.",
        )
    return running


def take_down(directory: Path) -> bool:
    """End the plane in ``directory`` and remove the folder; False if there was none."""
    with _exclusive_use(directory):
        running = find_running(directory)
        if running is not None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                with suppress(ProcessLookupError):
                    os.kill(running.holder, number)
                if _wait_until_gone(running, directory):
                    break
        _remove_remains(directory)
    return running is not None


def hold(directory: Path, audit: AuditLevel | None) -> None:
    """What the holder process does: tell its starter, then wait for the end."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    level = audit or AuditLevel.METADATA
    with ControlPlane(directory, audit=audit is not None, audit_level=level) as plane:
        state = RunningPlane(
            holder=os.getpid(),
            holder_born=_read_birth(os.getpid()) or "",
            server=plane.server,
            kubeconfig=plane.kubeconfig,
        )
        write_private(directory / _STATE, json.dumps(asdict(state), default=str).encode())
        print(_IS_UP, flush=True)
        while True:
            signal.pause()


def _leave(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def _start_holder(directory: Path, audit: AuditLevel | None) -> None:
    package = Path(__file__).resolve().parent
    level = [] if audit is None else ["--audit-level", audit]
    holder = subprocess.Popen(
        [sys.executable, "-m", package.name, HOLD, "--directory", str(directory), *level],
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(package.parent)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    )
    said: list[str] = []
    try:
        # Not until the end of the output: what the holder starts keeps the pipe open.
        for line in holder.stdout or ():
            if line.strip() == _IS_UP:
                return
            said.append(line)
    except BaseException:
        # Interrupted while waiting: leave nothing half started behind.
        holder.terminate()
        raise
    raise StartError(
        "The control plane did not start.",
        remedy="see what it says below.",
        details="".join(said).rstrip(),
    )


def _wait_until_gone(running: RunningPlane, directory: Path) -> bool:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        # The folder goes last, when every program has ended.
        if _read_birth(running.holder) != running.holder_born and not directory.exists():
            return True
        time.sleep(0.05)
    return False


def _remove_remains(directory: Path) -> None:
    """Remove what a plane left that could not clean up, and nothing that is not one's own."""
    if (directory / _STATE).exists():
        shutil.rmtree(directory)
    elif directory.exists() and any(directory.iterdir()):
        raise LocalClusterError(
            f"{directory} holds files, but no control plane that runs.",
            remedy="remove the folder if a plane died while it started, or name another folder.",
        )


@contextmanager
def _exclusive_use(directory: Path) -> Iterator[None]:
    directory.parent.mkdir(parents=True, exist_ok=True)
    with directory.with_name(directory.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
