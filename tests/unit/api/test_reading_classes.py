"""Reading an ApiKeyClass: defaults filled in, and one that cannot be read does not exist."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keywright.api.keyclass import read_class
from keywright.domain import selectors
from keywright.domain.apikey import RateLimit
from keywright.domain.hashing import Algorithm, Hashing
from keywright.domain.keyclass import BUILT_IN, Authorization, Grant, KeyClass, RateLimitPer, Requirement
from keywright.domain.selectors import Selector


def _read(spec: Any, **metadata: Any) -> KeyClass | None:
    return read_class({"metadata": {"name": "gold", **metadata}, "spec": spec})


def test_an_empty_class_is_as_the_built_in() -> None:
    """But for its name."""
    read = _read({})
    assert read is not None
    assert (read.prefix, read.hashing, read.warn_before) == (BUILT_IN.prefix, BUILT_IN.hashing, BUILT_IN.warn_before)
    assert (read.default_lifetime, read.max_lifetime, read.requires) == (None, None, frozenset())
    assert _read(None) == read


def test_everything_that_a_class_can_say_is_read() -> None:
    """Under the names of the manifest."""
    assert _read(
        {
            "prefix": "acme_gold",
            "hashing": {"algorithm": "argon2id", "argon2id": {"memoryKiB": 1024, "iterations": 3, "parallelism": 2}},
            "credentials": {"schemes": ["Bearer"], "headers": ["X-API-Key"]},
            "lifetime": {"default": "90d", "max": "365d"},
            "requires": ["displayName", "owner", "role", "expiresAt", "revocationReason"],
            "roles": [{"name": "operator", "scopes": ["agents:*"], "description": "who runs agents"}],
            "scopes": [{"name": "agents:read"}, {"name": "admin", "includes": ["*"]}],
            "rateLimits": [{"name": "minute", "requests": 100, "window": "1m"}],
            "rateLimitPer": "Owner",
            "authorization": "Owner",
            "allowedNamespaces": {"matchExpressions": [{"key": "team", "operator": "In", "values": ["a"]}]},
            "grants": [
                {
                    "namespaces": {"matchLabels": {"team": "a"}},
                    "roles": ["operator"],
                    "owners": ["*@a.example"],
                    "groups": ["team-a-*"],
                }
            ],
            "secretMetadata": ["reloader.stakater.com/*"],
            "warnBefore": "0s",
        },
        annotations={"keywright.dev/is-default-class": "true"},
        creationTimestamp="2026-06-01T12:00:00Z",
    ) == KeyClass(
        name="gold",
        prefix="acme_gold",
        hashing=Hashing(memory_kib=1024, iterations=3, parallelism=2),
        default_lifetime=timedelta(days=90),
        max_lifetime=timedelta(days=365),
        warn_before=timedelta(0),
        requires=frozenset(Requirement),
        roles={"operator": ("agents:*",)},
        scopes={"agents:read": (), "admin": ("*",)},
        rate_limits=(RateLimit(name="minute", requests=100, window=timedelta(minutes=1)),),
        rate_limit_per=RateLimitPer.OWNER,
        authorization=Authorization.OWNER,
        allowed_namespaces=Selector(
            match_expressions=(selectors.Requirement(key="team", operator=selectors.Operator.IN, values=("a",)),)
        ),
        grants=(
            Grant(
                namespaces=Selector(match_labels={"team": "a"}),
                roles=("operator",),
                owners=("*@a.example",),
                groups=("team-a-*",),
            ),
        ),
        secret_metadata=("reloader.stakater.com/*",),
        is_default=True,
        created_at=datetime(2026, 6, 1, 12, tzinfo=UTC),
    )


def test_sha256_can_be_chosen() -> None:
    """Its argon2 fields do not matter."""
    read = _read({"hashing": {"algorithm": "sha256"}})
    assert read is not None
    assert read.hashing.algorithm is Algorithm.SHA256


@pytest.mark.parametrize("annotations", [None, {}, {"keywright.dev/is-default-class": "false"}, {"other": "true"}])
def test_only_the_word_true_makes_a_default_class(annotations: dict[str, str] | None) -> None:
    """As for StorageClasses."""
    read = _read({}, annotations=annotations)
    assert read is not None
    assert not read.is_default


UNREADABLE: dict[str, Any] = {
    "a prefix in upper case": {"prefix": "KW"},
    "a prefix too long": {"prefix": "x" * 21},
    "an unknown algorithm": {"hashing": {"algorithm": "md5"}},
    "too much memory": {"hashing": {"argon2id": {"memoryKiB": 65537}}},
    "too little memory": {"hashing": {"argon2id": {"memoryKiB": 8}}},
    "too many passes": {"hashing": {"argon2id": {"iterations": 11}}},
    "no lanes": {"hashing": {"argon2id": {"parallelism": 0}}},
    "a lifetime that is none": {"lifetime": {"max": "for ever"}},
    "an unknown requirement": {"requires": ["colour"]},
    "a spec that is no object": "x",
}


@pytest.mark.parametrize("spec", UNREADABLE.values(), ids=UNREADABLE)
def test_an_unreadable_class_is_none(spec: Any) -> None:
    """No exception, and no guess at what was meant."""
    assert _read(spec) is None
