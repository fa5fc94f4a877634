"""The reflector: list, then watch, and whatever breaks, the picture becomes true again."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from keywright.kube import client as client_module
from keywright.kube import reflector as reflector_module
from keywright.kube.client import ApiClient
from keywright.kube.reflector import Reflector
from keywright.kube.resources import SECRETS
from tests.unit.kube.api_server import ApiServer, bookmark, event, refusal, secret, serving


class Picture:
    """A sink that remembers what it was told."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}
        self.told: list[str] = []

    def put(self, manifest: dict[str, Any]) -> None:
        metadata = manifest["metadata"]
        self.held[metadata["uid"]] = manifest
        self.told.append(f"put {metadata['name']}@{metadata['resourceVersion']}")

    def remove(self, uid: str) -> None:
        self.held.pop(uid, None)
        self.told.append(f"remove {uid}")

    def uids(self) -> Collection[str]:
        return self.held.keys()


class Scene:
    """A server, a reflector of its Secrets, and the picture that it feeds."""

    def __init__(self, server: ApiServer, client: ApiClient, **options: Any) -> None:
        self.server = server
        self.picture = Picture()
        self.reflector = Reflector(client, SECRETS, self.picture, "payments", **options)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.reflector.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not holds():
                await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflector_module, "FIRST_BACKOFF", 0.001)
    monkeypatch.setattr(reflector_module, "LAST_BACKOFF", 0.01)


@asynccontextmanager
async def scene(**options: Any) -> AsyncIterator[Scene]:
    async with serving() as (server, client):
        yield Scene(server, client, **options)


async def test_the_first_list_is_complete_before_it_counts_as_synced() -> None:
    """Every page of it; a null list of items is an empty one."""
    async with scene() as given:
        given.server.lists[0] = [[secret("a"), secret("b")], [], [secret("c")]]
        assert not given.reflector.synced.is_set()
        assert given.reflector.heard_at == 0
        async with given.running():
            await given.until(given.reflector.synced.is_set)
            assert given.picture.told == ["put a@1", "put b@1", "put c@1"]
            assert given.reflector.heard_at > 0
            await given.until(lambda: given.server.watched_from)
            assert given.server.watched_from == ["100"]


async def test_what_is_asked_for_is_passed_on() -> None:
    """Namespace, selector, metadata only, bookmarks."""
    async with (
        scene(label_selector="app=x", field_selector="metadata.name=y", metadata_only=True) as given,
        given.running(),
    ):
        await given.until(lambda: given.server.watched_from)
        listing, watching = given.server.requests
        assert listing.path == watching.path == "/api/v1/namespaces/payments/secrets"
        assert listing.query["labelSelector"] == watching.query["labelSelector"] == "app=x"
        assert listing.query["fieldSelector"] == watching.query["fieldSelector"] == "metadata.name=y"
        assert "PartialObjectMetadata;" in watching.headers["Accept"]
        assert watching.query["allowWatchBookmarks"] == "true"


async def test_events_change_the_picture() -> None:
    """Added, modified, deleted, and nothing else."""
    async with scene() as given:
        given.server.watches.append(
            [
                event("ADDED", secret("a", 101)),
                event("MODIFIED", secret("a", 102)),
                event("ADDED", secret("b", 103)),
                event("DELETED", secret("a", 104)),
                event("SOMETHING", secret("c", 105)),
                given.server.stay_open,
            ]
        )
        async with given.running():
            await given.until(lambda: len(given.picture.told) == 4)
            assert given.picture.told == ["put a@101", "put a@102", "put b@103", "remove uid-a"]
            assert list(given.picture.held) == ["uid-b"]


async def test_events_may_come_in_any_pieces() -> None:
    """Several in one chunk, one in several chunks."""
    async with scene() as given:
        import json

        lines = b"".join(json.dumps(event("ADDED", secret(name))).encode() + b"\n" for name in "abc")

        async def pause() -> None:
            await asyncio.sleep(0.01)

        given.server.watches.append([lines[:50], pause, lines[50:200], pause, lines[200:], given.server.stay_open])
        async with given.running():
            await given.until(lambda: len(given.picture.held) == 3)


async def test_a_bookmark_proves_that_the_watch_is_alive() -> None:
    """It moves ``heard_at`` and the version to go on from, and changes nothing in the picture."""
    async with scene() as given:
        gate = asyncio.Event()

        async def wait() -> None:
            await gate.wait()

        given.server.watches.append([wait, bookmark(150)])
        async with given.running():
            await given.until(lambda: given.server.watched_from)
            await asyncio.sleep(0.01)
            before = given.reflector.heard_at
            gate.set()
            await given.until(lambda: given.reflector.heard_at > before)
            await given.until(lambda: len(given.server.watched_from) == 2)
            assert given.server.watched_from == ["100", "150"]
            assert given.picture.told == []


async def test_a_watch_that_ends_is_resumed_where_it_was() -> None:
    """The API server ends each after five minutes: no new list."""
    async with scene() as given:
        given.server.watches.append([event("ADDED", secret("a", 120))])
        given.server.watches.append([event("ADDED", secret("b", 130))])
        async with given.running():
            await given.until(lambda: len(given.server.watched_from) == 3)
        assert given.server.watched_from == ["100", "120", "130"]
        assert given.picture.told == ["put a@120", "put b@130"]


BREAKAGES: dict[str, bytes] = {
    "half an event": b'{"type": "ADDED", "obj',
    "broken JSON": b"{]\n",
    "a line that is far too long": b"x" * 5000,
}


