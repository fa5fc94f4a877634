"""How much one caller may ask in a minute, so that none takes the API server from the others."""

import time
from collections.abc import Callable

from keywright.console.callers.caller import Caller
from keywright.console.problems import ProblemError
from keywright.verifier.limits.windows import SECOND, Window

__all__ = ["Rates"]

WINDOW_SECONDS = 60
# Callers are proven before they are counted, so this many are no attack; then the quiet ones are forgotten.
SWEEP_AT = 4096


class Rates:
    """Counts the requests of each caller in a sliding minute: of a key by itself, of a person by name."""

    def __init__(self, requests: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._requests = requests
        self._clock = clock
        self._windows: dict[str, Window] = {}

    def charge(self, caller: Caller) -> None:
        """Count one request.

        Raises:
            ProblemError: 429 if there is no room for it in this minute.

        """
        now = self._clock()
        name = f"apikey:{caller.bounds.namespace}/{caller.bounds.name}" if caller.bounds is not None else caller.user
        window = self._windows.get(name)
        if window is None:
            if len(self._windows) >= SWEEP_AT:
                self._sweep(now)
            window = self._windows[name] = Window(WINDOW_SECONDS)
        if now >= window.due:
            window.settle(now)
        if window.total >= self._requests:
            wait = -((now - window.passes_at(self._requests)) // SECOND)
            raise ProblemError(
                429,
                "rate_limited",
                "You have asked the key service too much in this minute. Retry-After says when to try again.",
                {"Retry-After": str(wait)},
            )
        window.charge(now)

    def _sweep(self, now: int) -> None:
        for name, window in list(self._windows.items()):
            if now >= window.due:
                window.settle(now)
            if not window.total:
                del self._windows[name]
