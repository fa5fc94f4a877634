"""Which class an ApiKey that names none has: today's default at the first look, whatever else is wrong with it."""

from typing import Any

import pytest

from keywright.kube.client import Manifest
from keywright.kube.resources import APIKEYCLASSES, APIKEYS
from tests.unit.reconcile.world import REF, World

ODD: Any = {"keywright.dev/rotate": "1", "keywright.dev/rotate-grace": "soon"}


def mark_as_default(world: World, name: str) -> None:
    def change(manifest: Manifest) -> None:
        manifest["metadata"]["annotations"] = {"keywright.dev/is-default-class": "true"}
        manifest["metadata"]["creationTimestamp"] = "2026-06-01T12:00:00Z"

    world.cluster.edit(APIKEYCLASSES, None, name, change)


def annotate(world: World, annotations: Any) -> None:
    def change(manifest: Manifest) -> None:
        manifest["metadata"]["annotations"] = annotations

    world.cluster.edit(APIKEYS, REF.namespace, REF.name, change)


async def test_a_spec_that_cannot_be_read_does_not_keep_the_choice_open() -> None:
    """Whoever may not use tomorrow's default class could otherwise wait for it behind a mistyped annotation."""
    world = World()
    world.apply()
    annotate(world, ODD)
    operator = world.operator()
    await operator.work()
    assert world.said("Stalled") == ("True", "InvalidSpec")
    assert world.status().class_name == "standard"
    world.make_class("gold", prefix="kw_gold")
    mark_as_default(world, "gold")
    annotate(world, {})
    await operator.work()
    assert world.check_issued().prefix == "kw_live"


@pytest.mark.parametrize("spec", [{"ttl": "1d", "expiresAt": "2027-01-01T00:00:00Z"}, {"ttl": "soon"}, {}])
async def test_a_spec_that_cannot_be_read_has_the_class_that_it_names(spec: dict[str, Any]) -> None:
    """Not the default one; and none while that does not exist."""
    world = World()
    world.apply(className="gold", **spec)
    annotate(world, ODD)
    operator = world.operator()
    await operator.work()
    assert world.status().class_name is None
    world.make_class("gold")
    await operator.work()
    assert world.status().class_name == "gold"


async def test_a_class_name_that_cannot_be_read_names_no_class() -> None:
    """Least of all the default one."""
    world = World()
    world.apply(className=["gold"])
    await world.operator().work()
    assert world.status().class_name is None


async def test_a_namespace_that_is_not_known_yet_does_not_keep_the_choice_open() -> None:
    """Its labels may come later than another default class."""
    world = World()
    world.edit_class(grants=[])
    world.apply()
    operator = world.operator()
    (uid,) = operator.namespaces.uids()
    operator.namespaces.remove(uid)
    await operator.work()
    assert world.secret() is None
    assert world.status().class_name == "standard"
