"""What a class lets an ApiKey ask for, and how long a key of it lives.

The checks run in a fixed order and the first refusal is the one a person reads: class, namespace, owner, required
fields, role, scopes, rate limits (:mod:`keywright.domain.entitlement`), template, rotation, lifetime. A refusal never
ends a key that was accepted before; it may only cap it (``cap``), because what restricts acts at once.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from keywright.domain import entitlement, template
from keywright.domain.apikey import Effective, KeyRecord, KeySpec, RecordState, Status, earliest
from keywright.domain.entitlement import Denial, Labels
from keywright.domain.keyclass import KeyClass, Requirement
from keywright.domain.plan import Observed
from keywright.domain.reasons import Reason
from keywright.domain.times import format_duration

__all__ = [
    "Accepted",
    "Refused",
    "can_judge",
    "enact",
    "grace_period",
    "judge",
    "judge_observed",
    "lifetime",
    "pin_class",
]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The class agrees; a key issued at the instant in question ends at ``ends_at`` (``None``: never)."""

    ends_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The class does not agree. ``cap`` is the latest end that any key of this ApiKey may have."""

    reason: Reason
    message: str
    cap: datetime | None = None
    lapses_at: datetime | None = None
    """When a key not yet issued could be: an absolute end comes within reach by itself."""


def judge(
    spec: KeySpec,
    key_class: KeyClass | None,
    issued_at: datetime,
    *,
    first_issued_at: datetime | None = None,
    labels: Labels = None,
    recorded: Effective | None = None,
    standing: KeyRecord | None = None,
) -> Accepted | Refused:
    """Hold a spec against its class, for a key issued (or about to be issued) at ``issued_at``.

    Without ``expiresAt`` and ``ttl`` the class's default lifetime applies, and without that its maximum. A ttl and
    a default run anew for each rotated key; the maximum for ``expiresAt`` counts from the first issue. ``labels`` are
    those of the namespace, ``recorded`` is what was accepted before. ``standing`` is the record of a key that lives: a
    default that has become shorter is for keys to come.
    """
    asked = earliest(spec.expires_at, issued_at + spec.ttl if spec.ttl is not None else None)
    if key_class is None:
        named = f"ApiKeyClass {spec.class_name!r}" if spec.class_name else "the class this key was issued under"
        return Refused(
            reason=Reason.CLASS_NOT_FOUND,
            message=f"{named} does not exist: create it, or make a new ApiKey with another spec.className",
            cap=asked,
        )
    counted_from = (first_issued_at or issued_at) if spec.ttl is None and asked is not None else issued_at
    limit = counted_from + key_class.max_lifetime if key_class.max_lifetime is not None else None
    denial = (
        entitlement.bar(spec.owner, key_class, labels, recorded)
        or _deny_unstated(spec, key_class)
        or entitlement.object_to(spec, key_class, labels)
        or _deny_template(spec, key_class)
        or _deny_rotation(spec, key_class)
    )
    if denial is not None:
        # The maximum holds whatever else is wrong.
        return Refused(reason=denial.reason, message=denial.message, cap=earliest(asked, limit))
    if asked is None:
        default = issued_at + key_class.default_lifetime if key_class.default_lifetime is not None else None
        if standing is not None and standing.state is not RecordState.PENDING and default is not None:
            default = max(default, standing.expires_at) if standing.expires_at is not None else None
        return Accepted(earliest(default, limit))
    if key_class.max_lifetime is not None and limit is not None and asked > limit:
        field = "spec.ttl" if spec.ttl is not None else "spec.expiresAt"
        return Refused(
            reason=Reason.LIFETIME_EXCEEDED,
            message=(
                f"{field} is beyond lifetime.max of class {key_class.name}: "
                f"ask for {format_duration(key_class.max_lifetime)} from issue or less"
            ),
            cap=limit,
            lapses_at=spec.expires_at - key_class.max_lifetime if spec.expires_at is not None else None,
        )
    return Accepted(asked)


def can_judge(observed: Observed) -> bool:
    """Whether all is known that the class asks about. A namespace that was not seen yet is not one without labels."""
    return (
        observed.key_class is None
        or observed.namespace_labels is not None
        or not entitlement.needs_labels(observed.key_class)
    )


def pin_class(observed: Observed, status: Status) -> Status:
    """The status with the class of the first look: who may make a key of today's default class need not be who may use
    tomorrow's.
    """
    if status.class_name is not None or observed.key_class is None:
        return status
    return replace(status, class_name=observed.key_class.name)


def judge_observed(
    spec: KeySpec, observed: Observed, issued_at: datetime, standing: KeyRecord | None = None
) -> Accepted | Refused:
    """:func:`judge` for a key of the ApiKey that was observed."""
    return judge(
        spec,
        observed.key_class,
        issued_at,
        first_issued_at=observed.status.issued_at,
        labels=observed.namespace_labels,
        recorded=observed.status.effective,
        standing=standing,
    )


def enact(spec: KeySpec, observed: Observed, status: Status, verdict: Accepted | Refused, now: datetime) -> Status:
    """The status with what its keys may do: all that is asked once it is accepted, what is left of it otherwise.

    Without a class it stays as it is: verifiers refuse the keys of a class that does not exist.
    """
    if observed.key_class is None:
        return status
    allowed = entitlement.allow(spec, observed.key_class, observed.namespace_labels)
    if isinstance(verdict, Accepted):
        return replace(status, effective=allowed, disallowed_at=None)
    is_barred = verdict.reason is Reason.CLASS_NOT_ALLOWED
    return replace(
        status,
        effective=entitlement.narrow(status.effective, allowed),
        disallowed_at=(status.disallowed_at or now) if is_barred else None,
    )


def lifetime(spec: KeySpec, key_class: KeyClass) -> timedelta | None:
    """How long each single key lives; ``None`` if it has no end of its own."""
    if spec.ttl is not None or spec.expires_at is not None:
        return spec.ttl
    spans = (key_class.default_lifetime, key_class.max_lifetime)
    return min((each for each in spans if each is not None), default=None)


def grace_period(spec: KeySpec, key_class: KeyClass) -> timedelta:
    """How long a replaced key works on, unless a request says otherwise."""
    stated = spec.rotation.grace_period if spec.rotation is not None else None
    return stated if stated is not None else key_class.grace_period


def _deny_unstated(spec: KeySpec, key_class: KeyClass) -> Denial | None:
    stated = {
        Requirement.DISPLAY_NAME: spec.states_display_name,
        Requirement.OWNER: spec.owner is not None,
        Requirement.ROLE: spec.role is not None,
        # Asked for where a key is revoked; a key that is alive has none.
        Requirement.REVOCATION_REASON: True,
        Requirement.EXPIRES_AT: spec.expires_at is not None or spec.ttl is not None,
    }
    missing = next((each for each in Requirement if each in key_class.requires and not stated[each]), None)
    if missing is None:
        return None
    # An owner cannot be set later.
    remedy = "make a new ApiKey that states it" if missing is Requirement.OWNER else "set it"
    return Denial(Reason.INVALID_SPEC, f"class {key_class.name} requires spec.{missing}: {remedy}")


def _deny_template(spec: KeySpec, key_class: KeyClass) -> Denial | None:
    fault = template.find_fault(spec, key_class.name, key_class.secret_metadata)
    return Denial(Reason.INVALID_SPEC, fault) if fault is not None else None


def _deny_rotation(spec: KeySpec, key_class: KeyClass) -> Denial | None:
    if spec.rotation is None:
        return None
    if spec.rotation.interval == timedelta(0):
        return Denial(
            Reason.INVALID_SPEC, "spec.rotation.interval is nothing: set one, as in 30d, or leave it to the class"
        )
    lives = lifetime(spec, key_class)
    if lives is None or lives > grace_period(spec, key_class):
        return None
    return Denial(
        Reason.INVALID_SPEC,
        "spec.rotation.gracePeriod is not shorter than spec.ttl: shorten it, or set a longer ttl"
        if spec.ttl is not None
        else f"the grace period is not shorter than the lifetime that class {key_class.name} gives a key: "
        "set a shorter spec.rotation.gracePeriod",
    )
