"""The Secret of one ApiKey, read live and written: the only place where a plain key comes by after it was minted."""

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from keywright.domain import adoption, hashing, plainkey
from keywright.domain.apikey import ENDED, InvalidSpec, KeyRecord, KeySpec, RecordState, Status
from keywright.domain.delivery import ENDED_ANNOTATION, Absent, Ours, SecretFacts, SecretView, classify
from keywright.domain.keyclass import KeyClass
from keywright.domain.plainkey import PlainKey
from keywright.domain.plan import WRITER_PATIENCE
from keywright.kube.client import Manifest
from keywright.kube.errors import ApiError, ApiUnavailableError, NotFoundError
from keywright.kube.resources import SECRETS
from keywright.reconcile import manifests
from keywright.reconcile.manifests import Target
from keywright.reconcile.ports import Api, Clock, Hasher, Ref, SecretUids

__all__ = ["Handover", "Pass", "secret_name"]

# A writer gives up well before others may take its Pending record for abandoned.
DELIVERY_DEADLINE = WRITER_PATIENCE - timedelta(seconds=5)
RETRY_DELIVERY = 0.5  # seconds


@dataclass(slots=True)
class Pass:
    """What one pass over an ApiKey has in hand. ``found`` is the Secret as it was last read or written; it and the held
    plain key die with the pass.
    """

    ref: Ref
    manifest: Manifest
    spec: KeySpec | InvalidSpec
    status: Status
    secret: SecretView
    found: Manifest | None = field(default=None, repr=False)
    held: PlainKey | None = None
    has_fenced: bool = False
    rests_until: datetime | None = None
    """When a Secret that others keep changing is put right again."""
    refusal: ApiError | None = None
    """Why the API server would not have a delivered Secret changed."""


