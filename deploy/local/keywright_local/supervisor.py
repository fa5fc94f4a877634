"""Run the children of one parent, and let none of them outlive it.

This file is run as a script, by path, with nothing but the standard library.
The parent holds the other end of standard input: however it ends, kill -9
included, the kernel closes that end, and the supervisor kills its children and
removes the folders it was given as arguments. Should the supervisor itself be
killed, Linux kills the children (PR_SET_PDEATHSIG). That signal belongs to the
thread that forked, so the forking is done here, in a process of one thread,
and never in the parent, whose threads come and go.

Requests and answers are one JSON object a line:
``{"do": "start", "name": N, "argv": [...], "log": PATH}`` -> ``{"pid": 1}``,
``{"do": "poll", "name": N}`` -> ``{"code": null}``,
``{"do": "signal", "name": N, "signal": 15}`` -> ``{"code": null}``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

_PR_SET_PDEATHSIG = 1
_PARENT_CHECK_SECONDS = 1.0


def make_child_setup() -> Callable[[], None] | None:
    """What a child does between fork and exec; nothing where there is no PDEATHSIG."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    supervisor = os.getpid()

    def die_with_supervisor() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        # The supervisor may have died before the line above took effect.
        if os.getppid() != supervisor:
            os.kill(os.getpid(), signal.SIGKILL)

    return die_with_supervisor


class Children:
    """The children by name, in the order they were started."""

    def __init__(self) -> None:
        self._by_name: dict[str, subprocess.Popen[bytes]] = {}
        self._setup = make_child_setup()

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out one request and give its answer."""
        name = request["name"]
        match request["do"]:
            case "start":
                return {"pid": self._start(name, request["argv"], request["log"])}
            case "signal":
                self._signal(self._by_name[name], request["signal"])
        return {"code": self._by_name[name].poll()}

    def _start(self, name: str, argv: list[str], log: str) -> int:
        with open(log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as sink:
            # A session of its own: a Ctrl-C in the terminal must reach the
            # parent only, which then ends things in order, and a signal must
            # reach what a child started as well (`go build` runs compilers).
            child = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=self._setup,  # noqa: PLW1509 - there is one thread
            )
        self._by_name.pop(name, None)
        self._by_name[name] = child
        return child.pid

    @staticmethod
    def _signal(child: subprocess.Popen[bytes], number: int) -> None:
        # poll() first: once a child is reaped its number may be another's.
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)

    def kill_all(self) -> None:
        """Kill every child, the last started first; their data is thrown away anyway."""
        for child in reversed(self._by_name.values()):
            self._signal(child, signal.SIGKILL)
        for child in self._by_name.values():
            child.wait()


def read_requests(parent: int) -> Iterator[dict[str, Any]]:
    """Yield requests until the parent is gone.

    End of file tells of that, except while a process forked off the parent
    still holds the pipe; hence the look at who the parent is.
    """
    pending = b""
    while True:
        readable, _, _ = select.select([0], [], [], _PARENT_CHECK_SECONDS)
        if not readable:
            if os.getppid() != parent:
                return
            continue
        received = os.read(0, 65536)
        if not received:
            return
        *lines, pending = (pending + received).split(b"\n")
        for line in lines:
            yield json.loads(line)


def stop_on_signal(_number: int, _frame: object) -> NoReturn:
    """Leave by way of ``finally``, so that the children are ended too."""
    raise SystemExit(0)


def main(parent: int, folders: list[str]) -> None:
    """Serve the parent's requests; then end the children and remove the folders."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop_on_signal)
    children = Children()
    try:
        for request in read_requests(parent):
            try:
                answer = children.handle(request)
            except OSError as error:
                answer = {"error": str(error)}
            os.write(1, json.dumps(answer).encode() + b"\n")
    except BrokenPipeError:
        # The parent died between its request and the answer.
        pass
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        children.kill_all()
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
