"""Events: each transition tells one, and no look at the same thing tells it again."""

from dataclasses import replace

import pytest

from keywright.domain import report, secret_problems
from keywright.domain.apikey import RecordState, Status
from keywright.domain.conditions import ConditionType, find
from keywright.domain.reasons import Reason
from keywright.domain.report import Findings, Note, Problem
from tests.unit.domain.examples import DAY, NOW, key, record, spec

CURRENT = replace(record(key(1)), expires_at=NOW + DAY)
MISSING = secret_problems.missing("ci-deploy")
NO_CLASS = Problem(Reason.CLASS_NOT_FOUND, "class gold does not exist: create it")
INVALID = Problem(Reason.INVALID_SPEC, "spec.ttl: wrong: correct it")
NOT_ALLOWED = Problem(Reason.CLASS_NOT_ALLOWED, "class gold does not allow this namespace: label it")
NEVER = Status()
ISSUED = Status(keys=(CURRENT,), current_key_id=CURRENT.id)


def concluded(before: Status, findings: Findings) -> Status:
    return report.conclude(before, findings, 1, NOW)


def live(
    *,
    is_suspended: bool = False,
    is_expiring: bool = False,
    problem: Problem | None = None,
    delivery: Problem | None = None,
    is_withdrawn: bool = False,
) -> Status:
    """The status of an issued key, as the lifecycle would have it."""
    findings = report.live(
        ISSUED,
        CURRENT,
        is_suspended=is_suspended,
        is_expiring=is_expiring,
        problem=problem,
        delivery=delivery,
        is_withdrawn=is_withdrawn,
    )
    return concluded(replace(ISSUED, suspended_at=NOW if is_suspended else None), findings)


def revoked(before: Status = ISSUED) -> Status:
    said = report.revoked(spec(), replace(before, revoked_at=NOW))
    return concluded(replace(before, revoked_at=NOW), report.ended(said, kept_in=None))


def expired(before: Status = ISSUED) -> Status:
    return concluded(before, report.ended(report.expired(before, NOW), kept_in=None))


def stalled(before: Status, problem: Problem) -> Status:
    return concluded(before, report.stalled(before, problem))


def barred() -> Status:
    return replace(live(problem=NOT_ALLOWED), disallowed_at=NOW)


PROPOSED = Status(keys=(replace(CURRENT, state=RecordState.PENDING),))
WAITING = concluded(PROPOSED, report.in_progress("the key is being delivered"))
CONFLICT = stalled(PROPOSED, secret_problems.conflict("ci-deploy"))

CASES: dict[str, tuple[Status, Status, list[Reason]]] = {
    "a proposal is not worth an event": (NEVER, WAITING, []),
    "issued": (WAITING, live(), [Reason.KEY_ISSUED]),
    "issued suspended": (WAITING, live(is_suspended=True), [Reason.KEY_ISSUED, Reason.KEY_SUSPENDED]),
    "issued shortly before its end": (WAITING, live(is_expiring=True), [Reason.KEY_ISSUED, Reason.EXPIRES_SOON]),
    "adopted": (concluded(NEVER, report.in_progress("x")), live(), [Reason.SECRET_ADOPTED]),
    "withdrawn after its delivery": (live(), live(is_withdrawn=True), [Reason.SECRET_WITHDRAWN]),
    "suspended after it was withdrawn": (
        live(is_withdrawn=True),
        live(is_withdrawn=True, is_suspended=True),
        [Reason.KEY_SUSPENDED],
    ),
    "suspended": (live(), live(is_suspended=True), [Reason.KEY_SUSPENDED]),
    "resumed": (live(is_suspended=True), live(), [Reason.KEY_RESUMED]),
    "expires soon": (live(), live(is_expiring=True), [Reason.EXPIRES_SOON]),
    "extended again": (live(is_expiring=True), live(), []),
    "expired": (live(is_expiring=True), expired(), [Reason.KEY_EXPIRED]),
    "born expired": (NEVER, expired(NEVER), [Reason.KEY_EXPIRED]),
    "revoked": (live(), revoked(), [Reason.KEY_REVOKED]),
    "revoked while suspended": (live(is_suspended=True), revoked(), [Reason.KEY_REVOKED]),
    "expired while suspended": (live(is_suspended=True), expired(), [Reason.KEY_EXPIRED]),
    "revoked after its end": (expired(), revoked(), [Reason.KEY_REVOKED]),
    "born revoked": (NEVER, revoked(NEVER), [Reason.KEY_REVOKED]),
    "a Secret conflict": (NEVER, CONFLICT, [Reason.SECRET_CONFLICT]),
    "a conflict resolved": (CONFLICT, live(), [Reason.KEY_ISSUED]),
    "the Secret lost": (live(), live(delivery=MISSING), [Reason.SECRET_MISSING]),
    "the class lost": (live(), live(problem=NO_CLASS), [Reason.CLASS_NOT_FOUND]),
    "the class found again": (live(problem=NO_CLASS), live(), []),
    "one trouble after another": (live(problem=NO_CLASS), live(problem=INVALID), [Reason.INVALID_SPEC]),
    "not allowed any more": (live(), barred(), [Reason.CLASS_NOT_ALLOWED]),
    "allowed again": (barred(), live(), [Reason.KEY_RESUMED]),
    "revoked while not allowed": (barred(), revoked(), [Reason.KEY_REVOKED]),
    "not allowed while it was never issued": (NEVER, stalled(NEVER, NOT_ALLOWED), [Reason.CLASS_NOT_ALLOWED]),
    "allowed before it was issued": (
        replace(stalled(PROPOSED, NOT_ALLOWED), disallowed_at=NOW),
        live(),
        [Reason.KEY_ISSUED],
    ),
    "a spec that cannot be read while its end is near": (
        live(is_expiring=True),
        stalled(live(is_expiring=True), INVALID),
        [Reason.INVALID_SPEC],
    ),
    "mended while its end is near": (stalled(live(is_expiring=True), INVALID), live(is_expiring=True), []),
    "a spec that cannot be read": (live(), stalled(live(), INVALID), [Reason.INVALID_SPEC]),
}


