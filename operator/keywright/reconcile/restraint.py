"""How often a Secret is put right. Another controller may want it otherwise, and the two would never stop."""

from collections import OrderedDict, deque
from datetime import datetime, timedelta

from keywright.reconcile.ports import Clock

__all__ = ["Restraint"]

BURST = 5
PERIOD = timedelta(minutes=1)


class Restraint:
    """Counts by Secret and generation of its ApiKey: what is asked for anew does not wait for what was before."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._written: OrderedDict[tuple[str, int], deque[datetime]] = OrderedDict()

    def rests_until(self, uid: str, generation: int) -> datetime | None:
        """When the Secret with that UID may be put right again; ``None``: now."""
        written = self._written.get((uid, generation))
        if written is None or len(written) < BURST:
            return None
        # A clock that was stepped back has not seen these times yet.
        is_recent = timedelta(0) <= self._clock() - written[0] < PERIOD
        return written[0] + PERIOD if is_recent else None

    def note(self, uid: str, generation: int) -> None:
        """It has been put right just now."""
        now = self._clock()
        self._written.setdefault((uid, generation), deque(maxlen=BURST)).append(now)
        self._written.move_to_end((uid, generation))
        while not timedelta(0) <= now - next(iter(self._written.values()))[-1] < PERIOD:
            self._written.popitem(last=False)
