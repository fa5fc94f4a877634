"""Which ApiKeys exist, as far as watches have told: enough to find whom a change concerns, and no more."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from keywright.domain.apikey import RecordState
from keywright.domain.reasons import Reason
from keywright.domain.times import find_instant
from keywright.domain.usage import OnRecord, used_after_replacement
from keywright.kube.client import Manifest
from keywright.reconcile.ports import Ref

__all__ = ["Roster"]

_REASONS = frozenset(map(str, Reason))


class _Seniority(NamedTuple):
    created_at: str
    uid: str


@dataclass(frozen=True, slots=True)
class _Entry:
    ref: Ref
    seniority: _Seniority
    class_name: str | None
    key_ids: tuple[str, ...]
    version: int
    instants: Mapping[str, float]
    reason: str
    is_stalled: bool
    on_record: OnRecord


class Roster:
    """ApiKeys by UID. ``changed`` is called with whoever is concerned by another's coming or going."""

    def __init__(self, changed: Callable[[Ref], None]) -> None:
        self._changed = changed
        self._entries: dict[str, _Entry] = {}
        self._uids: dict[Ref, str] = {}
        self._holders: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, ref: Ref) -> bool:
        return ref in self._uids

    def observe(self, ref: Ref, manifest: Manifest) -> bool:
        """Take note of an ApiKey as a watch or a read has shown it; whether that was news. A watch also shows what we
        wrote ourselves and have looked at already.
        """
        metadata = manifest["metadata"]
        uid = metadata["uid"]
        version = int(metadata["resourceVersion"])
        known = self._entries.get(uid)
        if known is not None and known.version >= version:
            return False
        replaced = self._uids.get(ref)
        if replaced is not None and replaced != uid:
            self.forget_uid(replaced)
        status = manifest.get("status") or {}
        spec = manifest.get("spec") or {}
        said = {each["type"]: each for each in status.get("conditions") or ()}
        is_stalled = said.get("Stalled", {}).get("status") == "True"
        on_record = _on_record(status)
        entry = _Entry(
            ref=ref,
            seniority=_Seniority(metadata["creationTimestamp"], uid),
            class_name=spec.get("className") or status.get("className"),
            key_ids=tuple(each["id"] for each in status.get("keys") or ()),
            version=version,
            instants={**_instants(status), **_replaced(status, on_record)},
            reason=_reason(said.get("Stalled" if is_stalled else "Ready", {}).get("reason")),
            is_stalled=is_stalled,
            on_record=on_record,
        )
        self._entries[uid] = entry
        self._uids[ref] = uid
        self._hold(uid, known.key_ids if known is not None else (), entry.key_ids)
        return True

    def forget(self, ref: Ref) -> None:
        """The ApiKey of that name is gone."""
        if (uid := self._uids.get(ref)) is not None:
            self.forget_uid(uid)

    def forget_uid(self, uid: str) -> None:
        """The ApiKey with that UID is gone."""
        if (entry := self._entries.pop(uid, None)) is None:
            return
        if self._uids.get(entry.ref) == uid:
            del self._uids[entry.ref]
        self._hold(uid, entry.key_ids, ())

    def version_of(self, uid: str) -> int:
        """The newest resourceVersion seen of an ApiKey, 0 if none."""
        entry = self._entries.get(uid)
        return entry.version if entry is not None else 0

    def uids_in(self, namespace: str | None) -> Collection[str]:
        """The UIDs of one namespace, or of all."""
        if namespace is None:
            return self._entries.keys()
        return [uid for uid, entry in self._entries.items() if entry.ref.namespace == namespace]

    def refs(self) -> Iterator[tuple[Ref, str | None]]:
        """Every ApiKey with the class it names or was issued under (``None``: neither yet)."""
        for entry in list(self._entries.values()):
            yield entry.ref, entry.class_name

    def instants(self) -> Iterator[tuple[Ref, Mapping[str, float]]]:
        """Every ApiKey with its ``expiration``, ``rotation``, ``issue``, and ``replaced_key_use`` and
        ``replaced_key_expiration`` while a replaced key is still used; as far as it has them, since the epoch.
        """
        for entry in list(self._entries.values()):
            yield entry.ref, entry.instants

    def reason_of(self, ref: Ref) -> str:
        """Why an ApiKey is in the state it is in: the reason of ``Stalled`` if that is true, of ``Ready`` otherwise."""
        uid = self._uids.get(ref)
        return self._entries[uid].reason if uid is not None else "Deleted"

    def stalled(self) -> Mapping[str, int]:
        """How many ApiKeys wait for a person, by reason."""
        return Counter(entry.reason for entry in self._entries.values() if entry.is_stalled)

    def on_record(self, ref: Ref) -> OnRecord | None:
        """What the newest status of an ApiKey says of its uses; ``None`` if there is no such ApiKey."""
        uid = self._uids.get(ref)
        return self._entries[uid].on_record if uid is not None else None

    def elder_twin(self, uid: str) -> str | None:
        """An older ApiKey with a key id of this one, as ``namespace/name`` (invariant 11)."""
        entry = self._entries.get(uid)
        if entry is None:
            return None
        for key_id in entry.key_ids:
            eldest = min((self._entries[each] for each in self._holders[key_id]), key=lambda each: each.seniority)
            if eldest.seniority < entry.seniority:
                return str(eldest.ref)
        return None

    def holder_of(self, key_id: str, *, other_than: str) -> str | None:
        """Another ApiKey with this key id than the one with that UID, as ``namespace/name``."""
        others = self._holders.get(key_id, set()) - {other_than}
        return str(self._entries[min(others)].ref) if others else None

    def _hold(self, uid: str, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        if before == after:
            return
        for key_id in before:
            holders = self._holders[key_id]
            holders.discard(uid)
            if not holders:
                del self._holders[key_id]
        for key_id in after:
            self._holders.setdefault(key_id, set()).add(uid)
        concerned = {other for key_id in {*before, *after} for other in self._holders.get(key_id, ())}
        for other in concerned - {uid}:
            self._changed(self._entries[other].ref)


def _instants(status: Manifest) -> Mapping[str, float]:
    named = {"issue": "issuedAt"}
    if status.get("revokedAt") is None:
        # Nothing lies ahead of a revoked key, although its end stays on record.
        named |= {"expiration": "expiresAt", "rotation": "rotateAt"}
    read = {name: find_instant(status.get(field)) for name, field in named.items()}
    return {name: at.timestamp() for name, at in read.items() if at is not None}


def _replaced(status: Manifest, said: OnRecord) -> Mapping[str, float]:
    """Last use and end of the replaced key that is still used; of several, of the one that ends first."""
    used = used_after_replacement(said)
    found = [
        (end, use)
        for each in status.get("keys") or ()
        if each["id"] in used and (end := find_instant(each.get("expiresAt"))) and (use := said.keys[each["id"]])
    ]
    if not found:
        return {}
    end, use = min(found)
    return {"replaced_key_expiration": end.timestamp(), "replaced_key_use": use.timestamp()}


def _reason(said: object) -> str:
    """A reason of our own; anything else in its place was written by others, and could be anything."""
    return str(said) if said in _REASONS else "Unknown"


def _on_record(status: Manifest) -> OnRecord:
    records = status.get("keys") or ()
    replaced_at = next((each.get("issuedAt") for each in records if each.get("state") == RecordState.CURRENT), None)
    return OnRecord(
        last_used_at=find_instant(status.get("lastUsedAt")),
        keys={each["id"]: find_instant(each.get("lastUsedAt")) for each in records},
        retiring=frozenset(each["id"] for each in records if each.get("state") == RecordState.RETIRING),
        replaced_at=find_instant(replaced_at),
    )
