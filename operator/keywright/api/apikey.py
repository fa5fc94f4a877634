"""The ApiKey resource: spec, and its translation into the domain."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue, ValidationError

from keywright.api.fields import (
    END_PATTERN,
    ClassName,
    Duration,
    Instant,
    OwnerModel,
    RateLimitModel,
    ResourceModel,
    RoleName,
    ScopePattern,
    SecretName,
    cel,
    positive,
)
from keywright.api.status import ApiKeyStatus
from keywright.domain.apikey import (
    DEFAULT_ENTRY,
    DEFAULT_REMOVE_AFTER,
    DeletionPolicy,
    Delivery,
    InvalidSpec,
    KeySpec,
    OnLoss,
    Owner,
    RateLimit,
    RotateRequest,
    Rotation,
    Template,
    WhenInactive,
)
from keywright.domain.template import DENIED, VARIABLES
from keywright.domain.times import parse_duration

__all__ = ["ENTRY_PATTERN", "RESERVED", "ApiKey", "ApiKeySpec", "SecretSpec", "read_spec"]

ROTATE_ANNOTATION = "keywright.dev/rotate"
ROTATE_GRACE_ANNOTATION = "keywright.dev/rotate-grace"

ADOPT_ANNOTATION = "keywright.dev/adopt-secret"

ENTRY_PATTERN = r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$"
Entry = Annotated[str, Field(min_length=1, max_length=253, pattern=ENTRY_PATTERN)]
RESERVED = f"({'|'.join(each.replace('.', '[.]') for each in DENIED)})"
"""A regular expression: how the group of a label or annotation ends that no template may set."""

_VARIABLES = "".join(f".replace('$({each})', ' ')" for each in VARIABLES)
MetadataValue = Annotated[str, Field(max_length=4096)]


def _not_reserved(field: str) -> dict[str, JsonValue]:
    return {
        "x-kubernetes-validations": [
            cel(
                f"self.all(key, !key.lowerAscii().matches('{RESERVED}/'))",
                f"{field} of Kubernetes, Argo CD, Flux, Helm and Keywright cannot be set: take them out",
            )
        ]
    }


class TemplateSpec(ResourceModel):
    """What the Secret carries beside the plain key."""

    labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=16)] | None = Field(
        None,
        description="Labels of the Secret; only keys that the class's secretMetadata allows.",
        json_schema_extra=_not_reserved("labels"),
    )
    annotations: Annotated[dict[str, MetadataValue], Field(max_length=16)] | None = Field(
        None,
        description="Annotations of the Secret; only keys that the class's secretMetadata allows.",
        json_schema_extra=_not_reserved("annotations"),
    )
    data: Annotated[dict[str, Annotated[str, Field(max_length=4096)]], Field(max_length=16)] | None = Field(
        None,
        description=(
            "Further data entries. $(key), $(keyId), $(name) and $(namespace) are filled in; $$( stands for a plain $(."
        ),
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    f"self.all(entry, !self[entry].replace('$$(', ' '){_VARIABLES}.contains('$('))",
                    "an entry holds an unknown or unclosed $(…): use $(key), $(keyId), $(name) or $(namespace), and "
                    "$$( for a plain $(",
                ),
                cel(
                    f"self.all(entry, size(entry) <= 253 && entry.matches(r'{ENTRY_PATTERN}'))",
                    "the name of an entry is malformed: use letters, digits, -, _ and ., 253 at most",
                ),
            ]
        },
    )


class SecretSpec(ResourceModel):
    """The Secret that the plain key is delivered into."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    "!has(self.template) || !has(self.template.data) || "
                    f"!((has(self.key) ? self.key : '{DEFAULT_ENTRY}') in self.template.data)",
                    "template.data has an entry called as that of the plain key, secret.key: give it another name",
                )
            ]
        }
    )

    name: SecretName | None = Field(
        None,
        description="Name of the Secret, in the ApiKey's namespace. Default: the ApiKey's name. Immutable.",
    )
    key: Entry | None = Field(
        None, description="Data entry of the Secret that holds the plain key. Default: api-key. Immutable."
    )
    template: TemplateSpec | None = Field(None, description="What the Secret carries beside the plain key.")
    delivery: Delivery = Field(
        default=Delivery.PERSISTENT,
        description="Persistent: the Secret stays. Once: it goes as soon as it is acknowledged, or after removeAfter.",
    )
    remove_after: Duration | None = Field(
        None, description="Of a Once delivery: how long the Secret stays at most. Default: 1h."
    )
    deletion_policy: DeletionPolicy = Field(
        default=DeletionPolicy.DELETE, description="What happens to the Secret when the ApiKey is deleted."
    )
    when_inactive: WhenInactive = Field(
        default=WhenInactive.DELETE, description="What happens to the Secret of a revoked or expired key."
    )
    on_loss: OnLoss = Field(
        default=OnLoss.REPORT,
        description="What to do about a Secret that somebody deleted: Report it, or Rotate the key into a new one.",
    )


