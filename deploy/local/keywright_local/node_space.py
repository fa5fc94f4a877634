"""The first process of a space that holds one node: its network, its mounts and its processes.

This file is run as a script, by path, with nothing but the standard library, as process 1 of new namespaces (see
``isolation``). It prepares the space, runs one command in it and ends with it; the kernel then kills whatever is left,
and bridges, packet filters, network namespaces of pods and mounts go with the last process. Nothing has to be undone.

- Network: loopback only, so that what listens in here is reached from in here alone. The node's address is one of those
  for documentation (RFC 5737), on the loopback device.
- ``/run`` is empty and in memory, and ``/var`` takes writes into memory: programs use the places they always use.
- The kernel settings that a kubelet insists on belong to the whole machine. In here they read as it wants them, so it
  finds nothing to change.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

NODE_ADDRESS = "192.0.2.1"
SCRATCH = Path("/run/keywright")
_KERNEL_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def run(*command: str | Path) -> None:
    """Run one command; its own words are the error."""
    subprocess.run(command, check=True)


def prepare() -> None:
    """Network, mounts and settings of the space."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "address", "add", f"{NODE_ADDRESS}/32", "dev", "lo")
    run("mount", "-t", "tmpfs", "-o", "mode=755", "keywright-run", "/run")
    upper, work, settings = (SCRATCH / name for name in ("var", "var-work", "settings"))
    for folder in (upper, work, settings, SCRATCH / "tmp"):
        folder.mkdir(parents=True)
    layers = f"lowerdir=/var,upperdir={upper},workdir={work}"
    run("mount", "-t", "overlay", "-o", layers, "keywright-var", "/var")
    for name, value in _KERNEL_SETTINGS.items():
        reads = settings / name.replace("/", ".")
        reads.write_text(value + "\n", encoding="ascii")
        if (setting := Path("/proc/sys") / name).exists():
            run("mount", "--bind", reads, setting)


def main(command: list[str]) -> int:
    """Prepare, run the command, collect orphans until it ends; answers its exit code."""
    prepare()
    child = subprocess.Popen(command, env={**os.environ, "TMPDIR": str(SCRATCH / "tmp")})
    # A terminal sends Ctrl-C to the child as well; who ends us alone means the child.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: child.send_signal(number))
    while True:
        ended, status = os.wait()
        if ended == child.pid:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
