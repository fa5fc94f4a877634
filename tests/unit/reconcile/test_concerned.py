"""Who is looked at again when a class or a namespace changes: whom it can concern, and nobody else."""

from typing import Any

from keywright.reconcile.concerned import by_class, by_namespace
from keywright.reconcile.pictures import ClassPicture
from keywright.reconcile.ports import Ref
from keywright.reconcile.roster import Roster

ASKS = {"allowedNamespaces": {"matchLabels": {"team": "a"}}}


def roster(**classes: str | None) -> Roster:
    """ApiKeys by name with their class, each in ``payments``; ``away`` is in another namespace."""
    made = Roster(lambda _: None)
    for number, (name, class_name) in enumerate(classes.items(), start=1):
        ref = Ref("web" if name == "away" else "payments", name)
        metadata = {"uid": name, "resourceVersion": str(number), "creationTimestamp": "2026-06-01T12:00:00Z"}
        made.observe(ref, {"metadata": metadata, "spec": {"className": class_name} if class_name else {}})
    return made


def a_class(name: str, spec: dict[str, Any], **annotations: str) -> dict[str, Any]:
    metadata = {"name": name, "uid": name, "creationTimestamp": "2026-06-01T12:00:00Z", "annotations": annotations}
    return {"metadata": metadata, "spec": spec}


def test_a_class_concerns_its_keys_and_those_without_one() -> None:
    """Which class is the default may have changed too."""
    known = roster(a="gold", b="silver", c=None)
    assert [each.name for each in by_class(known, "gold")] == ["a", "c"]


def test_labels_concern_the_keys_of_the_namespace_whose_class_asks() -> None:
    """By allowedNamespaces or by grants; the default class counts for those without one."""
    classes = ClassPicture(lambda _: None)
    classes.put(a_class("gold", ASKS))
    classes.put(a_class("fenced", {"grants": []}))
    classes.put(a_class("silver", {}))
    known = roster(a="gold", b="silver", c=None, d="fenced", e="gone", away="gold")
    assert [each.name for each in by_namespace(known, classes, "payments")] == ["a", "d"]
    classes.put(a_class("standard", ASKS))
    assert [each.name for each in by_namespace(known, classes, "payments")] == ["a", "c", "d"]
