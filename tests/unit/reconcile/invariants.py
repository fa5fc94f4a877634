"""The invariants (DESIGN section 6) as they look from outside, written down once. A world under them breaks where it
breaks one: most are held against each single write, whoever made it and whatever else was under way.

| | what is held |
|---|---|
| 1 | a plain key is in the data of the Secret of its ApiKey, and in nothing else that was ever written |
| 2 | one Current, one Pending; a key is minted only for a reason that somebody gave, once for each; it becomes Current after it was delivered; a key in a Secret of ours is refused for a reason that somebody gave; a replaced one works for its grace period, and no longer |
| 3 | a Secret that is not ours stays as it is (:class:`tests.unit.reconcile.people.People` knows whose is whose) |
| 4 | what a verifier grants is in the newest spec under the newest class; what is recorded was allowed when it was, or before |
| 5 | revoked stays revoked, ended stays ended, a replaced key never comes back, whatever the clock does |
| 6 | nothing gets a finalizer |
| 7 | a second look, and a new process, write nothing (:class:`tests.unit.reconcile.machine.Keywright`) |
| 8 | so do two operators: all of this holds for them together |
| 11 | of two ApiKeys with one key id the elder's is accepted |
| 12 | a record keeps its hash, and what was proven against it (:class:`tests.unit.reconcile.judge.Judge`) |

9 and 10 are about verifiers without news and about roles: other tests.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from keywright.api.apikey import read_spec
from keywright.api.keyclass import read_class
from keywright.api.status import read_status
from keywright.domain import entitlement, rotation
from keywright.domain.apikey import KeyRecord, KeySpec, Phase, RecordState, Status
from keywright.domain.hashing import is_trustworthy
from keywright.domain.keyclass import KeyClass
from keywright.domain.scopes import closure, is_covered
from keywright.domain.times import parse_duration
from keywright.kube.client import Manifest
from keywright.kube.resources import APIKEYCLASSES, APIKEYS, NAMESPACES, SECRETS, Resource
from keywright.reconcile.ports import Ref
from keywright.verifier import verdicts
from keywright.verifier.keys.records import Entry
from tests.unit.reconcile.world import NAMESPACE, World, key_in

__all__ = ["SKEW", "Invariants"]

SKEW = timedelta(seconds=20)
"""By how much the clock of an operator may be ahead."""
CLASS_GRACE = timedelta(hours=24)
NOTHING = timedelta(0)


class Invariants:
    """Remembers what has been promised, and sees every write."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.counts: Counter[str] = Counter()
        """How often what happened: a run in which nothing did proves nothing."""
        self.may_end: set[str] = set()
        """UIDs of ApiKeys for which somebody asked for an end, if only for a while."""
        self._latest = world.clock()
        self._apikeys: dict[str, Manifest] = {}
        self._hashes: dict[tuple[str, str], str] = {}
        self._issued: set[str] = set()
        self._answered: defaultdict[str, set[str]] = defaultdict(set)
        self._graces: defaultdict[str, set[timedelta]] = defaultdict(lambda: {CLASS_GRACE})
        self._places: dict[str, str] = {}
        self._has_lifetimes = False
        self._is_looking_away = False
        world.cluster.subscribe(self._see)

    @contextmanager
    def looking_away(self, uid: str) -> Iterator[None]:
        """Somebody writes a status who must not: what it says of an ApiKey is no promise of ours."""
        self._is_looking_away = True
        try:
            yield
        finally:
            self._is_looking_away = False
            self._hashes = {key: value for key, value in self._hashes.items() if key[0] != uid}

    # At any moment.

    def check(self, manifest: Manifest) -> None:
        """What holds of an ApiKey whenever one looks."""
        ref, uid = Ref(NAMESPACE, manifest["metadata"]["name"]), manifest["metadata"]["uid"]
        self.world.check(ref)
        status = self.world.status(ref)
        for plain in self.world.minted:
            verdict = self.world.judge.judge(plain)
            if isinstance(verdict, Entry) and verdict.uid == uid:
                assert self.elder_of(manifest, verdict.key_id.decode()) is None, "11: the younger is accepted"
                if uid not in self.world.forgotten:
                    self._check_accepted(manifest, status, plain, verdict)
        if uid in self.world.forgotten:
            return
        secret = self.world.secret(ref)
        if secret is None or secret["metadata"]["uid"] != status.secret_uid:
            return
        held = key_in(secret)
        if held is not None and held.text in self.world.minted:
            self._check_held(manifest, status, held.text)

    def _check_accepted(self, manifest: Manifest, status: Status, plain: str, entry: Entry) -> None:
        record = next(each for each in status.keys if each.id == entry.key_id.decode())
        is_delivered = plain in self.world.delivered
        assert is_delivered or record.state is RecordState.PENDING, "2: accepted, and nobody ever received it"
        spec = manifest["spec"]
        assert not spec.get("revoked"), "4: a revoked key works"
        assert not spec.get("suspended"), "4: a suspended key works"
        key_class = self.class_of(manifest, status)
        assert key_class is not None, "4: a key of no class works"
        role = spec.get("role")
        asked = closure((*key_class.roles.get(role or "", ()), *spec.get("scopes", ())), key_class.scopes)
        permits = self.world.judge.permits(entry)
        assert permits.role in (None, role), "4: a role that is not asked for"
        assert all(is_covered(each, asked) for each in permits.scopes), "4: scopes that are not asked for"

    def _check_held(self, manifest: Manifest, status: Status, plain: str) -> None:
        """2: a key that was delivered is refused only where somebody wants it so."""
        uid, verdict = manifest["metadata"]["uid"], self.world.judge.judge(plain)
        if isinstance(verdict, Entry):
            return
        spec = manifest["spec"]
        is_barred = status.suspended_at is not None or status.disallowed_at is not None
        reasons = {
            verdicts.REVOKED: spec.get("revoked", False),
            verdicts.SUSPENDED: spec.get("suspended", False) or is_barred,
            verdicts.EXPIRED: uid in self.may_end or NOTHING in self._graces[uid] or self._has_lifetimes,
            verdicts.INVALID: self.class_of(manifest, status) is None or self._is_younger(manifest, status),
            verdicts.MALFORMED_PREFIX: self.class_of(manifest, status) is None,
        }
        assert reasons[verdict], f"2: a delivered key is refused: {verdict.detail}"

    def elder_of(self, manifest: Manifest, key_id: str) -> str | None:
        """The UID of an older ApiKey that has a usable record of this id."""
        mine = manifest["metadata"]
        for each in self._apikeys.values():
            other = each["metadata"]
            is_elder = (other["creationTimestamp"], other["uid"]) < (mine["creationTimestamp"], mine["uid"])
            records = each.get("status", {}).get("keys", ())
            if is_elder and any(one["id"] == key_id and is_trustworthy(one["hash"]) for one in records):
                uid: str = other["uid"]
                return uid
        return None

    def _is_younger(self, manifest: Manifest, status: Status) -> bool:
        return any(self.elder_of(manifest, each.id) is not None for each in status.keys)

    @property
    def latest(self) -> datetime:
        """The latest that the clock of the world ever was."""
        return max(self._latest, self.world.clock())

    def class_of(self, manifest: Manifest, status: Status) -> KeyClass | None:
        name = manifest["spec"].get("className") or status.class_name or "standard"
        found = self.world.cluster.find(APIKEYCLASSES, None, name)
        return read_class(found) if found is not None else None

    # With each write.

    def _see(self, event: str, resource: Resource, manifest: Manifest) -> None:
        self._latest = max(self._latest, self.world.clock())
        assert not manifest["metadata"].get("finalizers"), "6: a finalizer"
        if resource == SECRETS and event != "DELETED":
            held = key_in(manifest)
            if held is not None and held.text in self.world.minted:
                name = manifest["metadata"]["name"]
                assert self._places.setdefault(held.text, name) == name, "1: a key in two Secrets"
        elif resource == APIKEYCLASSES:
            self._has_lifetimes |= bool(manifest["spec"].get("lifetime"))
        elif resource == APIKEYS:
            self._see_apikey(event, manifest)

    def _see_apikey(self, event: str, manifest: Manifest) -> None:
        uid = manifest["metadata"]["uid"]
        before = self._apikeys.pop(uid, None)
        self.counts[event] += 1
        if event == "DELETED":
            return
        self._apikeys[uid] = manifest
        annotations = manifest["metadata"].get("annotations") or {}
        graces = (
            (manifest["spec"].get("rotation") or {}).get("gracePeriod"),
            annotations.get("keywright.dev/rotate-grace"),
        )
        self._graces[uid].update(parse_duration(each) for each in graces if each is not None)
        if manifest["spec"].get("expiresAt") or manifest["spec"].get("ttl"):
            self.may_end.add(uid)
        if before is None or self._is_looking_away or before.get("status") == manifest.get("status"):
            return
        old, new = read_status(before), read_status(manifest)
        assert old is not None
        assert new is not None, "a status that cannot be read"
        self._check_write(manifest, old, new)

    def _check_write(self, manifest: Manifest, old: Status, new: Status) -> None:
        uid = manifest["metadata"]["uid"]
        self._check_ends(old, new)
        before, after = {each.id: each for each in old.keys}, {each.id: each for each in new.keys}
        for key_id, record in after.items():
            known = self._hashes.setdefault((uid, key_id), record.hash)
            assert known == record.hash, "12: a record has another hash"
            if key_id not in before:
                self._check_new(manifest, old, new, record)
            else:
                self._check_kept(uid, before[key_id], record)
        for key_id, record in before.items():
            if key_id not in after:
                self._check_gone(uid, record, new)
        self._check_emergency(manifest, old, new)
        if new.record(RecordState.CURRENT) is not None:
            self._issued.add(uid)
        self._check_effective(manifest, old, new)

    @staticmethod
    def _check_ends(old: Status, new: Status) -> None:
        assert old.revoked_at in (None, new.revoked_at), "5: a revocation was taken back"
        if old.phase is Phase.EXPIRED and old.record(RecordState.CURRENT) is not None:
            assert new.phase in (Phase.EXPIRED, Phase.REVOKED), "5: an ended key came back"
            assert new.current_key_id == old.current_key_id, "5: an ended key was replaced"

    def _check_new(self, manifest: Manifest, old: Status, new: Status, record: KeyRecord) -> None:
        uid, spec = manifest["metadata"]["uid"], read_spec(manifest)
        if record.state is RecordState.CURRENT:
            annotations = manifest["metadata"].get("annotations") or {}
            assert "keywright.dev/adopt-secret" in annotations, "2: Current without having been Pending"
            assert not old.keys, "2: adopted besides another key"
            self.counts["adopted"] += 1
            return
        assert record.state is RecordState.PENDING
        assert isinstance(spec, KeySpec), "2: minted for a spec that cannot be read"
        assert not spec.revoked, "5: minted for a revoked ApiKey"
        self.counts["minted"] += 1
        current = old.record(RecordState.CURRENT)
        if uid in self.world.forgotten or old.record(RecordState.PENDING) is not None:
            return
        if current is None:
            assert uid not in self._issued, "2: issued a second time"
            return
        self.counts["rotations begun"] += 1
        assert not spec.suspended, "2: a rotation of a suspended key"
        assert len(old.keys) < rotation.MAX_RECORDS, "2: a ninth record"
        assert self._has_reason(manifest, spec, old, new, current), "2: a second key without reason"

    def _has_reason(self, manifest: Manifest, spec: KeySpec, old: Status, new: Status, current: KeyRecord) -> bool:
        """Each value of trigger and annotation rotates once."""
        answered = self._answered[manifest["metadata"]["uid"]]
        asked: set[str] = set()
        if new.handled_trigger != old.handled_trigger:
            assert spec.rotation is not None
            assert new.handled_trigger == spec.rotation.trigger
            asked.add(f"trigger {new.handled_trigger}")
        if new.handled_rotate_annotation != old.handled_rotate_annotation:
            assert spec.rotate_request is not None
            assert new.handled_rotate_annotation == spec.rotate_request.value
            asked.add(f"annotation {new.handled_rotate_annotation}")
        if asked:
            assert not asked & answered, "2: a request was answered twice"
            answered |= asked
            return True
        key_class = self.class_of(manifest, old)
        if any(each.is_behind for each in self.world.operators) or key_class is None:
            return True
        due_at = rotation.rotate_at(spec, key_class, current)
        if due_at is not None and due_at <= self._latest + SKEW:
            return True
        held = self.world.key_in_secret(Ref(NAMESPACE, manifest["metadata"]["name"]))
        is_lost = held is None or held.key_id != current.id
        secret = manifest["spec"].get("secret") or {}
        return is_lost and secret.get("onLoss") == "Rotate" and secret.get("delivery") != "Once"

    def _check_kept(self, uid: str, old: KeyRecord, new: KeyRecord) -> None:
        steps = {
            RecordState.PENDING: (RecordState.PENDING, RecordState.CURRENT),
            RecordState.CURRENT: (RecordState.CURRENT, RecordState.RETIRING),
            RecordState.RETIRING: (RecordState.RETIRING,),
        }
        assert new.state in steps[old.state], f"2: from {old.state} to {new.state}"
        if old.state is RecordState.PENDING and new.state is RecordState.CURRENT:
            self.counts["delivered"] += 1
            assert any(f"_{new.id}_" in each for each in self.world.delivered), "2: Current before it was delivered"
        if old.state is RecordState.CURRENT and new.state is RecordState.RETIRING:
            self.counts["rotated"] += 1
            self._check_grace(uid, old, new)
        elif old.state is RecordState.RETIRING or (old.expires_at is not None and old.expires_at <= self.world.clock()):
            assert old.expires_at is None or (new.expires_at is not None and new.expires_at <= old.expires_at), (
                "5: an ended or replaced key lives longer"
            )
        if new.last_used_at != old.last_used_at:
            self.counts["used"] += 1
            assert new.last_used_at is not None
            assert old.last_used_at is None or new.last_used_at > old.last_used_at
            assert new.last_used_at <= self._latest + SKEW

    def _check_grace(self, uid: str, old: KeyRecord, new: KeyRecord) -> None:
        """2: a replaced key works for one of the grace periods that were asked for, if its own end is not before."""
        assert new.expires_at is not None, "2: a replaced key without an end"
        if new.expires_at == old.expires_at:
            return
        now = self.world.clock()
        assert old.expires_at is None or new.expires_at < old.expires_at, "2: a replaced key lives longer"
        assert any(now + each <= new.expires_at <= now + each + SKEW for each in self._graces[uid]), "2: a grace period"

    def _check_gone(self, uid: str, record: KeyRecord, new: Status) -> None:
        if record.state is RecordState.CURRENT:
            # Replaced and ended at once.
            self.counts["rotated"] += 1
            assert new.current_key_id not in (None, record.id), "2: a current key vanished"
            is_over = record.expires_at is not None and record.expires_at <= self.world.clock() + SKEW
            assert is_over or NOTHING in self._graces[uid], "2: a replaced key got no grace"
        elif record.state is RecordState.RETIRING:
            is_over = record.expires_at is None or record.expires_at <= self.world.clock() + SKEW
            assert is_over or uid in self.may_end or self._has_lifetimes, "2: ended too early"
        elif uid not in self.world.forgotten:
            held = {key.text for each in self.world.cluster.list_all(SECRETS) if (key := key_in(each)) is not None}
            assert not any(f"_{record.id}_" in each for each in held), "2: a delivered key was given up"

    def _check_emergency(self, manifest: Manifest, old: Status, new: Status) -> None:
        """2: without grace every older key ends with the very write that records the new one."""
        annotations = manifest["metadata"].get("annotations") or {}
        is_news = new.handled_rotate_annotation not in (None, old.handled_rotate_annotation)
        if (
            not is_news
            or old.record(RecordState.CURRENT) is None
            or annotations.get("keywright.dev/rotate-grace") != "0s"
        ):
            return
        self.counts["emergencies"] += 1
        for each in new.keys:
            is_over = each.expires_at is not None and each.expires_at <= self.world.clock() + SKEW
            assert is_over or each.state is RecordState.PENDING, "2: a key outlives an emergency"

    def _check_effective(self, manifest: Manifest, old: Status, new: Status) -> None:
        """4: nothing is recorded that neither was so before nor is allowed now."""
        spec, key_class = read_spec(manifest), self.class_of(manifest, new)
        is_behind = any(each.is_behind for each in self.world.operators)
        if new.effective is None or key_class is None or not isinstance(spec, KeySpec) or is_behind:
            return
        labels = self.world.cluster.get(NAMESPACES, None, NAMESPACE)["metadata"].get("labels") or {}
        allowed = entitlement.allow(spec, key_class, labels)
        known = (*allowed.scopes, *(old.effective.scopes if old.effective is not None else ()))
        assert all(is_covered(each, known) for each in new.effective.scopes), "4: more than policy allows"
        before = old.effective.role if old.effective is not None else None
        assert new.effective.role in (None, allowed.role, before), "4: a role that policy does not allow"
