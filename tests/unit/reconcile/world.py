"""A cluster in memory, a clock that only tests move, and operators that are started, killed and started again.

An :class:`Operator` is what one process is: a reconciler with its own pictures, fed by watch events. Killing it
loses everything but what is in the cluster.
"""

import base64
import binascii
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from keywright.api.status import read_status
from keywright.domain import hashing, plainkey
from keywright.domain.apikey import RecordState, Status
from keywright.domain.delivery import MANAGED_BY
from keywright.domain.hashing import Hashing
from keywright.domain.plainkey import PlainKey
from keywright.kube.client import Manifest
from keywright.kube.errors import ConflictError
from keywright.kube.resources import APIKEYCLASSES, APIKEYS, APIKEYUSAGES, EVENTS, NAMESPACES, SECRETS, Resource
from keywright.reconcile.metrics import Metrics
from keywright.reconcile.pictures import ClassPicture, NamespacePicture, SecretPicture
from keywright.reconcile.ports import Clock, Ref
from keywright.reconcile.reconciler import Reconciler
from keywright.reconcile.roster import Roster
from keywright.reconcile.usage import UsagePicture
from keywright.verifier.keys.records import Entry
from tests.support.fake_api import FakeApi, FakeCluster
from tests.support.real_cluster import RealCluster
from tests.unit.reconcile.judge import Judge

START = datetime(2026, 6, 1, 12, tzinfo=UTC)
NAMESPACE = "payments"
REF = Ref(NAMESPACE, "ci-deploy")
CHEAP = {"algorithm": "argon2id", "argon2id": {"memoryKiB": 1024, "iterations": 1, "parallelism": 1}}
FAST = {"algorithm": "sha256"}


