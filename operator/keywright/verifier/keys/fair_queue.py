"""A bounded queue that nobody can fill for everybody: turns go round the namespaces, then round their keys.

When it is full, the newcomer displaces the newest waiting item of whoever waits most, unless that is the
newcomer itself. So a flood on one key costs that key its turns, then its namespace, and no other tenant.
"""

from collections import OrderedDict, deque
from typing import Generic, TypeVar

__all__ = ["FairQueue"]

T = TypeVar("T")


class FairQueue(Generic[T]):
    """At most ``capacity`` items, each pushed under a namespace and a key."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._length = 0
        self._waiting: OrderedDict[str, OrderedDict[bytes, deque[T]]] = OrderedDict()

    def __len__(self) -> int:
        return self._length

    def push(self, namespace: str, key: bytes, item: T) -> T | None:
        """Let ``item`` wait. Returns the item that has to go for it: itself, another one, or ``None``."""
        displaced = self._make_room(namespace, key, item) if self._length >= self._capacity else None
        if displaced is not item:
            self._waiting.setdefault(namespace, OrderedDict()).setdefault(key, deque()).append(item)
            self._length += 1
        return displaced

    def pop(self) -> T | None:
        """Take the item whose turn it is; ``None`` when nobody waits."""
        if not self._waiting:
            return None
        namespace, keys = self._waiting.popitem(last=False)
        key, items = keys.popitem(last=False)
        item = items.popleft()
        self._length -= 1
        # Whoever has had a turn goes to the end of the line, on both levels.
        if items:
            keys[key] = items
        if keys:
            self._waiting[namespace] = keys
        return item

    def _make_room(self, namespace: str, key: bytes, newcomer: T) -> T:
        waits = {each: sum(map(len, keys.values())) for each, keys in self._waiting.items()}
        heaviest = max(waits, key=waits.__getitem__, default=namespace)
        if waits.get(namespace, 0) + 1 >= waits.get(heaviest, 0):
            heaviest = namespace
        keys = self._waiting.get(heaviest)
        if keys is None:
            return newcomer
        longest = max(keys, key=lambda each: len(keys[each]))
        if heaviest == namespace and len(keys.get(key, ())) + 1 >= len(keys[longest]):
            return newcomer
        displaced = keys[longest].pop()
        self._length -= 1
        if not keys[longest]:
            del keys[longest]
        if not keys:
            del self._waiting[heaviest]
        return displaced
