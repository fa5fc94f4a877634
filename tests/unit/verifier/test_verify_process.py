"""The verifier as a process: it watches, serves, stops when told to, and stays small."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.verifier.builders import CHEAP, api_key, mint, record
from tests.unit.verifier.cluster import Cluster, running_cluster
from tests.unit.verifier.wire import Reply, read_reply

KEY, OTHER = mint(1), mint(2)
START = """
import argparse, logging, sys
from keywright.errors import KeywrightError
from keywright.verifier.run import run
from keywright.verifier.settings import add_arguments, from_arguments
logging.basicConfig(level="INFO", format="%(message)s")
parser = argparse.ArgumentParser()
add_arguments(parser)
try:
    sys.exit(run(from_arguments(parser.parse_args())))
except KeywrightError as error:
    sys.exit(f"keywright: {error}")
"""


@dataclass
class Process:
    """A running verifier."""

    process: asyncio.subprocess.Process
    cluster: Cluster
    socket: Path
    log: str = ""

    async def until_logged(self, pattern: str) -> re.Match[str]:
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            while (found := re.search(pattern, self.log)) is None:
                line = await self.process.stderr.readline()
                assert line, f"ended before {pattern!r}: {self.log}"
                self.log += line.decode()
        return found

    async def present(self, text: str) -> Reply:
        reader, writer = await asyncio.open_unix_connection(self.socket)
        writer.write(b"GET /verify HTTP/1.1\r\nHost: v\r\nX-API-Key: %b\r\n\r\n" % text.encode())
        try:
            return await read_reply(reader)
        finally:
            writer.close()

    async def until(self, text: str, status: int) -> Reply:
        async with asyncio.timeout(10):
            while (reply := await self.present(text)).status != status:
                await asyncio.sleep(0.01)
        return reply

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            self.log += (await self.process.stderr.read()).decode()
            return await self.process.wait()


@asynccontextmanager
async def running(tmp_path: Path, *arguments: str) -> AsyncIterator[Process]:
    async with running_cluster(tmp_path) as (cluster, kubeconfig):
        cluster.put("apikeys", api_key(record(KEY, hashed=CHEAP)))
        socket = tmp_path / "kw.sock"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", START),
            *("--listen", f"unix:{socket}", "--admin-listen", "127.0.0.1:0", *arguments),
            stderr=subprocess.PIPE,
            env=os.environ | {"KUBECONFIG": str(kubeconfig)},
        )
        try:
            yield Process(process, cluster, socket)
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()


async def test_it_follows_the_cluster(tmp_path: Path) -> None:
    """Issue, revoke and delete reach the next request through the watch."""
    async with running(tmp_path) as verifier:
        await verifier.until_logged("in sync: 1 keys")
        assert (await verifier.present(KEY.text)).one("X-Auth-Key") == "payments/ci-deploy"
        verifier.cluster.put("apikeys", api_key(record(OTHER, hashed=CHEAP), uid="uid-2"))
        await verifier.until(OTHER.text, 200)
        verifier.cluster.put("apikeys", api_key(record(KEY, hashed=CHEAP), spec={"revoked": True}))
        assert (await verifier.until(KEY.text, 401)).code == "revoked_key"
        verifier.cluster.remove("apikeys", "uid-2")
        assert (await verifier.until(OTHER.text, 401)).code == "invalid_key"


async def test_what_a_broken_watch_did_not_tell_is_found_by_the_next_list(tmp_path: Path) -> None:
    """Deleted, revoked and made while the watch was blind: after 410 Gone a list puts all of it right."""
    revoked, made = mint(3), mint(4)
    async with running(tmp_path) as verifier:
        keys = verifier.cluster.objects["apikeys"]
        verifier.cluster.put("apikeys", api_key(record(OTHER, hashed=CHEAP), uid="uid-2"))
        verifier.cluster.put("apikeys", api_key(record(revoked), uid="uid-3"))
        await verifier.until_logged("in sync")
        for each in (KEY, OTHER, revoked):
            await verifier.until(each.text, 200)
        del keys["uid-2"]
        keys["uid-3"] = api_key(record(revoked), uid="uid-3", spec={"revoked": True})
        keys["uid-4"] = api_key(record(made), uid="uid-4")
        await asyncio.sleep(0.2)
        assert (await verifier.present(OTHER.text)).status == 200
        verifier.cluster.forget_the_past()
        assert (await verifier.until(OTHER.text, 401)).code == "invalid_key"
        assert (await verifier.until(revoked.text, 401)).code == "revoked_key"
        assert (await verifier.until(made.text, 200)).status == 200
        assert (await verifier.present(KEY.text)).status == 200


async def test_it_trusts_its_own_namespace(tmp_path: Path) -> None:
    """Without a word about namespaces, only the keys beside the verifier are read."""
    async with running(tmp_path) as verifier:
        verifier.cluster.put("apikeys", api_key(record(OTHER, hashed=CHEAP), uid="uid-2", namespace="other"))
        await verifier.until_logged("in sync: 1 keys")
        assert (await verifier.present(OTHER.text)).code == "invalid_key"
        assert {path for path in verifier.cluster.paths if "apikeys" in path} == {
            "/apis/keywright.dev/v1alpha1/namespaces/payments/apikeys"
        }


@pytest.mark.parametrize("arguments", [["--namespace", "payments", "--namespace", "other"], ["--all-namespaces"]])
async def test_it_trusts_the_namespaces_it_is_told(tmp_path: Path, arguments: list[str]) -> None:
    """Several by name, or all."""
    async with running(tmp_path, *arguments) as verifier:
        verifier.cluster.put("apikeys", api_key(record(OTHER, hashed=CHEAP), uid="uid-2", namespace="other"))
        await verifier.until_logged("in sync")
        await verifier.until(OTHER.text, 200)
        assert (await verifier.present(KEY.text)).status == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_stops_gracefully(tmp_path: Path, number: signal.Signals) -> None:
    """Idle connections are closed, the socket file goes, the status is 0, and nothing is left in the log."""
    async with running(tmp_path) as verifier:
        await verifier.until_logged("in sync")
        await verifier.present(KEY.text)
        idle, writer = await asyncio.open_unix_connection(verifier.socket)
        assert await verifier.stop(number) == 0
        assert await idle.read() == b""
        writer.close()
        assert not verifier.socket.exists()
        assert verifier.log.rstrip().endswith("stopped")
        assert "Traceback" not in verifier.log
        assert KEY.text not in verifier.log


async def test_without_an_api_server_it_waits_and_says_so(tmp_path: Path) -> None:
    """Unreachable is not fatal: one line, 503, and no end."""
    kubeconfig = tmp_path / "nowhere"
    async with running(tmp_path) as verifier:
        text = (tmp_path / "kubeconfig").read_text()
        kubeconfig.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", text))
        socket = tmp_path / "alone.sock"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", START, "--listen", f"unix:{socket}", "--admin-listen", "127.0.0.1:0"),
            stderr=subprocess.PIPE,
            env=os.environ | {"KUBECONFIG": str(kubeconfig)},
        )
        alone = Process(process, verifier.cluster, socket)
        await alone.until_logged("trying again")
        assert (await alone.present(KEY.text)).code == "unavailable"
        assert await alone.stop() == 0


async def test_a_class_or_namespace_of_another_name_is_pointed_out(tmp_path: Path) -> None:
    """A typo in --class or --namespace is a line in the log, not a riddle of 401s."""
    chosen = ("--class", "gold", "--class", "standard", "--namespace", "payment", "--namespace", "payments")
    async with running(tmp_path, *chosen) as verifier:
        await verifier.until_logged("class gold does not exist")
        await verifier.until_logged("namespace payment has no keys yet")
        assert (await verifier.present(KEY.text)).status == 200


def test_a_wrong_start_is_one_line(tmp_path: Path) -> None:
    """No cluster to talk to, or an address that cannot be had: one line, status 1, no traceback."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("KUBE")}
    done = subprocess.run(
        [sys.executable, "-c", START], capture_output=True, text=True, env=environment, check=False, timeout=30
    )
    assert done.returncode == 1
    assert done.stderr.startswith("keywright: no cluster to talk to")
    assert done.stderr.count("\n") == 1


def test_it_stays_small() -> None:
    """Nothing that only the operator needs is imported: it would cost more than all keys together."""
    code = "import sys, keywright.verifier.run as _; print(*sorted(sys.modules))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )
    assert not loaded & {"kopf", "pydantic", "kubernetes", "keywright.api", "keywright.reconcile", "keywright.handlers"}
