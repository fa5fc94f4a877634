"""Rate limits as a client meets them."""

import asyncio
from typing import Any

import pytest

from keywright.verifier import verdicts
from keywright.verifier.limits.limiter import Limiter, OnFailure
from keywright.verifier.limits.limits import Charged, Quota
from keywright.verifier.metrics import LimitedBy
from tests.unit.verifier.builders import api_key, api_key_class, mint, record, with_other_secret
from tests.unit.verifier.wire import Reply, Served, until

KEY = mint()
LIMITS = [{"name": "burst", "requests": 3, "window": "1h"}, {"name": "day", "requests": 50, "window": "24h"}]


def put_class(served: Served, **spec: Any) -> None:
    served.verifier.classes.put(api_key_class("standard", **({"rateLimits": LIMITS} | spec)))


async def present_often(served: Served, text: str, times: int) -> list[Reply]:
    return [await served.present(text) for _ in range(times)]


async def test_without_limits_nothing_is_said(served: Served) -> None:
    """A class without limits sends no field about them, and keeps nothing."""
    served.verifier.index.put(api_key(record(KEY)))
    reply = await served.present(KEY.text)
    assert not [name for name, _ in reply.headers if name.startswith("RateLimit")]
    assert served.verifier.limiter.windows == 0


async def test_allowed_until_it_is_used_up(served: Served) -> None:
    """Each answer says what is left; then 429 with the same fields, Retry-After, and a body that says no more."""
    put_class(served)
    served.verifier.index.put(api_key(record(KEY)))
    *allowed, refused = await present_often(served, KEY.text, 4)
    for left, reply in zip((2, 1, 0), allowed, strict=True):
        assert reply.status == 200
        assert reply.one("RateLimit-Policy") == '"burst";q=3;w=3600, "day";q=50;w=86400'
        assert reply.one("RateLimit").startswith(f'"burst";r={left};t=36')
        assert reply.one("X-Auth-Key") == "payments/ci-deploy"
        assert reply.all("Retry-After") == []
    assert (refused.status, refused.code) == (429, "rate_limited")
    assert 3600 <= int(refused.one("Retry-After")) <= 3673
    assert refused.one("RateLimit").startswith(f'"burst";r=0;t={refused.one("Retry-After")}, "day";r=47;t=')
    assert refused.one("RateLimit-Policy") == allowed[0].one("RateLimit-Policy")
    assert refused.one("Cache-Control") == "no-store"
    assert refused.all("WWW-Authenticate") == []
    assert served.verifier.metrics.refused[verdicts.RATE_LIMITED] == 1
    assert served.verifier.metrics.allowed == 3


async def test_nginx_gets_what_it_can_carry(served: Served) -> None:
    """403 with the true status, and the fields, when its configuration asked for that."""
    put_class(served)
    served.verifier.index.put(api_key(record(KEY)))
    await present_often(served, KEY.text, 3)
    reply = await served.present(KEY.text, target="/verify?deny=nginx")
    assert (reply.status, reply.code, reply.one("X-Auth-Status")) == (403, "rate_limited", "429")
    assert reply.one("Retry-After")
    assert reply.one("RateLimit")


async def test_head_is_answered_alike(served: Served) -> None:
    """With the fields and without a body."""
    put_class(served)
    served.verifier.index.put(api_key(record(KEY)))
    await present_often(served, KEY.text, 3)
    reply = await served.present(KEY.text, method="HEAD")
    assert (reply.status, reply.body) == (429, b"")


async def test_what_is_refused_is_not_counted(served: Served) -> None:
    """Whoever does not hold a live key makes no state and uses nothing up."""
    put_class(served)
    other = mint(2)
    served.verifier.index.put(api_key(record(KEY)))
    served.verifier.index.put(api_key(record(other), uid="uid-2", name="other", spec={"suspended": True}))
    for _ in range(5):
        assert (await served.present(with_other_secret(KEY))).status == 401
        assert (await served.present(other.text)).status == 401
        assert (await served.present(mint(9).text)).status == 401
        assert (await served.present(KEY.text, target="/verify?scope=admin")).status == 403
    assert served.verifier.limiter.windows == 0
    assert [reply.status for reply in await present_often(served, KEY.text, 4)] == [200, 200, 200, 429]


async def test_a_rotated_key_and_a_new_object_go_on(served: Served) -> None:
    """The budget is that of the name: neither another key record nor another UID starts it anew."""
    put_class(served)
    index = served.verifier.index
    index.put(api_key(record(KEY)))
    assert [reply.status for reply in await present_often(served, KEY.text, 2)] == [200, 200]
    rotated = mint(2)
    index.put(api_key(record(KEY, state="Retiring"), record(rotated)))
    assert (await served.present(rotated.text)).status == 200
    assert [(await served.present(each.text)).status for each in (KEY, rotated)] == [429, 429]
    index.remove("uid-1")
    anew = mint(3)
    index.put(api_key(record(anew), uid="uid-9"))
    assert (await served.present(anew.text)).status == 429


async def test_keys_of_one_owner(served: Served) -> None:
    """With rateLimitPer Owner they share; another owner, and a key without one, do not."""
    put_class(served, rateLimitPer="Owner")
    keys = [mint(number) for number in range(4)]
    owners: list[dict[str, Any]] = [{"user": "alice"}, {"user": "alice"}, {"user": "bob"}, {}]
    for number, (key, owner) in enumerate(zip(keys, owners, strict=True)):
        spec, status = ({"owner": owner}, {"effective": {"owner": owner}}) if owner else ({}, {})
        manifest = api_key(record(key), uid=f"uid-{number}", name=f"key-{number}", spec=spec, status=status)
        served.verifier.index.put(manifest)
    assert [(await served.present(each.text)).status for each in (keys[0], keys[1], keys[0])] == [200, 200, 200]
    assert [(await served.present(each.text)).status for each in keys] == [429, 429, 200, 200]


