"""Values that several domain tests start from. Argon2 is at its cheapest everywhere."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from keywright.domain import adoption, hashing, minting, plainkey
from keywright.domain.apikey import KeyRecord, KeySpec, RecordState, Status
from keywright.domain.delivery import ADOPTED_ANNOTATION, Absent, Foreign, Ours, OwnerReference, SecretFacts, labels_for
from keywright.domain.hashing import Hashing
from keywright.domain.keyclass import KeyClass
from keywright.domain.plainkey import PlainKey
from keywright.domain.plan import Adopt, Claim, Deliver, Fence, Observed, Plan, Propose, Render, Withdraw

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
CHEAP = Hashing(memory_kib=8, iterations=1, parallelism=1)
STANDARD = KeyClass(name="standard", hashing=CHEAP)
OWNER = OwnerReference("ApiKey", "ci-deploy", "uid-of-ci-deploy")
SALT = b"sixteen bytes ok"


def key(seed: int = 0, prefix: str = "kw_live") -> PlainKey:
    """A well-formed plain key, the same for the same seed."""
    return plainkey.generate(prefix, Random(seed))


def record(plain: PlainKey, state: RecordState = RecordState.CURRENT, **fields: Any) -> KeyRecord:
    """The record of a plain key, issued an hour ago unless told otherwise."""
    fields.setdefault("issued_at", NOW - timedelta(hours=1))
    return KeyRecord(
        id=plain.key_id,
        state=state,
        hash=fields.pop("hash", None) or hashing.hash_key(plain.text, CHEAP, SALT),
        fingerprint=hashing.fingerprint(plain.text),
        **fields,
    )


def spec(**fields: Any) -> KeySpec:
    """The shortest spec, with these fields on top."""
    return KeySpec(**({"display_name": "ci-deploy", "secret_name": "ci-deploy"} | fields))


def facts(**fields: Any) -> SecretFacts:
    """Our own empty Secret as we write it, with these fields instead."""
    ours: dict[str, Any] = {
        "uid": "uid-of-secret",
        "resource_version": "7",
        "labels": labels_for(OWNER.name),
        "owners": (OWNER,),
        "is_empty": True,
    }
    return SecretFacts(**(ours | fields))


def observed(**fields: Any) -> Observed:
    """A new ApiKey of the standard class, with these fields instead."""
    fresh: dict[str, Any] = {
        "owner": OWNER,
        "generation": 1,
        "key_class": STANDARD,
        "status": Status(),
        "secret": Absent(),
    }
    return Observed(**(fresh | fields))


def apply(asked: KeySpec, seen: Observed, plan: Plan, now: datetime, mint: Callable[[datetime], KeyRecord]) -> Observed:
    """What one finds after a plan has been carried out by the pass that decided it."""
    if plan.status is not None:
        seen = replace(seen, status=plan.status)
    match plan.action:
        case Propose():
            minted = mint(now)
            seen = replace(seen, status=minting.propose(asked, seen, minted), held=minted.id)
        case Deliver(into):
            seen = replace(seen, secret=_written(into, holds=seen.held))
        case Fence(touch):
            seen = replace(seen, secret=_written(touch, holds=touch.holds if touch else None), has_fenced=True)
        case Render(secret):
            seen = replace(seen, secret=_written(secret, holds=secret.holds))
        case Claim(found):
            marked = dict(found.annotations) | {ADOPTED_ANNOTATION: adoption.mark(seen.owner, found)}
            seen = replace(seen, secret=Foreign(replace(found, annotations=marked)))
        case Adopt(found):
            taken = replace(mint(now), id=found.key_id or "", issued_at=adoption.issued_at(found, now))
            adopted = adoption.adopt(asked, seen, taken, found, now)
            ours = Ours(uid=found.uid, resource_version=found.resource_version, holds=taken.id, is_rendered=False)
            seen = replace(seen, status=adopted, secret=ours)
        case Withdraw():
            seen = replace(seen, secret=Absent())
        case None:
            pass
    return seen


def _written(before: Ours | None, *, holds: str | None) -> Ours:
    version = int(before.resource_version) + 1 if before is not None else 1
    return Ours(uid=before.uid if before is not None else "uid-made", resource_version=str(version), holds=holds)
