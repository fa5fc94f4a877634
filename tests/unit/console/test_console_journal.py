"""What the log of the key service says of a fault."""

import logging
from collections import Counter

import pytest
from starlette.types import Message, Receive, Scope, Send

from keywright.console.connections.journal import Journal


async def fail(scope: Scope, receive: Receive, send: Send) -> None:
    """A fault that quotes what was sent, behind an answer."""
    await send({"type": "http.response.start", "status": 500, "headers": []})
    raise ValueError("hunter2")


async def test_a_fault_is_told_by_its_place(caplog: pytest.LogCaptureFixture) -> None:
    """Its kind and where it lies, for who mends it; its text, which may quote a key, goes nowhere, also not further."""
    answered: Counter[int] = Counter()

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        assert message["status"] == 500

    with caplog.at_level(logging.INFO):
        await Journal(fail, answered)({"type": "http", "method": "POST", "path": "/x"}, receive, send)
    assert answered == {500: 1}
    assert "ValueError" in caplog.text
    assert "test_console_journal.py" in caplog.text
    assert "nobody: POST /x: 500" in caplog.text
    assert "hunter2" not in caplog.text


@pytest.mark.parametrize("length", [40, 30_000])
async def test_nobody_fills_the_log(caplog: pytest.LogCaptureFixture, length: int) -> None:
    """A path is told as far as somebody reads it, and a key in it not even where it is cut."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 401, "headers": []})

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        pass

    path = "/" + "x" * (length - 1) + "_abcdefghijkl_" + "s" * 48
    with caplog.at_level(logging.INFO):
        await Journal(answer, Counter())({"type": "http", "method": "POST", "path": path}, receive, send)
    (line,) = caplog.messages
    assert line.startswith(f"nobody: POST {path[:40]}")
    assert line.endswith(": 401")
    assert len(line) < 400
    assert "sss" not in line
