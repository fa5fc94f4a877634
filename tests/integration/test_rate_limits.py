"""Rate limits with the real parts: operator, verifiers, and a Redis server that several of them share."""

import contextlib
import datetime as dt
import itertools
import math
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from keywright_local import ControlPlane
from keywright_local.certificates import CertificateAuthority
from tests.support.kube import Kube, eventually
from tests.support.processes import Process, free_address, get, verifier
from tests.support.redis import redis

Answer = tuple[int, dict[str, str], str]

HOUR = {"name": "hour", "requests": 6, "window": "1h"}
_names = itertools.count()


@pytest.fixture
def limited(shared_operator: Process, admin: Kube) -> Iterator["Limited"]:
    """A class of its own for each test."""
    name = f"limited-{next(_names)}"
    yield Limited(admin, name)
    admin.delete(None, name, "ApiKeyClass")


class Limited:
    """A class with rate limits, and keys of it."""

    def __init__(self, admin: Kube, name: str) -> None:
        self.admin = admin
        self.name = name

    def create(self, *limits: dict[str, Any], **spec: Any) -> None:
        body = {"prefix": "kw_live", "hashing": {"algorithm": "sha256"}, "rateLimits": list(limits), **spec}
        self.admin.create({"kind": "ApiKeyClass", "metadata": {"name": self.name}, "spec": body})

    def issue(self, namespace: str, name: str, **spec: Any) -> str:
        self.admin.apikey(namespace, name, className=self.name, **spec)
        self.admin.wait(namespace, name, Active="True")
        return self.admin.plain_key(namespace, name)


@contextlib.contextmanager
def verifying(
    plane: ControlPlane, limited: Limited, log: Path, *flags: str, environment: dict[str, str] | None = None
) -> Iterator[tuple[Process, str, str]]:
    with verifier(plane.kubeconfig, log, "--class", limited.name, *flags, environment=environment) as running:
        yield running


def settled(address: str, plain: str) -> None:
    """Wait until the verifier knows the key. The scope that it lacks keeps the request from being counted."""
    eventually(lambda: get(address, "/verify?scope=none", X_API_Key=plain)[0] == 403, what="the key is known")


def ask(address: str, plain: str) -> Answer:
    return get(address, X_API_Key=plain)


def statuses(address: str, plain: str, times: int) -> list[int]:
    return [ask(address, plain)[0] for _ in range(times)]


def use_up(address: str, plain: str) -> tuple[int, int]:
    """Ask until a limit is used up: how many requests passed, and how many were not told because the store was late
    (on a busy machine it may be). Those may have been counted or not.
    """
    seen = []
    while (status := ask(address, plain)[0]) != 429:
        assert status in (200, 503)
        seen.append(status)
        assert len(seen) < 1000
    return seen.count(200), seen.count(503)


def answered(address: str, plain: str) -> Answer:
    """The first answer that is not about the store being late."""
    return eventually(lambda: answer if (answer := ask(address, plain))[0] != 503 else None)


def metric(admin_address: str, name: str) -> float:
    lines = get(admin_address, "/metrics")[2].splitlines()
    return next(float(line.split(" ")[1]) for line in lines if line.startswith(f"keywright_verifier_{name} "))


def test_a_key_over_its_limit(plane: ControlPlane, limited: Limited, namespace: str, tmp_path: Path) -> None:
    """Fields on 200 and 429, a problem body, and a Retry-After after which a request passes."""
    limited.create({"name": "burst", "requests": 5, "window": "6s"}, HOUR | {"requests": 1000})
    plain = limited.issue(namespace, "key")
    with verifying(plane, limited, tmp_path / "log") as (_, listen, _admin):
        settled(listen, plain)
        answers = [ask(listen, plain) for _ in range(5)]
        assert [status for status, _, _ in answers] == [200] * 5
        assert answers[0][1]["ratelimit-policy"] == '"burst";q=5;w=6, "hour";q=1000;w=3600'
        assert answers[0][1]["ratelimit"].startswith('"burst";r=4;t=')
        status, headers, body = ask(listen, plain)
        assert (status, '"code": "rate_limited"' in body) == (429, True)
        assert headers["content-type"] == "application/problem+json"
        assert headers["ratelimit"].startswith('"burst";r=0;t=')
        assert "www-authenticate" not in headers
        status, nginx, _ = get(listen, "/verify?deny=nginx", X_API_Key=plain)
        assert (status, nginx["x-auth-status"]) == (403, "429")
        wait = int(headers["retry-after"])
        assert 1 <= wait <= math.ceil(6 + 6 / 50)
        time.sleep(wait)
        assert ask(listen, plain)[0] == 200