class ManualClock:
    """A clock that stands until it is moved. ``ahead`` gives another that is always ahead of it."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def step(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    def ahead(self, seconds: float) -> Callable[[], datetime]:
        return lambda: self.now + timedelta(seconds=seconds)


class InlineHasher:
    """Real hashes, no threads. ``minted`` has every plain key that an operator ever made."""

    def __init__(self, minted: list[str]) -> None:
        self._minted = minted
        self.verified = 0

    async def hash(self, plain: str, parameters: Hashing) -> str:
        # An adopted key is hashed anew, and may be so twice.
        if plain not in self._minted:
            self._minted.append(plain)
        return hashing.hash_key(plain, parameters, b"sixteen bytes ok")

    async def verify(self, stored: str, plain: str) -> bool:
        self.verified += 1
        return hashing.verify(stored, plain)


class World:
    """The cluster, the time, and what may be said about both from outside."""

    def __init__(
        self,
        *,
        hashing_of_class: dict[str, Any] | None = None,
        cluster: Callable[[Clock], FakeCluster | RealCluster] = FakeCluster,
    ) -> None:
        self.clock = ManualClock()
        self.cluster = cluster(self.clock)
        self.minted: list[str] = []
        self.delivered: list[str] = []
        self.operators: list[Operator] = []
        self.forgotten: set[str] = set()
        """UIDs of ApiKeys whose status was lost: a key that was delivered before may have no record."""
        self.judge = Judge(self.clock)
        self._seed = 0
        self._scanned = 0
        self.cluster.subscribe(self._take_note)
        self.cluster.subscribe(self.judge.see)
        self.make_class(hashing=hashing_of_class or FAST)
        self.cluster.create(
            NAMESPACES, None, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
        )

    # What people do.

    def make_class(self, name: str = "standard", annotations: dict[str, str] | None = None, **spec: Any) -> Manifest:
        manifest = {
            "apiVersion": "keywright.dev/v1alpha1",
            "kind": "ApiKeyClass",
            "metadata": {"name": name, "annotations": annotations or {}},
            "spec": spec,
        }
        return self.cluster.create(APIKEYCLASSES, None, manifest)

    def delete_class(self, name: str) -> None:
        self.cluster.delete(APIKEYCLASSES, None, name)

    def edit_class(self, name: str = "standard", **spec: Any) -> None:
        self.cluster.edit(APIKEYCLASSES, None, name, lambda each: each["spec"].update(spec))

    def label_namespace(self, **labels: str) -> None:
        self.cluster.edit(NAMESPACES, None, NAMESPACE, lambda each: each["metadata"].update(labels=labels))

    def apply(self, name: str = REF.name, **spec: Any) -> Ref:
        manifest = {
            "apiVersion": "keywright.dev/v1alpha1",
            "kind": "ApiKey",
            "metadata": {"name": name},
            "spec": spec,
        }
        self.cluster.create(APIKEYS, NAMESPACE, manifest)
        return Ref(NAMESPACE, name)

    def edit(self, ref: Ref = REF, **spec: Any) -> None:
        """Set fields of the spec; ``None`` removes one."""

        def change(manifest: Manifest) -> None:
            merged = manifest["spec"] | spec
            manifest["spec"] = {key: value for key, value in merged.items() if value is not None}

        self.cluster.edit(APIKEYS, ref.namespace, ref.name, change)

    def delete(self, ref: Ref = REF, *, collect: bool = True) -> None:
        self.cluster.delete(APIKEYS, ref.namespace, ref.name)
        if collect:
            self.cluster.collect_garbage()

    def lose_secret(self, ref: Ref = REF) -> None:
        self.cluster.delete(SECRETS, ref.namespace, ref.name)

    def plant(self, name: str = REF.name, *, text: str | None = "do not touch", **metadata: Any) -> Manifest:
        """A Secret of somebody else's, with whatever metadata they like."""
        data = {"api-key": base64.b64encode(text.encode()).decode()} if text is not None else {}
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, **metadata}, "data": data}
        return self.cluster.create(SECRETS, NAMESPACE, manifest)

    def operator(self, *, ahead: float = 0) -> "Operator":
        self._seed += 1
        started = Operator(self, clock=self.clock.ahead(ahead), seed=self._seed)
        self.operators.append(started)
        return started

    # What can be seen.

    def apikey(self, ref: Ref = REF) -> Manifest:
        return self.cluster.get(APIKEYS, ref.namespace, ref.name)

    def status(self, ref: Ref = REF) -> Status:
        status = read_status(self.apikey(ref))
        assert status is not None
        return status

    def said(self, condition: str, ref: Ref = REF) -> tuple[str, str]:
        """Status and reason of one condition."""
        return next((each.status, each.reason) for each in self.status(ref).conditions if each.type == condition)

    def secret(self, ref: Ref = REF) -> Manifest | None:
        return self.cluster.find(SECRETS, ref.namespace, ref.name)

    def key_in_secret(self, ref: Ref = REF) -> PlainKey | None:
        manifest = self.secret(ref)
        return key_in(manifest) if manifest is not None else None

    def events(self) -> list[str]:
        return [each["reason"] for each in self.cluster.list_all(EVENTS)]

    def accepts(self, plain: str, ref: Ref = REF) -> bool:
        """Whether a verifier takes a key for one of this ApiKey: its own code, newest spec, status and classes."""
        verdict = self.judge.judge(plain)
        return isinstance(verdict, Entry) and verdict.path == str(ref).encode()

    # What must never be otherwise.

    def check(self, ref: Ref = REF) -> None:
        """The invariants that hold at every instant, also in the middle of a pass."""
        manifest = self.cluster.find(APIKEYS, ref.namespace, ref.name)
        if manifest is not None:
            states = [each.state for each in self.status(ref).keys]
            assert states.count(RecordState.CURRENT) <= 1, "two Current keys"
            assert states.count(RecordState.PENDING) <= 1, "two Pending keys"
            held = self.key_in_secret(ref)
            secret = self.secret(ref)
            is_ours = secret is not None and is_made_by_us(secret, manifest)
            is_forgotten = manifest["metadata"]["uid"] in self.forgotten
            if held is not None and is_ours and not is_forgotten and held.text in self.minted:
                assert any(hashing.verify(each.hash, held.text) for each in self.status(ref).keys), (
                    "a delivered key that no record holds"
                )
        self.check_nothing_leaked()

    def check_nothing_leaked(self) -> None:
        """No plain key is in any object but a Secret's data. What was looked through before is not again: nothing can
        have leaked before it was minted.
        """
        since, self._scanned = self._scanned, len(self.cluster.history)
        for _, resource, manifest in self.cluster.history[since:]:
            text = repr(manifest if resource != SECRETS else manifest | {"data": None})
            for leak in leaks_in(text, self.minted):
                raise AssertionError(f"a plain key in {resource.plural}: {leak}")

    def check_issued(self, ref: Ref = REF) -> PlainKey:
        """Exactly one Current record, proven by the Secret; no other minted key that was delivered is accepted."""
        self.check(ref)
        status = self.status(ref)
        (record,) = status.keys
        assert record.state is RecordState.CURRENT
        held, secret = self.key_in_secret(ref), self.secret(ref)
        assert held is not None
        assert secret is not None
        assert held.key_id == record.id == status.current_key_id
        assert hashing.verify(record.hash, held.text)
        assert secret["metadata"]["uid"] == status.secret_uid
        assert [each for each in self.minted if self.accepts(each, ref)] == [held.text]
        return held

    def _take_note(self, event: str, resource: Resource, manifest: Manifest) -> None:
        if resource == SECRETS and event != "DELETED" and (held := key_in(manifest)) is not None:
            self.delivered.append(held.text)


