"""Keeps the rules up to date with their file: taken whole or not at all, and the ones of before stay meanwhile."""

import asyncio
import logging
import stat
from pathlib import Path

from keywright.verifier.metrics import Metrics
from keywright.verifier.rules.documents import LONGEST
from keywright.verifier.rules.reading import Problems, read_rules
from keywright.verifier.rules.rules import Rules

__all__ = ["RulesFile"]

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5

_Content = bytes | str
"""What was found: the bytes of the file, or why there are none."""


class RulesFile:
    """``rules`` are the newest that could be read. ``is_current`` says whether they are what stands in the file."""

    def __init__(self, path: Path, metrics: Metrics) -> None:
        self.rules: Rules | None = None
        self.is_current = False
        self._path = path
        self._metrics = metrics
        self._seen: _Content | None = None
        self._judged: _Content | None = None

    async def keep_looking(self) -> None:
        """Look for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Take what stands in the file, if it is new and right.

        It is compared as a whole: times and inodes do not tell of every change (a ConfigMap swaps a link two folders
        up, and two writes may fall into one tick of the clock). What was seen once only may be half written.
        """
        content = _read(self._path)
        if content != self._seen and self._seen is not None:
            self._seen = content
            return
        self._seen = content
        if content == self._judged:
            return
        self._judged = content
        found = read_rules(content) if isinstance(content, bytes) else (content,)
        self.is_current = isinstance(found, Rules)
        if isinstance(found, Rules):
            self._take(found)
        else:
            self._refuse(found)

    def _take(self, rules: Rules) -> None:
        self.rules = rules
        self._metrics.rules_taken += 1
        logger.info("judging by the %d rules of %s", len(rules.rules), self._path)
        for number, before in rules.unreachable().items():
            logger.warning("%s: rules[%d] never decides: rules[%d] stands before it", self._path, number, before)

    def _refuse(self, problems: Problems) -> None:
        self._metrics.rules_refused += 1
        for problem in problems:
            logger.error("%s: %s", self._path, problem)
        consequence = "not ready until there are" if self.rules is None else "those of before stay in force"
        logger.error("no rules were taken from %s: %s", self._path, consequence)


def _read(path: Path) -> _Content:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return "this is no file: check --rules"
        with path.open("rb") as file:
            return file.read(LONGEST + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or type(error).__name__
        return f"cannot be read: {why}: put it there, or check --rules"
