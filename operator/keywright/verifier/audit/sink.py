"""Where audit lines go: a file or standard output, written by a thread of its own.

Whoever judges a request leaves a line in a bounded buffer and goes on. A disk that is full or slow, or a pipe that
nobody reads, costs lines and never a verdict; the lines that were lost are counted, and the log itself says so as soon
as it can.
"""

import logging
import os
import sys
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path

from keywright.errors import KeywrightError

__all__ = ["STANDARD_OUTPUT", "AuditSink"]

STANDARD_OUTPUT = Path("-")

# Some 4 MB at the most, and a third of a second of the densest traffic that one process judges.
CAPACITY = 10_000
WRITE_EVERY = 0.1
AT_A_STRETCH = 500
FAREWELL_SECONDS = 2.0
MODE = 0o640

logger = logging.getLogger(__name__)


class AuditSink:
    """Appends lines to ``path``. A file that was moved away or removed is made anew, so rotating needs no signal."""

    def __init__(self, path: Path) -> None:
        """Open it. Raises KeywrightError if that is not possible."""
        self._path = path
        try:
            self._fd = _open(path)
        except OSError as error:
            why = error.strerror or type(error).__name__
            raise KeywrightError(f"cannot write {path}: {why}: check --audit") from None
        self._lines: deque[bytes] = deque()
        # One for each thread, so that none of the two counts over the other's shoulder.
        self._turned_away = self._unwritten = 0
        self._told = 0
        self._is_torn = False
        self._is_in_trouble = False
        self._stopping = threading.Event()
        # A daemon: a pipe that nobody reads must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    @property
    def lost(self) -> int:
        """How many lines were not written: no room in the buffer, or no room on the disk."""
        return self._turned_away + self._unwritten

    def start(self) -> None:
        """Begin to write what is put in."""
        self._thread.start()

    def put(self, line: bytes) -> None:
        """Take one whole line. Never waits."""
        if len(self._lines) < CAPACITY:
            self._lines.append(line)
        else:
            self._turned_away += 1

    def close(self) -> None:
        """Write what is there, for two seconds at the most."""
        self._stopping.set()
        self._thread.join(FAREWELL_SECONDS)
        if not self._thread.is_alive():
            os.close(self._fd)

    def _run(self) -> None:
        while not self._stopping.wait(WRITE_EVERY):
            self._drain()
        self._drain()

    def _drain(self) -> None:
        while self._lines:
            batch = [self._lines.popleft() for _ in range(min(AT_A_STRETCH, len(self._lines)))]
            try:
                self._follow()
                lost = self.lost
                if lost > self._told:
                    self._write(b'{"lost":%d}\n' % (lost - self._told))
                    self._told = lost
                self._write(b"".join(batch))
            except OSError as error:
                self._unwritten += len(batch)
                if not self._is_in_trouble:
                    logger.error("audit lines are being lost: cannot write %s: %s", self._path, error.strerror)  # noqa: TRY400 - one line
                self._is_in_trouble = True
            else:
                if self._is_in_trouble:
                    logger.info("audit lines are written again")
                self._is_in_trouble = False

    def _write(self, block: bytes) -> None:
        """Write all of it. What broke off in the middle of a line is ended first, so that one line is spoilt only."""
        block = b"\n" + block if self._is_torn else block
        left = memoryview(block)
        while left:
            written = os.write(self._fd, left)
            self._is_torn = block[len(block) - len(left) + written - 1 : len(block) - len(left) + written] != b"\n"
            left = left[written:]

    def _follow(self) -> None:
        """Open the file anew if it is no longer the one that has the name."""
        if self._path == STANDARD_OUTPUT:
            return
        ours, there = os.fstat(self._fd), None
        with suppress(FileNotFoundError):
            there = self._path.stat()
        if there is None or (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
            fresh = _open(self._path)
            os.close(self._fd)
            self._fd, self._is_torn = fresh, False


def _open(path: Path) -> int:
    if path == STANDARD_OUTPUT:
        return os.dup(sys.stdout.fileno())
    # A named pipe without a reader would hold up the start for ever; with this flag it is an error.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    descriptor = os.open(path, flags, MODE)
    os.set_blocking(descriptor, True)
    return descriptor
