"""Taking over a Secret after a restore: what has to fit, in which order it is written, and what is refused."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from keywright.domain import adoption
from keywright.domain.apikey import RecordState, Rotation, Status
from keywright.domain.delivery import Foreign, Ours, OwnerReference, SecretFacts
from keywright.domain.lifecycle import decide
from keywright.domain.plan import Adopt, Claim, Observed, Plan
from keywright.domain.report import notes
from tests.unit.domain.examples import DAY, NOW, OWNER, STANDARD, apply, facts, key, observed, record, spec

UID = "uid-of-secret"
HELD = key(7)
ISSUED = NOW - 10 * DAY
RESTORED = facts(
    is_empty=False,
    owners=(),
    key_id=HELD.key_id,
    key_prefix=HELD.prefix,
    annotations={"keywright.dev/issued-at": "2026-05-22T12:00:00Z"},
)
MARK = adoption.mark(OWNER, RESTORED)
ASKED = spec(adopt_secret=UID)


def marked(value: str) -> SecretFacts:
    return replace(RESTORED, annotations=dict(RESTORED.annotations) | {"keywright.dev/adopted-by": value})


def seen(found: SecretFacts = RESTORED, **fields: Any) -> Observed:
    return observed(secret=Foreign(found), **fields)


def said(plan: Plan) -> str:
    assert plan.action is None
    assert plan.status is not None
    stalled = next(each for each in plan.status.conditions if each.type == "Stalled")
    assert stalled.status == "True"
    return f"{stalled.reason}: {stalled.message}"


def test_it_is_claimed_then_adopted_then_written_anew() -> None:
    """One key, Current, as old as its Secret says; nothing is minted, and the version is not yet taken for right."""
    given = seen()
    plan = decide(ASKED, given, NOW)
    assert plan == Plan(action=Claim(RESTORED))
    given = apply(ASKED, given, plan, NOW, lambda _: record(HELD))
    plan = decide(ASKED, given, NOW)
    assert plan == Plan(action=Adopt(marked(MARK)))
    given = apply(ASKED, given, plan, NOW, lambda _: record(HELD))
    (current,) = given.status.keys
    assert (current.id, current.state, current.issued_at) == (HELD.key_id, RecordState.CURRENT, ISSUED)
    assert (given.status.secret_uid, given.status.secret_resource_version) == (UID, None)
    assert [each.reason for each in notes(Status(), given.status)] == ["SecretAdopted"]
    for _ in range(3):
        plan = decide(ASKED, given, NOW)
        given = apply(ASKED, given, plan, NOW, lambda _: record(HELD))
    assert decide(ASKED, given, NOW).is_noop
    assert isinstance(given.secret, Ours)
    assert given.status.secret_resource_version == given.secret.resource_version


def test_without_the_annotation_a_person_is_told_how() -> None:
    """Secret, UID, command, right, and the other way out."""
    message = said(decide(spec(), seen(), NOW))
    assert message.startswith("SecretConflict: the Secret ci-deploy (UID uid-of-secret) exists")
    assert "kubectl annotate apikey ci-deploy --overwrite keywright.dev/adopt-secret=uid-of-secret" in message
    assert "verb adopt" in message
    assert "delete the Secret" in message


REFUSED: dict[str, tuple[Observed, str]] = {
    "of another type": (seen(replace(RESTORED, type="kubernetes.io/tls")), "its type is not Opaque"),
    "immutable": (seen(replace(RESTORED, is_immutable=True)), "it is immutable"),
    "of a key that has ended": (
        seen(replace(RESTORED, annotations={**RESTORED.annotations, "keywright.dev/ended": "Revoked"})),
        "its key is revoked or has expired",
    ),
    "of another owner": (
        seen(replace(RESTORED, owners=(OwnerReference("ApiKey", "other", "u"),))),
        "it belongs to another object",
    ),
    "without our labels": (seen(replace(RESTORED, labels={})), "it lacks the labels"),
    "without a key": (seen(replace(RESTORED, key_id=None, key_prefix=None)), "there is no well-formed key"),
    "with a key of another class": (seen(replace(RESTORED, key_prefix="kw_test")), "its key is not of class standard"),
    "adopted before": (seen(marked(f"other/{UID}")), "another ApiKey has adopted it before"),
    "with a mark of another form": (seen(marked("other")), "another ApiKey has adopted it before"),
    "with a taken id": (seen(taken_by="other/elder"), "its key id belongs to the ApiKey other/elder"),
    "past its end": (seen(key_class=replace(STANDARD, default_lifetime=DAY)), "its key ended at 2026-05-23T12:00:00Z"),
}


@pytest.mark.parametrize(("given", "why"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_with_the_reason(given: Observed, why: str) -> None:
    """The Secret stays as it is, whatever the annotation says."""
    message = said(decide(ASKED, given, NOW))
    assert message.startswith("SecretConflict: the Secret ci-deploy exists and is not this ApiKey's")
    assert why in message


def test_another_uid_is_not_this_secret() -> None:
    """An annotation that was left standing names a Secret that is gone."""
    message = said(decide(spec(adopt_secret="uid-of-another"), seen(), NOW))
    assert "keywright.dev/adopt-secret=uid-of-secret" in message


@pytest.mark.parametrize(
    "status",
    [
        Status(keys=(record(key(1)),), current_key_id=key(1).key_id, secret_uid="uid-lost"),
        Status(issued_at=NOW - DAY),
        Status(current_key_id=key(1).key_id),
    ],
    ids=["a live key", "an earlier issue", "an earlier key"],
)
def test_an_apikey_that_had_keys_adopts_nothing(status: Status) -> None:
    """Else a Secret that somebody put in its place would become its key."""
    plan = decide(ASKED, seen(status=status), NOW)
    assert "adopt" not in said(plan)


def test_a_mark_from_a_backup_does_not_count() -> None:
    """A restored Secret brings its annotations along; it is another Secret, and may be adopted once itself."""
    plan = decide(ASKED, seen(marked("uid-of-an-older-apikey/uid-of-the-lost-secret")), NOW)
    assert isinstance(plan.action, Claim)


def test_a_class_that_does_not_accept_the_spec_is_asked_first() -> None:
    """As of an issue; for a key as old as this one."""
    bounded = replace(STANDARD, max_lifetime=30 * DAY)
    message = said(decide(spec(adopt_secret=UID, expires_at=NOW + 25 * DAY), seen(key_class=bounded), NOW))
    assert message.startswith("LifetimeExceeded: ")


def test_nothing_is_adopted_before_all_apikeys_are_known() -> None:
    """The key's id may live on one that has not been shown yet."""
    plan = decide(ASKED, seen(knows_all=False), NOW)
    assert plan.is_noop
    assert plan.wake_at is not None


