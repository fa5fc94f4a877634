"""Reading the API server's audit log: who asked for what, and what the answer was."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Request", "requests"]


@dataclass(frozen=True)
class Request:
    """One answered request. ``acting_as`` is whom the user impersonated, ``constraint`` by which verb of KEP-5284."""

    user: str
    verb: str
    resource: str
    group: str
    subresource: str
    namespace: str
    name: str
    code: int
    acting_as: str | None = None
    acting_in: tuple[str, ...] = ()
    constraint: str | None = None


def requests(log: Path) -> Iterator[Request]:
    """Every answered request for a resource, oldest first."""
    with log.open() as lines:
        for line in lines:
            if not line.endswith("\n"):
                return  # it is still being written
            entry = json.loads(line)
            reference = entry.get("objectRef")
            if entry["stage"] != "ResponseComplete" or reference is None:
                continue
            yield Request(
                user=entry["user"]["username"],
                verb=entry["verb"],
                resource=reference.get("resource", ""),
                group=reference.get("apiGroup", ""),
                subresource=reference.get("subresource", ""),
                namespace=reference.get("namespace", ""),
                name=reference.get("name", ""),
                code=entry["responseStatus"]["code"],
                acting_as=entry.get("impersonatedUser", {}).get("username"),
                acting_in=tuple(entry.get("impersonatedUser", {}).get("groups", ())),
                constraint=entry.get("authenticationMetadata", {}).get("impersonationConstraint"),
            )
