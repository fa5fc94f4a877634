"""The operator with a port that kills the process: ``python -m tests.support.failpoint_operator NS before:2``.

Dies by SIGKILL right before or after its n-th write, counted from 1. Production code knows nothing of this.
"""

import asyncio
import os
import signal
import sys
from typing import Any

from keywright.addresses import Tcp
from keywright.cli import logs
from keywright.handlers.run import operate
from keywright.handlers.settings import OperatorSettings
from keywright.kube.client import ApiClient, Manifest, connect
from keywright.kube.credentials import load
from keywright.kube.resources import Resource


class Failpoint:
    """The API port of the reconciler, with a trap in it."""

    def __init__(self, client: ApiClient, when: str, write: int) -> None:
        self._client = client
        self._when = when
        self._write = write
        self._written = 0

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest:
        return await self._client.get(resource, namespace, name)

    async def create(self, *arguments: Any) -> Manifest:
        written: Manifest = await self._trap(self._client.create(*arguments))
        return written

    async def update(self, *arguments: Any) -> Manifest:
        written: Manifest = await self._trap(self._client.update(*arguments))
        return written

    async def delete(self, *arguments: Any, **preconditions: Any) -> None:
        await self._trap(self._client.delete(*arguments, **preconditions))

    async def _trap(self, request: Any) -> Any:
        self._written += 1
        if self._written == self._write and self._when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await request
        if self._written == self._write and self._when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


async def main(namespace: str, failpoint: str) -> None:
    when, _, write = failpoint.partition(":")
    credentials = load()
    settings = OperatorSettings(namespaces=(namespace,), health_listen=Tcp("127.0.0.1", 0))
    async with connect(credentials) as client:
        await operate(settings, credentials, client, Failpoint(client, when, int(write)), asyncio.Event())


if __name__ == "__main__":
    logs.configure(form="human", level="debug")
    asyncio.run(main(*sys.argv[1:]))
