"""Key id to entry: the picture of the ApiKeys that the watch keeps up to date.

A sink of the reflector. It holds entries only, and it holds every claim to a key id, so that the younger of
two ApiKeys with the same id takes over when the older one goes away (invariant 11).
"""

from collections.abc import Collection, Mapping
from typing import Any

from keywright.verifier.keys.records import Entry, read_api_key, read_uid
from keywright.verifier.keys.rights import RightsPool

__all__ = ["Index", "NamespaceView"]


class Index:
    """Look-up by key id for the engine, put and remove by UID for the watch."""

    def __init__(self, *, with_agents: bool = False) -> None:
        self._with_agents = with_agents
        self.entries: dict[bytes, Entry] = {}
        """The entry that counts for each key id. Read by the engine, never written outside of here."""
        self._of_object: dict[str, tuple[Entry, ...]] = {}
        self._claims: dict[bytes, list[Entry]] = {}
        self._rights = RightsPool()

    def put(self, manifest: Mapping[str, Any]) -> None:
        """Take the newest state of an ApiKey. One that is leaving, or cannot be read, is as good as gone."""
        uid = read_uid(manifest)
        if uid is None:
            return
        entries = read_api_key(manifest, self._rights, with_agent=self._with_agents)
        for old in self._of_object.get(uid, ()):
            for entry in entries:
                if entry.is_same_key_as(old):
                    entry.proof = old.proof
        self.remove(uid)
        if entries:
            self._of_object[uid] = entries
        for entry in entries:
            self._claim(entry)

    def remove(self, uid: str) -> None:
        """Forget an ApiKey; one that was never held is fine."""
        for entry in self._of_object.pop(uid, ()):
            self._release(entry)

    def uids(self) -> Collection[str]:
        """The UIDs of all ApiKeys that are held."""
        return self._of_object.keys()

    def uids_in(self, namespace: str) -> Collection[str]:
        """The UIDs of the ApiKeys held of one namespace."""
        return [uid for uid, entries in self._of_object.items() if entries[0].namespace == namespace]

    def _claim(self, entry: Entry) -> None:
        holder = self.entries.setdefault(entry.key_id, entry)
        if holder is entry:
            return
        self._claims.setdefault(entry.key_id, [holder]).append(entry)
        if entry.precedes(holder):
            self.entries[entry.key_id] = entry

    def _release(self, entry: Entry) -> None:
        claims = self._claims.get(entry.key_id)
        if claims is None:
            del self.entries[entry.key_id]
            return
        claims.remove(entry)
        if len(claims) == 1:
            del self._claims[entry.key_id]
        if self.entries[entry.key_id] is entry:
            heir = claims[0]
            for claim in claims[1:]:
                heir = claim if claim.precedes(heir) else heir
            self.entries[entry.key_id] = heir


class NamespaceView:
    """The index as the watch of one namespace sees it: a re-list there says nothing about the others."""

    def __init__(self, index: Index, namespace: str) -> None:
        self._index = index
        self._namespace = namespace
        self.put = index.put
        self.remove = index.remove

    def uids(self) -> Collection[str]:
        """The UIDs of the ApiKeys held of this namespace."""
        return self._index.uids_in(self._namespace)
