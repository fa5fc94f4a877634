"""Callers by a key, and the sessions that come from one: judged by the engine on an API server of loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from keywright.console.callers.gate import Callers
from keywright.console.callers.keys import Keys
from keywright.console.callers.proxy import FrontProxy
from keywright.console.callers.rates import Rates
from keywright.console.callers.sessions import Sessions
from keywright.console.callers.tokens import Tokens
from keywright.console.problems import ProblemError
from keywright.console.settings import ConsoleSettings
from keywright.kube.client import connect
from keywright.kube.credentials import load
from keywright.verifier.in_process import InProcess
from keywright.verifier.settings import VerifierSettings
from tests.unit.verifier.builders import api_key, api_key_class, at, mint, record
from tests.unit.verifier.cluster import Cluster, running_cluster

KEY = mint()
PATIENCE = 30.0
OWNER = {"user": "alice", "groups": ["dev"]}


def held(scopes: list[str], owner: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """An ApiKey of the key with these scopes, as policy has accepted it."""
    owned = {"owner": owner} if owner is not None else {}
    said = {"scopes": scopes} | owned
    return api_key(record(KEY, expiresAt=at(3600)), spec=said | spec, status={"effective": said})


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path) as (running, kubeconfig):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        running.put("apikeys", held(["keys:read"], OWNER))
        yield running


@pytest.fixture
async def engine(cluster: Cluster) -> AsyncIterator[InProcess]:
    """What judges keys, in sync."""
    judging = InProcess(VerifierSettings(usage=False, classes=("standard", "odd")))
    running = asyncio.ensure_future(judging.run(lambda: None))
    # Two lists, two watches. A change between the two of a kind is not heard of: the API server of loopback keeps no past.
    async with asyncio.timeout(PATIENCE):
        while not judging.is_ready or len(cluster.paths) < 4:
            await asyncio.sleep(0.01)
    yield judging
    running.cancel()
    await asyncio.wait({running})


@pytest.fixture
async def callers(engine: InProcess) -> AsyncIterator[Callers]:
    """The gate in front of a service that takes keys and tokens."""
    async with connect(load()) as client:
        yield Callers(
            keys=Keys(engine),
            tokens=Tokens(client),
            proxy=FrontProxy(ConsoleSettings()),
            # More than whoever asks again and again, until a change is heard of, can ask in a minute.
            rates=Rates(65535),
            sessions=Sessions(b"k" * 32, minutes=15, is_secure=False),
        )


def request(method: str = "GET", cookie: str | None = None, **headers: str) -> Request:
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    if cookie is not None:
        fields.append((b"cookie", f"keywright={cookie}".encode()))
    return Request({"type": "http", "method": method, "path": "/", "query_string": b"", "headers": fields})


async def settled(callers: Callers, cookie: str, code: str) -> ProblemError:
    """What the session is told once the change has been heard of."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await callers.visitor(request(cookie=cookie))
            except ProblemError as problem:
                if problem.code == code:
                    return problem
            await asyncio.sleep(0.01)


