"""The roster: which ApiKeys there are, and whom a change concerns."""

from collections.abc import Callable
from typing import Any

import pytest

from keywright.reconcile.ports import Ref
from keywright.reconcile.roster import Roster

A, B = Ref("payments", "a"), Ref("web", "b")
ID, OTHER_ID = "4hJk29sLmQ0z", "000000000000"


def manifest(
    uid: str, version: int, *, ids: tuple[str, ...] = (), created: str = "2026-06-01T12:00:00Z", **fields: Any
) -> dict[str, Any]:
    return {
        "metadata": {"uid": uid, "resourceVersion": str(version), "creationTimestamp": created},
        "spec": fields,
        "status": {"keys": [{"id": each} for each in ids], "className": fields.get("issued_under")},
    }


class Told:
    def __init__(self) -> None:
        self.refs: list[Ref] = []
        self.roster = Roster(self.refs.append)


def test_an_apikey_is_known_by_its_uid_and_newest_version() -> None:
    """Older news than known changes nothing."""
    roster = Told().roster
    roster.observe(A, manifest("u1", 5))
    roster.observe(A, manifest("u1", 3, ids=(ID,)))
    assert roster.version_of("u1") == 5
    assert roster.version_of("unknown") == 0
    assert len(roster) == 1
    assert list(roster.uids_in(None)) == ["u1"]


def test_an_object_without_status_or_spec_is_taken_as_it_comes() -> None:
    """The metadata is enough."""
    roster = Told().roster
    bare = {"metadata": {"uid": "u1", "resourceVersion": "1", "creationTimestamp": "2026-06-01T12:00:00Z"}}
    roster.observe(A, bare)
    assert list(roster.refs()) == [(A, None)]


def test_a_successor_of_the_same_name_replaces_the_one_before() -> None:
    """The deletion may never have been seen."""
    roster = Told().roster
    roster.observe(A, manifest("u1", 1, ids=(ID,)))
    roster.observe(A, manifest("u2", 2))
    assert list(roster.uids_in(None)) == ["u2"]
    roster.forget_uid("u1")
    roster.forget(A)
    roster.forget(A)
    assert len(roster) == 0


def test_forgetting_a_predecessor_late_leaves_the_successor() -> None:
    """Events of two objects of one name may arrive in any order."""
    roster = Told().roster
    roster.observe(A, manifest("u1", 1))
    roster.observe(B, manifest("u2", 2))
    roster.observe(B, manifest("u3", 3))
    roster.forget_uid("u2")
    assert set(roster.uids_in(None)) == {"u1", "u3"}


def test_uids_are_told_apart_by_namespace() -> None:
    """A re-list of one namespace must not remove those of another."""
    roster = Told().roster
    roster.observe(A, manifest("u1", 1))
    roster.observe(B, manifest("u2", 2))
    assert list(roster.uids_in("payments")) == ["u1"]
    assert set(roster.uids_in(None)) == {"u1", "u2"}


def test_the_class_is_what_the_spec_names_or_the_key_was_issued_under() -> None:
    """So that a change of a class finds whom it concerns."""
    roster = Told().roster
    roster.observe(A, manifest("u1", 1, className="gold", issued_under="gold"))
    roster.observe(B, manifest("u2", 2, issued_under="standard"))
    assert dict(roster.refs()) == {A: "gold", B: "standard"}


@pytest.mark.parametrize("order", [("old", "new"), ("new", "old")])
def test_the_younger_of_two_with_one_id_has_an_elder_twin(order: tuple[str, str]) -> None:
    """Whichever was seen first; both hear of each other when the second comes."""
    told = Told()
    objects = {
        "old": (A, manifest("u1", 1, ids=(ID,), created="2026-06-01T12:00:00Z")),
        "new": (B, manifest("u2", 2, ids=(ID,), created="2026-06-01T12:00:01Z")),
    }
    for name in order:
        told.roster.observe(*objects[name])
    assert told.roster.elder_twin("u1") is None
    assert told.roster.elder_twin("u2") == "payments/a"
    assert told.refs == [objects[order[0]][0]]


def test_of_two_made_in_the_same_second_the_uid_decides() -> None:
    """Every process and every verifier decides alike."""
    roster = Told().roster
    roster.observe(A, manifest("u2", 1, ids=(ID,)))
    roster.observe(B, manifest("u1", 2, ids=(ID,)))
    assert roster.elder_twin("u2") == "web/b"
    assert roster.elder_twin("u1") is None


def test_without_a_common_id_nobody_is_a_twin() -> None:
    """Nor is an ApiKey that is not known."""
    told = Told()
    told.roster.observe(A, manifest("u1", 1, ids=(ID,)))
    told.roster.observe(B, manifest("u2", 2, ids=(OTHER_ID,)))
    assert told.roster.elder_twin("u1") is None
    assert told.roster.elder_twin("u2") is None
    assert told.roster.elder_twin("unknown") is None
    assert told.refs == []


def test_the_younger_is_told_when_the_elder_goes_or_gives_up_the_id() -> None:
    """Its trouble is over then."""
    leavings: list[Callable[[Roster], object]] = [
        lambda roster: roster.forget_uid("u1"),
        lambda roster: roster.observe(A, manifest("u1", 9, ids=(OTHER_ID,))),
        lambda roster: roster.observe(A, manifest("u9", 9)),
    ]
    for elder_leaves in leavings:
        told = Told()
        told.roster.observe(A, manifest("u1", 1, ids=(ID,)))
        told.roster.observe(B, manifest("u2", 2, ids=(ID,), created="2026-06-01T12:00:01Z"))
        told.refs.clear()
        elder_leaves(told.roster)
        assert told.refs == [B]
        assert told.roster.elder_twin("u2") is None


def test_a_new_version_with_the_same_ids_tells_nobody() -> None:
    """A label or a last-used time concerns no other ApiKey."""
    told = Told()
    told.roster.observe(A, manifest("u1", 1, ids=(ID,)))
    told.roster.observe(B, manifest("u2", 2, ids=(ID,)))
    told.refs.clear()
    told.roster.observe(A, manifest("u1", 3, ids=(ID,)))
    assert told.refs == []


@pytest.mark.parametrize("odd", ["2026-12-31T23:59:60Z", "0000-01-01T00:00:00Z", "soon", ""])
def test_an_instant_that_cannot_be_read_is_none(odd: str) -> None:
    """The API server takes a leap second and the year 0. A status like that is somebody's doing, and costs nobody else."""
    roster = Told().roster
    tampered = manifest("u1", 5, ids=(ID,))
    tampered["status"] |= {"expiresAt": odd, "issuedAt": "2026-06-01T12:00:00Z", "lastUsedAt": odd}
    tampered["status"]["keys"][0] |= {"lastUsedAt": odd, "issuedAt": odd, "state": "Current"}
    assert roster.observe(A, tampered)
    assert [set(instants) for _, instants in roster.instants()] == [{"issue"}]
    said = roster.on_record(A)
    assert said is not None
    assert (said.last_used_at, said.keys, said.replaced_at) == (None, {ID: None}, None)
