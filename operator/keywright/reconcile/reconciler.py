"""One ApiKey at a time: look, decide, take one step, look again.

A pass first decides on what watches have told. If nothing is to be done, it ends there and has cost no request;
that is what makes a restart with many keys cheap. Otherwise everything is read live and every write carries the
resourceVersion it was decided on, so stale news can waste a read and can do no harm.
"""

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from random import Random

from keywright.api.apikey import read_spec
from keywright.api.status import read_status, write_status
from keywright.domain import hashing, lifecycle, minting, plainkey, report
from keywright.domain.apikey import InvalidSpec, KeyRecord, KeySpec, RecordState, Status
from keywright.domain.delivery import Absent, Ours, SecretFacts, SecretView, classify
from keywright.domain.plainkey import PlainKey
from keywright.domain.plan import WRITER_PATIENCE, Action, Deliver, Fence, Observed, Plan, Propose, Withdraw
from keywright.kube.client import Manifest
from keywright.kube.errors import ApiError, ApiUnavailableError, ConflictError, NotFoundError
from keywright.kube.resources import APIKEYS, EVENTS, SECRETS
from keywright.reconcile import manifests
from keywright.reconcile.metrics import Metrics
from keywright.reconcile.ports import Api, Classes, Clock, Hasher, Ref, SecretUids, UsesOf
from keywright.reconcile.roster import Roster

__all__ = ["Reconciler"]

# A writer gives up well before others may take its Pending record for abandoned.
DELIVERY_DEADLINE = WRITER_PATIENCE - timedelta(seconds=5)
RETRY_DELIVERY = 0.5  # seconds
MAX_STEPS = 12

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Pass:
    """What one pass has in hand. The held plain key dies with it."""

    manifest: Manifest
    spec: KeySpec | InvalidSpec
    status: Status
    secret: SecretView
    found: Manifest | None
    held: PlainKey | None = None
    has_fenced: bool = False