def test_a_budget_survives_rotation(
    plane: ControlPlane, limited: Limited, admin: Kube, namespace: str, tmp_path: Path
) -> None:
    """And a deleted ApiKey whose name comes again: neither gives anybody new requests."""
    limited.create(HOUR)
    first = limited.issue(namespace, "key", rotation={"trigger": "1"})
    with verifying(plane, limited, tmp_path / "log") as (_, listen, _admin):
        settled(listen, first)
        assert statuses(listen, first, 5) == [200] * 5
        admin.patch(namespace, "key", {"spec": {"rotation": {"trigger": "2"}}})
        second = eventually(lambda: plain if (plain := admin.plain_key(namespace, "key")) != first else None)
        settled(listen, second)
        assert [ask(listen, each)[0] for each in (second, first, second)] == [200, 429, 429]
        admin.delete(namespace, "key")
        eventually(lambda: admin.secret(namespace, "key") is None, within=90)
        third = limited.issue(namespace, "key")
        settled(listen, third)
        assert ask(listen, third)[0] == 429


def test_keys_of_one_owner_share(plane: ControlPlane, limited: Limited, namespace: str, tmp_path: Path) -> None:
    """With rateLimitPer Owner."""
    limited.create(HOUR, rateLimitPer="Owner")
    keys = [limited.issue(namespace, name, owner={"user": "alice@example.com"}) for name in ("one", "two")]
    alone = limited.issue(namespace, "alone")
    with verifying(plane, limited, tmp_path / "log") as (_, listen, _admin):
        for each in (*keys, alone):
            settled(listen, each)
        assert [ask(listen, keys[at % 2])[0] for at in range(8)] == [200] * 6 + [429] * 2
        assert ask(listen, alone)[0] == 200


def test_a_spec_tightens_at_once(
    plane: ControlPlane, limited: Limited, admin: Kube, namespace: str, tmp_path: Path
) -> None:
    """Nobody has to accept what restricts."""
    # Of the class alone, more than are asked for.
    limited.create(HOUR | {"requests": 1000})
    plain = limited.issue(namespace, "key")
    with verifying(plane, limited, tmp_path / "log") as (_, listen, _admin):
        settled(listen, plain)
        assert statuses(listen, plain, 2) == [200, 200]
        admin.patch(namespace, "key", {"spec": {"rateLimits": [{"name": "hour", "requests": 2}]}})
        eventually(lambda: ask(listen, plain)[0] == 429)


