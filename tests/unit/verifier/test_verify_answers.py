"""Each verdict is one exact HTTP answer."""

import json

from tests.unit.verifier.builders import api_key, at, mint, record, with_other_secret
from tests.unit.verifier.wire import Reply, Served

CHALLENGED = ['Bearer realm="keywright"', 'ApiKey realm="keywright"']
IDENTITY = ["X-Auth-Subject", "X-Auth-Key", "X-Auth-Key-Id", "X-Auth-Class", "X-Auth-Role", "X-Auth-Scopes"]


def challenges(error: str) -> list[str]:
    return [f'{each}, error="{error}"' for each in CHALLENGED]


def assert_refused(reply: Reply, status: int, code: str) -> None:
    assert (reply.status, reply.code) == (status, code)
    assert reply.one("Cache-Control") == "no-store"
    assert not [name for name, _ in reply.headers if name.startswith("X-Auth-")]


async def test_allowed_carries_the_whole_identity(served: Served) -> None:
    """An allowed key gets exactly 200, every identity header once, and `-` where there is nothing to say."""
    key = mint()
    served.verifier.index.put(api_key(record(key)))
    reply = await served.present(key.text)
    assert reply.status == 200
    assert reply.body == b""
    assert reply.one("Cache-Control") == "no-store"
    assert [reply.one(name) for name in IDENTITY] == [
        "apikey:payments/ci-deploy",
        "payments/ci-deploy",
        key.key_id,
        "standard",
        "-",
        "-",
    ]
    assert reply.all("X-Auth-Key-Expires") == []
    assert reply.all("Date")


async def test_no_key(served: Served) -> None:
    """A request without a key is challenged once per scheme, without an error attribute (RFC 6750 section 3)."""
    reply = await served.ask()
    assert_refused(reply, 401, "missing_key")
    assert reply.all("WWW-Authenticate") == CHALLENGED


async def test_two_different_keys(served: Served) -> None:
    """Two different keys are a bad request, even when both are good."""
    one, other = mint(1), mint(2)
    served.verifier.index.put(api_key(record(one), record(other)))
    reply = await served.ask(("Authorization", f"Bearer {one.text}"), ("X-API-Key", other.text))
    assert_refused(reply, 400, "invalid_request")
    assert reply.all("WWW-Authenticate") == challenges("invalid_request")


async def test_malformed_says_which_accident(served: Served) -> None:
    """What is not a key says whether it was cut, surrounded by white space, or made for another class."""
    key = mint()
    accidents = {
        key.text[:-1]: "truncated or mistyped",
        key.text[:-1] + "!": "truncated or mistyped",
        "hunter2": "truncated or mistyped",
        "x" * 5000: "truncated or mistyped",
        f" {key.text}": "surrounding white space",
        f"\u00a0{key.text}": "surrounding white space",
        mint(1, "other").text: "prefix of another class",
    }
    for text, cause in accidents.items():
        reply = await served.present(text)
        assert_refused(reply, 401, "malformed_key")
        assert cause in reply.problem["detail"]
        assert reply.all("WWW-Authenticate") == challenges("invalid_token")


async def test_unknown_id_and_wrong_secret_look_alike(served: Served) -> None:
    """Nobody learns from an answer whether a key id exists."""
    key, revoked = mint(), mint(2)
    served.verifier.index.put(api_key(record(key)))
    served.verifier.index.put(api_key(record(revoked), uid="uid-2", spec={"revoked": True}))
    unknown = await served.present(mint(3).text)
    wrong = await served.present(with_other_secret(key))
    wrong_and_revoked = await served.present(with_other_secret(revoked))
    assert_refused(unknown, 401, "invalid_key")
    assert unknown.body == wrong.body == wrong_and_revoked.body
    assert unknown.all("WWW-Authenticate") == wrong.all("WWW-Authenticate") == challenges("invalid_token")


async def test_the_end_of_a_key_is_told_to_its_bearer(served: Served) -> None:
    """Expired, revoked and suspended each have their own code, once the secret is proven."""
    expired, revoked, suspended = mint(1), mint(2), mint(3)
    index = served.verifier.index
    index.put(api_key(record(expired, expiresAt=at(-1)), uid="uid-1"))
    index.put(api_key(record(revoked), uid="uid-2", spec={"revoked": True}))
    index.put(api_key(record(suspended), uid="uid-3", spec={"suspended": True}))
    for key, code in ((expired, "expired_key"), (revoked, "revoked_key"), (suspended, "suspended_key")):
        for _ in range(2):
            reply = await served.present(key.text)
            assert_refused(reply, 401, code)
            assert reply.all("WWW-Authenticate") == challenges("invalid_token")


async def test_bodies_hold_nothing_of_the_request(served: Served) -> None:
    """A problem body is fixed text: no byte of the request comes back."""
    canary = "c4n4ry"
    for header in (("Authorization", f"Bearer {canary}"), ("X-API-Key", canary), (canary, canary)):
        reply = await served.ask(header, target=f"/verify/{canary}?{canary}", method=canary)
        assert canary not in json.dumps(reply.headers) + reply.body.decode()
        assert sorted(reply.problem) == ["code", "detail", "status", "title", "type"]


async def test_a_replaced_key_carries_its_end(served: Served) -> None:
    """A client of a retiring key is told with every answer, however far the end is."""
    key = mint()
    served.verifier.index.put(api_key(record(key, state="Retiring", expiresAt="2099-01-01T00:00:00Z")))
    reply = await served.present(key.text)
    assert (reply.status, reply.one("X-Auth-Key-Expires")) == (200, "2099-01-01T00:00:00Z")


async def test_a_required_scope_is_never_ignored(served: Served) -> None:
    """A key without scopes is told which one is missing; a query that is not understood opens nothing."""
    key = mint()
    served.verifier.index.put(api_key(record(key)))
    assert (await served.present(key.text)).status == 200
    for target in ("/verify?scope=admin", "/verify?deny=nginx&scope=a:b", "/verify?scope=a%3Ab"):
        reply = await served.present(key.text, target=target)
        assert (reply.status, reply.code) == (403, "insufficient_scope")
    for target in ("/verify?scope", "/verify?Scope=x", "/verify?a;scope=x", "/verify?scope=*", "/verify?deny=envoy"):
        reply = await served.present(key.text, target=target)
        assert (reply.status, reply.code) == (400, "invalid_request")
    assert (await served.present(key.text, target="/verify/a?scope=admin")).status == 200
    assert (await served.present("kw_live_guess", target="/verify?scope=admin")).status == 401
