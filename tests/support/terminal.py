"""A README's commands, run one after the other in one shell, and what it says they print."""

import contextlib
import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Step", "Terminal", "read_steps", "shell"]

_BLOCK = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
_MARK = "-- the command has ended --"
_WITHIN = 120.0  # seconds, for one command
# What only looks is looked at again until it shows what it should: watches take their time.
_LOOKS = re.compile(r"(?:curl|kubectl (?:get|apikey (?:list|reveal|verify)))\b|keywright rules|grep\b|jq\b|tail\b")
_SOON = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command and its output, in which … stands for something that differs from run to run."""

    command: str
    output: str

    def shows(self, text: str) -> bool:
        """Whether this is what the README says."""
        wanted, seen = _lines(self.output), _lines(text)
        return len(wanted) == len(seen) and all(
            re.fullmatch(re.escape(line).replace("…", ".+"), shown) for line, shown in zip(wanted, seen, strict=True)
        )


def _lines(text: str) -> list[str]:
    """Without what depends on the width of a column."""
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def read_steps(text: str) -> list[Step]:
    """The commands of all ```console blocks: lines that begin with ``$ ``, and with ``> `` where one goes on."""
    steps: list[Step] = []
    for block in _BLOCK.findall(text):
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append(Step(command=line[2:], output=""))
                continue
            before = steps.pop()
            if line.startswith("> ") and not before.output:
                steps.append(Step(command=f"{before.command}\n{line[2:]}", output=""))
            else:
                steps.append(Step(command=before.command, output=f"{before.output}{line}\n"))
    return steps


class Terminal:
    """A shell that remembers what was done in it."""

    def __init__(self, popen: "subprocess.Popen[bytes]") -> None:
        self._popen = popen

    def play(self, step: Step) -> None:
        """Run it. Fails if it does not show what it should."""
        deadline = time.monotonic() + _SOON
        while not step.shows(shown := self._run(step.command)):
            assert _LOOKS.match(step.command), f"$ {step.command}\nshows:\n{shown}\ninstead of:\n{step.output}"
            assert time.monotonic() < deadline, f"$ {step.command}\nshows:\n{shown}\ninstead of:\n{step.output}"
            time.sleep(1)  # clients have rate limits

    def _run(self, command: str) -> str:
        into, out = self._popen.stdin, self._popen.stdout
        assert into is not None
        assert out is not None
        into.write(f"{command}\nprintf '\\n{_MARK}\\n'\n".encode())
        into.flush()
        seen, deadline = b"", time.monotonic() + _WITHIN
        while not seen.endswith(f"\n{_MARK}\n".encode()):
            assert time.monotonic() < deadline, f"$ {command}\ndoes not end:\n{seen.decode()}"
            if select.select([out], [], [], 1)[0]:
                read = os.read(out.fileno(), 65536)
                assert read, f"$ {command}\nhas ended the shell:\n{seen.decode()}"
                seen += read
        return seen.decode().removesuffix(f"\n{_MARK}\n")


@contextlib.contextmanager
def shell(folder: Path, environment: Mapping[str, str]) -> Iterator[Terminal]:
    """A shell in this folder. What it has started in the background ends with it."""
    popen = subprocess.Popen(
        ["bash", "--norc", "--noprofile"],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield Terminal(popen)
    finally:
        os.killpg(popen.pid, signal.SIGKILL)
        popen.communicate()
