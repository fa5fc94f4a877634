"""Whatever classes and specs come one after another: a key never holds more than policy allows."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from keywright.domain import policy
from keywright.domain.apikey import Effective, KeySpec, Owner, RateLimit, RecordState, Status
from keywright.domain.conditions import ConditionType
from keywright.domain.delivery import Ours
from keywright.domain.entitlement import Labels
from keywright.domain.hashing import Algorithm, Hashing
from keywright.domain.keyclass import Authorization, Grant, KeyClass, Requirement
from keywright.domain.lifecycle import decide
from keywright.domain.reasons import Reason
from keywright.domain.report import is_said
from keywright.domain.scopes import closure, common, covers, is_covered, is_known
from keywright.domain.selectors import Selector
from tests.unit.domain.examples import NOW, SECOND, key, observed, record, spec

WORDS = ("a", "b")
NAMES = ["a", "b", *(f"{one}:{other}" for one in WORDS for other in WORDS)]
PATTERNS = ["*", "*:*", "a:*", "*:a", "b:*", "*:b", *NAMES]
PROBES = [*NAMES, "a:c", "c"]
LABELS: list[Labels] = [None, {}, {"team": "a"}, {"team": "b"}]
OURS = Ours(uid="uid-of-secret", resource_version="7")

some_patterns = st.lists(st.sampled_from(PATTERNS), max_size=3).map(tuple)
selectors = st.sampled_from([Selector(), Selector(match_labels={"team": "a"}), Selector(match_labels={"team": "b"})])
owners = st.sampled_from([Owner(user="a@x"), Owner(user="b@y"), Owner(user="a@x", groups=("g", "h"))])
limits = st.lists(
    st.builds(
        RateLimit,
        name=st.sampled_from(["m", "n"]),
        requests=st.integers(1, 3),
        window=st.sampled_from([SECOND, 2 * SECOND]),
    ),
    max_size=2,
    unique_by=lambda each: each.name,
).map(tuple)
grants = st.builds(
    Grant,
    namespaces=selectors,
    roles=st.lists(st.sampled_from(["*", "r", "s"]), max_size=1).map(tuple),
    scopes=some_patterns,
    owners=st.lists(st.sampled_from(["*@x", "*", "b@*"]), max_size=1).map(tuple),
    groups=st.lists(st.sampled_from(["g", "*"]), max_size=1).map(tuple),
)
classes = st.builds(
    KeyClass,
    name=st.just("gold"),
    hashing=st.just(Hashing(algorithm=Algorithm.SHA256)),
    roles=st.dictionaries(st.sampled_from(["r", "s"]), some_patterns, max_size=2),
    scopes=st.dictionaries(st.sampled_from(NAMES), some_patterns, max_size=4),
    rate_limits=limits,
    allowed_namespaces=st.none() | selectors,
    grants=st.none() | st.lists(grants, max_size=2).map(tuple),
    requires=st.frozensets(st.sampled_from(Requirement), max_size=1),
    authorization=st.sampled_from([Authorization.SCOPES, Authorization.SCOPES, Authorization.OWNER]),
    max_lifetime=st.none() | st.just(timedelta(days=1)),
)


@st.composite
def specs(draw: st.DrawFn, owner: Owner | None) -> KeySpec:
    return spec(
        owner=owner,
        role=draw(st.sampled_from([None, "r", "s", "t"])),
        scopes=draw(some_patterns),
        rate_limits=draw(limits),
        states_display_name=True,
        ttl=draw(st.none() | st.sampled_from([timedelta(hours=2), timedelta(days=2)])),
    )


def reachable(scopes: tuple[str, ...], key_class: KeyClass) -> set[str]:
    """Every probe that these patterns stand for, walked one by one: what a class means, said another way."""
    patterns, known = set(scopes), set(key_class.scopes)
    while True:
        more = {
            each
            for name in known
            if any(covers(pattern, name) for pattern in patterns)
            for each in key_class.scopes[name]
        }
        if more <= patterns:
            break
        patterns |= more
    return {
        probe for probe in PROBES if (not known or probe in known) and any(covers(each, probe) for each in patterns)
    }


def granted(effective: Effective | None) -> set[str]:
    return {probe for probe in PROBES if effective is not None and is_covered(probe, effective.scopes)}


def may(asked: KeySpec, key_class: KeyClass, labels: Labels) -> set[str]:
    """What the newest spec may have under the newest class, at the most."""
    chosen = [
        each
        for each in key_class.grants or ()
        if labels is not None and each.namespaces.match_labels.items() <= labels.items()
    ]
    allowed = [each for each in asked.scopes if is_known(each, key_class.scopes)]
    role = asked.role if asked.role in key_class.roles else None
    if key_class.grants is not None:
        scopes = closure((scope for each in chosen for scope in each.scopes), key_class.scopes)
        allowed = [each for each in allowed if is_covered(each, scopes)]
        role = role if any({role, "*"} & set(each.roles) for each in chosen) else None
    return reachable((*allowed, *(key_class.roles[role] if role else ())), key_class)


@settings(max_examples=300)
@given(data=st.data(), owner=st.none() | owners)
def test_effective_follows_policy(data: st.DataObject, owner: Owner | None) -> None:
    """One live key under one spec, class and namespace after another. Accepted: exactly what is asked and allowed.
    Refused: nothing that it did not have, nothing that is not allowed now. Barred exactly while the class says so.
    """
    status = Status(
        keys=(record(key(1), RecordState.CURRENT),),
        class_name="gold",
        current_key_id=key(1).key_id,
        secret_uid=OURS.uid,
    )
    for _ in range(4):
        asked, key_class = data.draw(specs(owner)), data.draw(st.none() | classes)
        labels = data.draw(st.sampled_from(LABELS))
        seen = observed(key_class=key_class, namespace_labels=labels, status=status, secret=OURS)
        before, verdict = status.effective, policy.judge_observed(asked, seen, status.keys[0].issued_at)
        plan = decide(asked, seen, NOW)
        status = plan.status or status
        assert decide(asked, replace(seen, status=status), NOW).status is None, "not at rest"
        if key_class is None or not policy.can_judge(seen):
            assert status.effective == before
            continue
        allowed = may(asked, key_class, labels)
        assert granted(status.effective) & set(key_class.scopes or PROBES) <= allowed
        if isinstance(verdict, policy.Accepted):
            assert granted(status.effective) & set(key_class.scopes or PROBES) == allowed
            assert status.effective is not None
            assert (status.effective.role, status.effective.owner) == (asked.role, owner)
        else:
            assert granted(status.effective) <= granted(before)
        is_barred = isinstance(verdict, policy.Refused) and verdict.reason is Reason.CLASS_NOT_ALLOWED
        assert (status.disallowed_at is not None) is is_barred
        assert is_said(status, ConditionType.ACTIVE) is not is_barred
        if status.effective is not None:
            _check_limits(status.effective, before, key_class, is_accepted=isinstance(verdict, policy.Accepted))


def _check_limits(after: Effective, before: Effective | None, key_class: KeyClass, *, is_accepted: bool) -> None:
    """Every limit of the class is there and no looser; a refused change loosens none."""
    assert [each.name for each in after.rate_limits] == [each.name for each in key_class.rate_limits]
    bounds = list(key_class.rate_limits)
    if before is not None and not is_accepted:
        bounds += before.rate_limits
    for bound in bounds:
        for limit in after.rate_limits:
            if limit.name == bound.name:
                assert limit.requests <= bound.requests
                assert limit.window is not None
                assert bound.window is not None
                assert limit.window >= bound.window


@given(first=some_patterns, second=some_patterns)
def test_common_patterns_cover_what_both_cover(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    """No probe more and none less."""
    shared = common(first, second)
    for probe in [*PROBES, "a:*", "*:b", "*:*"]:
        # A pattern that no single one of either covers is covered by no common one.
        assert is_covered(probe, shared) == (is_covered(probe, first) and is_covered(probe, second))


def test_what_lies_beyond_the_schema_is_not_recorded() -> None:
    """A pattern longer than any scope can be is left out, and a list longer than the schema takes is cut."""
    assert common(["a" * 40 + ":*"], ["*:" + "b" * 40]) == ()
    assert common(["a" * 20 + ":*"], ["*:" + "b" * 20]) == ("a" * 20 + ":" + "b" * 20,)
    rows, columns = [f"a{n}:*" for n in range(30)], [f"*:b{n}" for n in range(30)]
    assert len(common(rows, columns)) == 256
