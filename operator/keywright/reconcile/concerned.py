"""Which ApiKeys are to be looked at again because a class or a namespace has changed."""

from collections.abc import Iterator

from keywright.domain.entitlement import needs_labels
from keywright.reconcile.ports import Classes, Ref
from keywright.reconcile.roster import Roster

__all__ = ["by_class", "by_namespace"]


def by_class(roster: Roster, name: str) -> Iterator[Ref]:
    """Those of a class that came, changed or went; and those without one, for it may be the default now."""
    for ref, class_name in roster.refs():
        if class_name in (None, name):
            yield ref


def by_namespace(roster: Roster, classes: Classes, name: str) -> Iterator[Ref]:
    """Those of a namespace with other labels than before, if their class asks for labels."""
    for ref, class_name in roster.refs():
        key_class = classes.resolve(class_name) if ref.namespace == name else None
        if key_class is not None and needs_labels(key_class):
            yield ref
