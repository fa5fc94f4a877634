"""How an ApiKey comes by its class."""

from datetime import datetime, timedelta

import pytest

from keywright.domain.keyclass import BUILT_IN, KeyClass, resolve
from tests.unit.domain.examples import NOW

OLD, NEW = NOW - timedelta(days=2), NOW - timedelta(days=1)


def _class(name: str, *, is_default: bool = False, created_at: datetime | None = OLD) -> KeyClass:
    return KeyClass(name=name, prefix=name.replace("-", "_"), is_default=is_default, created_at=created_at)


CASES: dict[str, tuple[str | None, list[KeyClass], str | None]] = {
    "nothing exists and nothing is asked for: the built-in": (None, [], "kw_live"),
    "nothing exists and standard is asked for: the built-in": ("standard", [], "kw_live"),
    "another class exists, unmarked: still the built-in": (None, [_class("gold")], "kw_live"),
    "an object named standard takes the built-in's place": (None, [_class("standard")], "standard"),
    "an object named standard is found by name": ("standard", [_class("standard")], "standard"),
    "the marked class is the default": (None, [_class("gold", is_default=True), _class("standard")], "gold"),
    "of two marked classes the newest": (
        None,
        [_class("gold", is_default=True, created_at=NEW), _class("silver", is_default=True)],
        "gold",
    ),
    "of two marked of the same age the last name": (
        None,
        [_class("gold", is_default=True), _class("silver", is_default=True)],
        "silver",
    ),
    "a named class beats the default": ("silver", [_class("gold", is_default=True), _class("silver")], "silver"),
    "a named class that does not exist": ("brass", [_class("gold", is_default=True)], None),
    "a marked class of unknown age is not the default": (
        None,
        [_class("gold", is_default=True, created_at=None)],
        "kw_live",
    ),
}


@pytest.mark.parametrize(("wanted", "existing", "prefix"), CASES.values(), ids=CASES)
def test_resolving(wanted: str | None, existing: list[KeyClass], prefix: str | None) -> None:
    """DESIGN section 2; the order in which classes were seen does not matter."""
    for order in (existing, existing[::-1]):
        found = resolve(wanted, order, BUILT_IN)
        assert (found.prefix if found else None) == prefix