class Redis:
    """A Redis server that can be killed and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.address = free_address()
        self.folder = folder
        self._stack = contextlib.ExitStack()

    def start(self, *flags: str | Path) -> Process:
        return self._stack.enter_context(redis(self.folder / "redis.log", self.address, *flags))

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Redis]:
    server = Redis(tmp_path)
    yield server
    server.close()


def is_up(admin_address: str) -> bool:
    return metric(admin_address, "limit_store_up") == 1


def until_up(admin_address: str) -> None:
    eventually(lambda: is_up(admin_address), what="the store is up")


def until_down(admin_address: str) -> None:
    eventually(lambda: not is_up(admin_address), what="the store is down")


def test_three_verifiers_hold_one_sum(
    plane: ControlPlane, limited: Limited, namespace: str, tmp_path: Path, store: Redis
) -> None:
    """Asked all at once, they let through exactly what the limit says, together; and in no interval of the window's
    length more than it says."""
    limited.create({"name": "burst", "requests": 20, "window": "2s"}, {"name": "hour", "requests": 50, "window": "1h"})
    plain = limited.issue(namespace, "key")
    store.start()
    with contextlib.ExitStack() as stack:
        flags = ("--rate-limit-store", f"redis://{store.address}", "--rate-limit-on-failure", "closed")
        running = [
            stack.enter_context(verifying(plane, limited, tmp_path / f"log-{number}", *flags)) for number in range(3)
        ]
        for _, listen, admin_address in running:
            settled(listen, plain)
            until_up(admin_address)
        passed, refused = hammer([listen for _, listen, _ in running], plain)
        asked = [metric_by(admin_address, "store") for _, _, admin_address in running]
    untold = sum(status == 503 for status, _ in refused)
    assert 50 - untold <= len(passed) <= 50
    assert {status for status, _ in refused} <= {429, 503}
    assert all(count > 0 for count in asked)
    # Each passed between `asked` and `answered`: 21 that surely lie within one window would be one too many.
    for start in range(len(passed) - 20):
        assert max(end for _, end in passed[start : start + 21]) - passed[start][0] >= 2.0
    assert all(1 <= wait <= 3673 for _, wait in refused)


def metric_by(admin_address: str, by: str) -> float:
    return metric(admin_address, f'limit_decisions_total{{by="{by}"}}')


def hammer(addresses: list[str], plain: str) -> tuple[list[tuple[float, float]], list[tuple[int, int]]]:
    """Ask all of them at once, in two threads each, until the hour is used up and some more. When requests that passed
    were asked and answered, by when they were asked; status and Retry-After of the others."""
    passed: list[tuple[float, float]] = []
    refused: list[tuple[int, int]] = []
    end = time.monotonic() + 60

    def run(address: str) -> None:
        spare = 10
        while spare and (asked := time.monotonic()) < end:
            status, headers, _ = ask(address, plain)
            if status == 200:
                passed.append((asked, time.monotonic()))
            else:
                refused.append((status, int(headers["retry-after"])))
                spare -= refused[-1][1] > 60
            time.sleep(0.01)

    threads = [threading.Thread(target=run, args=(address,)) for address in addresses for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(passed), refused


def count_away(process: Process) -> int:
    """How often a verifier has said that the store went."""
    return process.log.count("the rate limit store is away")


def test_a_store_that_goes_away(
    plane: ControlPlane, limited: Limited, namespace: str, tmp_path: Path, store: Redis
) -> None:
    """local counts in the verifier, open does not count, closed is 503; none of them waits for it, each says so once
    in log and metric, and when the store is back it counts again."""
    limited.create(HOUR)
    plain = limited.issue(namespace, "key")
    server = store.start()
    modes = ("local", "open", "closed")
    with contextlib.ExitStack() as stack:
        running: dict[str, tuple[Process, str, str]] = {}
        for mode in modes:
            flags = ("--rate-limit-store", f"redis://{store.address}/3", "--rate-limit-on-failure", mode)
            running[mode] = stack.enter_context(verifying(plane, limited, tmp_path / mode, *flags))
        for _, listen, admin_address in running.values():
            settled(listen, plain)
            until_up(admin_address)
        listens = {mode: listen for mode, (_, listen, _) in running.items()}
        assert [answered(listens[mode], plain)[0] for mode in ("open", "closed")] == [200] * 2
        # On a busy machine the store may have been late or lost before.
        for _, _, admin_address in running.values():
            until_up(admin_address)
        opened, losses = metric_by(running["open"][2], "open"), metric(running["open"][2], "limit_store_losses_total")
        away = {mode: count_away(process) for mode, (process, _, _) in running.items()}
        server.kill()
        for _, _, admin_address in running.values():
            until_down(admin_address)
        assert statuses(listens["local"], plain, 7) == [200] * 6 + [429]
        unlimited = [ask(listens["open"], plain) for _ in range(10)]
        assert [status for status, _, _ in unlimited] == [200] * 10
        assert "ratelimit" not in unlimited[0][1]
        status, headers, body = ask(listens["closed"], plain)
        assert (status, headers["retry-after"], '"code": "unavailable"' in body) == (503, "1", True)
        assert metric_by(running["open"][2], "open") == opened + 10
        assert metric(running["open"][2], "limit_store_losses_total") == losses + 1
        for mode, (process, _, _) in running.items():
            assert count_away(process) == away[mode] + 1
        store.start()
        for _, _, admin_address in running.values():
            until_up(admin_address)
        # It has forgotten what was counted before.
        passed, untold = use_up(listens["closed"], plain)
        assert 6 - untold <= passed <= 6
        # It alone says so: this one counts nothing itself.
        eventually(lambda: ask(listens["open"], plain)[0] == 429)
        for process, _, _ in running.values():
            assert process.log.count("the rate limit store answers") >= 2


def test_a_store_that_hangs(
    plane: ControlPlane, limited: Limited, namespace: str, tmp_path: Path, store: Redis
) -> None:
    """One that takes connections and says nothing costs its deadline once, not each request."""
    limited.create(HOUR | {"requests": 1000})
    plain = limited.issue(namespace, "key")
    server = store.start()
    flags = ("--rate-limit-store", f"redis://{store.address}")
    with verifying(plane, limited, tmp_path / "log", *flags) as (_, listen, admin_address):
        settled(listen, plain)
        until_up(admin_address)
        server.popen.send_signal(signal.SIGSTOP)
        try:
            assert ask(listen, plain)[0] == 200
            until_down(admin_address)

            def seconds() -> float:
                before = time.monotonic()
                assert ask(listen, plain)[0] == 200
                return time.monotonic() - before

            # Had each waited for its deadline, none would be below it. On a busy machine many are not, all the same.
            assert sum(each < 0.02 for each in (seconds() for _ in range(500))) > 10
        finally:
            server.popen.send_signal(signal.SIGCONT)
        until_up(admin_address)


def test_a_store_with_a_password(
    plane: ControlPlane, limited: Limited, namespace: str, tmp_path: Path, store: Redis
) -> None:
    """From a file that is read anew for each connection; a wrong one is said in a line that does not hold it."""
    limited.create(HOUR)
    plain = limited.issue(namespace, "key")
    store.start("--requirepass", "c4n4ry-right")
    file = tmp_path / "store"
    file.write_text(f"redis://:c4n4ry-wrong@{store.address}\n")
    flags = ("--rate-limit-store-file", str(file), "--rate-limit-on-failure", "closed")
    with verifying(plane, limited, tmp_path / "log", *flags) as (process, listen, admin_address):
        settled(listen, plain)
        eventually(lambda: "it refuses AUTH: WRONGPASS" in process.log, what=process.log)
        assert not is_up(admin_address)
        file.write_text(f"redis://:c4n4ry-right@{store.address}\n")
        until_up(admin_address)
        passed, untold = use_up(listen, plain)
        assert 6 - untold <= passed <= 6
        assert "c4n4ry" not in process.log


def test_a_store_behind_tls(
    plane: ControlPlane, limited: Limited, namespace: str, tmp_path: Path, store: Redis
) -> None:
    """rediss:// with the system's authorities, or those of SSL_CERT_FILE; a server that they do not know is refused."""
    limited.create(HOUR)
    plain = limited.issue(namespace, "key")
    now = dt.datetime.now(dt.UTC)
    authority = CertificateAuthority.create("test", now=now)
    pair = authority.issue_for_server(["redis"], ["127.0.0.1"], now=now)
    for name, content in (("ca", authority.key_pair.public), ("crt", pair.public), ("key", pair.private)):
        (tmp_path / name).write_bytes(content)
    # It is started with a plain port as well, which is where the test asks whether it is there.
    tls = ("--tls-port", free_address().rpartition(":")[2], "--tls-auth-clients", "no")
    store.start(*tls, "--tls-cert-file", tmp_path / "crt", "--tls-key-file", tmp_path / "key")
    flags = ("--rate-limit-store", f"rediss://127.0.0.1:{tls[1]}", "--rate-limit-on-failure", "closed")
    trusting = {"SSL_CERT_FILE": str(tmp_path / "ca")}
    with verifying(plane, limited, tmp_path / "log", *flags, environment=trusting) as (_, listen, admin_address):
        settled(listen, plain)
        until_up(admin_address)
        passed, untold = use_up(listen, plain)
        assert 6 - untold <= passed <= 6
    with verifying(plane, limited, tmp_path / "other-log", *flags) as (process, listen, _admin):
        settled(listen, plain)
        eventually(lambda: "the rate limit store is away" in process.log)
        assert "verify" in process.log
        assert ask(listen, plain)[0] == 503


def test_a_window_ends_in_the_store_too(
    plane: ControlPlane, limited: Limited, namespace: str, tmp_path: Path, store: Redis
) -> None:
    """Retry-After of the store is the first second at which a request passes, again and again."""
    limited.create({"name": "burst", "requests": 3, "window": "4s"})
    plain = limited.issue(namespace, "key")
    store.start()
    flags = ("--rate-limit-store", f"redis://{store.address}", "--rate-limit-on-failure", "closed")
    with verifying(plane, limited, tmp_path / "log", *flags) as (_, listen, admin_address):
        settled(listen, plain)
        until_up(admin_address)
        for _ in range(2):
            passed, untold = use_up(listen, plain)
            assert 3 - untold <= passed <= 3
            status, headers, _ = answered(listen, plain)
            assert status == 429
            wait = int(headers["retry-after"])
            assert 1 <= wait <= math.ceil(4 + 4 / 50)
            time.sleep(wait)
            assert answered(listen, plain)[0] == 200
            time.sleep(4.1)
