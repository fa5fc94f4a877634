"""Just enough of an API server to list and watch from, and to publish to, over plain HTTP on loopback."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: test, namespace: payments}}}}]
clusters: [{{name: test, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: test, user: {{}}}}]
"""


class Cluster:
    """Objects by plural, namespace and UID; every watcher hears of every change from then on."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, dict[str, Any]]] = {"apikeys": {}, "apikeyclasses": {}}
        self.paths: list[str] = []
        self.usages: dict[str, dict[str, Any]] = {}
        self.writes: list[tuple[str, dict[str, Any]]] = []
        """Verb and body of every write that arrived."""
        self.refusals: list[int] = []
        """Statuses for the next writes: below 500 instead of carrying them out, from 500 on after that."""
        self._watchers: list[tuple[str, str | None, asyncio.Queue[dict[str, Any]]]] = []

    def put(self, plural: str, manifest: dict[str, Any]) -> None:
        known = self.objects[plural]
        kind = "MODIFIED" if manifest["metadata"]["uid"] in known else "ADDED"
        known[manifest["metadata"]["uid"]] = manifest
        self._tell(plural, kind, manifest)

    def remove(self, plural: str, uid: str) -> None:
        self._tell(plural, "DELETED", self.objects[plural].pop(uid))

    def forget_the_past(self) -> None:
        """As after a compaction: every watch breaks off, and has to begin with a list."""
        gone = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410}
        for _, _, queue in self._watchers:
            queue.put_nowait({"type": "ERROR", "object": gone})

    def _tell(self, plural: str, kind: str, manifest: dict[str, Any]) -> None:
        for watched, namespace, queue in self._watchers:
            if watched == plural and namespace in (None, manifest["metadata"].get("namespace")):
                queue.put_nowait({"type": kind, "object": manifest})

    async def take_usage(self, request: web.Request) -> web.Response:
        """A create or a merge patch of an ApiKeyUsage in the namespace of the kubeconfig."""
        body = await request.json()
        self.writes.append((request.method, copy.deepcopy(body)))
        refusal = self.refusals.pop(0) if self.refusals else 200
        if 200 < refusal < 500:
            return web.json_response({"reason": "Refused"}, status=refusal)
        name = request.match_info.get("name") or body["metadata"]["name"]
        if (name in self.usages) == (request.method == "POST"):
            return web.json_response({"reason": "Refused"}, status=409 if request.method == "POST" else 404)
        known = self.usages.setdefault(name, {"uses": {}})
        known["uses"] |= body["spec"].pop("uses")
        known["uses"] = {key: at for key, at in known["uses"].items() if at is not None}
        known |= body["spec"]
        return web.json_response({}, status=refusal)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path)
        plural, namespace = request.match_info["plural"], request.match_info.get("namespace")
        if "watch" not in request.query:
            items = [
                each for each in self.objects[plural].values() if namespace in (None, each["metadata"].get("namespace"))
            ]
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": items})
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        watcher = (plural, namespace, queue)
        self._watchers.append(watcher)
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                event = await queue.get()
                await response.write(json.dumps(event).encode() + b"\n")
                if event["type"] == "ERROR":
                    return response
        finally:
            self._watchers.remove(watcher)


@asynccontextmanager
async def running_cluster(directory: Path) -> AsyncIterator[tuple[Cluster, Path]]:
    """A cluster on a free port, and a kubeconfig for it whose context has the namespace ``payments``."""
    cluster = Cluster()
    app = web.Application()
    group = "/apis/keywright.dev/v1alpha1"
    app.router.add_get(f"{group}/namespaces/{{namespace}}/{{plural}}", cluster.answer)
    app.router.add_get(f"{group}/{{plural}}", cluster.answer)
    app.router.add_post(f"{group}/namespaces/payments/apikeyusages", cluster.take_usage)
    app.router.add_patch(f"{group}/namespaces/payments/apikeyusages/{{name}}", cluster.take_usage)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    kubeconfig = directory / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG.format(port=runner.addresses[0][1]))
    try:
        yield cluster, kubeconfig
    finally:
        await runner.cleanup()
