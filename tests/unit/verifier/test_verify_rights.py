"""What a key may do: accepted by policy, asked for by the newest spec, known to the newest class. All three, at once."""

import gc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.domain.scopes import is_covered
from keywright.verifier.keys.acceptance import BUILT_IN_CLASS
from keywright.verifier.keys.index import Index
from keywright.verifier.keys.rights import RightsPool
from tests.unit.verifier.builders import api_key, api_key_class, at, mint, record
from tests.unit.verifier.wire import Reply, Served

KEY = mint()
CATALOGUE = [
    {"name": "agents:read"},
    {"name": "agents:write", "includes": ["agents:read"]},
    {"name": "tasks:read"},
    {"name": "admin", "includes": ["*"]},
]
ALICE = {"user": "alice@example.com", "groups": ["payments", "oncall"]}


def grant(served: Served, spec: dict[str, Any], effective: dict[str, Any] | None) -> None:
    status = {"effective": effective} if effective is not None else {}
    served.verifier.index.put(api_key(record(KEY), spec=spec, status=status))


async def ask(served: Served, *scopes: str) -> Reply:
    query = "&".join(f"scope={each}" for each in scopes)
    return await served.present(KEY.text, target=f"/verify?{query}")


@pytest.mark.parametrize(
    ("spec", "effective", "role", "scopes"),
    [
        ({}, None, "-", "-"),
        ({"role": "admin", "scopes": ["agents:read"]}, None, "-", "-"),
        ({"role": "readonly"}, {"role": "readonly", "scopes": ["*:read"]}, "readonly", "*:read"),
        ({"scopes": ["b", "a"]}, {"scopes": ["a", "b"]}, "-", "a b"),
        # Widening waits until it is accepted, narrowing does not.
        ({"role": "admin"}, {"role": "readonly", "scopes": ["*:read"]}, "-", "*:read"),
        ({"role": "readonly"}, {"role": "admin", "scopes": ["*"]}, "-", "*:read"),
        ({}, {"role": "admin", "scopes": ["*"]}, "-", "-"),
        ({"scopes": ["agents:*"]}, {"scopes": ["*:read"]}, "-", "agents:read"),
        ({"scopes": ["*:read"]}, {"scopes": ["agents:*"]}, "-", "agents:read"),
        ({"scopes": ["*:*", "word"]}, {"scopes": ["agents:*", "other"]}, "-", "agents:*"),
        ({"scopes": ["*"]}, {"scopes": ["agents:*", "word"]}, "-", "agents:* word"),
        # What the class does not know grants nothing.
        ({"role": "gone"}, {"role": "gone", "scopes": ["*"]}, "-", "-"),
    ],
)
async def test_the_narrower_of_two_counts(
    served: Served, spec: dict[str, Any], effective: dict[str, Any] | None, role: str, scopes: str
) -> None:
    """The identity headers say what is granted, and `-` for nothing."""
    grant(served, spec, effective)
    reply = await served.present(KEY.text)
    assert (reply.status, reply.one("X-Auth-Role"), reply.one("X-Auth-Scopes")) == (200, role, scopes)


async def test_a_catalogue_is_spelled_out(served: Served) -> None:
    """With a catalogue the headers hold names of it, wildcards and includes resolved, and nothing else is granted."""
    served.verifier.classes.put(api_key_class("standard", scopes=CATALOGUE))
    grant(served, {"scopes": ["agents:write"]}, {"scopes": ["agents:read", "agents:write"]})
    assert (await ask(served, "agents:read")).one("X-Auth-Scopes") == "agents:read agents:write"
    grant(served, {"role": "readonly"}, {"role": "readonly", "scopes": ["*:read"]})
    assert (await ask(served, "tasks:read")).one("X-Auth-Scopes") == "agents:read tasks:read"
    grant(served, {"scopes": ["admin"]}, {"scopes": ["*"]})
    assert (await ask(served, "agents:write")).one("X-Auth-Scopes") == "admin agents:read agents:write tasks:read"
    assert (await ask(served, "billing:read")).code == "insufficient_scope"


async def test_a_scope_that_is_missing_is_named(served: Served) -> None:
    """403 with all scopes that are needed in each challenge (RFC 6750 section 3), also in nginx's terms."""
    grant(served, {"scopes": ["agents:read"]}, {"scopes": ["agents:read"]})
    assert (await ask(served, "agents:read")).status == 200
    refused = await ask(served, "agents:read", "agents:write", "agents:read")
    assert (refused.status, refused.code) == (403, "insufficient_scope")
    assert refused.all("WWW-Authenticate") == [
        f'{each} realm="keywright", error="insufficient_scope", scope="agents:read agents:write"'
        for each in ("Bearer", "ApiKey")
    ]
    assert (await served.present(KEY.text, target="/verify?scope=a:b&deny=nginx")).all("X-Auth-Status") == []


