"""What holds of ``decide`` for every combination: it comes to rest, stays at rest, and wakes in time."""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from keywright.domain.apikey import (
    Delivery,
    InvalidSpec,
    KeyRecord,
    KeySpec,
    OnLoss,
    RecordState,
    Status,
    WhenInactive,
)
from keywright.domain.delivery import Absent, Awaited, Foreign, Ours, SecretView
from keywright.domain.hashing import Algorithm, Hashing
from keywright.domain.keyclass import Grant, KeyClass, Requirement
from keywright.domain.lifecycle import decide
from keywright.domain.plan import Claim, Deliver, Observed, Propose
from keywright.domain.selectors import Selector
from tests.unit.domain.examples import DAY, NOW, OWNER, SECOND, STANDARD, apply, facts, key, record, spec

KEPT, MINTED = record(key(1)), record(key(2))
RESTORED = facts(is_empty=False, owners=(), key_id=key(3).key_id, key_prefix="kw_live")
FAST = Hashing(algorithm=Algorithm.SHA256)
SPANS = st.sampled_from([SECOND, 60 * SECOND, DAY, 30 * DAY, 400 * DAY])
INSTANTS = st.builds(lambda span, sign: NOW + sign * span, SPANS, st.sampled_from([-1, 1]))


@st.composite
def specs(draw: st.DrawFn) -> KeySpec | InvalidSpec:
    if draw(st.integers(0, 9)) == 0:
        return InvalidSpec("spec.ttl: not a duration: correct it")
    expires_at = draw(st.none() | INSTANTS)
    return spec(
        expires_at=expires_at,
        ttl=draw(st.none() | SPANS) if expires_at is None else None,
        suspended=draw(st.booleans()),
        revoked=draw(st.integers(0, 4)) == 0,
        states_display_name=draw(st.booleans()),
        role=draw(st.sampled_from([None, "readonly", "root"])),
        scopes=draw(st.sampled_from([(), ("agents:read",)])),
        delivery=draw(st.sampled_from(Delivery)),
        remove_after=draw(SPANS),
        when_inactive=draw(st.sampled_from(WhenInactive)),
        on_loss=draw(st.sampled_from(OnLoss)),
        adopt_secret=draw(st.sampled_from([None, "uid-of-secret"])),
    )


CLASSES = st.builds(
    KeyClass,
    name=st.just("standard"),
    hashing=st.just(FAST),
    default_lifetime=st.none() | SPANS,
    max_lifetime=st.none() | SPANS,
    warn_before=SPANS,
    requires=st.frozensets(st.sampled_from(Requirement), max_size=1),
    allowed_namespaces=st.none() | st.just(Selector(match_labels={"team": "a"})),
    grants=st.none() | st.just((Grant(namespaces=Selector(match_labels={"team": "a"}), roles=("*",)),)),
)


@st.composite
def records(draw: st.DrawFn) -> KeyRecord:
    return replace(
        KEPT,
        state=draw(st.sampled_from(RecordState)),
        issued_at=NOW - draw(SPANS),
        expires_at=draw(st.none() | INSTANTS),
    )


@st.composite
def worlds(draw: st.DrawFn) -> Observed:
    kept = draw(st.none() | records())
    status = Status()
    if kept is not None:
        is_current = kept.state is RecordState.CURRENT
        status = Status(
            keys=(kept,),
            class_name="standard",
            current_key_id=kept.id if is_current else None,
            secret_name="ci-deploy" if is_current else None,
            secret_uid="uid-of-secret" if is_current else None,
        )
    holds = kept.id if kept is not None and kept.state is not RecordState.RETIRING and draw(st.booleans()) else None
    acknowledged = draw(st.none() | st.just(KEPT.id))
    is_rendered = draw(st.booleans())
    ours = Ours(
        uid="uid-of-secret", resource_version="7", holds=holds, is_rendered=is_rendered, acknowledged=acknowledged
    )
    views: list[SecretView] = [Absent(), Awaited(), Foreign(facts(type="other")), Foreign(RESTORED), ours, ours]
    return Observed(
        owner=OWNER,
        generation=draw(st.integers(1, 3)),
        is_deleted=draw(st.integers(0, 19)) == 0,
        key_class=draw(st.none() | CLASSES),
        namespace_labels=draw(st.sampled_from([None, {}, {"team": "a"}])),
        status=status,
        secret=draw(st.sampled_from(views)),
        duplicate_of=draw(st.sampled_from([None, None, None, "other/older"])),
    )


