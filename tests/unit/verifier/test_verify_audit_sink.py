"""Audit lines reach their file, through rotation and trouble, and never hold anybody up."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from keywright.errors import KeywrightError
from keywright.verifier.audit.sink import CAPACITY, AuditSink

PATIENCE = 5.0


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_lines_are_appended_in_order(tmp_path: Path) -> None:
    """What was in the file stays, everything put in is there after closing, and only the group may read it."""
    path = tmp_path / "log"
    for batch in (range(1500), range(1500, 1600)):
        sink = AuditSink(path)
        sink.start()
        for number in batch:
            sink.put(b"%d\n" % number)
        sink.close()
        assert sink.lost == 0
    assert path.read_bytes() == b"".join(b"%d\n" % number for number in range(1600))
    assert path.stat().st_mode & 0o027 == 0


@pytest.mark.parametrize("how", ["moved", "removed"])
def test_a_rotated_file_is_made_anew(tmp_path: Path, how: str) -> None:
    """Without a signal: lines go where the name is."""
    path, old = tmp_path / "log", tmp_path / "log.1"
    sink = AuditSink(path)
    sink.start()
    sink.put(b"before\n")
    eventually(lambda: path.read_bytes() == b"before\n")
    path.rename(old) if how == "moved" else path.unlink()
    sink.put(b"after\n")
    sink.close()
    assert path.read_bytes() == b"after\n"
    assert how == "removed" or old.read_bytes() == b"before\n"


def test_a_pipe_that_nobody_reads_costs_lines_and_no_time(tmp_path: Path) -> None:
    """Putting in never waits, memory stays bounded, closing does not hang; and whoever reads again is told."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        sink = AuditSink(path)
        sink.start()
        begun = time.monotonic()
        for number in range(3 * CAPACITY):
            sink.put(b"%0200d\n" % number)
        # Whoever waited here would wait for ever.
        assert time.monotonic() - begun < PATIENCE
        lost = sink.lost
        assert lost >= CAPACITY
        assert len(sink._lines) <= CAPACITY
        begun = time.monotonic()
        sink.close()
        assert time.monotonic() - begun < 2 * PATIENCE
        # The thread is still there, and writes on as soon as somebody reads.
        received = b""

        def read() -> bool:
            nonlocal received
            try:
                received += os.read(reader, 1 << 20)
            except BlockingIOError:
                return False
            return b'{"lost":%d}\n' % lost in received

        eventually(read)
        eventually(lambda: not (read() or sink._thread.is_alive()))
    finally:
        os.close(reader)


def test_a_full_disk_is_told_once_and_recovered_from(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Lines are lost and counted; when there is room again the log says how many, and goes on."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    sink = AuditSink(path)
    sink.start()
    for expected in (1, 2):
        sink.put(b"lost\n")
        eventually(lambda expected=expected: sink.lost == expected)  # type: ignore[misc]
    path.unlink()
    sink.put(b'{"a":1}\n')
    sink.close()
    assert [json.loads(each) for each in path.read_text().splitlines()] == [{"lost": 2}, {"a": 1}]
    assert [each.levelname for each in caplog.records if "audit" in each.message] == ["ERROR"]
    assert "audit lines are being lost" in caplog.text


@pytest.mark.parametrize("name", ["missing/log", "folder", "pipe"])
def test_what_cannot_be_written_is_one_line_at_the_start(tmp_path: Path, name: str) -> None:
    """A folder that is not there, a folder, a pipe without a reader: named, with the flag to check."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(KeywrightError, match=r"^cannot write .*: check --audit$"):
        AuditSink(tmp_path / name)