@pytest.mark.parametrize("text", ["", "yesterday", "2026-07-01T00:00:00Z", "2026-01-01T00:00:00"])
def test_an_issue_time_that_cannot_be_is_now(text: str) -> None:
    """Absent, nonsense, in the future, without an offset."""
    found = replace(RESTORED, annotations={"keywright.dev/issued-at": text} if text else {})
    assert adoption.issued_at(found, NOW) == NOW


def test_standing_requests_are_handled_by_an_adoption() -> None:
    """As by an issue: a trigger that stands in git does not rotate at once."""
    asked = spec(adopt_secret=UID, rotation=Rotation(trigger="1", interval=30 * DAY))
    status = adoption.adopt(asked, seen(), record(HELD, issued_at=ISSUED), RESTORED, NOW)
    assert status.handled_trigger == "1"
    assert status.rotate_at == ISSUED + 30 * DAY


def test_suspended_is_adopted_and_suspended() -> None:
    """As a key that is issued suspended."""
    status = adoption.adopt(replace(ASKED, suspended=True), seen(), record(HELD), RESTORED, NOW)
    assert status.phase == "Suspended"


def test_born_revoked_or_expired_adopts_nothing() -> None:
    """The Secret stays where it is."""
    for asked in (replace(ASKED, revoked=True), replace(ASKED, expires_at=NOW - timedelta(seconds=1))):
        plan = decide(asked, seen(), NOW)
        assert plan.action is None
        assert plan.status is not None
        assert plan.status.keys == ()