def _mint(now: datetime) -> KeyRecord:
    return replace(MINTED, state=RecordState.PENDING, issued_at=now)


def settle(asked: KeySpec | InvalidSpec, seen: Observed, now: datetime) -> tuple[Observed, datetime | None]:
    """Decide and apply until nothing is left to do, as one pass does."""
    for _ in range(12):
        plan = decide(asked, seen, now)
        if plan.is_noop:
            return seen, plan.wake_at
        seen = apply(asked if isinstance(asked, KeySpec) else spec(), seen, plan, now, _mint)
    raise AssertionError("no rest after twelve steps")


def _nobody_misses_the_end(asked: KeySpec | InvalidSpec, seen: Observed) -> bool:
    """Nothing is minted while something is in the way, so an end that passes meanwhile need not be noticed."""
    is_issued = seen.status.record(RecordState.CURRENT) is not None
    return isinstance(asked, KeySpec) and not is_issued and asked.expires_at is not None


@settings(max_examples=400, suppress_health_check=[HealthCheck.filter_too_much])
@given(asked=specs(), seen=worlds(), fraction=st.floats(0, 0.999))
def test_a_world_at_rest_stays_at_rest_until_the_time_it_named(
    asked: KeySpec | InvalidSpec, seen: Observed, fraction: float
) -> None:
    """After applying, deciding again is a no-op at any instant before ``wake_at``: no message moves with the
    clock, no end passes unnoticed, and a fresh pass agrees with the one that did the work.
    """
    assume(not _nobody_misses_the_end(asked, seen))
    rested, wake_at = settle(asked, seen, NOW)
    until = wake_at if wake_at is not None else NOW + 4000 * DAY
    assert until > NOW
    later = NOW + timedelta(seconds=int((until - NOW).total_seconds() * fraction))
    fresh = replace(rested, held=None, has_fenced=False)
    plan = decide(asked, fresh, later)
    assert plan.is_noop, plan


@settings(max_examples=200)
@given(asked=specs(), seen=worlds())
def test_every_world_comes_to_rest(asked: KeySpec | InvalidSpec, seen: Observed) -> None:
    """One pass takes few steps, and none of them undoes another."""
    rested, _ = settle(asked, seen, NOW)
    states = [each.state for each in rested.status.keys]
    assert len(states) <= 1
    if isinstance(asked, KeySpec) and asked.revoked and not seen.is_deleted:
        assert rested.status.revoked_at == NOW
        is_left = asked.when_inactive is WhenInactive.KEEP or seen.duplicate_of is not None
        assert is_left or not isinstance(rested.secret, Ours)


@settings(max_examples=200)
@given(asked=specs(), seen=worlds())
def test_nobody_elses_secret_is_ever_in_a_plan(asked: KeySpec | InvalidSpec, seen: Observed) -> None:
    """A foreign or awaited Secret leads to no action at all, and a key in place to no second one."""
    plan = decide(asked, seen, NOW)
    if isinstance(seen.secret, Foreign) and isinstance(plan.action, Claim):
        assert isinstance(asked, KeySpec)
        assert asked.adopt_secret == seen.secret.facts.uid
        assert seen.status == Status()
    elif isinstance(seen.secret, Awaited | Foreign):
        assert plan.action is None
    if seen.status.record(RecordState.CURRENT) is not None:
        assert not isinstance(plan.action, Propose | Deliver)
    if plan.status is not None:
        assert {each.id for each in plan.status.keys} <= {each.id for each in seen.status.keys}


@given(asked=specs(), seen=worlds(), cut=SPANS)
def test_a_live_record_never_outlasts_what_the_spec_asks(
    asked: KeySpec | InvalidSpec, seen: Observed, cut: timedelta
) -> None:
    """What restricts acts at once: whatever the class says, an earlier ``expiresAt`` is the end."""
    if isinstance(asked, InvalidSpec) or asked.revoked or seen.is_deleted:
        return
    asked = replace(asked, ttl=None, expires_at=NOW + cut)
    rested, _ = settle(asked, replace(seen, key_class=seen.key_class or STANDARD), NOW)
    current = rested.status.record(RecordState.CURRENT)
    if current is not None:
        assert current.expires_at is not None
        assert current.expires_at <= NOW + cut