@pytest.mark.parametrize(("before", "after", "expected"), CASES.values(), ids=CASES)
def test_a_transition_tells_its_reason(before: Status, after: Status, expected: list[Reason]) -> None:
    """In this order, each once."""
    assert [each.reason for each in report.notes(before, after)] == expected


@pytest.mark.parametrize("status", [each[1] for each in CASES.values()], ids=CASES)
def test_no_transition_is_told_twice(status: Status) -> None:
    """A resync, or a write that changes something else, is silent."""
    assert list(report.notes(status, status)) == []
    assert list(report.notes(status, replace(status, observed_generation=2))) == []


def test_what_a_person_should_look_into_is_a_warning() -> None:
    """Trouble and coming ends are warnings; what was asked for is normal."""
    told = {each.reason: each.is_warning for before, after, _ in CASES.values() for each in report.notes(before, after)}
    assert {reason for reason, is_warning in told.items() if not is_warning} == {
        Reason.KEY_ISSUED,
        Reason.KEY_SUSPENDED,
        Reason.KEY_RESUMED,
        Reason.KEY_EXPIRED,
        Reason.KEY_REVOKED,
        Reason.SECRET_ADOPTED,
        Reason.SECRET_WITHDRAWN,
    }


def test_a_note_says_what_the_condition_says() -> None:
    """One text for both, so that nobody has to reconcile two."""
    (note,) = report.notes(live(), live(delivery=MISSING))
    assert note == Note(Reason.SECRET_MISSING, MISSING.message, is_warning=True)


@pytest.mark.parametrize("problem", [MISSING, secret_problems.conflict("x")], ids=["missing", "conflict"])
def test_a_problem_names_the_object_and_the_remedy(problem: Problem) -> None:
    """What is wrong, a colon, what to do."""
    assert "the Secret " in problem.message
    assert ": " in problem.message


def test_a_mended_spec_does_not_issue_again() -> None:
    """The key was issued once, so that is told once."""
    assert Reason.KEY_ISSUED not in [each.reason for each in report.notes(stalled(live(), INVALID), live())]


def test_a_returning_class_does_not_suspend_again() -> None:
    """It was suspended all the time."""
    without = live(is_suspended=True, problem=NO_CLASS)
    assert list(report.notes(without, live(is_suspended=True))) == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (WAITING, "Unknown False False False False"),
        (live(), "True True False False True"),
        (live(is_suspended=True), "True False False False True"),
        (live(is_expiring=True), "True True True False True"),
        (live(delivery=MISSING), "False True False True False"),
        (live(problem=NO_CLASS), "False False False True True"),
        (CONFLICT, "False False False True False"),
        (revoked(), "True False False False False"),
        (expired(), "True False False False False"),
    ],
    ids=["waiting", "live", "suspended", "expiring", "lost", "no class", "conflict", "revoked", "expired"],
)
def test_every_situation_says_something_of_every_condition(status: Status, expected: str) -> None:
    """Ready, Active, Expiring, Stalled, SecretDelivered, in this order."""
    assert [each.type for each in status.conditions] == list(ConditionType)
    assert " ".join(each.status for each in status.conditions) == expected


def test_a_conclusion_is_about_the_generation_that_was_judged() -> None:
    """``observedGeneration`` of the status and of each condition (KEP-1623)."""
    status = report.conclude(ISSUED, report.in_progress("x"), 7, NOW)
    assert status.observed_generation == 7
    assert {each.observed_generation for each in status.conditions} == {7}
    ready = find(status.conditions, ConditionType.READY)
    assert ready is not None
    assert ready.last_transition_at == NOW
