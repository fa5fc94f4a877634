"""The status of an ApiKey: schema, and translation to and from the domain.

The fields here have the names of the domain's, so that one translation serves them all; only manifests say otherwise.
"""

from typing import Annotated, Any

from pydantic import Field, ValidationError

from keywright.api.fields import Duration, Instant, OwnerModel, RateLimitModel, ResourceModel, RoleName, ScopePattern
from keywright.domain.apikey import Authorization, Effective, KeyRecord, Owner, Phase, RateLimit, RecordState, Status
from keywright.domain.conditions import Condition

__all__ = ["ApiKeyStatus", "read_status", "write_status"]

Text = Annotated[str, Field(max_length=1024)]


class ConditionModel(ResourceModel):
    """One condition (KEP-1623)."""

    type: Annotated[str, Field(min_length=1, max_length=316)] = Field(description="What is being said.")
    status: Annotated[str, Field(max_length=7, json_schema_extra={"enum": ["True", "False", "Unknown"]})] = Field(
        description="Whether it is so."
    )
    observed_generation: int = Field(0, ge=0, description="The metadata.generation this was said of.")
    last_transition_at: Instant = Field(alias="lastTransitionTime", description="When the status last flipped.")
    reason: Annotated[str, Field(min_length=1, max_length=64)] = Field(description="Why, in one word.")
    message: Annotated[str, Field(max_length=4096)] = Field("", description="Why, and what to do, for people.")


class KeyRecordModel(ResourceModel):
    """One minted plain key: its public id, its hash and its life."""

    id: Annotated[str, Field(min_length=12, max_length=12, pattern="^[0-9A-Za-z]+$")] = Field(
        description="The public part of the plain key."
    )
    state: RecordState = Field(description="Where the key stands; verifiers accept every state until its end.")
    hash: Annotated[str, Field(min_length=1, max_length=256)] = Field(
        description="One-way hash of the plain key: an argon2id PHC string, or sha256:<hex>."
    )
    fingerprint: Annotated[str, Field(min_length=16, max_length=16, pattern="^[0-9a-f]+$")] | None = Field(
        None, description="Lets a verifier refuse a wrong secret without an argon2 run."
    )
    issued_at: Instant = Field(description="When the key was minted.")
    expires_at: Instant | None = Field(None, description="Effective end of this key, as accepted by its class.")
    grace_period: Duration | None = Field(
        None, description="Of a Pending key: how long the keys before it work on once it is delivered."
    )
    last_used_at: Instant | None = Field(None, description="When a verifier last allowed this key, to the hour.")


class EffectiveModel(ResourceModel):
    """What policy has accepted: verifiers grant from here."""

    role: RoleName | None = Field(None, description="The role, as far as the class grants it.")
    scopes: Annotated[list[ScopePattern], Field(max_length=256)] | None = Field(
        None, description="The scopes of role and key together, with what they include."
    )
    owner: OwnerModel | None = Field(None, description="On whose behalf the key acts.")
    rate_limits: Annotated[list[RateLimitModel], Field(max_length=8)] | None = Field(
        None, description="The limits that apply."
    )
    authorization: Authorization | None = Field(
        None, description="Owner: the owner's RBAC has to agree to each request, whatever the class has said since."
    )


class ApiKeyStatus(ResourceModel):
    """What has been done, in the operator's words."""

    observed_generation: int | None = Field(None, ge=0, description="The metadata.generation acted upon last.")
    phase: Phase = Field(Phase.PENDING, description="One word for people, derived from the conditions.")
    class_name: Annotated[str, Field(max_length=63)] | None = Field(
        None, description="The class the key was issued under."
    )
    current_key_id: Annotated[str, Field(max_length=12)] | None = Field(
        None, description="Id of the key that the Secret holds."
    )
    masked_key: Annotated[str, Field(max_length=40)] | None = Field(
        None, description="The public face of the current key."
    )
    keys: Annotated[list[KeyRecordModel], Field(max_length=8)] | None = Field(
        None,
        description="One record for each minted key.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]},
    )
    issued_at: Instant | None = Field(None, description="When the ApiKey was first issued.")
    expires_at: Instant | None = Field(None, description="Effective end of the current key.")
    rotate_at: Instant | None = Field(None, description="When the current key will be replaced.")
    handled_trigger: Annotated[str, Field(max_length=128)] | None = Field(
        None, description="The value of spec.rotation.trigger that was acted upon last."
    )
    handled_rotate_annotation: Annotated[str, Field(max_length=128)] | None = Field(
        None, description="The value of the annotation keywright.dev/rotate that was acted upon last."
    )
    revoked_at: Instant | None = Field(None, description="When the key was revoked. Never removed.")
    suspended_at: Instant | None = Field(None, description="Since when the key is suspended.")
    disallowed_at: Instant | None = Field(
        None, description="Since when the class does not allow this ApiKey in its namespace; refused meanwhile."
    )
    last_used_at: Instant | None = Field(None, description="When a verifier last allowed a key of it, to the hour.")
    effective: EffectiveModel | None = Field(
        None, description="What policy has accepted. Verifiers grant from here, never more than spec and class say."
    )
    secret_name: Annotated[str, Field(max_length=253)] | None = Field(
        None, description="Name of the Secret that the current key was delivered into."
    )
    secret_uid: Annotated[str, Field(max_length=64)] | None = Field(
        None,
        alias="secretUID",
        description="UID of that Secret. A Secret is ours when this matches, whatever its labels say.",
    )
    secret_resource_version: Annotated[str, Field(max_length=64)] | None = Field(
        None,
        description="The version of that Secret that was last found to be as asked for. Not updated at every change.",
    )
    conditions: Annotated[list[ConditionModel], Field(max_length=16)] | None = Field(
        None,
        description="Ready, Active, Expiring, Stalled and SecretDelivered.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


def read_status(manifest: dict[str, Any]) -> Status | None:
    """Translate the status of an ApiKey; an absent one is empty, an unreadable one is ``None``.

    Only who may write ``apikeys/status`` can make it unreadable, so the caller reports tampering.
    """
    try:
        status = ApiKeyStatus.model_validate(manifest.get("status") or {})
    except ValidationError:
        return None
    # Not dict(status): a field of that name makes it look like a mapping with a method keys().
    fields = {name: getattr(status, name) for name in ApiKeyStatus.model_fields}
    fields["keys"] = tuple(KeyRecord(**dict(each)) for each in status.keys or ())
    fields["conditions"] = tuple(Condition(**dict(each)) for each in status.conditions or ())
    fields["effective"] = _read_effective(status.effective)
    return Status(**fields)


def _read_effective(effective: EffectiveModel | None) -> Effective | None:
    if effective is None:
        return None
    owner = effective.owner
    return Effective(
        role=effective.role,
        scopes=tuple(effective.scopes or ()),
        owner=Owner(user=owner.user, groups=tuple(owner.groups or ())) if owner is not None else None,
        rate_limits=tuple(RateLimit(**dict(each)) for each in effective.rate_limits or ()),
        authorization=effective.authorization,
    )


def write_status(status: Status) -> dict[str, Any]:
    """The manifest form of a status, without empty fields."""
    model = ApiKeyStatus.model_validate(status, from_attributes=True)
    manifest = model.model_dump(mode="json", by_alias=True, exclude_none=True)
    if not status.keys:
        del manifest["keys"]
    return manifest
