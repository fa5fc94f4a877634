"""The machine under the figures: what it is, how busy it is, and which core belongs to whom."""

import contextlib
import datetime as dt
import os
import platform
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "Cores",
    "choose_cores",
    "cpu_seconds",
    "describe",
    "hold",
    "on_core",
    "pinned",
    "resident_mib",
    "waited_seconds",
]


@dataclass(frozen=True, slots=True)
class Cores:
    """One core for the server under test, another for the load."""

    server: int
    client: int


def choose_cores() -> Cores:
    """The first and the last that we may use; the same one where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(usable[0], usable[-1])


def pinned(core: int, command: list[str]) -> list[str]:
    """The command, held on one core with all its threads (taskset is part of util-linux)."""
    return ["taskset", "--cpu-list", str(core), *command]


def hold(pid: int, core: int) -> None:
    """Hold a running process on one core; threads that it has already are not meant."""
    os.sched_setaffinity(pid, {core})


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Hold this process on one core for as long as the context is open."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def resident_mib(pid: int) -> float:
    """Resident memory of a process (VmRSS)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} has ended")


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has taken, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, Any]:
    """What a reader has to know to compare figures with those of another machine."""
    return {
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "nginx": _version(["nginx", "-v"]),
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def waited_seconds() -> float | None:
    """For how long, since the machine started, somebody has had to wait for a core (Linux 4.20 and later)."""
    try:
        line = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return None
    return int(line.rpartition("total=")[2]) / 1e6


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()


def _version(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except OSError:
        return None
    return (done.stdout or done.stderr).strip().rpartition("/")[2] or None
