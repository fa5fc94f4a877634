"""Reading the API server's audit log: who asked for what, and what the answer was."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Request", "requests"]


@dataclass(frozen=True)
class Request:
    """One answered request."""

    user: str
    verb: str
    resource: str
    group: str
    subresource: str
    namespace: str
    name: str
    code: int


def requests(log: Path) -> Iterator[Request]:
    """Every answered request for a resource, oldest first."""
    with log.open() as lines:
        for line in lines:
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
            )
