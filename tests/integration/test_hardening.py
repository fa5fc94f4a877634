"""What attackers, broken clients and a restart can cost, and what they cannot: each with the figure it reaches.

``pytest tests/integration/test_hardening.py -q -rP`` shows the figures; docs/guides/hardening.md explains them.
"""

import random
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from keywright.domain.hashing import Hashing
from keywright.domain.plainkey import PlainKey
from keywright_local import ControlPlane
from tests.support.kube import Kube, eventually
from tests.support.processes import figure, get, say, verifier
from tests.support.raw_http import Probe, connect, flood, presenting, read_answer
from tests.unit.verifier.builders import SHA256, at, mint, record, with_other_secret

NAMESPACE = "hardening"
# Quick to prove, for whoever watches. The others are as the operator makes them: argon2id at the OWASP minimum.
RIGHT = mint(1)
COLD = [mint(seed) for seed in range(1000, 1200)]
STRANGERS = [mint(seed) for seed in range(2000, 2200)]
FLOOD = 24_000
# Machines that others use as well: what is slower than this hangs.
SLOW_MS = 1_000.0


@pytest.fixture(scope="module")
def keys(own_plane: ControlPlane, own_admin: Kube) -> None:
    """201 issued keys, eight to an ApiKey. No operator runs here, so what it would write is written by hand."""
    own_admin.request("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    with ThreadPoolExecutor(2) as pool:
        records = list(pool.map(lambda key: record(key, hashed=Hashing(), state="Retiring", expiresAt=at(3600)), COLD))
    plant(own_admin, "right", [record(RIGHT, hashed=SHA256)])
    for first in range(0, len(records), 8):
        plant(own_admin, f"cold-{first}", records[first : first + 8])


def plant(admin: Kube, name: str, records: Sequence[object]) -> None:
    admin.apikey(NAMESPACE, name)
    admin.patch(NAMESPACE, name, {"status": {"className": "standard", "keys": records}}, subresource="status")


@pytest.fixture(scope="module")
def served(own_plane: ControlPlane, keys: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A verifier: where it judges, and where it tells of itself."""
    log = tmp_path_factory.mktemp("served") / "log"
    with verifier(own_plane.kubeconfig, log, "--usage", "off", namespaces=[NAMESPACE]) as (process, listen, admin):
        yield listen, admin
        assert "Traceback" not in process.log


FLOODS = {
    "wrong secrets with known ids": ([with_other_secret(key) for key in COLD], "401 invalid_key"),
    "unknown ids": ([key.text for key in STRANGERS], "401 invalid_key"),
    "malformed keys": ([key.text[:-1] for key in COLD] + ["x" * 8000, "\xff\xfe"], "401 malformed_key"),
}


@pytest.mark.parametrize("what", FLOODS)
def test_a_flood_costs_no_argon2(served: tuple[str, str], what: str) -> None:
    """Whatever is guessed, it is refused without an argon2 run, and right keys are served meanwhile."""
    listen, admin = served
    texts, answer = FLOODS[what]
    before = figure(admin, "argon2_runs_total")
    requests = [presenting(texts[number % len(texts)]) for number in range(FLOOD)]
    with Probe(listen, RIGHT.text) as calm:
        time.sleep(0.5)
    with flood(listen, requests) as running, Probe(listen, RIGHT.text) as probe:
        begun = time.monotonic()
        found = sum((each.result() for each in running), Counter[str]())
        seconds = time.monotonic() - begun
    say(f"{what}: {FLOOD / seconds:,.0f} a second refused, no argon2 run; {probe}; calm: {calm}")
    assert found == {answer: FLOOD}
    assert figure(admin, "argon2_runs_total") == before
    assert probe.refused == 0
    assert probe.milliseconds(0.99) < SLOW_MS


def test_two_hundred_cold_keys_after_a_restart(own_plane: ControlPlane, keys: None, tmp_path: Path) -> None:
    """All at once: the queue is bounded, who finds no room is told when to come back, each key costs one run, and
    whoever does come back is served.
    """
    with verifier(own_plane.kubeconfig, tmp_path / "log", "--usage", "off", namespaces=[NAMESPACE]) as running:
        _, listen, admin = running
        assert get(listen, X_API_Key=RIGHT.text)[0] == 200
        with Probe(listen, RIGHT.text) as probe, ThreadPoolExecutor(len(COLD)) as pool:
            begun = time.monotonic()
            asking = [pool.submit(ask_until_served, listen, key) for key in COLD]
            waiting = 0.0
            while not all(each.done() for each in asking):
                waiting = max(waiting, figure(admin, "argon2_waiting"))
                time.sleep(0.1)
            refusals = [each.result() for each in asking]
            seconds = time.monotonic() - begun
        say(
            f"200 cold keys at once: all served after {seconds:.1f} s, {sum(refusals)} times told to come back, "
            f"at most {waiting:.0f} waiting; {probe}"
        )
        assert sum(refusals) > 0
        assert figure(admin, "argon2_refused_total") == sum(refusals)
        assert 0 < waiting <= 64
        assert figure(admin, "argon2_runs_total") == len(COLD)
        assert (probe.refused, probe.milliseconds(0.99) < SLOW_MS) == (0, True)
        assert seconds < 180


def ask_until_served(listen: str, key: PlainKey) -> int:
    """As a patient client does it; how often it was told to come back."""
    for attempt in range(200):
        with connect(listen) as client, client.makefile("rb") as stream:
            client.sendall(presenting(key.text))
            status, body = read_answer(stream)
        if status == 200:
            return attempt
        assert status == 503
        assert b'"unavailable"' in body
        time.sleep(random.uniform(0.8, 1.2))
    raise AssertionError("never served")


def test_slow_clients_and_half_open_connections(own_plane: ControlPlane, keys: None, tmp_path: Path) -> None:
    """They take places, as many as there are and no longer than a head may take; who was there before is served on,
    and who comes when all places are taken is told so at once.
    """
    flags = ["--usage", "off", "--max-connections", "41"]
    with verifier(own_plane.kubeconfig, tmp_path / "log", *flags, namespaces=[NAMESPACE]) as (_, listen, admin):
        with Probe(listen, RIGHT.text) as probe:
            eventually(lambda: probe.taken)
            begun = time.monotonic()
            slow = [connect(listen) for _ in range(40)]
            eventually(lambda: figure(admin, "connections_open") == 41)
            assert get(listen, X_API_Key=RIGHT.text)[0] == 503
            # Half of them say nothing at all, the others one byte a quarter of a second.
            while figure(admin, "connections_open") > 1:
                assert time.monotonic() - begun < 30
                for client in slow[::2]:
                    trickle(client)
                time.sleep(0.25)
            seconds = time.monotonic() - begun
            assert get(listen, X_API_Key=RIGHT.text)[0] == 200
        for client in slow:
            client.close()
        say(f"40 slow and half-open clients: gone after {seconds:.1f} s; {probe}")
        assert seconds > 9
        assert (probe.refused, probe.milliseconds(0.99) < SLOW_MS) == (0, True)
        assert figure(admin, "connections_refused_total") == 1


def trickle(client: socket.socket) -> None:
    """One more byte of a head that never ends. Who was cut off cannot send any more."""
    try:
        client.send(b"G")
    except OSError:
        return


def test_bodies_that_never_come_do_not_mix_up_two_clients(served: tuple[str, str]) -> None:
    """A proxy shares a connection between two clients and announces a body that it never sends. The next client's
    request is then either answered for itself, or lies on a connection that was closed: it is never taken for the body.
    """
    listen, _ = served
    stranger = presenting(STRANGERS[0].text)
    announcing = presenting(RIGHT.text).replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % len(stranger))
    seen: Counter[tuple[int, ...]] = Counter()
    for first, second in (
        (announcing, stranger),
        (announcing.replace(b"Content-Length: ", b"Transfer-Encoding: chunked\r\nX: "), stranger),
    ):
        for pause in (0.0, 0.002) * 50:
            answers = []
            with connect(listen) as client, client.makefile("rb") as stream:
                client.sendall(first)
                time.sleep(pause)
                try:
                    client.sendall(second)
                    while True:
                        answers.append(read_answer(stream)[0])
                except (EOFError, ConnectionError):
                    pass
            seen[tuple(answers)] += 1
    say(f"200 announced bodies that never came: answers on one connection were {dict(seen)}")
    assert set(seen) == {(200,)}


def test_a_tampered_hash_is_never_computed(
    own_plane: ControlPlane, own_admin: Kube, keys: None, served: tuple[str, str]
) -> None:
    """A hash that says it takes 4 GiB or a thousand rounds is refused at once, and nobody else notices."""
    listen, admin = served
    for number, cost in enumerate(("m=4194304,t=2,p=1", "m=19456,t=1000,p=1", "m=19456,t=2,p=64")):
        key = mint(3000 + number)
        good = record(key, hashed=Hashing())
        plant(own_admin, f"tampered-{number}", [good | {"hash": good["hash"].replace("m=19456,t=2,p=1", cost)}])
        after = mint(3100 + number)
        plant(own_admin, f"after-{number}", [record(after, hashed=SHA256)])
        eventually(lambda after=after: get(listen, X_API_Key=after.text)[0] == 200)  # type: ignore[misc]
        runs, begun = figure(admin, "argon2_runs_total"), time.monotonic()
        assert get(listen, X_API_Key=key.text)[0] == 401
        say(f"{cost}: refused after {(time.monotonic() - begun) * 1000:.1f} ms")
        assert figure(admin, "argon2_runs_total") == runs
