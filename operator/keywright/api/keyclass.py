"""The ApiKeyClass resource, and its translation into the domain."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from keywright.api.fields import Duration, Instant, ResourceModel, cel
from keywright.domain.hashing import MAX_ITERATIONS, MAX_MEMORY_KIB, MAX_PARALLELISM, Algorithm, Hashing
from keywright.domain.keyclass import BUILT_IN, DEFAULT_ANNOTATION, KeyClass, Requirement
from keywright.domain.plainkey import PREFIX_PATTERN

__all__ = ["ApiKeyClass", "read_class"]

# RFC 9110 section 5.6.2 tokens, without the letters that no registered scheme or header name uses.
Token = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9-]*$")]


class Argon2idSpec(ResourceModel):
    """Cost of argon2id. The defaults are the OWASP minimum."""

    memory_ki_b: int = Field(
        19456, alias="memoryKiB", ge=1024, le=MAX_MEMORY_KIB, description="Memory in KiB for one hash."
    )
    iterations: int = Field(2, ge=1, le=MAX_ITERATIONS, description="Passes over that memory.")
    parallelism: int = Field(1, ge=1, le=MAX_PARALLELISM, description="Lanes.")


class HashingSpec(ResourceModel):
    """How plain keys are stored."""

    algorithm: Algorithm = Field(Algorithm.ARGON2ID, description="argon2id, or sha256 for speed.")
    argon2id: Argon2idSpec | None = Field(None, alias="argon2id", description="Cost of argon2id; ignored by sha256.")


class CredentialsSpec(ResourceModel):
    """Where a request may carry a key of this class."""

    schemes: Annotated[list[Token], Field(max_length=8)] | None = Field(
        None,
        description="Authorization schemes, case-insensitive. Default: Bearer and ApiKey.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    headers: Annotated[list[Token], Field(max_length=8)] | None = Field(
        None,
        description="Further headers that may carry the bare key. Default: X-API-Key.",
        json_schema_extra={
            "x-kubernetes-list-type": "set",
            "x-kubernetes-validations": [
                cel(
                    "self.all(h, !(h.lowerAscii() in ['authorization', 'cookie', 'host', 'connection', "
                    "'content-length', 'transfer-encoding', 'expect', 'upgrade', 'te', 'trailer']))",
                    "these headers mean something else to HTTP: use a name such as X-API-Key",
                )
            ],
        },
    )


class LifetimeSpec(ResourceModel):
    """How long keys live, counted from issue."""

    default: Duration | None = Field(None, description="For keys that state neither expiresAt nor ttl.")
    max: Duration | None = Field(None, description="The longest life that a key may ask for.")


class RotationDefaults(ResourceModel):
    """For keys that ask for rotation without saying how."""

    interval: Duration | None = Field(None, description="How old a key gets. Default: 90d.")
    grace_period: Duration | None = Field(None, description="How long a replaced key works on. Default: 24h.")


class ApiKeyClassSpec(ResourceModel):
    """The policy that the class's keys follow."""

    prefix: Annotated[str, Field(min_length=2, max_length=20, pattern=PREFIX_PATTERN)] = Field(
        "kw_live", description="What every plain key of this class starts with. Immutable."
    )
    hashing: HashingSpec | None = Field(None, description="How plain keys are stored. Default: argon2id.")
    credentials: CredentialsSpec | None = Field(None, description="Where a request may carry a key.")
    lifetime: LifetimeSpec | None = Field(None, description="How long keys live.")
    rotation: RotationDefaults | None = Field(None, description="For keys that ask for rotation without saying how.")
    requires: Annotated[list[Requirement], Field(max_length=4)] | None = Field(
        None,
        description="What a key of this class must state.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    warn_before: Duration | None = Field(
        None, description="How long before its end a key counts as expiring. Default: 14d."
    )


class ApiKeyClass(ResourceModel):
    """The issuing policy of a platform team, as StorageClass is for volumes."""

    api_version: Literal["keywright.dev/v1alpha1"] = "keywright.dev/v1alpha1"
    kind: Literal["ApiKeyClass"] = "ApiKeyClass"
    spec: ApiKeyClassSpec = Field(description="The policy.")


class _Created(ResourceModel):
    creation_timestamp: Instant | None = None


def read_class(manifest: dict[str, Any]) -> KeyClass | None:
    """Translate an ApiKeyClass; ``None`` for one that cannot be read, which then does not exist for its keys."""
    metadata = manifest["metadata"]
    try:
        spec = ApiKeyClassSpec.model_validate(manifest.get("spec") or {})
        created = _Created.model_validate(metadata)
    except ValidationError:
        return None
    hashing = spec.hashing or HashingSpec(algorithm=Algorithm.ARGON2ID, argon2id=None)
    rotation = spec.rotation or RotationDefaults(interval=None, grace_period=None)
    cost = hashing.argon2id or Argon2idSpec.model_validate({})
    return KeyClass(
        name=metadata["name"],
        prefix=spec.prefix,
        hashing=Hashing(
            algorithm=hashing.algorithm,
            memory_kib=cost.memory_ki_b,
            iterations=cost.iterations,
            parallelism=cost.parallelism,
        ),
        default_lifetime=spec.lifetime.default if spec.lifetime else None,
        max_lifetime=spec.lifetime.max if spec.lifetime else None,
        rotation_interval=rotation.interval or BUILT_IN.rotation_interval,
        grace_period=rotation.grace_period if rotation.grace_period is not None else BUILT_IN.grace_period,
        warn_before=spec.warn_before if spec.warn_before is not None else BUILT_IN.warn_before,
        requires=frozenset(spec.requires or ()),
        is_default=(metadata.get("annotations") or {}).get(DEFAULT_ANNOTATION) == "true",
        created_at=created.creation_timestamp,
    )
