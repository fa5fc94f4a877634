"""What the operator's own watches show: classes, namespaces and our Secrets (metadata only), and the ApiKeys a second
time.

Each is a sink of a :class:`keywright.kube.reflector.Reflector`, which has the re-list semantics that the
framework's watches lack: an object that vanished unnoticed is removed.
"""

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from keywright.api.keyclass import read_class
from keywright.domain.delivery import NAME_LABEL
from keywright.domain.keyclass import BUILT_IN, KeyClass, resolve
from keywright.kube.client import Manifest
from keywright.reconcile.ports import Ref
from keywright.reconcile.roster import Roster

__all__ = ["ClassPicture", "NamespacePicture", "SecretPicture", "WatchGuard"]


class ClassPicture:
    """The classes. ``changed`` is called with the name of one that came, changed or went."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._classes: dict[str, KeyClass | None] = {}
        self._names: dict[str, str] = {}

    def put(self, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        if "deletionTimestamp" in metadata:
            # Somebody's finalizer holds it. It is gone for verifiers too.
            self.remove(metadata["uid"])
            return
        name = metadata["name"]
        read = read_class(manifest)
        if self._names.get(metadata["uid"]) == name and self._classes.get(name) == read:
            return
        self._names[metadata["uid"]] = name
        self._classes[name] = read
        self._changed(name)

    def remove(self, uid: str) -> None:
        if (name := self._names.pop(uid, None)) is not None and name not in self._names.values():
            del self._classes[name]
            self._changed(name)

    def uids(self) -> Collection[str]:
        return self._names.keys()

    def resolve(self, name: str | None) -> KeyClass | None:
        """The class of that name, or the default one (see :func:`keywright.domain.keyclass.resolve`)."""
        wanted = name
        if wanted in self._classes and self._classes[wanted] is None:
            return None
        found = resolve(wanted, (each for each in self._classes.values() if each is not None), BUILT_IN)
        # The built-in stands in for an absent object only, not for one that cannot be read.
        return None if found is BUILT_IN and BUILT_IN.name in self._classes else found


class NamespacePicture:
    """Labels of the namespaces. ``changed`` is called with the name of one that came or has other labels now."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._names: dict[str, str] = {}
        self._labels: dict[str, Mapping[str, str]] = {}

    def put(self, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        name, labels = metadata["name"], metadata.get("labels") or {}
        self._names[metadata["uid"]] = name
        if self._labels.get(name) != labels:
            self._labels[name] = labels
            self._changed(name)

    def remove(self, uid: str) -> None:
        # Its ApiKeys went before it: nobody has to be told.
        if (name := self._names.pop(uid, None)) is not None and name not in self._names.values():
            del self._labels[name]

    def uids(self) -> Collection[str]:
        return self._names.keys()

    def uids_in(self, namespace: str | None) -> Collection[str]:
        """The UIDs that the namespace of this name has had, or all."""
        return [uid for uid, name in self._names.items() if namespace in (None, name)]

    def labels_of(self, name: str) -> Mapping[str, str] | None:
        """``None`` for a namespace that no watch has shown yet."""
        return self._labels.get(name)


@dataclass(frozen=True, slots=True)
class _Seen:
    secret: Ref
    apikey: Ref | None
    version: str
    is_right: bool = False


class SecretPicture:
    """The Secrets that carry our label, by UID and version. ``changed`` gets whom the label names, or named."""

    def __init__(self, changed: Callable[[Ref], None]) -> None:
        self._changed = changed
        self._seen: dict[str, _Seen] = {}
        self._uids: dict[Ref, str] = {}

    def put(self, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        uid = metadata["uid"]
        known = self._seen.get(uid)
        if known is not None and int(known.version) >= int(metadata["resourceVersion"]):
            return
        namespace = metadata["namespace"]
        secret = Ref(namespace, metadata["name"])
        name = (metadata.get("labels") or {}).get(NAME_LABEL)
        seen = _Seen(secret, Ref(namespace, name) if name else None, metadata["resourceVersion"])
        self._seen[uid] = seen
        self._uids[secret] = uid
        self._tell(seen)
        if known is not None and known.apikey != seen.apikey:
            self._tell(known)

    def remove(self, uid: str) -> None:
        if (seen := self.forget(uid)) is not None:
            self._tell(seen)

    def forget(self, uid: str) -> _Seen | None:
        """Take a Secret out without telling anybody, as when the operator has removed it itself."""
        seen = self._seen.pop(uid, None)
        if seen is not None and self._uids.get(seen.secret) == uid:
            del self._uids[seen.secret]
        return seen

    def note(self, secret: Ref, uid: str, apikey: Ref, *, version: str, is_right: bool) -> None:
        """The operator has read or written this version itself: nobody has to be told when the watch shows it."""
        known = self._seen.get(uid)
        if known is not None and int(known.version) > int(version):
            return
        self._seen[uid] = _Seen(secret, apikey, version, is_right)
        self._uids[secret] = uid

    def uids(self) -> Collection[str]:
        return self._seen.keys()

    def uids_in(self, namespace: str | None) -> Collection[str]:
        """The UIDs of one namespace, or of all."""
        return [uid for uid, seen in self._seen.items() if namespace in (None, seen.secret.namespace)]

    def uid_of(self, ref: Ref) -> str | None:
        return self._uids.get(ref)

    def version_of(self, uid: str) -> str:
        return self._seen[uid].version

    def is_right(self, uid: str) -> bool:
        return self._seen[uid].is_right

    def _tell(self, seen: _Seen) -> None:
        if seen.apikey is not None:
            self._changed(seen.apikey)


class WatchGuard:
    """Notices when the framework's watch of ApiKeys is dead, by a second watch of their metadata.

    What this watch shows, the framework must show soon after. It also knows of deletions that the framework
    missed: they are removed from the roster here.
    """

    def __init__(self, roster: Roster, namespace: str | None) -> None:
        self._roster = roster
        self._namespace = namespace
        self._awaited: dict[str, tuple[int, float]] = {}

    def put(self, manifest: Manifest) -> None:
        metadata = manifest["metadata"]
        version = int(metadata["resourceVersion"])
        if self._roster.version_of(metadata["uid"]) < version:
            since = self._awaited.get(metadata["uid"], (0, time.monotonic()))[1]
            self._awaited[metadata["uid"]] = (version, since)

    def remove(self, uid: str) -> None:
        self._awaited.pop(uid, None)
        self._roster.forget_uid(uid)

    def uids(self) -> Collection[str]:
        return [*self._roster.uids_in(self._namespace), *self._awaited]

    def lag(self) -> float:
        """For how many seconds the framework has owed us an ApiKey; 0 if it owes none."""
        arrived = [uid for uid, (version, _) in self._awaited.items() if self._roster.version_of(uid) >= version]
        for uid in arrived:
            del self._awaited[uid]
        oldest = min((since for _, since in self._awaited.values()), default=None)
        return time.monotonic() - oldest if oldest is not None else 0.0
