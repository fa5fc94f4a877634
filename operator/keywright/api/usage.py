"""The ApiKeyUsage resource: which keys one verifier has allowed, and when last.

Written by verifiers, which hold no model of it, and read by the operator and by people. A map of plain text, because a
merge patch of it carries no more than what changed; atomic, or the API server would keep a book of its thousand fields.
"""

from typing import Annotated, Literal

from pydantic import Field

from keywright.api.fields import Instant, ResourceModel
from keywright.domain.usage import MAX_USES

__all__ = ["ApiKeyUsage"]


class UsageSpec(ResourceModel):
    """What one verifier has seen."""

    verifier: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        description="The process that writes this: its host or pod, and a random part."
    )
    renewed_at: Instant = Field(
        description="When it last did. The operator removes the object some hours later, or the verifier makes it anew."
    )
    uses: Annotated[dict[str, Instant], Field(max_length=MAX_USES)] | None = Field(
        None,
        description="When a key was last allowed, by namespace/name/keyId.",
        json_schema_extra={"x-kubernetes-map-type": "atomic"},
    )


class ApiKeyUsage(ResourceModel):
    """What one verifier has seen of at most a thousand keys. Names keys and times, and holds no secret."""

    api_version: Literal["keywright.dev/v1alpha1"] = "keywright.dev/v1alpha1"
    kind: Literal["ApiKeyUsage"] = "ApiKeyUsage"
    spec: UsageSpec = Field(description="What one verifier has seen.")