async def signed_in(callers: Callers, key: str) -> str:
    """The cookie of who pastes this key, once key and class have been heard of."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(ProblemError):
                return (await callers.sign_in(key))[1]
            await asyncio.sleep(0.01)


def decisions(engine: InProcess) -> dict[str, float]:
    """How many there were of each reason; ``allowed`` has none."""
    (counted,) = (values for name, _, _, values in engine.samples() if name == "keywright_verifier_decisions_total")
    return {at.split('"')[-2]: count for at, count in counted.items() if count}


async def manages(callers: Callers, cookie: str) -> bool:
    bounds = (await callers.visitor(request(cookie=cookie))).caller.bounds
    assert bounds is not None
    return bounds.may_manage


async def test_a_key(callers: Callers) -> None:
    """Its owner, with groups, held to what the key itself has."""
    caller = await callers.identify(request(authorization=f"Bearer {KEY.text}"))
    assert (caller.user, caller.groups) == ("alice", ("dev",))
    bounds = caller.bounds
    assert bounds is not None
    assert (bounds.namespace, bounds.name, bounds.key_id) == ("payments", "ci-deploy", KEY.key_id)
    assert (bounds.class_name, bounds.scopes, bounds.may_manage) == ("standard", ("keys:read",), False)
    assert bounds.expires_at is not None


async def test_a_session_of_a_key_is_judged_anew(callers: Callers, cluster: Cluster) -> None:
    """What the key may now counts, and when it is revoked, or is another's, the session is over."""
    _, cookie = await callers.sign_in(f"  {KEY.text}\n")
    visitor = await callers.visitor(request(cookie=cookie))
    assert (visitor.caller.user, visitor.caller.groups) == ("alice", ("dev",))
    assert not await manages(callers, cookie)
    assert visitor.expires_at is not None
    cluster.put("apikeys", held(["*"], OWNER))
    async with asyncio.timeout(PATIENCE):
        while not await manages(callers, cookie):
            await asyncio.sleep(0.01)
    cluster.put("apikeys", held(["*"], {"user": "bob"}))
    assert (await settled(callers, cookie, "invalid_key")).status == 401
    cluster.put("apikeys", held(["*"], OWNER, suspended=True))
    assert (await settled(callers, cookie, "suspended_key")).status == 401
    cluster.put("apikeys", held(["*"], OWNER, revoked=True))
    assert (await settled(callers, cookie, "revoked_key")).status == 401
    cluster.remove("apikeys", "uid-1")
    assert (await settled(callers, cookie, "invalid_key")).status == 401


async def test_a_session_of_a_key_without_its_scope(callers: Callers, cluster: Cluster) -> None:
    """What lost its scopes for keys, or its owner, is told so."""
    _, cookie = await callers.sign_in(KEY.text)
    cluster.put("apikeys", held(["agents:read"], OWNER))
    assert (await settled(callers, cookie, "insufficient_scope")).status == 403
    cluster.put("apikeys", held(["keys:read"]))
    assert (await settled(callers, cookie, "forbidden")).status == 403


async def test_a_session_ends_with_its_class(callers: Callers, cluster: Cluster) -> None:
    """A class that is accepted no more takes its keys with it."""
    cluster.put("apikeyclasses", api_key_class("odd", prefix="odd", credentials={"schemes": [], "headers": ["X-Odd"]}))
    odd = mint(2, "odd")
    said = {"scopes": ["keys:read"], "owner": OWNER}
    manifest = api_key(record(odd), name="odd", uid="uid-2", class_name="odd", spec=said, status={"effective": said})
    cluster.put("apikeys", manifest)
    # It is pasted without the header that its class accepts.
    cookie = await signed_in(callers, odd.text)
    assert (await callers.visitor(request(cookie=cookie))).caller.user == "alice"
    cluster.remove("apikeyclasses", "class-odd")
    assert (await settled(callers, cookie, "invalid_key")).status == 401


async def test_signing_in_with_what_is_none(callers: Callers) -> None:
    """Nothing, a cut-off key, and what is nobody's."""
    for credential, code in (("", "missing_key"), (KEY.text[:-1], "malformed_key"), (mint(3).text, "invalid_key")):
        with pytest.raises(ProblemError) as refused:
            await callers.sign_in(credential)
        assert (refused.value.status, refused.value.code) == (401, code)


async def test_each_key_is_counted_once(callers: Callers, cluster: Cluster, engine: InProcess) -> None:
    """By its verdict, as a verifier counts: whether a program sends it, somebody pastes it, or a session came from it."""
    _, cookie = await callers.sign_in(KEY.text)
    await callers.identify(request(x_api_key=KEY.text))
    await callers.visitor(request(cookie=cookie))
    for wrong in (KEY.text[:-1], mint(3).text):
        with pytest.raises(ProblemError):
            await callers.sign_in(wrong)
    counted = decisions(engine)
    assert counted == {"allowed": 3, "malformed_mistyped": 1, "invalid": 1}
    cluster.put("apikeys", held(["keys:read"], OWNER, revoked=True))
    await settled(callers, cookie, "revoked_key")
    assert decisions(engine)["revoked"] == 1
    for ask in (callers.sign_in(KEY.text), callers.identify(request(authorization=f"Bearer {KEY.text}"))):
        with pytest.raises(ProblemError) as refused:
            await ask
        assert refused.value.code == "revoked_key"
    assert decisions(engine)["revoked"] == 3


