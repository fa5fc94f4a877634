"""The ApiKey that a caller's wish becomes. Pure."""

import hashlib
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from keywright.console.callers.caller import Caller
from keywright.console.service.wanted import NewKey
from keywright.domain.times import find_instant, format_duration, format_instant
from keywright.kube.resources import APIKEYS

__all__ = ["IDEMPOTENCY_ANNOTATION", "Mark", "default_owner", "is_as_asked", "mark", "to_manifest"]

IDEMPOTENCY_ANNOTATION = "keywright.dev/idempotency"
REMOVE_AFTER = "5m"
MOST_GROUPS = 16
# What a key can do, and for how long: none of it may have come from elsewhere.
_RIGHTS = frozenset({"role", "scopes", "ttl", "rateLimits"})
_SAID = _RIGHTS | {"className", "owner"}
_PRINTABLE = re.compile(r"(?=.{1,253}\Z)[!-~](?:[ -~]*[!-~])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Mark:
    """By what an ApiKey is known as made by one request, or by one that repeats it. ``asker`` is a digest of who asked
    where under which Idempotency-Key, ``body`` one of what was asked for.
    """

    asker: str
    body: str

    def __str__(self) -> str:
        return f"{self.asker}.{self.body}"

    @property
    def name(self) -> str:
        """The name of an ApiKey that was given none."""
        return f"ak-{self.asker[:20]}"

    def is_on(self, found: dict[str, Any]) -> bool:
        """Whether this very request has made it."""
        return _annotated(found) == str(self)

    def is_of_same_asker(self, found: dict[str, Any]) -> bool:
        """Whether it was made under the same Idempotency-Key, whatever was asked for."""
        return _annotated(found).startswith(f"{self.asker}.")


def mark(caller: Caller, namespace: str, new: NewKey, idempotency_key: str | None) -> Mark:
    """The mark of a request; without an Idempotency-Key no two have the same."""
    own = random.SystemRandom().randbytes(16).hex() if idempotency_key is None else idempotency_key
    is_key = caller.bounds.name if caller.bounds is not None else None
    asker = [caller.user, is_key, namespace, idempotency_key is not None, own]
    return Mark(_digest(asker), _digest(new.model_dump(mode="json")))


def default_owner(caller: Caller) -> dict[str, Any] | None:
    """On whose behalf a key acts that names nobody: a person's or a key's own. Service accounts name an owner, or the
    keys that one makes for others would all be its own.
    """
    if caller.bounds is None and caller.user.startswith("system:"):
        return None
    if not _PRINTABLE.fullmatch(caller.user) or caller.user == "-":
        return None
    groups = [each for each in dict.fromkeys(caller.groups) if _PRINTABLE.fullmatch(each)]
    return {"user": caller.user} | ({"groups": groups[:MOST_GROUPS]} if groups else {})


def to_manifest(
    new: NewKey,
    name: str,
    owner: dict[str, Any] | None,
    marked: Mark,
    rate_limits: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """The ApiKey: delivered once, into a Secret that goes by itself should nobody fetch it."""
    spec: dict[str, Any] = {
        "displayName": new.display_name,
        "description": new.description,
        "className": new.class_name,
        "role": new.role,
        "scopes": list(new.scopes),
        "owner": new.owner.model_dump(exclude_none=True) if new.owner is not None else owner,
        "expiresAt": format_instant(new.expires_at) if new.expires_at is not None else None,
        "ttl": format_duration(new.ttl) if new.ttl is not None else None,
        "rateLimits": list(rate_limits),
        "secret": {"delivery": "Once", "removeAfter": REMOVE_AFTER},
    }
    return {
        "apiVersion": APIKEYS.api_version,
        "kind": "ApiKey",
        "metadata": {"name": name, "annotations": {IDEMPOTENCY_ANNOTATION: str(marked)}},
        "spec": {field: value for field, value in spec.items() if value},
    }


def is_as_asked(found: dict[str, Any], manifest: dict[str, Any]) -> bool:
    """Whether an ApiKey is still what this request would make: an annotation is for anybody to write."""
    wanted, spec = manifest["spec"], found["spec"]
    is_once = (spec.get("secret") or {}).get("delivery") == wanted["secret"]["delivery"]
    # A ttl that became an instant was nearer when the request came first.
    end, latest = find_instant(spec.get("expiresAt")), find_instant(wanted.get("expiresAt"))
    ends = spec.get("expiresAt") == wanted.get("expiresAt") or (
        end is not None and latest is not None and end <= latest
    )
    said = (each for each in _SAID if each in wanted or each in _RIGHTS)
    return is_once and ends and all(spec.get(each) == wanted.get(each) for each in said)


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def _annotated(found: dict[str, Any]) -> str:
    return (found["metadata"].get("annotations") or {}).get(IDEMPOTENCY_ANNOTATION) or ""
