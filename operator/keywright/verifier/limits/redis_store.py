"""Budgets that several verifiers share, on a Redis or Valkey server.

While the server is away, or late, nobody waits for it: the store says at once that it cannot tell, and connects anew
in the background. Loaded only where a store was asked for; the extra ``redis`` brings what it needs.
"""

import asyncio
import logging
import random
import ssl
from collections.abc import Awaitable, Callable

import hiredis

from keywright.errors import KeywrightError
from keywright.verifier.limits.limits import Charged, Quota
from keywright.verifier.limits.redis_link import Link, Reply
from keywright.verifier.limits.redis_script import SCRIPT
from keywright.verifier.limits.store_address import StoreAddress
from keywright.verifier.metrics import Metrics

__all__ = ["RedisStore"]

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 0.020
CONNECT_SECONDS = 2.0
# How long to wait before connecting anew: doubled each time, with jitter, until a connection has lasted.
LEAST_PAUSE, MOST_PAUSE = 0.1, 5.0
LASTING_SECONDS = 1.0


class RedisStore:
    """A :class:`keywright.verifier.limits.limiter.SharedStore`. ``locate`` is asked anew for every connection, so
    that a password may change. ``meanwhile`` says in the log what becomes of requests while the server is away.
    """

    def __init__(self, locate: Callable[[], StoreAddress], metrics: Metrics, *, meanwhile: str) -> None:
        self._locate = locate
        self._metrics = metrics
        self._meanwhile = meanwhile
        self._link: Link | None = None
        self._script = b""

    @property
    def is_up(self) -> bool:
        """Whether the server answers."""
        return self._link is not None and not self._link.is_late

    def charge(self, quota: Quota) -> Awaitable[Charged | None] | None:
        """Charge one request, in one round trip."""
        link = self._link
        if link is None or link.is_late:
            return None
        keys: list[bytes] = []
        numbers: list[int] = []
        for key, requests, seconds in quota.charges:
            keys.append(key)
            numbers += (requests, seconds)
        command: list[bytes | int] = [b"EVALSHA", self._script, len(keys), *keys, *numbers]
        return self._read(link, link.ask(command, ANSWER_SECONDS), quota)

    async def keep_connected(self) -> None:
        """Hold a connection for ever."""
        loop, pause, was_up = asyncio.get_running_loop(), LEAST_PAUSE, True
        while True:
            try:
                link = await self._connect()
            except (OSError, KeywrightError) as error:
                reason = str(error) if isinstance(error, KeywrightError) else _why(error)
            else:
                logger.info("the rate limit store answers: limits are shared")
                connected_at, was_up, self._link = loop.time(), True, link
                reason = await self._until_lost(link)
                pause = 0.0 if loop.time() - connected_at > LASTING_SECONDS else pause
            if was_up:
                logger.warning("the rate limit store is away (%s): %s until it is back", reason, self._meanwhile)
            was_up = False
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads verifiers, protects nothing
            pause = min(max(2 * pause, LEAST_PAUSE), MOST_PAUSE)

    async def _until_lost(self, link: Link) -> str:
        try:
            return await link.lost
        finally:
            self._link = None
            self._metrics.limit_store_losses += 1
            link.close("stopping")

    async def _read(self, link: Link, awaited: Awaitable[Reply], quota: Quota) -> Charged | None:
        reply = await awaited
        if reply is None:
            return None
        if not isinstance(reply, list):
            # A script that was flushed, a replica, no memory: connecting anew mends it, or finds out that it is so.
            link.close(f"it refuses to count: {_word(reply)}")
            return None
        return Charged(reply[0], tuple(reply[1 : 1 + 2 * quota.shown]))

    async def _connect(self) -> Link:
        """A connection that is known to count.

        Raises:
            OSError: if there is no connection.
            KeywrightError: if the address cannot be read, or the server refuses what is needed.

        """
        address = self._locate()
        tls = ssl.create_default_context() if address.is_tls else None
        async with asyncio.timeout(CONNECT_SECONDS):
            _, link = await asyncio.get_running_loop().create_connection(
                Link, address.tcp.host, address.tcp.port, ssl=tls
            )
            try:
                await self._prepare(link, address)
            except BaseException:
                link.close("it was not to be used")
                raise
        return link

    async def _prepare(self, link: Link, address: StoreAddress) -> None:
        if address.password is not None:
            names = (address.user,) if address.user is not None else ()
            await _demand(link, "AUTH", *names, address.password)
        if address.database:
            await _demand(link, "SELECT", address.database)
        self._script = await _demand(link, "SCRIPT", "LOAD", SCRIPT)
        # A replica, a full server and one that denies our keys would accept all of the above.
        await _demand(link, "SET", "keywright:probe", "1", "PX", "1000")


async def _demand(link: Link, name: str, *arguments: str | int) -> bytes:
    reply = await link.ask((name, *arguments))
    if reply is None:
        raise KeywrightError(f"{name}: {link.lost.result()}")
    if not isinstance(reply, bytes):
        raise KeywrightError(f"it refuses {name}: {_word(reply)}")
    return reply


def _word(reply: Reply) -> str:
    """What kind of error it is. The rest of an error's text may quote what was sent, a password for one."""
    return str(reply).partition(" ")[0] if isinstance(reply, hiredis.ReplyError) else "an unexpected reply"


def _why(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_SECONDS:.0f} s"
    return error.strerror or type(error).__name__
