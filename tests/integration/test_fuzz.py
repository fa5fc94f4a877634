"""Whatever bytes a client sends: verdicts and plain HTTP errors, and nothing else. Twenty thousand times, by one seed.

``pytest tests/integration/test_fuzz.py -q -rP`` shows what was answered.
"""

import json
import random
import re
import socket
import time
from collections import Counter
from pathlib import Path

from keywright_local import ControlPlane
from tests.bench.machine import resident_mib
from tests.support.kube import Kube
from tests.support.processes import Process, figure, say, verifier
from tests.support.raw_http import connect, exchange
from tests.unit.verifier.builders import mint

FUZZED = 20_000
SHAPES = [
    b"GET /verify HTTP/1.1\r\nHost: v\r\nX-API-Key: %b\r\nX-Forwarded-Uri: /api/a?b=c\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Host: a.b\r\n\r\n",
    b"POST /verify?scope=a:b&deny=nginx HTTP/1.1\r\nHost: v\r\nAuthorization: Bearer %b\r\nContent-Length: 0\r\n\r\n",
    b"GET /verify HTTP/1.0\r\nAuthorization: ApiKey %b\r\nConnection: keep-alive\r\n\r\n",
    b"PUT /verify/%%2e%%2e/a HTTP/1.1\r\nHost: [::1]:80\r\nX-API-Key: %b\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HEAD /verify HTTP/1.1\r\nHost: v\r\nX-API-Key:\t%b \r\nX-Forwarded-Uri: /healthz\r\nX-Forwarded-Method: HEAD\r\nX-Forwarded-Host: a\r\ntraceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n",
    b"OPTIONS /verify HTTP/1.1\r\nHost: v\r\nX-API-Key: %b\r\nUpgrade: h2c\r\nConnection: Upgrade, close\r\nExpect: 100-continue\r\n\r\n",
]
BITS = [
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\0",
        b" ",
        b"\t",
        b":",
        b",",
        b"/",
        b"//",
        b"?",
        b"%",
        b"%2f",
        b"%00",
        b"..",
        b";",
        b"#",
        b"\xff",
        b"\x80",
    ),
    *(
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Host: w\r\n",
        b"X-API-Key: x\r\n",
        b"\r\n\r\n",
        b"-1",
    ),
    *(
        b"HTTP/1.1",
        b"Authorization: Bearer\r\n",
        b"A" * 300,
        b"a:b\r\n" * 150,
        b"9" * 40,
        b"\x16\x03\x01",
        b"PRI * HTTP/2.0",
    ),
]
RULES = "rules:\n- {path: /healthz, allow: anonymous}\n- {path: /api/*, methods: [GET]}\n"
PLAIN_HTTP = {"400", "401", "403", "404", "408", "414", "431"}
VERDICTS = {
    *("200", "400 invalid_request", "401 missing_key", "401 malformed_key", "401 invalid_key", "403 forbidden"),
    *("403 insufficient_scope", "403 invalid_request"),
}


def mutated(rng: random.Random, right: str) -> bytes:
    """One or two requests with some bytes changed, moved, doubled or missing."""
    key = rng.choice([right, right, mint(1).text, right[:-1]]).encode()
    raw = bytearray(b"".join(rng.choice(SHAPES) % key for _ in range(rng.choice([1, 1, 1, 2]))))
    for _ in range(rng.choice([1, 1, 2, 3, 8])):
        at_byte, to_byte = sorted(rng.choices(range(len(raw) + 1), k=2))
        match rng.randrange(6):
            case 0:
                raw[at_byte:at_byte] = rng.choice(BITS)
            case 1:
                raw[at_byte : at_byte + 1] = bytes([rng.randrange(256)])
            case 2:
                del raw[at_byte : min(to_byte, at_byte + 40)]
            case 3:
                raw[at_byte:at_byte] = raw[at_byte:to_byte]
            case 4:
                del raw[at_byte:]
            case _:
                raw[at_byte : at_byte + 4] = rng.choice(BITS)
    return bytes(raw)


def test_twenty_thousand_mutated_requests(
    plane: ControlPlane, admin: Kube, namespace: str, shared_operator: Process, tmp_path: Path
) -> None:
    """With rules and an audit log: every answer is a verdict of the table or a plain HTTP error, none allows what holds
    no right key but what is open to everybody, nothing is thrown, and memory stays where it was.
    """
    rng, audit = random.Random(20261121), tmp_path / "audit.jsonl"
    (tmp_path / "rules.yaml").write_text(RULES)
    admin.apikey(namespace, "key")
    admin.wait(namespace, "key", Active="True")
    right = admin.plain_key(namespace, "key")
    flags = [
        "--usage",
        "off",
        "--rules",
        str(tmp_path / "rules.yaml"),
        "--request-from",
        "forwarded",
        "--audit",
        str(audit),
    ]
    with verifier(plane.kubeconfig, tmp_path / "log", *flags, namespaces=[namespace]) as (process, listen, metrics):
        whole = SHAPES[0] % right.encode()
        assert exchange(listen, [whole] * 2000) == {"200": 2000}
        size, begun = resident_mib(process.popen.pid), time.monotonic()
        found: Counter[str] = Counter()
        for _ in range(FUZZED):
            raw = mutated(rng, right)
            for answer in answers_to(listen, raw):
                found[answer] += 1
                # Only an answer to HEAD has no body that says which verdict it is.
                assert answer not in ("401", "403") or b"HEAD" in raw, raw
                assert answer != "200" or right.encode() in raw or b"/healthz" in raw, raw
        seconds = time.monotonic() - begun
        grown = resident_mib(process.popen.pid) - size
        assert exchange(listen, [whole]) == {"200": 1}
        refused = figure(metrics, "http_errors_total")
        assert process.stop() == 0
    say(
        f"{FUZZED:,} mutated requests in {seconds:.0f} s: {refused:.0f} plain HTTP errors, memory {grown:+.1f} MiB; "
        f"answers {dict(found.most_common())}"
    )
    assert set(found) <= VERDICTS | PLAIN_HTTP
    assert len(found) > 8
    assert grown < 8
    assert "Traceback" not in process.log
    assert "failed" not in process.log
    for line in audit.read_text(encoding="ascii").splitlines():
        assert json.loads(line)["verdict"] in ("allowed", "refused")
    assert right[-49:] not in audit.read_text()


def answers_to(address: str, raw: bytes) -> list[str]:
    """Every answer until the verifier closes, which it does because we say that nothing more will come."""
    with connect(address) as client:
        try:
            client.sendall(raw)
            client.shutdown(socket.SHUT_WR)
            received = b"".join(iter(lambda: client.recv(65536), b""))
        except ConnectionError:
            # What is still under way to a connection that was closed may be answered by a reset.
            return []
    heads = re.findall(
        rb'HTTP/1\.1 (\d{3}) (?:(?!HTTP/1\.1 \d{3} ).)*?(?:"code": "([a-z_]+)"|(?=HTTP/1\.1 \d{3} )|\Z)',
        received,
        re.DOTALL,
    )
    assert bool(heads) == bool(received), received
    return [f"{status} {code}".strip() for status, code in ((a.decode(), b.decode()) for a, b in heads)]
