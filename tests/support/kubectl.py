"""``kubectl-apikey`` as people run it: a process of its own, with pipes or at a terminal."""

import os
import pty
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import BIN

__all__ = ["Done", "apikey", "at_terminal"]

PROGRAM = BIN / "kubectl-apikey"
WITHIN = 120.0  # seconds


@dataclass(frozen=True, slots=True)
class Done:
    """Exit status and what was written. At a terminal ``out`` holds both streams."""

    status: int
    out: str
    err: str = ""


def apikey(
    kubeconfig: Path | None, *arguments: str, given: str = "", program: Path = PROGRAM, **environment: str
) -> Done:
    """Run it with pipes."""
    done = subprocess.run(
        [program, *arguments],
        input=given.encode(),
        env=_environment(kubeconfig) | environment,
        capture_output=True,
        timeout=WITHIN,
        check=False,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in err, err
    return Done(done.returncode, out, err)


def at_terminal(
    kubeconfig: Path | None, *arguments: str, given: str = "", prompt: str = "", **environment: str
) -> Done:
    """Run it at a terminal; type ``given`` once it has shown ``prompt``."""
    main, sub = pty.openpty()
    variables = _environment(kubeconfig) | {"TERM": "xterm-256color", "COLUMNS": "120"} | environment
    process = subprocess.Popen(
        [PROGRAM, *arguments], env=variables, stdin=sub, stdout=sub, stderr=sub, start_new_session=True
    )
    os.close(sub)
    shown, deadline, left = b"", time.monotonic() + WITHIN, given.encode()
    try:
        while time.monotonic() < deadline:
            if select.select([main], [], [], 0.2)[0]:
                try:
                    shown += os.read(main, 65536)
                except OSError:  # the other end is closed
                    break
            if left and prompt.encode() in shown:
                os.write(main, left)
                left = b""
        status = process.wait(WITHIN)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(main)
    return Done(status, shown.decode())


def _environment(kubeconfig: Path | None) -> dict[str, str]:
    # Nothing of the machine: neither its kubeconfig nor what it thinks of colours.
    unwanted = ("KUBE", "KEYWRIGHT_", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "HOME")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return clean | {"HOME": "/nonexistent"} | ({"KUBECONFIG": str(kubeconfig)} if kubeconfig is not None else {})
