"""What hands a key out is done to the key that was judged."""

from typing import Any

import pytest

from keywright.console.problems import ProblemError
from keywright.console.service.changing import Changing
from keywright.kube.resources import Resource

SUSPENDED = {
    "metadata": {"namespace": "payments", "name": "ci", "uid": "1", "resourceVersion": "7", "generation": 2},
    "spec": {"suspended": True, "scopes": ["agents:read"]},
    "status": {"observedGeneration": 3},
}


class Racing:
    """An API server at which somebody changes the key in the moment before it is patched, ``times`` times."""

    def __init__(self, times: int = 1, **spec: Any) -> None:
        self.found: dict[str, Any] = SUSPENDED
        self._times = times
        self._spec = spec

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return self.found

    async def patch(
        self, resource: Resource, found: dict[str, Any], changes: dict[str, Any], *, version: str | None = None
    ) -> dict[str, Any]:
        metadata = self.found["metadata"]
        if self._times:
            self._times -= 1
            newer = metadata | {"resourceVersion": metadata["resourceVersion"] + "0"}
            self.found = self.found | {"metadata": newer, "spec": self.found["spec"] | self._spec}
        if version not in (None, self.found["metadata"]["resourceVersion"]):
            raise ProblemError(409, "conflict", "changed")
        self.found = self.found | {"spec": self.found["spec"] | changes["spec"]}
        self.found = self.found | {"metadata": self.found["metadata"] | {"generation": 3}}
        return self.found


async def fence(found: dict[str, Any]) -> None:
    if found["spec"]["scopes"] != ["agents:read"]:
        raise ProblemError(403, "forbidden", "too much")


async def test_a_key_that_was_widened_since_it_was_judged_is_judged_again() -> None:
    """Who may not have handed it out as it is now does not bring it back."""
    server = Racing(scopes=["*"])
    with pytest.raises(ProblemError, match="too much"):
        await Changing(server, fence).resume(server.found, None)  # type: ignore[arg-type]
    assert server.found["spec"]["suspended"]


async def test_a_change_that_widens_nothing_is_no_hindrance() -> None:
    """The operator writes what it has seen at any moment."""
    server = Racing(displayName="CI")
    await Changing(server, fence).resume(server.found, None)  # type: ignore[arg-type]
    assert server.found["spec"] == {"suspended": False, "scopes": ["agents:read"], "displayName": "CI"}


async def test_a_key_that_is_changed_all_the_time_is_left_alone() -> None:
    """It is told, and nothing is done."""
    server = Racing(times=10)
    with pytest.raises(ProblemError, match="changed"):
        await Changing(server, fence).resume(server.found, None)  # type: ignore[arg-type]
    assert server.found["spec"]["suspended"]


async def test_who_has_no_bounds_is_held_up_by_nobody() -> None:
    """A person may do what he may do with kubectl."""
    server = Racing(scopes=["*"])
    await Changing(server).resume(server.found, None)  # type: ignore[arg-type]
    assert not server.found["spec"]["suspended"]


async def test_a_version_that_comes_only_after_the_judgement_is_none() -> None:
    """Who guesses it could have something handed out that nobody has judged: 412, also where it is right by then."""
    server = Racing(scopes=["*"])
    with pytest.raises(ProblemError) as caught:
        await Changing(server, fence).resume(server.found, "70")  # type: ignore[arg-type]
    assert caught.value.status == 412
    assert server.found["spec"]["suspended"]