class RotationSpec(ResourceModel):
    """Replacing the key by a new one while the old one works on for a while."""

    interval: Duration | None = Field(
        None,
        description="How old a key gets. Default: the class's interval.",
        json_schema_extra=positive("write how old the key gets, as in 30d, or leave it to the class"),
    )
    grace_period: Duration | None = Field(
        None, description="How long a replaced key works on. Shorter than ttl. Default: the class's."
    )
    trigger: Annotated[str, Field(max_length=128)] | None = Field(
        None, description="Any change to a new value rotates now. The first value does not."
    )


class ApiKeySpec(ResourceModel):
    """What is asked for. Every field is optional: `spec: {}` is a valid key."""

    display_name: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        None, description="Name for people, as in lists and audit lines. Default: the ApiKey's name."
    )
    description: Annotated[str, Field(max_length=1024)] | None = Field(
        None, description="Who uses the key, where and why. Never put a secret here."
    )
    class_name: ClassName | None = Field(
        None,
        description=(
            "The ApiKeyClass whose policy applies. Default: the default class when the operator first looks. Immutable."
        ),
    )
    owner: OwnerModel | None = Field(
        None,
        description="On whose behalf the key acts. Immutable, its absence included.",
        json_schema_extra={
            "x-kubernetes-validations": [
                cel("self.user != '-'", "spec.owner.user is not -, which is how verifiers call nobody: leave owner out")
            ]
        },
    )
    role: RoleName | None = Field(None, description="A role of the class.")
    scopes: Annotated[list[ScopePattern], Field(max_length=16)] | None = Field(
        None,
        description="What the key may do, in addition to its role: words or resource:action, with * on either side.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    rate_limits: Annotated[list[RateLimitModel], Field(max_length=8)] | None = Field(
        None,
        description="Tighter limits of the same names as the class's.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    expires_at: Instant | None = Field(
        None,
        description=(
            "When the key ends, as RFC 3339. An earlier end acts at once; a later one only before the end and "
            "within the class's lifetime.max counted from issue. Not together with ttl."
        ),
        json_schema_extra={"pattern": END_PATTERN},
    )
    ttl: Duration | None = Field(
        None,
        description=(
            "How long each key lives, counted from its issue or rotation, as in 90d or 1h30m. "
            "Not together with expiresAt."
        ),
        json_schema_extra=positive("write how long a key lives, as in 90d, or revoke it"),
    )
    suspended: bool = Field(
        default=False, description="Refuse the key for as long as this is true. Reversible; acts at once."
    )
    revoked: bool = Field(
        default=False, description="Refuse the key for ever. One way: true never becomes false. Acts at once."
    )
    revocation_reason: Annotated[str, Field(max_length=512)] | None = Field(
        None, description="Why the key was revoked; shown in the event and the conditions."
    )
    rotation: RotationSpec | None = Field(
        None, description="That the key is replaced by itself. `rotation: {}` takes everything from the class."
    )
    secret: SecretSpec | None = Field(None, description="Where the plain key is delivered.")


