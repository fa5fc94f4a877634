"""A watch may show a Secret that we are writing before the API server's answer reaches us.

Taken for somebody else's doing, every second issue would be looked at again, with two reads. So while a write is under
way, what the watch shows of that Secret is held back, and handed on, in order, right after the writer has noted what it
wrote. Nothing is dropped: what differs from the note is news then.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Protocol

from keywright.kube.client import Manifest
from keywright.reconcile.ports import Ref

__all__ = ["Echoes"]


class _Picture(Protocol):
    def put(self, manifest: Manifest) -> None: ...

    def remove(self, uid: str) -> None: ...

    def uids_in(self, namespace: str | None) -> Collection[str]: ...


class Echoes:
    """Stands between the watches of Secrets and their picture."""

    def __init__(self, picture: _Picture) -> None:
        self._picture = picture
        self._under_way: Counter[Ref] = Counter()
        self._held: dict[Ref, list[Manifest]] = {}

    def put(self, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        ref = Ref(metadata["namespace"], metadata["name"])
        if ref in self._under_way:
            self._held.setdefault(ref, []).append(manifest)
        else:
            self._picture.put(manifest)

    def remove(self, uid: str) -> None:
        for ref, manifests in list(self._held.items()):
            if any(each["metadata"]["uid"] == uid for each in manifests):
                self._hand_on(ref)
        self._picture.remove(uid)

    def uids_in(self, namespace: str | None) -> Collection[str]:
        return self._picture.uids_in(namespace)

    @contextmanager
    def writing(self, secret: Ref) -> Iterator[None]:
        """A write of that Secret is under way. Whoever sends it notes its outcome before it yields again."""
        self._under_way[secret] += 1
        try:
            yield
        finally:
            asyncio.get_running_loop().call_soon(self._end, secret)

    def _end(self, secret: Ref) -> None:
        self._under_way[secret] -= 1
        if not self._under_way[secret]:
            del self._under_way[secret]
            self._hand_on(secret)

    def _hand_on(self, secret: Ref) -> None:
        for manifest in self._held.pop(secret, ()):
            self._picture.put(manifest)