async def test_a_spec_can_only_tighten(served: Served) -> None:
    """Fewer requests act at once; more than the class's do not act."""
    put_class(served)
    tight, loose = mint(1), mint(2)
    served.verifier.index.put(
        api_key(record(tight), name="tight", spec={"rateLimits": [{"name": "burst", "requests": 1}]})
    )
    accepted = {"effective": {"rateLimits": [{"name": "burst", "requests": 99, "window": "1s"}]}}
    served.verifier.index.put(
        api_key(
            record(loose),
            name="loose",
            uid="uid-2",
            spec={"rateLimits": [{"name": "burst", "requests": 99, "window": "1s"}]},
            status=accepted,
        )
    )
    assert [reply.status for reply in await present_often(served, tight.text, 2)] == [200, 429]
    assert [reply.status for reply in await present_often(served, loose.text, 4)] == [200, 200, 200, 429]


async def test_a_class_that_changes(served: Served) -> None:
    """A limit that is raised or lowered acts on the next request and keeps what was used; removed, it is gone."""
    put_class(served)
    served.verifier.index.put(api_key(record(KEY)))
    await present_often(served, KEY.text, 3)
    put_class(served, rateLimits=[{"name": "burst", "requests": 4, "window": "1h"}])
    assert [reply.status for reply in await present_often(served, KEY.text, 2)] == [200, 429]
    put_class(served, rateLimits=[])
    assert (await served.present(KEY.text)).status == 200


@pytest.mark.parametrize("where", ["nowhere", "spec", "status", "class"])
async def test_what_cannot_be_read_is_refused(served: Served, where: str) -> None:
    """Limits that nobody can tell are not taken for none."""
    odd = {"rateLimits": [{"name": "burst", "requests": "three", "window": "1h"}]}
    fields = odd if where == "class" else {"rateLimits": LIMITS}
    served.verifier.classes.put(api_key_class("strict", is_default=True, **fields))
    served.verifier.index.put(
        api_key(
            record(KEY),
            class_name="strict",
            spec=odd if where == "spec" else {},
            status={"effective": odd} if where == "status" else {},
        )
    )
    assert (await served.present(KEY.text)).status == (200 if where == "nowhere" else 401)


class Store:
    """A shared store that answers, or does not."""

    def __init__(self) -> None:
        self.is_up = True
        self.is_asked = False
        self.answer: asyncio.Future[Charged | None] = asyncio.get_running_loop().create_future()

    def charge(self, quota: Quota) -> asyncio.Future[Charged | None] | None:
        self.is_asked = True
        return self.answer if self.is_up else None

    async def keep_connected(self) -> None:
        raise NotImplementedError


@pytest.fixture
async def shared(served: Served, monkeypatch: pytest.MonkeyPatch) -> Limiter:
    """The verifier's limits, in a store that the test answers for."""
    limiter = served.verifier.limiter
    monkeypatch.setattr(limiter, "_store", Store())
    put_class(served)
    served.verifier.index.put(api_key(record(KEY)))
    return limiter


async def test_a_store_is_asked_once(served: Served, shared: Limiter) -> None:
    """And what it says is what the client is told."""
    assert isinstance(shared._store, Store)
    shared._store.answer.set_result(Charged(7, (0, 7, 40, 9)))
    reply = await served.present(KEY.text)
    assert (reply.status, reply.one("Retry-After")) == (429, "7")
    assert reply.one("RateLimit") == '"burst";r=0;t=7, "day";r=40;t=9'
    assert served.verifier.metrics.limited_by[LimitedBy.STORE] == 1
    assert shared.windows == 0


async def test_a_class_that_goes_while_the_store_is_asked(served: Served, shared: Limiter) -> None:
    """The request was judged before; it gets its answer."""
    assert isinstance(shared._store, Store)
    store = shared._store
    asking = asyncio.ensure_future(served.present(KEY.text))
    await until(lambda: store.is_asked)
    served.verifier.classes.put(api_key_class("other", is_default=True))
    shared._store.answer.set_result(Charged(0, (1, 7, 40, 9)))
    assert (await asking).status == 200
    assert (await served.present(KEY.text)).status == 401


@pytest.mark.parametrize("is_up", [True, False], ids=["it does not answer", "it is known to be away"])
@pytest.mark.parametrize("mode", list(OnFailure))
async def test_without_the_store(
    served: Served, shared: Limiter, monkeypatch: pytest.MonkeyPatch, mode: OnFailure, is_up: bool
) -> None:
    """local counts here, open does not count, closed does not answer for it."""
    assert isinstance(shared._store, Store)
    shared._store.is_up = is_up
    shared._store.answer.set_result(None)
    monkeypatch.setattr(shared, "_on_failure", mode)
    replies = await present_often(served, KEY.text, 4)
    expected = {
        OnFailure.LOCAL: [200, 200, 200, 429],
        OnFailure.OPEN: [200, 200, 200, 200],
        OnFailure.CLOSED: [503, 503, 503, 503],
    }
    assert [reply.status for reply in replies] == expected[mode]
    assert bool(replies[0].all("RateLimit")) == (mode is OnFailure.LOCAL)
    if mode is OnFailure.CLOSED:
        assert (replies[0].code, replies[0].one("Retry-After")) == ("unavailable", "1")
    assert served.verifier.metrics.limited_by[LimitedBy(mode)] == 4
