"""What a caller is shown, and what he may ask for: the JSON of REST and what pages are made of.

Nothing here has a place for a hash, a fingerprint or a plain key.
"""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from keywright.api.standing import Tone
from keywright.domain.apikey import Delivery, Phase, RecordState
from keywright.domain.keyclass import Authorization, Delegation
from keywright.domain.times import format_instant

__all__ = [
    "ClassView",
    "ConditionView",
    "EventView",
    "KeyView",
    "OwnerView",
    "Page",
    "RecordView",
    "RoleView",
    "ScopeView",
    "View",
]

At = Annotated[datetime, PlainSerializer(format_instant, return_type=str), Field(json_schema_extra={"maxLength": 40})]


class View(BaseModel):
    """Camel-case aliases, and never the input in an error."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
        frozen=True,
        json_schema_serialization_defaults_required=True,
    )


class OwnerView(View):
    """On whose behalf a key acts."""

    user: str
    groups: tuple[str, ...] = ()


class RecordView(View):
    """One plain key that was minted, by its public id."""

    id: str
    state: RecordState = Field(description="Pending and Current work until their end, and so does Retiring.")
    issued_at: At
    expires_at: At | None
    last_used_at: At | None


class ConditionView(View):
    """What the operator says about the key."""

    type: str
    status: str
    reason: str
    message: str
    last_transition_at: At


class KeyView(View):
    """An API key without its secret."""

    namespace: str
    name: str
    uid: str
    display_name: str
    description: str
    class_name: str
    role: str | None
    scopes: tuple[str, ...]
    owner: OwnerView | None
    created_at: At
    issued_at: At | None
    last_used_at: At | None
    expires_at: At | None
    rotate_at: At | None
    revoked_at: At | None = Field(description="Null also for as long as the operator has not seen it.")
    status: str = Field(description="How it stands, in a word or some for people; the first is the phase.")
    phase: Phase = Field(description="How the operator left it, which may be older than status.")
    tone: Tone = Field(description="Amber: look at it soon. Red: it works no more.")
    is_over: bool = Field(description="It never works again.")
    suspended: bool
    revoked: bool
    current_key_id: str | None
    masked_key: str | None
    delivery: Delivery
    keys: tuple[RecordView, ...]
    conditions: tuple[ConditionView, ...]
    version: str = Field(description="Changes with every change; the ETag without its quotes.")


class Page(View):
    """Some keys of a list. There are more while ``next`` is not null, even if ``items`` is short or empty."""

    items: tuple[KeyView, ...]
    next: str | None = Field(description="The cursor of the next page.")


class EventView(View):
    """Something that happened to a key."""

    reason: str
    message: str
    is_warning: bool
    at: At
    count: int


class RoleView(View):
    """A role of a class."""

    name: str
    scopes: tuple[str, ...]
    description: str


class ScopeView(View):
    """A scope of a class's catalogue."""

    name: str
    includes: tuple[str, ...]
    description: str


class ClassView(View):
    """What keys of a class may have. An empty list of scopes: any well-formed name."""

    name: str
    is_default: bool
    roles: tuple[RoleView, ...]
    scopes: tuple[ScopeView, ...]
    default_lifetime: str | None = Field(description="As in 90d.")
    max_lifetime: str | None = Field(description="As in 365d.")
    requires: tuple[str, ...] = Field(description="What a key must state.")
    schemes: tuple[str, ...] = Field(description="Schemes of Authorization that may carry a key.")
    headers: tuple[str, ...] = Field(description="Headers that may carry the bare key.")
    authorization: Authorization
    delegation: Delegation
