"""``kubectl-apikey`` as people run it: a process of its own, with pipes or at a terminal."""

import os
import pty
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.support.processes import BIN

__all__ = ["PROGRAM", "Done", "apikey", "at_terminal", "environment_of"]

PROGRAM = BIN / "kubectl-apikey"
WITHIN = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Done:
    """Exit status and what was written. At a terminal ``out`` holds both streams."""

    status: int
    out: str
    err: str = ""


def apikey(
    kubeconfig: Path | None, *arguments: str, given: str = "", out: IO[bytes] | None = None, **environment: str
) -> Done:
    """Run it with pipes; standard output may go elsewhere."""
    done = subprocess.run(
        [PROGRAM, *arguments],
        input=given.encode(),
        env=environment_of(kubeconfig) | environment,
        stdout=out or subprocess.PIPE,
        stderr=subprocess.PIPE,
        timeout=WITHIN,
        check=False,
    )
    err = done.stderr.decode()
    assert "Traceback" not in err, err
    return Done(done.returncode, (done.stdout or b"").decode(), err)


def at_terminal(kubeconfig: Path, *arguments: str, given: str = "", prompt: str = "", **environment: str) -> Done:
    """Run it at a terminal; type ``given`` once it has shown ``prompt``."""
    ours, theirs = pty.openpty()
    variables = environment_of(kubeconfig) | {"TERM": "xterm-256color", "COLUMNS": "120"} | environment
    process = subprocess.Popen(
        [PROGRAM, *arguments], env=variables, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    shown, left, deadline = b"", given.encode(), time.monotonic() + WITHIN
    try:
        while time.monotonic() < deadline:
            if select.select([ours], [], [], 0.2)[0]:
                try:
                    shown += os.read(ours, 65536)
                except OSError:  # the other end is closed
                    break
            if left and prompt.encode() in shown:
                os.write(ours, left)
                left = b""
        status = process.wait(WITHIN)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)
    assert b"Traceback" not in shown, shown
    return Done(status, shown.decode())


def environment_of(kubeconfig: Path | None) -> dict[str, str]:
    """Nothing of the machine's: neither its kubeconfig nor what it thinks of colours."""
    unwanted = ("KUBE", "KEYWRIGHT_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "HOME")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return kept | {"HOME": "/nonexistent"} | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig is not None else {})
