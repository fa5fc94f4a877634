"""Log lines for people or for machines, on standard error, and never a plain key in either."""

import json
import logging
import sys
from datetime import UTC, datetime

from keywright.domain.plainkey import escape, redact

__all__ = ["configure"]


class _HumanFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        # A message may quote what a user wrote: one record stays one line, and no terminal obeys it.
        record.message = escape(record.message)
        return super().formatMessage(record)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return redact(json.dumps(line, ensure_ascii=False))


def configure(*, form: str, level: str) -> None:
    """Set up logging for this process. ``form`` is ``human`` or ``json``."""
    handler = logging.StreamHandler(sys.stderr)
    human = _HumanFormatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")
    handler.setFormatter(_JsonFormatter() if form == "json" else human)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # kopf logs whole objects at DEBUG and every handler call at INFO.
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
