"""A line in the log for each request that changes something, and counts of all of them.

The API server's audit log says the same with more authority: there the person stands as the one who was impersonated.
"""

import logging
import re
import traceback
from collections import Counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keywright.console.callers.caller import Caller
from keywright.console.callers.origins import SAFE_METHODS

__all__ = ["Journal"]

logger = logging.getLogger(__name__)

# What is logged loses whole keys anyway. Of one that somebody has cut off while he copied it into an address, whoever
# reads the log could guess the rest.
_CUT_OFF = re.compile(r"(_[0-9A-Za-z]{12}_)[0-9A-Za-z]{8,}")
PLACES = 6
LONGEST = 300  # characters of a path: anybody may send one of 30,000


class Journal:
    """Writes who asked for what, and the status of the answer: no query, no header, no body of either."""

    def __init__(self, app: ASGIApp, answered: Counter[int]) -> None:
        self._app = app
        self._answered = answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, place = 0, scope["path"]
        state = scope.setdefault("state", {})

        async def tell(message: Message) -> None:
            nonlocal status, place
            if message["type"] == "http.response.start":
                status = message["status"]
                if status == 201:
                    # What was made has a name only now.
                    place = next((v.decode() for k, v in message["headers"] if k.lower() == b"location"), place)
            await send(message)

        try:
            await self._app(scope, receive, tell)
        except Exception as error:  # noqa: BLE001 - whoever asked has been answered, and the others go on being served
            # Passed on, it would be logged with its text, which may quote what was sent.
            logger.error("a fault of the key service itself: %s", _place(error))  # noqa: TRY400
        finally:
            is_taken_back = state.get("is_taken_back", False)
            # Whoever had to be there for the answer was gone.
            status = 0 if is_taken_back else status
            self._answered[status] += 1
            if scope["method"] not in SAFE_METHODS:
                place = _CUT_OFF.sub(r"\1[redacted]", place)
                logger.info(
                    "%s: %s %s: %s%s",
                    _who(state),
                    scope["method"],
                    place if len(place) <= LONGEST else f"{place[:LONGEST]}…",
                    status or "no answer",
                    ", and what was made is taken back" if is_taken_back else "",
                )


def _place(error: Exception) -> str:
    """Of what kind it is, and where it lies."""
    frames = traceback.extract_tb(error.__traceback__)[-PLACES:]
    lines = (f"{each.filename.rpartition('/')[2]}:{each.lineno} {each.name}" for each in frames)
    return f"{type(error).__name__} in {' > '.join(lines)}"


def _who(state: dict[str, Any]) -> str:
    caller = state.get("caller")
    return str(caller) if isinstance(caller, Caller) else "nobody"
