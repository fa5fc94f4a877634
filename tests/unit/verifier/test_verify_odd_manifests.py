"""Whatever stands in a manifest, the watch goes on, and what is odd is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.verifier.keys.classes import read_class
from keywright.verifier.keys.index import Index
from keywright.verifier.keys.records import read_api_key
from keywright.verifier.keys.rights import RightsPool
from tests.unit.verifier.builders import CHEAP, api_key, api_key_class, at, mint, record

KEY, OTHER = mint(1), mint(2)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
EXPENSIVE = "$argon2id$v=19$m=1048576,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b4dWRWJTmaaJObG"

ODD_RECORDS: dict[str, Any] = {
    "not a mapping": 5,
    "no id": record(KEY, id=None),
    "short id": record(KEY, id="abc"),
    "id with a line end": record(KEY, id="4hJk29sLmQ0\n"),
    "id is a number": record(KEY, id=123456789012),
    "no hash": record(KEY, hash=None),
    "plain text for a hash": record(KEY, hash=KEY.text),
    "argon2 beyond bounds": record(KEY, hash=EXPENSIVE),
    "argon2i": record(KEY, hash=EXPENSIVE.replace("argon2id", "argon2i").replace("1048576", "1024")),
    "no issue": record(KEY, issuedAt=None),
    "issue without zone": record(KEY, issuedAt="2026-01-01T00:00:00"),
    "unreadable end": record(KEY, expiresAt="tomorrow"),
    "end is a number": record(KEY, expiresAt=5),
    "end beyond time": record(KEY, expiresAt="9999-12-31T23:59:59-01:00"),
    "fingerprint of another form": record(KEY, fingerprint="xyz"),
    "fingerprint is a list": record(KEY, fingerprint=[]),
}

ODD_OBJECTS: dict[str, dict[str, Any]] = {
    "name that is a header": {"metadata": {"name": "a\r\nX-Auth-Role: admin"}},
    "namespace that is a header": {"metadata": {"namespace": "a b"}},
    "no creation": {"metadata": {"creationTimestamp": None}},
    "class that is a header": {"status": {"className": "a\nb"}},
    "no class": {"status": {"className": None}},
    "revoked is a word": {"spec": {"revoked": "no"}},
    "suspended is a number": {"spec": {"suspended": 0}},
    "unreadable ttl": {"spec": {"ttl": "90 days"}},
    "unreadable end": {"spec": {"expiresAt": "never"}},
    "ttl is a number": {"spec": {"ttl": 5}},
    "accepted role that is a header": {"status": {"effective": {"role": "a\r\nX-Auth-Role: admin"}}},
    "accepted role is a number": {"status": {"effective": {"role": 5}}},
    "accepted scopes are a word": {"status": {"effective": {"scopes": "*"}}},
    "accepted scope that is a header": {"status": {"effective": {"scopes": ["a\nb"]}}},
    "accepted scope with too many sides": {"status": {"effective": {"scopes": ["a:b:c"]}}},
    "accepted scope that is endless": {"status": {"effective": {"scopes": ["a" * 64]}}},
    "accepted scope is a number": {"status": {"effective": {"scopes": [5]}}},
    "accepted for somebody else to say": {"status": {"effective": {"authorization": "Nobody"}}},
    "accepted is a list": {"status": {"effective": ["*"]}},
    "owner without user": {"status": {"effective": {"owner": {"groups": []}}}},
    "owner is a word": {"status": {"effective": {"owner": "alice"}}},
    "owner that is a header": {"status": {"effective": {"owner": {"user": "a\nX-Auth-Role: admin"}}}},
    "owner beyond ASCII": {"status": {"effective": {"owner": {"user": "älice"}}}},
    "owner of spaces": {"status": {"effective": {"owner": {"user": " "}}}},
    "owner who is endless": {"status": {"effective": {"owner": {"user": "a" * 254}}}},
    "owner who would be nobody": {"status": {"effective": {"owner": {"user": "-"}}}},
    "owner who would be a key": {"status": {"effective": {"owner": {"user": "apikey:a/b"}}}},
    "groups are a word": {"status": {"effective": {"owner": {"user": "a", "groups": "b"}}}},
    "group is a number": {"status": {"effective": {"owner": {"user": "a", "groups": [5]}}}},
    "asked role is a list": {"spec": {"role": []}},
    "asked scopes are a mapping": {"spec": {"scopes": {"a": "b"}}},
    "asked owner is a number": {"spec": {"owner": 5}},
}


@pytest.mark.parametrize("odd", ODD_RECORDS)
def test_an_odd_record_is_refused_alone(odd: str) -> None:
    """The other records of the ApiKey stay as they are."""
    entries = read_api_key(api_key(ODD_RECORDS[odd], record(OTHER)), RightsPool())
    assert [each.key_id for each in entries] == [OTHER.key_id.encode()]


@pytest.mark.parametrize("odd", ODD_OBJECTS)
def test_an_odd_object_is_refused(odd: str) -> None:
    """What cannot be read is not guessed at: none of its keys is accepted, and it drops what was there."""
    index = Index()
    index.put(api_key(record(KEY)))
    index.put(api_key(record(KEY), **ODD_OBJECTS[odd]))
    assert not index.entries


def test_an_entry_shows_no_hash() -> None:
    """What may end up in a log or a traceback is masked."""
    (entry,) = read_api_key(api_key(record(KEY, hashed=CHEAP)), RightsPool())
    assert repr(entry) == f"Entry(payments/ci-deploy, {KEY.key_id})"


@given(JSON, JSON, JSON, JSON)
def test_no_json_is_an_error(metadata: Any, spec: Any, status: Any, entry: Any) -> None:
    """The reflector must never be thrown off its watch by what it delivers."""
    index = Index()
    for manifest in (
        {"metadata": metadata, "spec": spec, "status": status},
        api_key(record(KEY)) | {"spec": spec},
        api_key(record(KEY)) | {"status": status},
        api_key(entry),
        api_key(*[entry] if not isinstance(entry, list) else entry),
        api_key(record(KEY), metadata={"creationTimestamp": metadata, "labels": status}),
    ):
        index.put(manifest)
        read_class(manifest)


@given(JSON, JSON)
def test_no_class_is_an_error(value: Any, other: Any) -> None:
    """The same for classes, field by field."""
    fields = ("prefix", "credentials", "warnBefore", "roles", "scopes", "rateLimits", "rateLimitPer", "authorization")
    for field in fields:
        read_class(api_key_class("c", **{field: value}))
    read_class(api_key_class("c", credentials={"schemes": value, "headers": other}))
    read_class(api_key_class("c") | {"spec": value})
    read_class(api_key_class("c") | {"metadata": other})


@pytest.mark.parametrize(
    "spec",
    [
        {"prefix": "Kw"},
        {"prefix": "k"},
        {"prefix": "k" * 21},
        {"prefix": "kw_live\n"},
        {"prefix": None},
        {"warnBefore": "soon"},
        {"credentials": {"schemes": "Bearer"}},
        {"credentials": {"schemes": ["Bearer realm"]}},
        {"credentials": {"headers": ["X-A\r\nX-B"]}},
        {"credentials": {"headers": ["Host"]}},
        {"credentials": {"headers": ["Authorization"]}},
        {"roles": {"admin": ["*"]}},
        {"roles": [{"name": "admin"}, {"name": "x"}]},
        {"roles": [{"name": "Admin", "scopes": ["*"]}]},
        {"roles": [{"name": "admin", "scopes": "*"}]},
        {"scopes": [{"name": "agents:*"}]},
        {"scopes": [{"name": "agents read"}]},
        {"scopes": [{"name": "agents:read", "includes": "*"}]},
        {"scopes": ["agents:read"]},
        {"rateLimits": [{"name": "minute", "requests": 5}]},
        {"rateLimits": [{"name": "minute", "requests": 0, "window": "1m"}]},
        {"rateLimits": [{"name": "minute", "requests": True, "window": "1m"}]},
        {"rateLimits": [{"name": 5, "requests": 5, "window": "1m"}]},
        {"rateLimitPer": "Planet"},
        {"authorization": "Nobody"},
        {"authorization": []},
    ],
)
def test_an_odd_class_does_not_exist(spec: dict[str, Any]) -> None:
    """A class that cannot be read accepts nothing."""
    assert read_class(api_key_class("odd", **spec)) is None
    assert read_class(api_key_class("leaving") | {"metadata": {"name": "a", "deletionTimestamp": at(0)}}) is None