class Reconciler:
    """Brings single ApiKeys to what their spec asks for. Safe to run twice at once, also for the same ApiKey."""

    def __init__(
        self,
        *,
        api: Api,
        classes: Classes,
        secret_uids: SecretUids,
        uses: UsesOf,
        roster: Roster,
        hasher: Hasher,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
    ) -> None:
        self._api = api
        self._classes = classes
        self._secret_uids = secret_uids
        self._uses = uses
        self._roster = roster
        self._hasher = hasher
        self._clock = clock
        self._rng = rng
        self._metrics = metrics

    async def reconcile(self, ref: Ref, seen: Manifest | None = None) -> datetime | None:
        """Do what is to be done for one ApiKey; return when the passing of time calls for another look.

        ``seen`` is the newest manifest that a watch has delivered, if the call is about that.
        Raises :class:`ApiError` when a request failed; the next pass goes on from whatever was reached.
        """
        if seen is not None and (plan := self._plan_from_watches(ref, seen)) is not None and plan.is_noop:
            return plan.wake_at
        try:
            manifest = await self._api.get(APIKEYS, ref.namespace, ref.name)
        except NotFoundError:
            self._roster.forget(ref)
            return None
        self._roster.observe(ref, manifest)
        return await self._drive(ref, manifest)

    def _plan_from_watches(self, ref: Ref, manifest: Manifest) -> Plan | None:
        status = read_status(manifest)
        if status is None:
            return None
        spec = read_spec(manifest)
        name = _secret_name(spec, status)
        uid = self._secret_uids.uid_of(Ref(ref.namespace, name)) if name is not None else None
        if uid is None:
            view: SecretView = Absent()
        elif uid == status.secret_uid:
            view = Ours(uid=uid, resource_version="")
        else:
            return None
        return lifecycle.decide(spec, self._observe(manifest, spec, status, view), self._clock())

    async def _drive(self, ref: Ref, manifest: Manifest) -> datetime | None:
        spec, status = read_spec(manifest), read_status(manifest)
        if status is None:
            # Only who may write apikeys/status can do this. A rewritten status would hide it, and would
            # mint a second key for an ApiKey that has one.
            logger.error("%s: status cannot be read and is left alone: StatusTampered", ref)
            return None
        secret, found = await self._read_secret(ref, manifest, spec, status)
        at_hand = _Pass(manifest, spec, status, secret, found)
        for _ in range(MAX_STEPS):
            observed = self._observe(at_hand.manifest, spec, at_hand.status, at_hand.secret)
            observed = replace(
                observed, held=at_hand.held.key_id if at_hand.held else None, has_fenced=at_hand.has_fenced
            )
            plan = lifecycle.decide(spec, observed, self._clock())
            if plan.is_noop:
                return plan.wake_at
            if plan.status is not None:
                await self._write_status(ref, at_hand, plan.status)
            if plan.action is not None:
                try:
                    await self._act(ref, at_hand, plan.action, observed)
                except ApiError as error:
                    if isinstance(plan.action, Deliver | Fence) and error.is_refusal:
                        await self._report_refusal(ref, at_hand, observed)
                    raise
        raise ApiUnavailableError(0, "NoProgress", f"reconcile {ref}")

    def _observe(self, manifest: Manifest, spec: KeySpec | InvalidSpec, status: Status, secret: SecretView) -> Observed:
        metadata = manifest["metadata"]
        wanted = spec.class_name if isinstance(spec, KeySpec) else None
        return Observed(
            generation=metadata["generation"],
            is_deleted="deletionTimestamp" in metadata,
            key_class=self._classes.resolve(wanted or status.class_name),
            status=status,
            secret=secret,
            duplicate_of=self._roster.elder_twin(metadata["uid"]),
            uses=self._uses.uses_of(Ref(metadata["namespace"], metadata["name"])),
        )

    async def _act(self, ref: Ref, at_hand: _Pass, action: Action, observed: Observed) -> None:
        spec = at_hand.spec
        match action:
            case Propose(key_class):
                assert isinstance(spec, KeySpec)
                key = plainkey.generate(key_class.prefix, self._rng)
                record = KeyRecord(
                    id=key.key_id,
                    state=RecordState.PENDING,
                    hash=await self._hasher.hash(key.text, key_class.hashing),
                    fingerprint=hashing.fingerprint(key.text),
                    issued_at=self._clock(),
                )
                await self._write_status(ref, at_hand, minting.propose(spec, observed, record))
                at_hand.held = key
            case Deliver(into):
                await self._deliver(ref, at_hand, into)
            case Fence(touch):
                at_hand.secret = await self._put_secret(ref, at_hand, into=touch, key=None, fence=True)
                at_hand.has_fenced = True
            case Withdraw(uid):
                name = _secret_name(spec, at_hand.status)
                assert name is not None  # a Secret was found under it
                try:
                    await self._api.delete(SECRETS, ref.namespace, name, uid=uid)
                except NotFoundError:
                    logger.debug("%s: the Secret %s was gone already", ref, name)
                self._secret_uids.forget(uid)
                at_hand.secret = Absent()

    async def _report_refusal(self, ref: Ref, at_hand: _Pass, observed: Observed) -> None:
        """Say once that the Secret cannot be written; without this it would look as if all were on its way."""
        assert isinstance(at_hand.spec, KeySpec)
        findings = report.stalled(at_hand.status, report.secret_refused(at_hand.spec.secret_name))
        status = report.conclude(at_hand.status, findings, observed.generation, self._clock())
        if status != at_hand.status:
            await self._write_status(ref, at_hand, status)

    async def _deliver(self, ref: Ref, at_hand: _Pass, into: Ours | None) -> None:
        """Step (b). Tried again while the API server is away, for less time than others would wait."""
        pending = at_hand.status.record(RecordState.PENDING)
        assert pending is not None
        while True:
            try:
                at_hand.secret = await self._put_secret(ref, at_hand, into=into, key=at_hand.held)
            except ApiUnavailableError:
                if self._clock() + timedelta(seconds=RETRY_DELIVERY) > pending.issued_at + DELIVERY_DEADLINE:
                    raise
                await asyncio.sleep(RETRY_DELIVERY)
            else:
                at_hand.secret = replace(at_hand.secret, holds=pending.id)
                return

    async def _put_secret(
        self, ref: Ref, at_hand: _Pass, *, into: Ours | None, key: PlainKey | None, fence: bool = False
    ) -> Ours:
        spec = at_hand.spec
        assert isinstance(spec, KeySpec)
        wanted = manifests.secret(
            spec.secret_name,
            manifests.owner_of(at_hand.manifest),
            entry=spec.secret_key,
            key=key,
            # A touch must not take the current key away from those who read it.
            kept=at_hand.found.get("data") if fence and into is not None and at_hand.found is not None else None,
            resource_version=into.resource_version if into is not None else None,
            fence=f"{self._rng.getrandbits(64):016x}" if fence else None,
        )
        if into is None:
            written = await self._api.create(SECRETS, ref.namespace, wanted)
        else:
            written = await self._api.update(SECRETS, ref.namespace, spec.secret_name, wanted)
        metadata = written["metadata"]
        self._secret_uids.note(Ref(ref.namespace, spec.secret_name), metadata["uid"], ref)
        return Ours(uid=metadata["uid"], resource_version=metadata["resourceVersion"])

    async def _write_status(self, ref: Ref, at_hand: _Pass, status: Status) -> None:
        metadata = at_hand.manifest["metadata"]
        body = {
            "apiVersion": at_hand.manifest["apiVersion"],
            "kind": at_hand.manifest["kind"],
            "metadata": {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")},
            "spec": at_hand.manifest["spec"],
            "status": write_status(status),
        }
        before = at_hand.status
        at_hand.manifest = await self._api.update(APIKEYS, ref.namespace, ref.name, body, "status")
        at_hand.status = read_status(at_hand.manifest) or status
        self._roster.observe(ref, at_hand.manifest)
        for note in report.notes(before, status):
            self._metrics.transitioned(note.reason)
            logger.info("%s: %s: %s", ref, note.reason, note.message)
            try:
                await self._api.create(
                    EVENTS, ref.namespace, manifests.event(at_hand.manifest, ref, note, self._clock())
                )
            except ConflictError:
                logger.debug("%s: event %s exists already", ref, note.reason)
            except ApiError as error:
                # The condition says the same; an event is not worth undoing a transition for.
                logger.warning("%s: event %s was not recorded: %s", ref, note.reason, error)

    async def _read_secret(
        self, ref: Ref, manifest: Manifest, spec: KeySpec | InvalidSpec, status: Status
    ) -> tuple[SecretView, Manifest | None]:
        name = _secret_name(spec, status)
        if name is None:
            return Absent(), None
        facts: SecretFacts | None = None
        found: Manifest | None = None
        try:
            found = await self._api.get(SECRETS, ref.namespace, name)
        except NotFoundError:
            pass
        else:
            entry = spec.secret_key if isinstance(spec, KeySpec) else ""
            facts = manifests.secret_facts(found, holds=await self._proven(found, entry, status))
        return classify(facts, owner=manifests.owner_of(manifest), status=status), found

    async def _proven(self, secret: Manifest, entry: str, status: Status) -> str | None:
        """The id of the Pending record whose hash the Secret's key proves. Costs an argon2 run after a crash only."""
        pending = status.record(RecordState.PENDING)
        key = manifests.plain_key_in(secret, entry)
        if pending is None or key is None or key.key_id != pending.id:
            return None
        if pending.fingerprint not in (None, hashing.fingerprint(key.text)):
            return None
        return pending.id if await self._hasher.verify(pending.hash, key.text) else None


def _secret_name(spec: KeySpec | InvalidSpec, status: Status) -> str | None:
    """Where the Secret is, or would be; unknown for a spec that cannot be read and has not been enacted."""
    return status.secret_name or (spec.secret_name if isinstance(spec, KeySpec) else None)