class ApiKey(ResourceModel):
    """An API key: issued once into a Secret, stored as a hash, judged by verifiers."""

    api_version: Literal["keywright.dev/v1alpha1"] = "keywright.dev/v1alpha1"
    kind: Literal["ApiKey"] = "ApiKey"
    spec: ApiKeySpec = Field(description="What is asked for.")
    status: ApiKeyStatus | None = Field(
        None,
        description="What has been done. Written by the operator alone; holds hashes, never a plain key.",
    )


def read_spec(manifest: dict[str, Any]) -> KeySpec | InvalidSpec:
    """Translate the spec of an ApiKey as the API server returned it.

    A value, not an exception, for one that cannot be read: it happens when an older CRD let it in.
    """
    name = manifest["metadata"]["name"]
    try:
        spec = ApiKeySpec.model_validate(manifest.get("spec") or {})
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)[0]
        path = ".".join(str(part) for part in ("spec", *found["loc"]))
        return InvalidSpec(
            f"{path}: {found['msg']}: correct it and apply again",
            class_name=_named_class(manifest),
            revoked=_is_revoked(manifest),
        )
    secret = spec.secret or SecretSpec()
    if spec.expires_at is not None and spec.ttl is not None:
        return InvalidSpec(
            "spec.expiresAt and spec.ttl are both set: remove one of them",
            class_name=spec.class_name,
            revoked=spec.revoked,
            when_inactive=secret.when_inactive,
        )
    annotations = manifest["metadata"].get("annotations") or {}
    try:
        request = _read_request(annotations)
    except ValueError as error:
        return InvalidSpec(
            f"annotation {ROTATE_GRACE_ANNOTATION}: {error}; nothing was rotated: correct it, as in 0s",
            class_name=spec.class_name,
            revoked=spec.revoked,
            revocation_reason=spec.revocation_reason or "",
            when_inactive=secret.when_inactive,
        )
    rotation = None
    if spec.rotation is not None:
        rotation = Rotation(
            interval=spec.rotation.interval,
            grace_period=spec.rotation.grace_period,
            trigger=spec.rotation.trigger or "",
        )
    return KeySpec(
        display_name=spec.display_name or name,
        states_display_name=spec.display_name is not None,
        class_name=spec.class_name,
        expires_at=spec.expires_at,
        ttl=spec.ttl,
        suspended=spec.suspended,
        revoked=spec.revoked,
        revocation_reason=spec.revocation_reason or "",
        secret_name=secret.name or name,
        secret_key=secret.key or DEFAULT_ENTRY,
        rotation=rotation,
        rotate_request=request,
        on_loss=secret.on_loss,
        owner=Owner(user=spec.owner.user, groups=tuple(spec.owner.groups or ())) if spec.owner is not None else None,
        role=spec.role,
        scopes=tuple(spec.scopes or ()),
        rate_limits=tuple(RateLimit(**dict(each)) for each in spec.rate_limits or ()),
        template=_read_template(secret.template),
        delivery=secret.delivery,
        remove_after=secret.remove_after if secret.remove_after is not None else DEFAULT_REMOVE_AFTER,
        deletion_policy=secret.deletion_policy,
        when_inactive=secret.when_inactive,
        adopt_secret=annotations.get(ADOPT_ANNOTATION) or None,
    )


def _read_template(template: TemplateSpec | None) -> Template:
    if template is None:
        return Template()
    return Template(labels=template.labels or {}, annotations=template.annotations or {}, data=template.data or {})


def _is_revoked(manifest: dict[str, Any]) -> bool:
    spec = manifest.get("spec")
    return isinstance(spec, dict) and spec.get("revoked") is True


def _named_class(manifest: dict[str, Any]) -> str | None:
    spec = manifest.get("spec")
    named = spec.get("className") if isinstance(spec, dict) else None
    return named if named is None or isinstance(named, str) else ""


def _read_request(annotations: dict[str, str]) -> RotateRequest | None:
    value = annotations.get(ROTATE_ANNOTATION)
    if not value:
        return None
    grace = annotations.get(ROTATE_GRACE_ANNOTATION)
    return RotateRequest(value=value[:128], grace_period=parse_duration(grace) if grace is not None else None)
