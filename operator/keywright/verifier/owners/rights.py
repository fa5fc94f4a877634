"""What a request takes of the owner of a key, in the words of Kubernetes' authorization (SubjectAccessReview).

Every rule names it for itself. There is no default mapping of paths: everybody who is known to a cluster may get
``/api/*`` there (``system:discovery``), so a service that has such paths too would be open to all of them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from keywright.domain.names import NAMESPACE

__all__ = ["NAME", "SEGMENT", "Authorize", "Right"]

NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?", re.ASCII)
SEGMENT = re.compile(r"\$([1-9])", re.ASCII)
"""Stands for a segment of the path, counted from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """Something that an owner may be allowed to do: to a resource, or to a ``path`` that is none. Empty: not named."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    def attributes(self) -> dict[str, Any]:
        """As they stand in ``spec`` of a review (authorization.k8s.io/v1)."""
        if self.path:
            return {"nonResourceAttributes": {"path": self.path, "verb": self.verb}}
        fields = ("verb", "group", "resource", "subresource", "namespace", "name")
        return {"resourceAttributes": {each: getattr(self, each) for each in fields if getattr(self, each)}}

    def __str__(self) -> str:
        if self.path:
            return f"{self.verb} {self.path}"
        resource = ".".join(filter(None, (self.resource, self.group)))
        place = f"in {self.namespace}" if self.namespace else ""
        return " ".join(
            filter(None, (self.verb, "/".join(filter(None, (resource, self.subresource))), self.name, place))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorize:
    """What one rule asks for: ``right`` with the verb of the method, and segments of the path where it names them."""

    right: Right
    verbs: Mapping[bytes, str]

    def resolve(self, method: bytes, path: str) -> Right | None:
        """The right for one request; ``None`` if the path does not name what a review could be about."""
        segments = path.split("/")
        namespace = _fill(self.right.namespace, segments, NAMESPACE)
        name = _fill(self.right.name, segments, NAME)
        if namespace is None or name is None:
            return None
        return replace(self.right, verb=self.verbs[method], namespace=namespace, name=name)


def _fill(value: str, segments: list[str], form: re.Pattern[str]) -> str | None:
    found = SEGMENT.fullmatch(value)
    if found is None:
        return value
    # Left out it would ask for all namespaces or all names, which is something else than the request is about.
    number = int(found[1])
    return segments[number] if number < len(segments) and form.fullmatch(segments[number]) else None