class Operator:
    """One process. Its pictures are filled by a list at the start and by watch events from then on."""

    def __init__(self, world: World, *, clock: Callable[[], datetime], seed: int) -> None:
        self.world = world
        self.api = FakeApi(world.cluster)
        self.hasher = InlineHasher(world.minted)
        self.told: list[Ref] = []
        self.roster = Roster(self.told.append)
        self.secrets = SecretPicture(self.told.append)
        self.usage = UsagePicture(self.roster, self.told.append, clock=clock)
        self.classes = ClassPicture(lambda _: None)
        self.namespaces = NamespacePicture(lambda _: None)
        self.reconciler = Reconciler(
            api=self.api,
            classes=self.classes,
            namespaces=self.namespaces,
            secret_uids=self.secrets,
            uses=self.usage,
            roster=self.roster,
            hasher=self.hasher,
            clock=clock,
            rng=Random(seed),
            metrics=Metrics(per_key=False),
            knows_all=lambda: True,
        )
        for resource in (APIKEYCLASSES, NAMESPACES, SECRETS, APIKEYS, APIKEYUSAGES):
            for manifest in world.cluster.list_all(resource):
                self._see("ADDED", resource, manifest)
        self._held_back: list[tuple[str, Resource, Manifest]] | None = None
        self._unsubscribe = world.cluster.subscribe(self._hear)

    @property
    def is_behind(self) -> bool:
        return self._held_back is not None

    def fall_behind(self) -> None:
        """Nothing that its watches show from now on arrives, until it catches up."""
        self._held_back = self._held_back or []

    def catch_up(self, *, is_doubled: bool = False, is_reversed: bool = False) -> None:
        """What was held back arrives: each watch by itself in order, one watch after the other, perhaps twice."""
        held, self._held_back = self._held_back or [], None
        for event in sorted(held, key=lambda each: each[1].plural, reverse=is_reversed):
            for _ in range(1 + is_doubled):
                self._see(*event)

    def die(self) -> None:
        """Nothing of this process is left but what it wrote."""
        self._unsubscribe()

    async def reconcile(self, ref: Ref = REF, seen: Manifest | None = None) -> datetime | None:
        """One pass, as a worker makes it."""
        self.api.rewind()
        return await self.reconciler.reconcile(ref, seen)

    async def work(self, ref: Ref = REF) -> datetime | None:
        """Passes until one ends without a conflict, as the queue makes them."""
        for _ in range(6):
            try:
                return await self.reconcile(ref)
            except ConflictError:
                continue
        raise AssertionError("conflict without end")

    def _hear(self, event: str, resource: Resource, manifest: Manifest) -> None:
        if self._held_back is None:
            self._see(event, resource, manifest)
        else:
            self._held_back.append((event, resource, manifest))

    def _see(self, event: str, resource: Resource, manifest: Manifest) -> None:
        uid = manifest["metadata"]["uid"]
        if resource == APIKEYS:
            ref = Ref(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
            if event == "DELETED":
                self.roster.forget_uid(uid)
            else:
                self.roster.observe(ref, manifest)
        elif resource == SECRETS:
            is_labelled = (manifest["metadata"].get("labels") or {}).items() >= MANAGED_BY.items()
            if event == "DELETED" or not is_labelled:
                self.secrets.remove(uid)
            else:
                self.secrets.put(manifest)
        elif resource == APIKEYUSAGES:
            if event == "DELETED":
                self.usage.remove(uid)
            else:
                self.usage.put(manifest)
        elif resource == APIKEYCLASSES:
            if event == "DELETED":
                self.classes.remove(uid)
            else:
                self.classes.put(manifest)
        elif resource == NAMESPACES:
            if event == "DELETED":
                self.namespaces.remove(uid)
            else:
                self.namespaces.put(manifest)


def key_in(secret: Manifest) -> PlainKey | None:
    """The plain key in a Secret, wherever in it."""
    for value in (secret.get("data") or {}).values():
        try:
            text = base64.b64decode(value).decode("utf-8", "replace")
        except binascii.Error:
            continue
        found = plainkey.parse(text)
        if isinstance(found, PlainKey):
            return found
    return None


def is_made_by_us(secret: Manifest, apikey: Manifest) -> bool:
    owners = secret["metadata"].get("ownerReferences") or []
    return [each["uid"] for each in owners] == [apikey["metadata"]["uid"]]


def leaks_in(text: str, minted: list[str]) -> Iterator[str]:
    """The public part of every minted key whose secret is in ``text``, as it is or in base64."""
    for plain in minted:
        secret = plain[-49:]
        encoded = base64.b64encode(plain.encode()).decode()
        if secret in text or secret[:20] in text or encoded[:40] in text:
            yield plain[:-49]