@pytest.mark.parametrize("broken", BREAKAGES.values(), ids=BREAKAGES)
async def test_a_watch_that_breaks_is_resumed_where_it_was(broken: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever came over the wire."""
    monkeypatch.setattr(client_module, "MAX_EVENT_BYTES", 1000)
    async with scene() as given:
        given.server.watches.append([event("ADDED", secret("a", 120)), broken])
        async with given.running():
            await given.until(lambda: len(given.server.watched_from) == 2)
        assert given.server.watched_from == ["100", "120"]


async def test_a_connection_that_is_cut_is_resumed_where_it_was() -> None:
    """In the middle of a chunk."""
    async with scene() as given:

        async def cut() -> None:
            transport = given.server.requests[-1].transport
            assert transport is not None
            transport.abort()

        given.server.watches.append([event("ADDED", secret("a", 120)), cut])
        async with given.running():
            await given.until(lambda: len(given.server.watched_from) == 2)
        assert given.server.watched_from == ["100", "120"]


async def test_a_quiet_watch_is_renewed_and_no_trouble(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is warned of an API server that has answered and had nothing to say."""
    monkeypatch.setattr(client_module, "WATCH_TIMEOUT", aiohttp.ClientTimeout(sock_read=0.05))
    caplog.set_level(logging.INFO)
    async with scene() as given:
        given.server.watches.append([event("ADDED", secret("a", 120)), given.server.stay_open])
        async with given.running():
            await given.until(lambda: len(given.server.watched_from) == 3)
        assert given.server.watched_from == ["100", "120", "120"]
        assert len([each for each in given.server.requests if "watch" not in each.query]) == 1
    assert "watch /api/v1/namespaces/payments/secrets: nothing came for a while; asking anew" in caplog.messages
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


async def test_a_watch_that_is_never_answered_is_trouble(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection stands, and nothing comes over it."""
    monkeypatch.setattr(client_module, "WATCH_TIMEOUT", aiohttp.ClientTimeout(sock_read=0.05))
    async with scene() as given:

        async def hang(_: web.Request) -> web.StreamResponse:
            await given.server.stay_open()
            raise AssertionError

        monkeypatch.setattr(given.server, "_watch", hang)
        async with given.running():
            await given.until(lambda: "did not answer (SocketTimeoutError); trying again" in caplog.text)


@pytest.mark.parametrize("how", ["an event", "a status"])
async def test_gone_makes_it_list_anew_and_remove_what_vanished(how: str) -> None:
    """410 comes as an event or as the answer; a deletion may have been missed meanwhile."""
    async with scene() as given:
        given.server.lists.clear()
        given.server.lists.extend([[[secret("a"), secret("b")]], [[secret("b", 150), secret("c", 160)]]])
        expired = event("ERROR", {"kind": "Status", "code": 410, "reason": "Expired", "metadata": {}})
        given.server.watches.append([expired] if how == "an event" else 410)
        async with given.running():
            await given.until(lambda: len(given.server.watched_from) == 2)
            assert given.picture.told == ["put a@1", "put b@1", "put b@150", "put c@160", "remove uid-a"]
            assert set(given.picture.held) == {"uid-b", "uid-c"}


async def test_a_list_whose_token_expired_is_begun_anew() -> None:
    """410 in the middle of the pages."""
    async with scene() as given:
        given.server.lists[0] = [[secret("a")], [secret("b")]]
        failed = False

        async def fail_once(page: int) -> None:
            nonlocal failed
            if page == 0 and not failed:
                failed = True
                given.server.answers.append(refusal(410))

        given.server.before_page = fail_once
        async with given.running():
            await given.until(given.reflector.synced.is_set)
        assert set(given.picture.held) == {"uid-a", "uid-b"}


@pytest.mark.parametrize("status", [401, 403, 404, 422, 429, 500, 503])
async def test_an_error_backs_off_and_is_logged_once_an_outage(
    status: int, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each wait longer than the one before, up to a bound; a second outage is told again."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def record(seconds: float) -> None:
        if seconds:
            waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr("keywright.kube.reflector.random.uniform", lambda low, high: high)
    caplog.set_level(logging.WARNING)
    async with scene() as given:
        given.server.answers.extend([status] * 6)
        with monkeypatch.context() as patched:
            patched.setattr("keywright.kube.reflector.asyncio.sleep", record)
            async with given.running():
                async with asyncio.timeout(5):
                    while not given.server.watched_from:
                        await sleep(0.002)
        assert given.reflector.synced.is_set()
    backoffs = [each for each in waits if each in (0.001, 0.002, 0.004, 0.008, 0.01)]
    assert backoffs[:6] == [0.001, 0.002, 0.004, 0.008, 0.01, 0.01]
    assert caplog.text.count("trying again until it answers") == 1


async def test_an_error_event_backs_off_and_resumes() -> None:
    """Any other than 410."""
    async with scene() as given:
        trouble = event("ERROR", {"kind": "Status", "code": 500, "reason": "InternalError", "metadata": {}})
        given.server.watches.append([event("ADDED", secret("a", 120)), trouble])
        async with given.running():
            await given.until(lambda: len(given.server.watched_from) == 2)
        assert given.server.watched_from == ["100", "120"]


async def test_what_came_from_elsewhere_during_the_list_is_not_removed() -> None:
    """The sink of the guard is the roster, which the framework's watch fills too. What it learned after the list
    was begun is newer than the list.
    """
    async with scene() as given:
        given.server.lists[0] = [[secret("a")], [secret("b")]]

        async def meanwhile(page: int) -> None:
            if page == 1:
                given.picture.put(secret("new", 101))

        given.server.before_page = meanwhile
        async with given.running():
            await given.until(given.reflector.synced.is_set)
        assert set(given.picture.held) == {"uid-a", "uid-b", "uid-new"}
