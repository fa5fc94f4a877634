"""The parent's side of the supervisor: start, look after and end programs.

Nothing else in this package starts a long-running process, so that there is
one answer to the question what happens when we die (see ``supervisor``).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from keywright_local.errors import StartError

__all__ = ["Supervisor", "tail"]

_SCRIPT = Path(__file__).with_name("supervisor.py")
_POLL_SECONDS = 0.05


def tail(log: Path, lines: int = 25) -> str:
    """The last lines of a log, indented; empty when there is none."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


class Supervisor:
    """A process that runs programs for this one and ends them when this one ends.

    ``remove`` names folders that go with it. Safe to use from several threads.
    """

    def __init__(self, *, remove: Sequence[Path] = ()) -> None:
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            # Isolated and without site-packages: it starts in 30 ms and no
            # setting of the parent's environment can break it.
            [sys.executable, "-I", "-S", str(_SCRIPT), str(os.getpid()), *map(str, remove)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Process id of the supervisor."""
        return self._process.pid

    def start(self, name: str, argv: Sequence[str], *, log: Path) -> int:
        """Start a program with its output appended to ``log``; answers its process id."""
        answer = self._ask({"do": "start", "name": name, "argv": list(argv), "log": str(log)})
        return int(answer["pid"])

    def exit_code(self, name: str) -> int | None:
        """How the program ended, negative for a signal; None while it runs."""
        code = self._ask({"do": "poll", "name": name})["code"]
        return None if code is None else int(code)

    def wait_until(self, is_met: Callable[[], bool], name: str, *, log: Path, patience: float) -> None:
        """Return once the program has come so far.

        Raises:
            StartError: if it has ended, or ``patience`` seconds are over.

        """
        deadline = time.monotonic() + patience
        while not is_met():
            code = self.exit_code(name)
            if code is None and time.monotonic() < deadline:
                time.sleep(_POLL_SECONDS)
                continue
            what = "is not ready" if code is None else f"ended with code {code}"
            raise StartError(f"{name} {what}.", remedy="read the end of its log below.", details=tail(log))

    def stop(self, name: str, number: signal.Signals, *, patience: float = 30.0) -> None:
        """Signal a program and wait for its end; after ``patience`` seconds it is killed."""
        self._ask({"do": "signal", "name": name, "signal": int(number)})
        deadline = time.monotonic() + patience
        while self.exit_code(name) is None:
            if time.monotonic() > deadline:
                self._ask({"do": "signal", "name": name, "signal": int(signal.SIGKILL)})
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """End all programs and remove the folders; returns when that is done."""
        with self._lock, contextlib.suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:  # pragma: no cover - both are always piped
            raise AssertionError("the supervisor has no pipes")
        with self._lock:
            try:
                stdin.write(json.dumps(request).encode() + b"\n")
                stdin.flush()
                line = stdout.readline()
            except (BrokenPipeError, ValueError):
                line = b""
        if not line:
            raise StartError(
                "The process that supervises the control plane is gone.",
                remedy="start the control plane again; somebody ended the supervisor.",
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise StartError(
                f"{request['name']} cannot be run: {answer['error']}.",
                remedy="see whether the file is there and is a program for this machine.",
            )
        return answer