async def test_a_class_that_changes_acts_at_once(served: Served) -> None:
    """Roles and catalogue are the newest: what they take away is gone with the next request."""
    grant(served, {"role": "ops"}, {"role": "ops", "scopes": ["agents:write", "tasks:read"]})
    classes = served.verifier.classes
    classes.put(api_key_class("standard", roles=[{"name": "ops", "scopes": ["agents:write", "tasks:read"]}]))
    assert (await ask(served, "agents:write", "tasks:read")).one("X-Auth-Role") == "ops"
    classes.put(api_key_class("standard", roles=[{"name": "ops", "scopes": ["tasks:read"]}]))
    assert (await ask(served, "agents:write")).status == 403
    assert (await ask(served, "tasks:read")).status == 200
    classes.put(api_key_class("standard", roles=[]))
    assert (await ask(served, "tasks:read")).status == 403
    assert (await served.present(KEY.text)).one("X-Auth-Role") == "-"


async def test_the_owner_is_the_subject(served: Served) -> None:
    """Whoever the key acts for, once policy has accepted him."""
    grant(served, {"owner": ALICE}, {"owner": ALICE})
    reply = await served.present(KEY.text)
    assert reply.one("X-Auth-Subject") == "alice@example.com"
    assert reply.one("X-Auth-Key") == "payments/ci-deploy"


@pytest.mark.parametrize(
    ("spec", "effective"),
    [
        (ALICE, None),
        (ALICE, {"user": "bob"}),
        (ALICE, ALICE | {"groups": ["payments"]}),
        (None, ALICE),
    ],
)
async def test_an_owner_who_is_not_accepted_bars_the_key(
    served: Served, spec: dict[str, Any] | None, effective: dict[str, Any] | None
) -> None:
    """Not yet accepted, or changed behind the back of the policy: the key acts for nobody."""
    grant(served, {"owner": spec} if spec else {}, {"owner": effective} if effective else {})
    assert (await served.present(KEY.text)).code == "suspended_key"
    grant(served, {"owner": spec, "revoked": True} if spec else {"revoked": True}, {})
    assert (await served.present(KEY.text)).code == "revoked_key"


async def test_the_order_of_groups_does_not_matter(served: Served) -> None:
    """They are a set."""
    grant(served, {"owner": ALICE}, {"owner": ALICE | {"groups": ["oncall", "payments"]}})
    assert (await served.present(KEY.text)).status == 200


async def test_a_key_that_its_class_does_not_allow_is_barred(served: Served) -> None:
    """`disallowedAt` bars a key and lets it come back."""
    served.verifier.index.put(api_key(record(KEY), status={"disallowedAt": at(-5)}))
    assert (await served.present(KEY.text)).code == "suspended_key"
    served.verifier.index.put(api_key(record(KEY)))
    assert (await served.present(KEY.text)).status == 200


async def test_a_class_that_asks_its_owners_is_not_waved_through(served: Served) -> None:
    """The owner's rights are not asked for yet, so nothing is allowed in their name."""
    grant(served, {"owner": ALICE, "role": "admin"}, {"owner": ALICE, "role": "admin", "scopes": ["*"]})
    served.verifier.classes.put(api_key_class("standard", authorization="Owner"))
    reply = await served.present(KEY.text)
    assert (reply.status, reply.code) == (403, "forbidden")


def test_keys_that_may_do_the_same_share_it() -> None:
    """A hundred thousand keys of one role are one object, and it goes when the last of them does."""
    index = Index()
    for number in range(50):
        key = mint(number)
        spec = {"role": "readonly", "scopes": ["b:c", "a"]}
        status = {"effective": {"role": "readonly", "scopes": ["*:read", "b:c", "a"]}}
        index.put(api_key(record(key), uid=f"uid-{number}", spec=spec, status=status))
    shared = {id(each.rights) for each in index.entries.values()}
    assert len(shared) == 1
    for number in range(50):
        index.remove(f"uid-{number}")
    gc.collect()
    assert not len(index._rights._known)


SIDE = st.sampled_from(["a", "b", "*"])
PATTERNS = st.lists(st.one_of(st.sampled_from(["w", "*"]), st.builds("{}:{}".format, SIDE, SIDE)), max_size=4)


@given(PATTERNS, PATTERNS)
def test_what_is_common_is_what_both_cover(accepted: list[str], asked: list[str]) -> None:
    """For each concrete scope, against the definition."""
    rights = RightsPool().read("standard", {"scopes": asked}, {"scopes": accepted})
    permits = rights.under(BUILT_IN_CLASS)
    for scope in ("w", "v", "a:a", "a:b", "b:a", "c:a", "c:c"):
        assert permits.grants(scope) == (is_covered(scope, accepted) and is_covered(scope, asked))