async def test_what_nothing_carries_is_not_taken_from_a_form_either(callers: Callers, cluster: Cluster) -> None:
    """A class without scheme and header has keys that nobody may present."""
    cluster.put("apikeyclasses", api_key_class("odd", prefix="odd", credentials={"schemes": ["Odd"], "headers": []}))
    odd = mint(2, "odd")
    said = {"scopes": ["keys:read"], "owner": OWNER}
    cluster.put(
        "apikeys",
        api_key(record(odd), name="odd", uid="uid-2", class_name="odd", spec=said, status={"effective": said}),
    )
    cookie = await signed_in(callers, odd.text)
    assert (await callers.visitor(request(cookie=cookie))).caller.user == "alice"
    cluster.put("apikeyclasses", api_key_class("odd", prefix="odd", credentials={"schemes": [], "headers": []}))
    refused: ProblemError | None = None
    async with asyncio.timeout(PATIENCE):
        while refused is None:
            try:
                await callers.sign_in(odd.text)
            except ProblemError as problem:
                refused = problem
            await asyncio.sleep(0.01)
    assert (refused.status, refused.code) == (401, "malformed_key")


async def test_cookies_prove_nobody_to_programs(callers: Callers) -> None:
    """A session counts at pages, whose forms prove themselves, and nowhere else."""
    _, cookie = await callers.sign_in(KEY.text)
    with pytest.raises(ProblemError) as refused:
        await callers.identify(request(cookie=cookie))
    assert refused.value.code == "missing_key"
    with pytest.raises(ProblemError) as refused:
        await callers.visitor(request("POST", cookie=cookie, sec_fetch_site="cross-site"))
    assert refused.value.code == "forbidden"
    with pytest.raises(ProblemError) as refused:
        await callers.visitor(request(authorization=f"Bearer {KEY.text}"))
    assert refused.value.code == "missing_key"


async def test_a_key_of_who_runs_the_cluster(callers: Callers, cluster: Cluster) -> None:
    """However such an owner came to be there: nobody acts for him."""
    cluster.put("apikeys", held(["*"], {"user": "root", "groups": ["system:masters"]}))
    refused: ProblemError | None = None
    async with asyncio.timeout(PATIENCE):
        while refused is None:
            try:
                assert (await callers.identify(request(x_api_key=KEY.text))).user == "alice"
            except ProblemError as problem:
                refused = problem
            await asyncio.sleep(0.01)
    assert (refused.status, "system:masters" in refused.detail) == (403, True)


async def test_where_no_keys_are_taken(cluster: Cluster) -> None:
    """A key that somebody sends all the same is not shown to the API server as a token: this one knows no reviews."""
    async with connect(load()) as client:
        gate = Callers(
            keys=None,
            tokens=Tokens(client),
            proxy=FrontProxy(ConsoleSettings()),
            rates=Rates(1000),
            sessions=Sessions(b"k" * 32, minutes=15, is_secure=False),
        )
        for wrong in (KEY.text, KEY.text + ".", KEY.text[:-1]):
            for ask in (gate.identify(request(authorization=f"Bearer {wrong}")), gate.sign_in(wrong)):
                with pytest.raises(ProblemError) as refused:
                    await ask
                assert (refused.value.status, refused.value.code) == (401, "missing_key")


@pytest.mark.parametrize("scopes", [["keys:read"], ["*:read"]])
async def test_a_readonly_key(callers: Callers, cluster: Cluster, scopes: list[str]) -> None:
    """It looks, and changes nothing; the challenge names the scope that would do."""
    cluster.put("apikeys", held(scopes, OWNER))
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        with pytest.raises(ProblemError) as refused:
            await callers.identify(request(method, x_api_key=KEY.text))
        assert (refused.value.status, refused.value.code) == (403, "insufficient_scope")
        assert 'scope="keys:manage"' in refused.value.headers["www-authenticate"]
