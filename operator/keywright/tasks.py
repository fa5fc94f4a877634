"""The tasks that a process runs for as long as it serves: what is said when one ends, and how all are ended."""

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from keywright.errors import KeywrightError

__all__ = ["cancel", "report"]


def report(tasks: Sequence[asyncio.Task[None]], logger: logging.Logger) -> int:
    """Say why something that runs for ever has ended. Returns the exit status."""
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            logger.critical("stopping: %s", error if isinstance(error, KeywrightError) else type(error).__name__)
    return 1


async def cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancel them all, and wait until they have ended, however they do."""
    for task in tasks:
        task.cancel()
    for task in tasks:
        with suppress(asyncio.CancelledError, Exception):
            await task