class Handover:
    """Reads and writes Secrets. Every write is a create, or carries the version that was read."""

    def __init__(self, *, api: Api, secret_uids: SecretUids, hasher: Hasher, clock: Clock, rng: Random) -> None:
        self._api = api
        self._secret_uids = secret_uids
        self._hasher = hasher
        self._clock = clock
        self._rng = rng

    async def look(self, at: Pass, key_class: KeyClass | None) -> None:
        """Read the Secret and say whose it is."""
        name = secret_name(at.spec, at.status)
        if name is None:
            return
        try:
            found = await self._api.get(SECRETS, at.ref.namespace, name)
        except NotFoundError:
            at.secret, at.found = Absent(), None
        else:
            await self._judge(at, key_class, found)

    async def deliver(self, at: Pass, key_class: KeyClass | None) -> None:
        """Step (b). Tried again while the API server is away, for less time than others would wait."""
        pending = at.status.record(RecordState.PENDING)
        assert pending is not None
        assert at.held is not None
        wanted = manifests.secret(
            _target(at, key_class), key=at.held, issued_at=pending.issued_at, found=at.found, is_new_key=True
        )
        while True:
            try:
                await self._put(at, wanted, holds=pending.id, is_right=True)
            except ApiUnavailableError:
                if self._clock() + timedelta(seconds=RETRY_DELIVERY) > pending.issued_at + DELIVERY_DEADLINE:
                    raise
                await asyncio.sleep(RETRY_DELIVERY)
            else:
                return

    async def fence(self, at: Pass, key_class: KeyClass | None) -> None:
        """Make any other writer's delivery conflict."""
        fence = f"{self._rng.getrandbits(64):016x}"
        wanted = manifests.fenced(_target(at, key_class), fence=fence, found=at.found)
        holds = at.secret.holds if isinstance(at.secret, Ours) else None
        await self._put(at, wanted, holds=holds, is_right=False)
        at.has_fenced = True

    async def render(self, at: Pass, key_class: KeyClass | None) -> None:
        """Write the Secret anew round the current key in it."""
        current = at.status.record(RecordState.CURRENT)
        assert current is not None
        assert at.found is not None
        assert isinstance(at.spec, KeySpec)
        key = plainkey.find_in(at.found.get("data"), at.spec.secret_key)
        assert key is not None
        wanted = manifests.secret(
            _target(at, key_class), key=key, issued_at=current.issued_at, found=at.found, is_new_key=False
        )
        await self._put(at, wanted, holds=current.id, is_right=True)

    async def claim(self, at: Pass, facts: SecretFacts, key_class: KeyClass) -> None:
        """Mark somebody's Secret as adopted by this ApiKey."""
        assert at.found is not None
        wanted = manifests.claimed(at.found, adoption.mark(manifests.owner_of(at.manifest), facts))
        written = await self._api.update(SECRETS, at.ref.namespace, wanted["metadata"]["name"], wanted)
        await self._judge(at, key_class, written)

    async def take_over(self, at: Pass, facts: SecretFacts, key_class: KeyClass) -> KeyRecord:
        """The record of the key in a claimed Secret, with a hash made anew."""
        assert at.found is not None
        assert isinstance(at.spec, KeySpec)
        key = plainkey.find_in(at.found.get("data"), at.spec.secret_key)
        assert key is not None
        return KeyRecord(
            id=key.key_id,
            state=RecordState.CURRENT,
            hash=await self._hasher.hash(key.text, key_class.hashing),
            fingerprint=hashing.fingerprint(key.text),
            issued_at=adoption.issued_at(facts, self._clock()),
        )

    async def judge_again(self, at: Pass, key_class: KeyClass | None) -> None:
        """Look at what was read once more, by a status that has changed."""
        if at.found is not None:
            await self._judge(at, key_class, at.found)

    async def withdraw(self, at: Pass, uid: str, version: str | None) -> None:
        """Remove our Secret, if told so only at that version; that somebody else was faster is no trouble."""
        name = secret_name(at.spec, at.status)
        assert name is not None  # a Secret was found under it
        with contextlib.suppress(NotFoundError):
            await self._api.delete(SECRETS, at.ref.namespace, name, uid=uid, resource_version=version)
        self._secret_uids.forget(uid)
        at.secret, at.found = Absent(), None

    async def _put(self, at: Pass, wanted: Manifest, *, holds: str | None, is_right: bool) -> None:
        name = wanted["metadata"]["name"]
        if at.found is None:
            written = await self._api.create(SECRETS, at.ref.namespace, wanted)
        else:
            written = await self._api.update(SECRETS, at.ref.namespace, name, wanted)
        uid, version = written["metadata"]["uid"], written["metadata"]["resourceVersion"]
        self._secret_uids.note(Ref(at.ref.namespace, name), uid, at.ref, version=version, is_right=is_right)
        at.found = written
        at.secret = Ours(uid=uid, resource_version=version, holds=holds, is_rendered=is_right)

    async def _judge(self, at: Pass, key_class: KeyClass | None, found: Manifest) -> None:
        facts = manifests.secret_facts(found, holds=None, key=None)
        owner = manifests.owner_of(at.manifest)
        if isinstance(at.spec, KeySpec):
            key = plainkey.find_in(found.get("data"), at.spec.secret_key)
            record = await self._proven(key, at.status)
            is_rendered = True
            if key is not None and record is not None and key_class is not None:
                is_rendered = manifests.is_rendered(found, _target(at, key_class), key=key, issued_at=record.issued_at)
            elif record is not None and at.status.phase in ENDED:
                # Also without a class nobody is to adopt it.
                is_rendered = ENDED_ANNOTATION in facts.annotations
            facts = manifests.secret_facts(
                found, holds=record.id if record is not None else None, key=key, is_rendered=is_rendered
            )
        patterns = key_class.secret_metadata if key_class is not None else ()
        at.found = found
        at.secret = classify(facts, owner=owner, status=at.status, patterns=patterns)
        match at.secret:
            case Ours() as secret if secret.is_right(at.status.current_key_id):
                place = Ref(at.ref.namespace, found["metadata"]["name"])
                version = secret.resource_version
                self._secret_uids.note(place, secret.uid, at.ref, version=version, is_right=True)

    async def _proven(self, key: PlainKey | None, status: Status) -> KeyRecord | None:
        """The Pending or Current record of the key in a Secret. A Pending one's costs an argon2 run, after a crash
        only; a Current one was proven when it was delivered, and its fingerprint tells it from any other.
        """
        if key is None:
            return None
        known = (each for each in status.keys if each.id == key.key_id and each.state is not RecordState.RETIRING)
        record = next(known, None)
        if record is None or record.fingerprint not in (None, hashing.fingerprint(key.text)):
            return None
        if record.state is RecordState.CURRENT and record.fingerprint is not None:
            return record
        return record if await self._hasher.verify(record.hash, key.text) else None


def secret_name(spec: KeySpec | InvalidSpec, status: Status) -> str | None:
    """Where the Secret is, or would be; unknown for a spec that cannot be read and has not been enacted."""
    return spec.secret_name if isinstance(spec, KeySpec) else status.secret_name


def _target(at: Pass, key_class: KeyClass | None) -> Target:
    assert isinstance(at.spec, KeySpec)
    return Target(
        ref=at.ref,
        owner=manifests.owner_of(at.manifest),
        spec=at.spec,
        patterns=key_class.secret_metadata if key_class is not None else (),
        ended=at.status.phase if at.status.phase in ENDED else None,
    )
