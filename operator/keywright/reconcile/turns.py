"""Whose turn it is: round the namespaces that have work, so that nobody waits for the whole of another's.

Whoever rotates a thousand keys a second, or whose writes hang in a webhook, costs the others one turn, and never all of
the workers.
"""

from collections import Counter, OrderedDict, deque

from keywright.reconcile.ports import Ref

__all__ = ["Turns"]


class Turns:
    """ApiKeys that wait, each pushed once. Of one namespace, at most ``share`` are out at the same time."""

    def __init__(self, share: int) -> None:
        self._share = share
        self._waiting: OrderedDict[str, deque[Ref]] = OrderedDict()
        self._out: Counter[str] = Counter()

    def push(self, ref: Ref) -> None:
        self._waiting.setdefault(ref.namespace, deque()).append(ref)

    def pop(self) -> Ref | None:
        """Take the ApiKey whose turn it is, ``None`` if there is none; :meth:`done` brings its place back."""
        namespace = next((each for each in self._waiting if self._out[each] < self._share), None)
        if namespace is None:
            return None
        refs = self._waiting[namespace]
        ref = refs.popleft()
        if refs:
            self._waiting.move_to_end(namespace)
        else:
            del self._waiting[namespace]
        self._out[namespace] += 1
        return ref

    def done(self, ref: Ref) -> None:
        self._out[ref.namespace] -= 1
        if not self._out[ref.namespace]:
            del self._out[ref.namespace]

    def clear(self) -> None:
        """Forget who waits."""
        self._waiting.clear()
