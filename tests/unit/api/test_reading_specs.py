"""Reading an ApiKey's spec: defaults filled in, and an error names the field and never the value."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.api.apikey import read_spec
from keywright.domain.apikey import InvalidSpec, KeySpec, WhenInactive

LEAK = "kw_live_4hJk29sLmQ0z_hunter2"


def _read(**spec: Any) -> KeySpec | InvalidSpec:
    return read_spec({"metadata": {"name": "ci-deploy"}, "spec": spec})


def test_the_shortest_spec_gets_every_default() -> None:
    """``spec: {}`` is a valid key; name and Secret come from the ApiKey."""
    expected = KeySpec(display_name="ci-deploy", secret_name="ci-deploy", secret_key="api-key")
    assert _read() == expected
    assert read_spec({"metadata": {"name": "ci-deploy"}}) == expected
    assert read_spec({"metadata": {"name": "ci-deploy"}, "spec": None}) == expected


def test_everything_that_can_be_asked_for_is_read() -> None:
    """Under the names of the manifest."""
    assert _read(
        displayName="CI",
        description="not read",
        className="gold",
        expiresAt="2027-01-01T02:00:00.9+02:00",
        suspended=True,
        revoked=True,
        revocationReason="leaked",
        secret={"name": "elsewhere", "key": "TOKEN"},
    ) == KeySpec(
        display_name="CI",
        states_display_name=True,
        class_name="gold",
        expires_at=datetime(2027, 1, 1, tzinfo=UTC),
        suspended=True,
        revoked=True,
        revocation_reason="leaked",
        secret_name="elsewhere",
        secret_key="TOKEN",
    )
    read = _read(ttl="1h30m")
    assert isinstance(read, KeySpec)
    assert read.ttl == timedelta(hours=1, minutes=30)


def test_a_field_of_a_later_version_is_ignored() -> None:
    """The API server prunes what the CRD does not know; an operator behind its CRD works on."""
    assert _read(laterField={"interval": "90d"}) == _read()


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "ttl": ({"ttl": LEAK}, "spec.ttl: "),
    "ttl empty": ({"ttl": ""}, "spec.ttl: "),
    "expiresAt": ({"expiresAt": LEAK}, "spec.expiresAt: "),
    "expiresAt without an offset": ({"expiresAt": "2027-01-01T00:00:00"}, "spec.expiresAt: "),
    "className": ({"className": LEAK}, "spec.className: "),
    "className empty": ({"className": ""}, "spec.className: "),
    "displayName": ({"displayName": LEAK * 10}, "spec.displayName: "),
    "description": ({"description": LEAK * 99}, "spec.description: "),
    "suspended": ({"suspended": LEAK}, "spec.suspended: "),
    "revoked": ({"revoked": LEAK}, "spec.revoked: "),
    "revocationReason": ({"revocationReason": [LEAK]}, "spec.revocationReason: "),
    "secret": ({"secret": LEAK}, "spec.secret: "),
    "secret.name": ({"secret": {"name": LEAK}}, "spec.secret.name: "),
    "secret.key": ({"secret": {"key": LEAK + "/"}}, "spec.secret.key: "),
    "both ends": ({"ttl": "1h", "expiresAt": "2027-01-01T00:00:00Z"}, "spec.expiresAt and spec.ttl are both set: "),
}


@pytest.mark.parametrize(("spec", "begins"), WRONG.values(), ids=WRONG)
def test_a_wrong_field_is_named_and_its_value_is_not(spec: dict[str, Any], begins: str) -> None:
    """One line: the field, what is wrong, what to do. A value may be a secret pasted into the wrong place."""
    read = _read(**spec)
    assert isinstance(read, InvalidSpec)
    assert read.message.startswith(begins)
    assert read.message.rsplit(": ", 1)[1] in ("correct it and apply again", "remove one of them")
    assert "hunter2" not in read.message
    assert "\n" not in read.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=9), each, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["displayName", "className", "expiresAt", "ttl", "suspended", "revoked", "secret"])


@given(spec=st.dictionaries(FIELDS, JSON, max_size=4))
def test_any_json_gets_a_value_and_no_exception(spec: dict[str, Any]) -> None:
    """What an older CRD let in may be anything."""
    read = _read(**json.loads(json.dumps(spec)))
    assert isinstance(read, KeySpec | InvalidSpec)


@given(
    st.datetimes(
        min_value=datetime(2000, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
        max_value=datetime(2100, 1, 1),  # noqa: DTZ001
        timezones=st.integers(-12, 14).map(lambda hours: timezone(timedelta(hours=hours))),
    )
)
def test_an_end_is_kept_in_whole_seconds(end: datetime) -> None:
    """As ``metav1.Time`` is, so that what is written equals what is read."""
    read = _read(expiresAt=end.isoformat())
    assert isinstance(read, KeySpec)
    assert read.expires_at == end.replace(microsecond=0)


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_an_end_that_utc_cannot_hold_is_an_invalid_spec(end: str) -> None:
    """The API server's date-time format lets it in; the operator must not loop over it for ever."""
    assert isinstance(_read(expiresAt=end), InvalidSpec)


def test_what_becomes_of_the_secret_is_read_of_a_spec_that_is_wrong_elsewhere() -> None:
    """A slip in an annotation must not remove a Secret that was to be kept."""
    found = read_spec(
        {
            "metadata": {
                "name": "a",
                "annotations": {"keywright.dev/rotate": "1", "keywright.dev/rotate-grace": "soon"},
            },
            "spec": {"revoked": True, "secret": {"whenInactive": "Keep"}},
        }
    )
    assert isinstance(found, InvalidSpec)
    assert (found.revoked, found.when_inactive) == (True, WhenInactive.KEEP)
