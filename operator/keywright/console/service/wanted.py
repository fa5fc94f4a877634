"""What a caller asks for: unknown fields are refused, and what no ApiKey can hold never gets to the API server."""

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from keywright.api.fields import (
    END_PATTERN,
    SECRET_NAME_PATTERN,
    ClassName,
    Duration,
    Instant,
    OwnerModel,
    ResourceModel,
    RoleName,
    ScopePattern,
)
from keywright.api.finding import is_uid
from keywright.domain.times import DURATION_PATTERN

__all__ = ["KeyName", "NewKey", "NewOwner", "RevocationReason", "Revoke", "Rotate"]

_END = re.compile(END_PATTERN.removesuffix("$"), re.ASCII)


def _only_text(value: Any) -> Any:
    # By themselves instants and durations would take a number for seconds.
    if isinstance(value, (int, float)):
        raise ValueError("write it as text")  # noqa: TRY004 - a TypeError is no validation error
    return value


def _no_half_characters(text: str) -> str:
    # JSON can escape half of a character; UTF-8 and the API server know no such thing.
    if any("\ud800" <= each <= "\udfff" for each in text):
        raise ValueError("half a character cannot be written")
    return text


def _only_rfc_3339(value: Any) -> Any:
    # Other spellings would be read too, and a number in quotes for seconds.
    if isinstance(value, str) and not _END.fullmatch(value):
        raise ValueError("write an instant with its offset, as in 2027-01-01T00:00:00Z")
    return value


def _no_uid(name: str) -> str:
    # Whoever asks for the key with this UID gets that one.
    if is_uid(name):
        raise ValueError("that has the form of a UID, and would be taken for one")
    return name


Text = Annotated[str, AfterValidator(_no_half_characters)]
RevocationReason = Annotated[Text, Field(max_length=512)]
End = Annotated[
    Instant,
    BeforeValidator(_only_rfc_3339),
    BeforeValidator(_only_text, json_schema_input_type=str),
    Field(json_schema_extra={"format": "date-time", "maxLength": 40}),
]
Span = Annotated[
    Duration,
    BeforeValidator(_only_text, json_schema_input_type=str),
    Field(json_schema_extra={"pattern": DURATION_PATTERN, "minLength": 2, "maxLength": 21}),
]

KeyName = Annotated[
    str,
    Field(min_length=1, max_length=63, pattern=SECRET_NAME_PATTERN),
    AfterValidator(_no_uid),
]


class Wanted(ResourceModel):
    """Nothing but the fields that there are, by the names that the document gives them."""

    model_config = ConfigDict(extra="forbid", populate_by_name=False)


class NewOwner(OwnerModel):
    """On whose behalf the key acts."""

    model_config = ConfigDict(extra="forbid")


class NewKey(Wanted):
    """A key to be made. What is left out is as the class has it, or as the key has it that asks."""

    name: KeyName | None = Field(None, description="The ApiKey's. Default: ak- and something random.")
    display_name: Annotated[Text, Field(min_length=1, max_length=128)] | None = Field(
        None, description="Name for people. Default: the name."
    )
    description: Annotated[Text, Field(max_length=1024)] | None = Field(
        None, description="Who uses the key, where and why. Never a secret."
    )
    class_name: ClassName | None = Field(None, description="Default: the default class, or that of the key that asks.")
    role: RoleName | None = Field(None, description="A role of the class.")
    scopes: tuple[ScopePattern, ...] = Field(
        (),
        max_length=16,
        json_schema_extra={"uniqueItems": True},
        description="What the key may do, in addition to its role.",
    )
    owner: NewOwner | None = Field(
        None, description="On whose behalf the key acts. Default: the caller; of a service account nobody."
    )
    expires_at: End | None = Field(None, description="When the key ends. Not together with ttl.")
    ttl: Span | None = Field(None, description="How long it lives, as in 90d. Not together with expiresAt.")

    @model_validator(mode="after")
    def _is_unambiguous(self) -> Self:
        if self.expires_at is not None and self.ttl is not None:
            raise ValueError("expiresAt and ttl exclude each other")
        if len(set(self.scopes)) != len(self.scopes):
            raise ValueError("scopes names one twice")
        return self


class Rotate(Wanted):
    """How a key is rotated."""

    grace: Span | None = Field(
        None, description="How long the old key works on, as in 24h; 0s ends it at once. Default: as the key says."
    )


class Revoke(Wanted):
    """Why keys are revoked."""

    reason: RevocationReason | None = Field(None, description="Shown in events and conditions.")
