"""From objects of the API server to what a caller is shown. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from keywright.api.apikey import read_spec
from keywright.api.keyclass import ApiKeyClassSpec, CredentialsSpec
from keywright.api.standing import Uses, read_standing
from keywright.console.service.views import (
    ClassView,
    ConditionView,
    EventView,
    KeyView,
    OwnerView,
    RecordView,
    RoleView,
    ScopeView,
)
from keywright.domain.apikey import Delivery, KeyRecord, KeySpec
from keywright.domain.keyclass import KeyClass
from keywright.domain.plainkey import redact
from keywright.domain.times import find_instant, format_duration
from keywright.verifier.keys.acceptance import DEFAULT_HEADERS, DEFAULT_SCHEMES

__all__ = ["Manifest", "view_class", "view_event", "view_key"]

Manifest = Mapping[str, Any]


def view_key(manifest: Manifest, uses: Uses, now: datetime) -> KeyView:
    """One ApiKey, with the exact last uses as far as they are known."""
    standing = read_standing(manifest, uses, now)
    metadata, spec, status = manifest["metadata"], manifest.get("spec") or {}, standing.recorded
    read = read_spec(dict(manifest))
    owner = spec.get("owner")
    return KeyView(
        namespace=standing.namespace,
        name=standing.name,
        uid=metadata["uid"],
        display_name=redact(standing.display_name),
        description=redact(spec.get("description") or ""),
        class_name=standing.class_name,
        role=standing.role or None,
        scopes=tuple(spec.get("scopes") or ()),
        owner=OwnerView(user=owner["user"], groups=tuple(owner.get("groups") or ())) if owner else None,
        created_at=standing.created_at,
        issued_at=status.issued_at,
        last_used_at=standing.last_used_at,
        expires_at=standing.expires_at,
        rotate_at=None if standing.is_over else status.rotate_at,
        revoked_at=status.revoked_at,
        status=standing.status,
        phase=status.phase,
        tone=standing.tone,
        is_over=standing.is_over,
        suspended=bool(spec.get("suspended")),
        revoked=bool(spec.get("revoked")) or status.revoked_at is not None,
        current_key_id=status.current_key_id,
        masked_key=status.masked_key,
        delivery=read.delivery if isinstance(read, KeySpec) else Delivery.PERSISTENT,
        keys=tuple(map(_record, status.keys)),
        conditions=tuple(
            ConditionView(
                type=each.type,
                status=each.status,
                reason=each.reason,
                message=redact(each.message),
                last_transition_at=each.last_transition_at,
            )
            for each in status.conditions
        ),
        version=metadata["resourceVersion"],
    )


def view_event(manifest: Manifest) -> EventView:
    """One Event. Those of others than the operator may leave out what they like."""
    said = (manifest.get("lastTimestamp"), manifest.get("eventTime"), manifest["metadata"]["creationTimestamp"])
    return EventView(
        reason=manifest.get("reason") or "",
        message=redact(manifest.get("message") or ""),
        is_warning=manifest.get("type") == "Warning",
        at=next(at for each in said if (at := find_instant(each)) is not None),
        count=manifest.get("count") or 1,
    )


def view_class(key_class: KeyClass, spec: ApiKeyClassSpec, *, is_default: bool) -> ClassView:
    """One class, with the descriptions that only its object has."""
    carriers = spec.credentials or CredentialsSpec(schemes=None, headers=None)
    roles = {each.name: each.description or "" for each in spec.roles or ()}
    scopes = {each.name: each.description or "" for each in spec.scopes or ()}
    return ClassView(
        name=key_class.name,
        is_default=is_default,
        roles=tuple(
            RoleView(name=name, scopes=tuple(held), description=roles.get(name, ""))
            for name, held in key_class.roles.items()
        ),
        scopes=tuple(
            ScopeView(name=name, includes=tuple(included), description=scopes.get(name, ""))
            for name, included in key_class.scopes.items()
        ),
        default_lifetime=_written(key_class.default_lifetime),
        max_lifetime=_written(key_class.max_lifetime),
        requires=tuple(sorted(key_class.requires)),
        schemes=DEFAULT_SCHEMES if carriers.schemes is None else tuple(carriers.schemes),
        headers=DEFAULT_HEADERS if carriers.headers is None else tuple(carriers.headers),
        authorization=key_class.authorization,
        delegation=key_class.delegation,
    )


def _record(record: KeyRecord) -> RecordView:
    return RecordView(
        id=record.id,
        state=record.state,
        issued_at=record.issued_at,
        expires_at=record.expires_at,
        last_used_at=record.last_used_at,
    )


def _written(span: Any) -> str | None:
    return format_duration(span) if span is not None else None
