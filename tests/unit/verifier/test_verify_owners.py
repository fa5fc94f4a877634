"""Rules that ask for the rights of a key's owner: asked of an API server over HTTP, whatever that one does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from keywright.kube.client import connect
from keywright.kube.credentials import load
from keywright.verifier.metrics import OwnerAnswer
from keywright.verifier.owners import owners
from keywright.verifier.settings import VerifierSettings
from tests.unit.verifier.builders import api_key, api_key_class, mint, record
from tests.unit.verifier.cluster import KUBECONFIG
from tests.unit.verifier.wire import Served, serving

KEY = mint()
RULES = """\
rules:
- {path: /open, methods: [GET]}
- {path: /things/*, methods: [GET], authorize: {group: kv.io, resource: things, name: $2, verb: get}}
- {path: /scoped, methods: [GET], scopes: [a], authorize: {nonResource: {path: /kv/scoped, verb: get}}}
"""
OWNER: dict[str, Any] = {"user": "alice", "groups": ["payments"]}


@dataclass
class Reviews:
    """Answers reviews as it is told to, and remembers what it was asked."""

    answer: Any = field(default_factory=lambda: {"status": {"allowed": True}})
    status: int = 201
    asked: list[dict[str, Any]] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    most: int = 0
    _now: int = 0

    async def review(self, request: web.Request) -> web.Response:
        self.asked.append((await request.json())["spec"])
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await self.held.wait()
        finally:
            self._now -= 1
        return web.json_response(self.answer, status=self.status)


@dataclass
class Asking:
    served: Served
    reviews: Reviews

    async def get(self, path: str = "/things/x") -> tuple[int, str]:
        reply = await self.served.present(KEY.text, target=f"/verify{path}")
        return reply.status, "allowed" if reply.status == 200 else reply.code

    def put(self, owner: dict[str, Any] | None = OWNER, class_name: str = "standard", **spec: Any) -> None:
        said = {"owner": owner} if owner is not None else {}
        manifest = api_key(record(KEY), class_name=class_name, spec=said | spec, status={"effective": said})
        self.served.verifier.index.put(manifest)

    def count(self, by: OwnerAnswer) -> int:
        return self.served.verifier.metrics.owner_answers[by]


@pytest.fixture
async def asking(tmp_path: Path) -> AsyncIterator[Asking]:
    """A verifier with RULES, for the class standard with authorization Owner, and a key of alice's."""
    reviews = Reviews()
    reviews.held.set()
    app = web.Application()
    app.router.add_post("/apis/authorization.k8s.io/v1/subjectaccessreviews", reviews.review)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(port=runner.addresses[0][1]))
    (tmp_path / "rules.yaml").write_text(RULES)
    settings = VerifierSettings(rules=tmp_path / "rules.yaml", owner_cache=60)
    async with (
        connect(load({"KUBECONFIG": str(tmp_path / "kubeconfig")}), connections=50) as client,
        serving(settings) as served,
    ):
        served.verifier.owners.client = client
        served.verifier.classes.put(api_key_class("standard", authorization="Owner"))
        made = Asking(served, reviews)
        made.put()
        yield made
        reviews.held.set()
    await runner.cleanup()


async def test_the_owner_is_asked_until_policy_has_accepted_otherwise(asking: Asking) -> None:
    """A class that stops asking widens its keys: it waits for what is recorded. One that starts to ask acts at once."""
    classes, index = asking.served.verifier.classes, asking.served.verifier.index
    said = {"owner": OWNER}

    def record_as(**accepted: str) -> None:
        index.put(api_key(record(KEY), spec=said, status={"effective": said | accepted}))

    record_as(authorization="Owner")
    classes.put(api_key_class("standard"))
    assert await asking.get("/open") == (403, "forbidden")
    record_as()
    assert await asking.get("/open") == (200, "allowed")
    classes.put(api_key_class("standard", authorization="Owner"))
    assert await asking.get("/open") == (403, "forbidden")


async def test_the_owner_is_asked_about_once(asking: Asking) -> None:
    """With groups, and the one that everybody is in; then the answer is remembered for all who ask the same."""
    assert [await asking.get() for _ in range(3)] == [(200, "allowed")] * 3
    (asked,) = asking.reviews.asked
    assert asked == {
        "user": "alice",
        "groups": ["payments", "system:authenticated"],
        "resourceAttributes": {"verb": "get", "group": "kv.io", "resource": "things", "name": "x"},
    }
    assert (asking.count(OwnerAnswer.ALLOWED), asking.count(OwnerAnswer.REMEMBERED)) == (1, 2)
    assert (await asking.get("/things/y"))[0] == 200
    asking.put({"user": "alice", "groups": ["payments", "ops"]})
    assert (await asking.get())[0] == 200
    asking.put({"user": "bob"})
    assert (await asking.get())[0] == 200
    assert [(each["user"], len(each["groups"])) for each in asking.reviews.asked[1:]] == [
        ("alice", 2),
        ("alice", 3),
        ("bob", 1),
    ]


async def test_groups_of_accounts(asking: Asking) -> None:
    """A service account is in the groups that it always is in; an anonymous user is in none of those let in."""
    asking.put({"user": "system:serviceaccount:ci:bot"})
    await asking.get()
    asking.put({"user": "system:anonymous"})
    await asking.get()
    account = ["system:serviceaccounts", "system:serviceaccounts:ci", "system:authenticated"]
    assert [each["groups"] for each in asking.reviews.asked] == [account, []]


async def test_an_owner_who_may_not(asking: Asking) -> None:
    """403, remembered as well; and nothing but a plain yes is one."""
    asking.reviews.answer = {"status": {"allowed": False}}
    assert [await asking.get() for _ in range(3)] == [(403, "forbidden")] * 3
    assert len(asking.reviews.asked) == 1
    asking.reviews.answer = {"status": {"allowed": "true"}}
    assert await asking.get("/things/y") == (403, "forbidden")


async def test_nobody_is_asked_about(asking: Asking) -> None:
    """A key without owner, one of system:masters, a rule without authorize, a path that names nothing, a dead key."""
    asking.put(None)
    assert await asking.get() == (403, "forbidden")
    asking.put({"user": "alice", "groups": ["system:masters"]})
    assert await asking.get() == (403, "forbidden")
    asking.put()
    assert await asking.get("/open") == (403, "forbidden")
    assert await asking.get("/things") == (403, "forbidden")
    assert await asking.get("/things/X") == (403, "forbidden")
    asking.put(suspended=True)
    assert await asking.get() == (401, "suspended_key")
    assert asking.reviews.asked == []


async def test_everything_that_a_rule_names_must_hold(asking: Asking) -> None:
    """Scopes beside it, and in a class whose keys are judged by scopes the owner all the same."""
    assert await asking.get("/scoped") == (403, "insufficient_scope")
    asking.served.verifier.classes.put(api_key_class("standard"))
    asking.reviews.answer = {"status": {"allowed": False}}
    assert await asking.get() == (403, "forbidden")
    assert await asking.get("/open") == (200, "allowed")


@pytest.mark.parametrize(
    ("status", "answer"),
    [(403, {"reason": "Forbidden"}), (500, {}), (429, {}), (201, []), (201, {}), (201, {"status": None})],
)
async def test_what_cannot_be_found_out_is_refused(
    asking: Asking, caplog: pytest.LogCaptureFixture, status: int, answer: Any
) -> None:
    """503, one line in the log, and no further question for a second."""
    asking.reviews.status, asking.reviews.answer = status, answer
    assert [await asking.get() for _ in range(3)] == [(503, "unavailable")] * 3
    assert len(asking.reviews.asked) == asking.count(OwnerAnswer.FAILED) == 1
    assert (await asking.get("/things/y"))[0] == 503
    lines = [each.getMessage() for each in caplog.records if "answered 503" in each.getMessage()]
    assert len(lines) == 1
    assert ("keywright-owner-reviewer" in lines[0]) == (status == 403)
    asking.reviews.status, asking.reviews.answer = 201, {"status": {"allowed": True}}
    async with asyncio.timeout(10):
        while (await asking.get())[0] != 200:
            await asyncio.sleep(0.1)


async def test_one_question_for_many_at_once(asking: Asking) -> None:
    """Fifty requests wait for one review."""
    asking.reviews.held.clear()
    waiting = [asyncio.create_task(asking.get()) for _ in range(50)]
    await _until(lambda: len(asking.reviews.asked) == 1)
    await asyncio.sleep(0.1)
    asking.reviews.held.set()
    assert await asyncio.gather(*waiting) == [(200, "allowed")] * 50
    assert len(asking.reviews.asked) == 1


async def test_few_questions_at_a_time(asking: Asking) -> None:
    """Eight under way, so many waiting, and the rest refused at once; all that waited are answered."""
    asking.reviews.held.clear()
    waiting = [asyncio.create_task(asking.get(f"/things/{number}")) for number in range(300)]
    overflow = 300 - owners.CONCURRENT - owners.WAITING
    await _until(lambda: asking.count(OwnerAnswer.OVERFLOWED) == overflow)
    asking.reviews.held.set()
    codes = [status for status, _ in await asyncio.gather(*waiting)]
    assert asking.reviews.most <= owners.CONCURRENT
    assert codes.count(503) >= overflow
    assert codes.count(200) + codes.count(503) == 300


async def test_an_api_server_that_hangs(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """The request waits for the deadline, and is refused."""
    monkeypatch.setattr(owners, "DEADLINE", 0.3)
    asking.reviews.held.clear()
    assert await asking.get() == (503, "unavailable")


MEANWHILE: dict[str, tuple[Callable[[Asking], None], str]] = {
    "revoked": (lambda asking: asking.put(revoked=True), "revoked_key"),
    "gone": (lambda asking: asking.served.verifier.index.remove("uid-1"), "invalid_key"),
    "another owner": (lambda asking: asking.put({"user": "bob"}), "unavailable"),
    "another class": (lambda asking: asking.put(class_name="other"), "invalid_key"),
    "out of sync": (lambda asking: asking.served.watch.synced.clear(), "unavailable"),
}


@pytest.mark.parametrize("change", MEANWHILE)
async def test_a_key_is_judged_again_after_the_question(asking: Asking, change: str) -> None:
    """Whatever the watch brings in meanwhile counts."""
    act, code = MEANWHILE[change]
    asking.reviews.held.clear()
    waiting = asyncio.create_task(asking.get())
    await _until(lambda: len(asking.reviews.asked) == 1)
    act(asking)
    asking.reviews.held.set()
    assert (await waiting)[1] == code
    assert asking.served.verifier.metrics.allowed == 0


async def test_limits_are_charged_first(asking: Asking) -> None:
    """Who is over his limit costs the API server nothing; a question that is refused was charged."""
    limits = [{"name": "hour", "requests": 2, "window": "1h"}]
    asking.served.verifier.classes.put(api_key_class("standard", authorization="Owner", rateLimits=limits))
    asking.reviews.answer = {"status": {"allowed": False}}
    assert [(await asking.get(f"/things/{number}"))[0] for number in range(4)] == [403, 403, 429, 429]
    assert len(asking.reviews.asked) == 2


async def test_a_charged_request_keeps_its_fields(asking: Asking) -> None:
    """The limits are told also when the owner had to be asked for."""
    limits = [{"name": "hour", "requests": 4, "window": "1h"}]
    asking.served.verifier.classes.put(api_key_class("standard", authorization="Owner", rateLimits=limits))
    for left, may in ((3, True), (2, True), (1, False), (0, False)):
        asking.reviews.answer = {"status": {"allowed": may}}
        reply = await asking.served.present(KEY.text, target=f"/verify/things/{may}".lower())
        assert reply.status == (200 if may else 403)
        assert reply.one("RateLimit").startswith(f'"hour";r={left};')


async def test_what_is_remembered_is_bounded(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest answer makes room for the newest."""
    monkeypatch.setattr(owners, "KEPT", 2)
    for name in ("a", "b", "c", "b", "c", "a"):
        assert (await asking.get(f"/things/{name}"))[0] == 200
    assert [each["resourceAttributes"]["name"] for each in asking.reviews.asked] == ["a", "b", "c", "a"]


async def _until(holds: Any) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.01)
