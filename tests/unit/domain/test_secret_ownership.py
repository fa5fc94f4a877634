"""Whose Secret is it? Every rule of invariant 3, one sentence a row."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.domain.apikey import RecordState, Status
from keywright.domain.delivery import (
    FENCE_ANNOTATION,
    Absent,
    Awaited,
    Foreign,
    Ours,
    OwnerReference,
    SecretFacts,
    SecretView,
    classify,
    labels_for,
)
from tests.unit.domain.examples import OWNER, facts, key, record

PENDING = record(key(1), RecordState.PENDING)
CURRENT = record(key(2))
NEW = Status()
DELIVERING = Status(keys=(PENDING,))
DELIVERED = Status(keys=(CURRENT,), secret_uid="uid-of-secret")
PREDECESSOR = OwnerReference("ApiKey", OWNER.name, "uid-of-another")
FULL = facts(is_empty=False, holds=PENDING.id)


def _ours(holds: str | None = None) -> Ours:
    return Ours(uid="uid-of-secret", resource_version="7", holds=holds)


class Row(NamedTuple):
    found: SecretFacts | None
    status: Status
    expected: SecretView | type[Foreign]


CASES = {
    "no Secret of that name": Row(None, NEW, Absent()),
    "no Secret any more": Row(None, DELIVERED, Absent()),
    # Once its UID is recorded, nothing else counts.
    "the UID of status": Row(facts(is_empty=False), DELIVERED, _ours()),
    "the UID of status, whatever somebody did to its labels": Row(
        facts(is_empty=False, labels={"tracked-by": "gitops"}, annotations={"note": "x"}), DELIVERED, _ours()
    ),
    "the UID of status without its owner reference": Row(facts(is_empty=False, owners=()), DELIVERED, _ours()),
    "another UID with all our labels": Row(facts(uid="other"), DELIVERED, Foreign),
    "another UID that proves the Pending record": Row(
        facts(uid="other", is_empty=False, holds=PENDING.id),
        Status(keys=(PENDING,), secret_uid="uid-of-secret"),
        Foreign,
    ),
    "the UID of status, on its way out": Row(facts(is_deleting=True), DELIVERED, Awaited()),
    # Before that: exactly as we write it, and nothing in it to believe.
    "empty and exactly as we write it": Row(facts(), NEW, _ours()),
    "empty, as we write it, with a fence": Row(facts(annotations={FENCE_ANNOTATION: "0a"}), DELIVERING, _ours()),
    "its key proves the Pending record": Row(FULL, DELIVERING, _ours(PENDING.id)),
    "a key in it and nothing Pending": Row(facts(is_empty=False), NEW, Foreign),
    "a key in it that proves nothing": Row(facts(is_empty=False), DELIVERING, Foreign),
    "a key in it that proves another id": Row(facts(is_empty=False, holds="0" * 12), DELIVERING, Foreign),
    "a key that proves a Current record whose Secret is not recorded": Row(
        facts(is_empty=False, holds=CURRENT.id), Status(keys=(CURRENT,)), Foreign
    ),
    "no labels": Row(facts(labels={}), NEW, Foreign),
    "one label more": Row(facts(labels=labels_for(OWNER.name) | {"a": "b"}), NEW, Foreign),
    "the labels of another ApiKey": Row(facts(labels=labels_for("other")), NEW, Foreign),
    "an annotation of somebody": Row(facts(annotations={"reflector": "on"}), NEW, Foreign),
    "no owner, as with Retain": Row(facts(owners=()), NEW, _ours()),
    "a label and an annotation that the class lets a template set": Row(
        facts(labels=labels_for(OWNER.name) | {"example.com/a": "b"}, annotations={"example.com/c": "d"}), NEW, _ours()
    ),
    "a label of Kubernetes, whatever the class says": Row(
        facts(labels=labels_for(OWNER.name) | {"kubernetes.io/example.com": "b"}), NEW, Foreign
    ),
    "a second owner": Row(facts(owners=(OWNER, OwnerReference("ApiKey", "b", "u"))), NEW, Foreign),
    "an owner of another kind": Row(facts(owners=(OwnerReference("ApiKeyClass", OWNER.name, "u"),)), NEW, Foreign),
    "another type": Row(facts(type="kubernetes.io/tls"), NEW, Foreign),
    "immutable": Row(facts(is_immutable=True), NEW, Foreign),
    "forged labels and owner, with a key of the forger": Row(facts(is_empty=False, uid="forged"), NEW, Foreign),
    # What is on its way out is waited for.
    "being deleted": Row(facts(is_deleting=True), NEW, Awaited()),
    "somebody's, being deleted": Row(facts(labels={}, owners=(), is_deleting=True), NEW, Awaited()),
    "of a predecessor of the same name": Row(facts(is_empty=False, owners=(PREDECESSOR,)), NEW, Awaited()),
    "of a predecessor, empty": Row(facts(owners=(PREDECESSOR,)), NEW, Awaited()),
    "of an ApiKey of another name": Row(facts(owners=(OwnerReference("ApiKey", "other", "u"),)), NEW, Foreign),
}


@pytest.mark.parametrize("row", CASES.values(), ids=CASES)
def test_classifying(row: Row) -> None:
    """Absent, awaited, foreign, or ours with the version that was read."""
    expected = Foreign(row.found) if row.expected is Foreign and row.found is not None else row.expected
    assert classify(row.found, owner=OWNER, status=row.status, patterns=("example.com/*",)) == expected


@given(
    uid=st.sampled_from(["uid-of-secret", "other"]),
    labels=st.sampled_from([{}, labels_for(OWNER.name), {"a": "b"}]),
    owners=st.sampled_from([(), (OWNER,), (PREDECESSOR,)]),
    holds=st.sampled_from([None, PENDING.id, CURRENT.id]),
    is_empty=st.booleans(),
    is_deleting=st.booleans(),
    is_immutable=st.booleans(),
    status=st.sampled_from([NEW, DELIVERING, DELIVERED]),
)
def test_ours_has_its_uid_recorded_or_nothing_to_believe(
    uid: str,
    labels: dict[str, str],
    owners: tuple[OwnerReference, ...],
    holds: str | None,
    is_empty: bool,
    is_deleting: bool,
    is_immutable: bool,
    status: Status,
) -> None:
    """The short form of invariant 3, over every combination of facts."""
    found = facts(
        uid=uid,
        labels=labels,
        owners=owners,
        holds=holds,
        is_empty=is_empty,
        is_deleting=is_deleting,
        is_immutable=is_immutable,
    )
    view = classify(found, owner=OWNER, status=status)
    if isinstance(view, Ours):
        assert not is_deleting
        if status.secret_uid is not None:
            assert uid == status.secret_uid
        else:
            assert is_empty or (holds == PENDING.id and status is DELIVERING)
            assert owners in ((), (OWNER,))


def test_labels_are_ours_alone() -> None:
    """Two labels: who manages it, and which ApiKey it is of. None is copied from the ApiKey."""
    assert labels_for("ci-deploy") == {
        "app.kubernetes.io/managed-by": "keywright",
        "keywright.dev/api-key": "ci-deploy",
    }
