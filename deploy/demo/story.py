"""Telling a story with commands: print them, run them, check what came of them, and sum up."""

import contextlib
import http.client
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

__all__ = ["Story", "Terminal"]

STOP_SECONDS = 15.0


class Terminal:
    """Colour where a person looks on, plain text elsewhere and under ``NO_COLOR``."""

    def __init__(self) -> None:
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ

    def paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text

    def say(self, text: str) -> None:
        print(text, flush=True)


class Story:
    """A demo in progress: commands share one environment, results gather for the summary."""

    def __init__(self, terminal: Terminal, environment: dict[str, str], root: Path) -> None:
        self.environment = environment
        self._terminal = terminal
        self._root = root
        self._results: list[tuple[str, bool, str]] = []
        self._acted_at = time.monotonic()

    @property
    def failed(self) -> bool:
        return not all(good for _, good, _ in self._results)

    def say(self, text: str) -> None:
        self._terminal.say(text)

    def chapter(self, title: str) -> None:
        self.say("\n" + self._terminal.paint(f"== {title}", "1"))

    def record(self, what: str, seconds: float | None = None, *, good: bool = True, note: str = "") -> None:
        """Keep one result for the summary."""
        if seconds is not None:
            note = f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
        self._results.append((what, good, note))

    def run(self, command: str, *, waits: bool = True) -> None:
        """Run one shell command; a failure is a failed step. ``waits=False`` counts time from its start."""
        self._prompt(command)
        self._acted_at = time.monotonic()
        done = self._shell(command)
        if waits:
            self._acted_at = time.monotonic()
        print(done.stdout + done.stderr, end="", flush=True)
        if done.returncode != 0:
            self.record(command, good=False, note=f"exit status {done.returncode}")

    def quietly(self, command: str) -> bool:
        """Whether a command succeeds, without showing it."""
        return self._shell(command).returncode == 0

    def capture(self, variable: str, command: str) -> None:
        """Put a command's output into a shell variable of the story. It is not shown: it is a key."""
        self._prompt(f"{variable}=$({command})")
        self.environment[variable] = self._shell(command).stdout

    def request(self, command: str, expected: int) -> None:
        """Run a curl command and hold its status against what is expected."""
        self._prompt(command)
        status, shown = self._curl(command)
        print(shown, flush=True)
        what = f"{expected}: {command.removeprefix('curl -si ').removesuffix(' $VERIFIER')}"
        self.record(what, good=status == expected, note=f"HTTP {status}")

    def await_status(self, what: str, key: str, status: int, code: str = "") -> None:
        """Ask the verifier until it answers so; the time runs from the command before."""
        _, _, address, path = self.environment["VERIFIER"].split("/", 3)
        headers = {"Authorization": f"Bearer {self.environment[key.removeprefix('$')]}"}

        def answered() -> bool:
            connection = http.client.HTTPConnection(address, timeout=2)
            try:
                connection.request("GET", f"/{path}", headers=headers)
                response = connection.getresponse()
                return response.status == status and code in response.read().decode()
            finally:
                connection.close()

        self.expect(what, answered, within=15)

    def expect(self, what: str, holds: Callable[[], bool], *, within: float) -> None:
        """Wait until something holds, and record how long it took since the last command."""
        deadline = time.monotonic() + within
        while not (good := holds()) and time.monotonic() < deadline:
            time.sleep(0.005)
        seconds = time.monotonic() - self._acted_at
        self.record(what, seconds if good else None, good=good, note="" if good else f"not within {within:.0f} s")
        self._mark(what, good=good, note=self._results[-1][2])

    @contextlib.contextmanager
    def background(self, command: Sequence[str | Path], environment: dict[str, str]) -> Iterator[Path]:
        """Run a process beside the story; its log, which this yields, goes to ``build/demo``."""
        name = str(command[1])
        log = self._root / "build/demo" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        shown = " ".join([".venv/bin/keywright", *(str(part) for part in command[1:])])
        self._prompt(f"{shown} &    # log: build/demo/{name}.log")
        with log.open("w") as output:
            process = subprocess.Popen(command, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield log
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def summarise(self) -> None:
        """A table of every result."""
        self.chapter("Summary")
        width = max(len(what) for what, _, _ in self._results)
        for what, good, note in self._results:
            self._mark(what.ljust(width), good=good, note=note)
        failures = sum(not good for _, good, _ in self._results)
        self.say(f"{len(self._results) - failures} of {len(self._results)} came true")

    def _mark(self, what: str, *, good: bool, note: str) -> None:
        mark = self._terminal.paint("ok  ", "32") if good else self._terminal.paint("FAIL", "31")
        self.say(f"  {mark} {what}  {note}")

    def _prompt(self, command: str) -> None:
        self.say(self._terminal.paint(f"$ {command}", "36"))

    def _shell(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command], env=self.environment, cwd=self._root, text=True, capture_output=True, check=False
        )

    def _curl(self, command: str) -> tuple[int, str]:
        if shutil.which("curl", path=self.environment["PATH"]) is None:
            self.record("curl is installed", good=False, note="install curl and try again")
            return 0, ""
        answer = self._shell(command).stdout
        lines = answer.splitlines()
        status = int(lines[0].split()[1]) if lines else 0
        return status, "\n".join("  " + line for line in lines if line)
