"""Building blocks of the resource models: the base model and the field types that several fields share.

Every string has a ``max_length`` and every list a ``max_length``: unbounded ones make CEL rules too
expensive for the API server's estimate and let one object fill etcd.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
)
from pydantic.alias_generators import to_camel

from keywright.domain.times import DURATION_PATTERN, format_duration, format_instant, parse_duration

__all__ = [
    "END_PATTERN",
    "NAME_PATTERN",
    "PRINTABLE_PATTERN",
    "SCOPE_PATTERN",
    "SECRET_NAME_PATTERN",
    "ClassName",
    "Duration",
    "Instant",
    "OwnerModel",
    "RateLimitModel",
    "ResourceModel",
    "RoleName",
    "ScopePattern",
    "SecretName",
    "cel",
    "compare_spans",
    "positive",
]


class ResourceModel(BaseModel):
    """Camel-case aliases, unknown fields ignored (the API server prunes them), and never the input in an
    error: a pydantic message may otherwise quote what it read.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        hide_input_in_errors=True,
        frozen=True,
    )


def cel(rule: str, message: str) -> dict[str, JsonValue]:
    """One ``x-kubernetes-validations`` entry. The message says what to do."""
    return {"rule": rule, "message": message}


def positive(remedy: str) -> dict[str, JsonValue]:
    """What the schema of a duration has beside its form, where nothing would make no sense."""
    return {"x-kubernetes-validations": [cel("self.matches('[1-9]')", f"this is no time at all: {remedy}")]}


def compare_spans(one: str, comparison: str, other: str) -> str:
    """CEL that compares two durations; it knows no days. Of one that is malformed its own field tells.

    In functions of whose results the API server knows how long they can be: with ``split`` it finds this too costly.
    """
    readable = (f"{each}.matches('{DURATION_PATTERN}') && {each} != ''" for each in (one, other))
    return f"!({' && '.join(readable)}) || {_seconds(one)} {comparison} {_seconds(other)}"


def _seconds(path: str) -> str:
    days = f"({path}.contains('d') ? int({path}.substring(0, {path}.indexOf('d'))) : 0)"
    return f"{days} * 86400 + duration('0s' + {path}.substring({path}.indexOf('d') + 1)).getSeconds()"


def _whole_utc_seconds(instant: datetime) -> datetime:
    try:
        return instant.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise ValueError("an instant lies between the years 1 and 9999 in UTC") from None


def _read_duration(value: Any) -> Any:
    return parse_duration(value) if isinstance(value, str) else value


Instant = Annotated[
    AwareDatetime,
    AfterValidator(_whole_utc_seconds),
    PlainSerializer(format_instant, return_type=str),
    Field(json_schema_extra={"format": "date-time", "maxLength": 40}),
]
"""RFC 3339 with an offset; kept in whole seconds as ``metav1.Time`` is."""

Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration, json_schema_input_type=str),
    PlainSerializer(format_duration, return_type=str),
    Field(json_schema_extra={"pattern": DURATION_PATTERN, "minLength": 2, "maxLength": 21}),
]
"""Days, hours, minutes, seconds in this order, as in ``90d`` or ``1h30m``."""

# The format alone lets offsets of 99 hours and seconds of 60 through, which most who read an instant refuse. No words
# can be put beside it: to CEL it is no text.
END_PATTERN = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?"
    r"([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
SECRET_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
SCOPE_PATTERN = r"^(\*|[a-z][-_.a-z0-9]*)(:(\*|[a-z][-_.a-z0-9]*))?$"
PRINTABLE_PATTERN = r"^[!-~]([ -~]*[!-~])?$"

SecretName = Annotated[str, Field(min_length=1, max_length=253, pattern=SECRET_NAME_PATTERN)]
ClassName = Annotated[str, Field(min_length=1, max_length=63, pattern=NAME_PATTERN)]
RoleName = Annotated[str, Field(min_length=1, max_length=63, pattern=NAME_PATTERN)]
"""Neither a dot nor a colon: ``class:role`` is how RBAC names a role."""

ScopePattern = Annotated[str, Field(min_length=1, max_length=63, pattern=SCOPE_PATTERN)]
"""A word or ``resource:action``; either side may be ``*``."""

Printable = Annotated[str, Field(min_length=1, max_length=253, pattern=PRINTABLE_PATTERN)]
"""What an identity header can carry as it is."""


class OwnerModel(ResourceModel):
    """On whose behalf a key acts, as Kubernetes names people."""

    user: Printable = Field(description="User name, as in alice@example.com or system:serviceaccount:NS:NAME.")
    groups: Annotated[list[Printable], Field(max_length=16)] | None = Field(
        None,
        description="Groups of the owner, as they are now: they are not looked up again.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class RateLimitModel(ResourceModel):
    """So many requests in any window of that length."""

    name: Annotated[str, Field(min_length=1, max_length=32, pattern=NAME_PATTERN)] = Field(
        description="What the limit is called, as in minute or burst."
    )
    requests: int = Field(ge=1, le=1_000_000_000, description="How many requests.")
    window: Duration | None = Field(None, description="In how long. Left out in a key: as the class has it.")
