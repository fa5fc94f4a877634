"""Callers by a Kubernetes token, against an API server on loopback that answers what a test lays out."""

from typing import Any

import pytest
from aiohttp import web

from keywright.console.callers.caller import Caller
from keywright.console.callers.tokens import KEEP_SECONDS, LONGEST, MOST_KEPT, Tokens
from keywright.console.problems import ProblemError
from tests.unit.kube.api_server import serving

TOKEN = "a.b.c"


def review(username: str | None, *groups: str, authenticated: Any = True) -> web.Response:
    user = {"username": username, "groups": list(groups)} if username is not None else {}
    return web.json_response({"status": {"authenticated": authenticated, "user": user}})


async def refused(tokens: Tokens, token: str = TOKEN) -> ProblemError:
    with pytest.raises(ProblemError) as error:
        await tokens.identify(token)
    return error.value


async def test_whose_it_is() -> None:
    """The API server is asked, in a body, for its own audience."""
    async with serving() as (server, client):
        server.answers.append(review("alice", "dev", "system:authenticated"))
        assert await Tokens(client).identify(TOKEN) == Caller(user="alice", groups=("dev",))
        assert server.requests[0].path == "/apis/authentication.k8s.io/v1/tokenreviews"
        assert server.bodies[0]["spec"] == {"token": TOKEN}


async def test_an_answer_is_remembered_for_seconds() -> None:
    """Yes and no alike, each for its own token; then it is asked anew."""
    now = 0.0
    async with serving() as (server, client):
        tokens = Tokens(client, clock=lambda: now)
        server.answers += [review("alice"), review(None, authenticated=False), review("alice"), review("bob")]
        for _ in range(2):
            assert (await tokens.identify(TOKEN)).user == "alice"
            assert (await refused(tokens, "d.e.f")).status == 401
        assert len(server.requests) == 2
        now = KEEP_SECONDS
        assert (await tokens.identify(TOKEN)).user == "alice"
        assert (await tokens.identify("d.e.f")).user == "bob"
        assert TOKEN not in str(tokens.__dict__)


async def test_no_more_are_remembered_than_so_many() -> None:
    """Whoever makes tokens up takes no memory with them."""
    async with serving() as (server, client):
        tokens = Tokens(client)
        for number in range(MOST_KEPT + 10):
            server.answers.append(review(None, authenticated=False))
            await refused(tokens, f"token-{number}")
        assert len(tokens._unknown) == MOST_KEPT


async def test_what_is_nobody_s_forgets_nobody() -> None:
    """Whoever makes tokens up has nobody else's reviewed again."""
    async with serving() as (server, client):
        tokens = Tokens(client, clock=lambda: 0.0)
        server.answers.append(review("alice"))
        assert (await tokens.identify(TOKEN)).user == "alice"
        for number in range(MOST_KEPT + 10):
            server.answers.append(review(None, authenticated=False))
            await refused(tokens, f"token-{number}")
        assert (await tokens.identify(TOKEN)).user == "alice"
        assert not server.answers


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"status": {}},
        {"status": {"authenticated": False, "user": {"username": "alice"}}},
        {"status": {"authenticated": "true", "user": {"username": "alice"}}},
        {"status": {"authenticated": True}},
        {"status": {"authenticated": True, "user": {"username": ""}}},
    ],
)
async def test_nobodys(answer: dict[str, Any]) -> None:
    """Only a plain yes with a name is one."""
    async with serving() as (server, client):
        server.answers.append(web.json_response(answer))
        problem = await refused(Tokens(client))
        assert (problem.status, problem.code) == (401, "invalid_key")
        assert 'error="invalid_token"' in problem.headers["WWW-Authenticate"]


async def test_what_cannot_be_one() -> None:
    """Empty, or larger than any: the API server is not asked."""
    async with serving() as (server, client):
        for token in ("", "a" * (LONGEST + 1)):
            assert (await refused(Tokens(client), token)).status == 401
        assert not server.requests


@pytest.mark.parametrize("groups", [("system:masters",), ("dev", "system:masters")])
async def test_who_runs_the_cluster(groups: tuple[str, ...]) -> None:
    """A token of system:masters is good, and its bearer is not acted for."""
    async with serving() as (server, client):
        server.answers.append(review("root", *groups))
        assert (await refused(Tokens(client))).status == 403


@pytest.mark.parametrize(
    ("status", "says"), [(403, "may not ask whose"), (401, "may not ask whose"), (500, "not answer")]
)
async def test_who_cannot_ask(status: int, says: str) -> None:
    """That is no fault of the token: 503, and nothing is remembered."""
    async with serving() as (server, client):
        server.answers += [status, review("alice")]
        tokens = Tokens(client)
        problem = await refused(tokens)
        assert (problem.status, problem.code, says in problem.detail) == (503, "unavailable", True)
        assert (await tokens.identify(TOKEN)).user == "alice"


@pytest.mark.parametrize(
    ("scopes", "is_taken"), [(["user:full"], True), (["user:info"], False), (["user:full", "x"], False)]
)
async def test_a_token_that_may_do_less_than_its_user(scopes: list[str], is_taken: bool) -> None:
    """OpenShift has such; whoever acted as its user would widen it."""
    async with serving() as (server, client):
        extra = {"scopes.authorization.openshift.io": scopes, "example.com/other": ["anything"]}
        user = {"username": "alice", "extra": extra}
        server.answers.append(web.json_response({"status": {"authenticated": True, "user": user}}))
        if is_taken:
            assert (await Tokens(client).identify(TOKEN)).user == "alice"
        else:
            assert (await refused(Tokens(client))).status == 403
