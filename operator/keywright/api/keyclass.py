"""The ApiKeyClass resource, and its translation into the domain."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue, ValidationError

from keywright.api.apikey import RESERVED
from keywright.api.fields import (
    Duration,
    Instant,
    RateLimitModel,
    ResourceModel,
    RoleName,
    ScopePattern,
    cel,
    compare_spans,
    positive,
)
from keywright.domain import selectors
from keywright.domain.apikey import RateLimit
from keywright.domain.hashing import MAX_ITERATIONS, MAX_MEMORY_KIB, MAX_PARALLELISM, Algorithm, Hashing
from keywright.domain.keyclass import (
    BUILT_IN,
    DEFAULT_ANNOTATION,
    Authorization,
    Delegation,
    Grant,
    KeyClass,
    RateLimitPer,
    Requirement,
)
from keywright.domain.plainkey import PREFIX_PATTERN

__all__ = ["ApiKeyClass", "read_class"]

# RFC 9110 section 5.6.2 tokens, without the letters that no registered scheme or header name uses.
TOKEN_PATTERN = r"^[A-Za-z][A-Za-z0-9-]*$"
Token = Annotated[str, Field(min_length=1, max_length=64, pattern=TOKEN_PATTERN)]


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

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    f"!has(self.default) || !has(self.max) || {compare_spans('self.default', '<=', 'self.max')}",
                    "lifetime.default is longer than lifetime.max: shorten the one, or lengthen the other",
                )
            ]
        }
    )

    default: Duration | None = Field(
        None,
        description="For keys that state neither expiresAt nor ttl. No longer than max.",
        json_schema_extra=positive("write how long, as in 90d, or leave it out"),
    )
    max: Duration | None = Field(
        None,
        description="The longest life that a key may ask for.",
        json_schema_extra=positive("write how long, as in 365d, or leave it out"),
    )


class RotationDefaults(ResourceModel):
    """For keys that ask for rotation without saying how."""

    interval: Duration | None = Field(
        None,
        description="How old a key gets. Default: 90d.",
        json_schema_extra=positive("write how old a key gets, as in 30d, or leave it out"),
    )
    grace_period: Duration | None = Field(None, description="How long a replaced key works on. Default: 24h.")


SCOPE_NAME_PATTERN = r"^[a-z][-_.a-z0-9]*(:[a-z][-_.a-z0-9]*)?$"
ScopeName = Annotated[str, Field(min_length=1, max_length=63, pattern=SCOPE_NAME_PATTERN)]
Glob = Annotated[str, Field(min_length=1, max_length=253)]
LabelText = Annotated[str, Field(max_length=317)]


class RoleSpec(ResourceModel):
    """A named bundle of scopes."""

    name: RoleName = Field(description="What keys call it. Neither a dot nor a colon.")
    scopes: Annotated[list[ScopePattern], Field(max_length=64)] = Field(
        description="What it may do; * stands for everything on its side of the colon.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    description: Annotated[str, Field(max_length=256)] | None = Field(None, description="For people.")


class ScopeSpec(ResourceModel):
    """One scope of the catalogue."""

    name: ScopeName = Field(description="A word or resource:action.")
    description: Annotated[str, Field(max_length=256)] | None = Field(None, description="For people.")
    includes: Annotated[list[ScopePattern], Field(max_length=64)] | None = Field(
        None,
        description="Scopes that come with it, and what they include.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class RequirementSpec(ResourceModel):
    """One entry of matchExpressions."""

    key: LabelText = Field(description="A label.")
    operator: selectors.Operator = Field(description="How it is held against the values.")
    values: Annotated[list[LabelText], Field(max_length=64)] | None = Field(None, description="For In and NotIn.")


class SelectorSpec(ResourceModel):
    """A label selector; an empty one selects everything."""

    match_labels: Annotated[dict[str, LabelText], Field(max_length=16)] | None = Field(
        None, description="Labels that must have these values."
    )
    match_expressions: Annotated[list[RequirementSpec], Field(max_length=16)] | None = Field(
        None, description="Further requirements."
    )

    def to_domain(self) -> selectors.Selector:
        """As the domain has it."""
        return selectors.Selector(
            match_labels=self.match_labels or {},
            match_expressions=tuple(
                selectors.Requirement(key=each.key, operator=each.operator, values=tuple(each.values or ()))
                for each in self.match_expressions or ()
            ),
        )


class GrantSpec(ResourceModel):
    """What the selected namespaces may ask for."""

    namespaces: SelectorSpec = Field(description="Selects by the labels of the namespace; {} selects all.")
    roles: Annotated[list[Annotated[str, Field(max_length=63)]], Field(max_length=64)] | None = Field(
        None, description="Role names, or *."
    )
    scopes: Annotated[list[ScopePattern], Field(max_length=64)] | None = Field(None, description="Scope patterns.")
    owners: Annotated[list[Glob], Field(max_length=64)] | None = Field(
        None, description="Patterns of owner.user with *, as in *@example.com."
    )
    groups: Annotated[list[Glob], Field(max_length=64)] | None = Field(
        None,
        description="Patterns with * of which one covers each of owner.groups. Left out: an owner without groups only.",
    )


def _only_known_scopes(entries: str, patterns: str) -> dict[str, JsonValue]:
    return cel(
        f"!has(self.scopes) || size(self.scopes) == 0 || !has(self.{entries}) || self.{entries}.all(each, "
        f"!has(each.{patterns}) || "
        f"each.{patterns}.all(one, one.contains('*') || self.scopes.exists(scope, scope.name == one)))",
        f"{patterns} of an entry of {entries} holds one that is not in the catalogue, scopes: add it or mend its name",
    )


class ApiKeyClassSpec(ResourceModel):
    """The policy that the class's keys follow."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                _only_known_scopes("roles", "scopes"),
                _only_known_scopes("scopes", "includes"),
                *(
                    cel(
                        f"!has(self.lifetime) || !has(self.lifetime.{life}) || !has(self.rotation) || "
                        "!has(self.rotation.gracePeriod) || "
                        f"{compare_spans('self.rotation.gracePeriod', '<', f'self.lifetime.{life}')}",
                        f"rotation.gracePeriod is not shorter than lifetime.{life}, so no key that leaves both to the "
                        "class could be rotated: shorten it",
                    )
                    for life in ("default", "max")
                ),
            ]
        }
    )

    prefix: Annotated[str, Field(min_length=2, max_length=20, pattern=PREFIX_PATTERN)] = Field(
        "kw_live", description="What every plain key of this class starts with. Immutable."
    )
    hashing: HashingSpec | None = Field(None, description="How plain keys are stored. Default: argon2id.")
    credentials: CredentialsSpec | None = Field(None, description="Where a request may carry a key.")
    lifetime: LifetimeSpec | None = Field(None, description="How long keys live.")
    rotation: RotationDefaults | None = Field(None, description="For keys that ask for rotation without saying how.")
    roles: Annotated[list[RoleSpec], Field(max_length=32)] | None = Field(
        None,
        description="Roles that keys may name. Default: admin (*) and readonly (*:read). Empty: none.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    scopes: Annotated[list[ScopeSpec], Field(max_length=64)] | None = Field(
        None,
        description="The catalogue of scopes. Empty: any well-formed name.",
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
    )
    rate_limits: (
        Annotated[
            list[RateLimitModel],
            Field(
                max_length=8,
            ),
        ]
        | None
    ) = Field(
        None,
        description="How many requests a key, or an owner, may make.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "x-kubernetes-validations": [
                cel(
                    "self.all(l, has(l.window) && l.window.matches('[1-9]'))",
                    "a rate limit of a class states its window, which is not nothing: as in 1m",
                )
            ],
        },
    )
    rate_limit_per: RateLimitPer = Field(
        RateLimitPer.KEY, description="Whether each key has a budget, or all keys of an owner share one."
    )
    authorization: Authorization = Field(
        Authorization.SCOPES,
        description="Scopes, or Owner: the RBAC of the key's owner decides at the time of each request.",
    )
    delegation: Delegation = Field(
        Delegation.REFUSED,
        description="Whether a key with the scope keys:manage may make others that have it, by the key service.",
    )
    allowed_namespaces: SelectorSpec | None = Field(
        None, description="Namespaces, by their labels, that may have keys of this class. Default: all."
    )
    grants: Annotated[list[GrantSpec], Field(max_length=64)] | None = Field(
        None,
        description="What namespaces may ask for, whoever applies it. Default: everything. Empty: nothing.",
    )
    secret_metadata: Annotated[list[Annotated[str, Field(max_length=317)]], Field(max_length=32)] | None = Field(
        None,
        description="Label and annotation keys that a Secret's template may set; * at the end stands for any.",
        json_schema_extra={
            "x-kubernetes-validations": [
                cel(
                    f"self.all(key, !key.lowerAscii().matches('{RESERVED}/'))",
                    "keys of Kubernetes, Argo CD, Flux, Helm and Keywright cannot be allowed: take them out",
                ),
                cel(
                    "self.all(key, !key.contains('*') || key.indexOf('*') == size(key) - 1)",
                    "* stands for anything at the end of a key only: as in example.com/*",
                ),
            ]
        },
    )
    requires: Annotated[list[Requirement], Field(max_length=5)] | None = Field(
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
        roles=BUILT_IN.roles if spec.roles is None else {each.name: tuple(each.scopes) for each in spec.roles},
        scopes={each.name: tuple(each.includes or ()) for each in spec.scopes or ()},
        rate_limits=tuple(RateLimit(**dict(each)) for each in spec.rate_limits or ()),
        rate_limit_per=spec.rate_limit_per,
        authorization=spec.authorization,
        delegation=spec.delegation,
        allowed_namespaces=spec.allowed_namespaces.to_domain() if spec.allowed_namespaces is not None else None,
        grants=tuple(_read_grant(each) for each in spec.grants) if spec.grants is not None else None,
        secret_metadata=(tuple(spec.secret_metadata) if spec.secret_metadata is not None else BUILT_IN.secret_metadata),
        is_default=(metadata.get("annotations") or {}).get(DEFAULT_ANNOTATION) == "true",
        created_at=created.creation_timestamp,
    )


def _read_grant(grant: GrantSpec) -> Grant:
    return Grant(
        namespaces=grant.namespaces.to_domain(),
        roles=tuple(grant.roles or ()),
        scopes=tuple(grant.scopes or ()),
        owners=tuple(grant.owners or ()),
        groups=tuple(grant.groups or ()),
    )
