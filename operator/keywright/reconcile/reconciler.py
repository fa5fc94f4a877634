"""One ApiKey at a time: look, decide, take one step, look again.

A pass first decides on what watches have told. If nothing is to be done, it ends there and has cost no request;
that is what makes a restart with many keys cheap. Otherwise everything is read live and every write carries the
resourceVersion it was decided on, so stale news can waste a read and can do no harm.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from random import Random

from keywright.api.apikey import read_spec
from keywright.api.status import read_status, write_status
from keywright.domain import adoption, hashing, lifecycle, minting, plainkey, report, secret_problems
from keywright.domain.apikey import ENDED, InvalidSpec, KeyRecord, KeySpec, RecordState, Status, earliest
from keywright.domain.delivery import Absent, Foreign, Ours, SecretView
from keywright.domain.keyclass import KeyClass
from keywright.domain.plan import Action, Adopt, Claim, Deliver, Fence, Observed, Plan, Propose, Render, Withdraw
from keywright.kube.client import Manifest
from keywright.kube.errors import ApiError, ApiUnavailableError, ConflictError, NotFoundError
from keywright.kube.resources import APIKEYS, EVENTS
from keywright.reconcile import events, manifests
from keywright.reconcile.handover import Handover, Pass, secret_name
from keywright.reconcile.metrics import Metrics
from keywright.reconcile.ports import Api, Classes, Clock, Hasher, Namespaces, Ref, SecretUids, UsesOf
from keywright.reconcile.restraint import Restraint
from keywright.reconcile.roster import Roster

__all__ = ["Reconciler"]

MAX_STEPS = 12

logger = logging.getLogger(__name__)


class Reconciler:
    """Brings single ApiKeys to what their spec asks for. Safe to run twice at once, also for the same ApiKey."""

    def __init__(
        self,
        *,
        api: Api,
        classes: Classes,
        namespaces: Namespaces,
        secret_uids: SecretUids,
        uses: UsesOf,
        roster: Roster,
        hasher: Hasher,
        clock: Clock,
        rng: Random,
        metrics: Metrics,
        knows_all: Callable[[], bool],
    ) -> None:
        """``knows_all`` says whether the roster holds every ApiKey there is."""
        self._api = api
        self._classes = classes
        self._namespaces = namespaces
        self._secret_uids = secret_uids
        self._uses = uses
        self._roster = roster
        self._hasher = hasher
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._knows_all = knows_all
        self._restraint = Restraint(clock)
        self._handover = Handover(api=api, secret_uids=secret_uids, hasher=hasher, clock=clock, rng=rng)

    async def reconcile(self, ref: Ref, seen: Manifest | None = None) -> datetime | None:
        """Do what is to be done for one ApiKey; return when the passing of time calls for another look.

        ``seen`` is the newest manifest that a watch has delivered, if the call is about that.
        Raises :class:`ApiError` when a request failed; the next pass goes on from whatever was reached.
        """
        plan = self.foresee(ref, seen) if seen is not None else None
        if plan is not None and plan.is_noop:
            return plan.wake_at
        if plan is not None and seen is not None and isinstance(plan.action, Propose):
            # Its first write is the status, which carries the version that was seen: it conflicts if that is not the
            # newest. So one read less for each key that is minted; everything else begins with something irreversible.
            return await self._drive(ref, seen)
        try:
            manifest = await self._api.get(APIKEYS, ref.namespace, ref.name)
        except NotFoundError:
            self._roster.forget(ref)
            return None
        self._roster.observe(ref, manifest)
        return await self._drive(ref, manifest)

    def foresee(self, ref: Ref, manifest: Manifest) -> Plan | None:
        """What there is to do if the Secret is as it was last seen; ``None`` if that has to be read. Sends nothing."""
        status = read_status(manifest)
        if status is None:
            return None
        spec = read_spec(manifest)
        name = secret_name(spec, status)
        uid = self._secret_uids.uid_of(Ref(ref.namespace, name)) if name is not None else None
        if uid is None:
            view: SecretView = Absent()
        elif uid == status.secret_uid and self._is_known(uid, spec, status):
            version = self._secret_uids.version_of(uid)
            view = Ours(uid=uid, resource_version=version, holds=status.current_key_id)
        else:
            return None
        return lifecycle.decide(spec, self._observe(manifest, spec, status, view), self._clock())

    def _is_known(self, uid: str, spec: KeySpec | InvalidSpec, status: Status) -> bool:
        """Whether the Secret is right without a look at it: this process has seen that, or what is recorded says so."""
        if self._secret_uids.is_right(uid):
            return True
        # What a class allows may have changed while nobody was looking.
        depends = isinstance(spec, KeySpec) and bool(spec.template.labels or spec.template.annotations)
        return not depends and self._secret_uids.version_of(uid) == status.secret_resource_version

    async def _drive(self, ref: Ref, manifest: Manifest) -> datetime | None:
        spec, status = read_spec(manifest), read_status(manifest)
        if status is None:
            # Only who may write apikeys/status can do this. A rewritten status would hide it, and would
            # mint a second key for an ApiKey that has one.
            logger.error("%s: status cannot be read and is left alone: StatusTampered", ref)
            return None
        at = Pass(ref, manifest, spec, status, Absent())
        await self._handover.look(at, self._class_of(spec, status))
        for _ in range(MAX_STEPS):
            observed = self._observe(at.manifest, spec, at.status, at.secret)
            observed = replace(
                observed,
                held=at.held.key_id if at.held else None,
                has_fenced=at.has_fenced,
                is_refused=at.refusal is not None,
                is_resting=at.rests_until is not None,
            )
            plan = lifecycle.decide(spec, observed, self._clock())
            if isinstance(plan.action, Render) and self._rests(at, plan.action):
                continue
            if plan.is_noop:
                if at.refusal is not None:
                    # All else has been done; the queue tries this again.
                    raise at.refusal
                return earliest(plan.wake_at, at.rests_until)
            if plan.status is not None:
                before = at.status.phase
                await self._write_status(at, plan.status)
                if at.status.phase is not before and at.status.phase in ENDED:
                    # A Secret that is kept says so.
                    await self._handover.judge_again(at, self._class_of(spec, at.status))
            if plan.action is not None:
                await self._try(at, plan.action, observed)
        raise ApiUnavailableError(0, "NoProgress", f"reconcile {ref}")

    def _rests(self, at: Pass, action: Render) -> bool:
        uid, generation = action.secret.uid, at.manifest["metadata"]["generation"]
        at.rests_until = self._restraint.rests_until(uid, generation)
        if at.rests_until is None:
            self._restraint.note(uid, generation)
            return False
        logger.warning("%s: somebody keeps changing its Secret: left as it is until %s", at.ref, at.rests_until)
        return True

    def _class_of(self, spec: KeySpec | InvalidSpec, status: Status) -> KeyClass | None:
        wanted = spec.class_name if spec.class_name is not None else status.class_name
        return self._classes.resolve(wanted)

    def _observe(self, manifest: Manifest, spec: KeySpec | InvalidSpec, status: Status, secret: SecretView) -> Observed:
        metadata = manifest["metadata"]
        key_id = secret.facts.key_id if isinstance(secret, Foreign) else None
        return Observed(
            owner=manifests.owner_of(manifest),
            generation=metadata["generation"],
            is_deleted="deletionTimestamp" in metadata,
            key_class=self._class_of(spec, status),
            namespace_labels=self._namespaces.labels_of(metadata["namespace"]),
            status=status,
            secret=secret,
            duplicate_of=self._roster.elder_twin(metadata["uid"]),
            taken_by=self._roster.holder_of(key_id, other_than=metadata["uid"]) if key_id is not None else None,
            knows_all=key_id is not None and self._knows_all(),
            uses=self._uses.uses_of(Ref(metadata["namespace"], metadata["name"])),
        )

    async def _try(self, at: Pass, action: Action, observed: Observed) -> None:
        try:
            await self._act(at, action, observed)
        except ApiError as error:
            if not error.is_refusal:
                raise
            match action:
                case Deliver() | Fence() | Claim():
                    await self._report_refusal(at, observed)
                    raise
                case Render() | Withdraw():
                    # A key in use is judged on, whatever becomes of its Secret.
                    at.refusal = error
                case _:
                    raise

    async def _act(self, at: Pass, action: Action, observed: Observed) -> None:
        spec, key_class = at.spec, observed.key_class
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
                await self._write_status(at, minting.propose(spec, observed, record))
                at.held = key
            case Deliver():
                await self._handover.deliver(at, key_class)
            case Fence():
                await self._handover.fence(at, key_class)
            case Render():
                await self._handover.render(at, key_class)
            case Claim(facts):
                assert key_class is not None
                await self._handover.claim(at, facts, key_class)
            case Adopt(facts):
                assert isinstance(spec, KeySpec)
                assert key_class is not None
                found = await self._handover.take_over(at, facts, key_class)
                await self._write_status(at, adoption.adopt(spec, observed, found, facts, self._clock()))
                await self._handover.judge_again(at, key_class)
            case Withdraw(uid, version):
                await self._handover.withdraw(at, uid, version)

    async def _report_refusal(self, at: Pass, observed: Observed) -> None:
        """Say once that the Secret cannot be written; without this it would look as if all were on its way."""
        assert isinstance(at.spec, KeySpec)
        findings = report.stalled(at.status, secret_problems.refused(at.spec.secret_name))
        status = report.conclude(at.status, findings, observed.generation, self._clock())
        if status != at.status:
            await self._write_status(at, status)

    async def _write_status(self, at: Pass, status: Status) -> None:
        ref = at.ref
        metadata = at.manifest["metadata"]
        body = {
            "apiVersion": at.manifest["apiVersion"],
            "kind": at.manifest["kind"],
            "metadata": {key: metadata[key] for key in ("name", "namespace", "uid", "resourceVersion")},
            "spec": at.manifest["spec"],
            "status": write_status(status),
        }
        before = at.status
        at.manifest = await self._api.update(APIKEYS, ref.namespace, ref.name, body, "status")
        at.status = read_status(at.manifest) or status
        self._roster.observe(ref, at.manifest)
        for note in report.notes(before, status):
            self._metrics.transitioned(note.reason)
            logger.info("%s: %s: %s", ref, note.reason, note.message)
            try:
                await self._api.create(EVENTS, ref.namespace, events.event(at.manifest, ref, note, self._clock()))
            except ConflictError:
                logger.debug("%s: event %s exists already", ref, note.reason)
            except ApiError as error:
                # The condition says the same; an event is not worth undoing a transition for.
                logger.warning("%s: event %s was not recorded: %s", ref, note.reason, error)
