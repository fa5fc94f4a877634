"""What a program does that makes keys: ask the key service, over TLS, with the token of the account it runs as.

It lists the keys of its namespace again and again, by turns on a new connection and on one of those it keeps, and prints
every second what it has got since, as JSON. Nothing is asked twice: what fails is counted. With ``--once METHOD PATH`` it
asks that alone, with the standard input as the body if there is any, and prints status and answer. Runs in a pod, with
the standard library alone.
"""

import argparse
import collections
import http.client
import itertools
import json
import select
import ssl
import sys
import time
from pathlib import Path

PAUSE_SECONDS = 0.1
REPORT_SECONDS = 1.0
KEPT = 4
AUTHORITY = Path("/pods/ca.crt")
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def connect(host: str) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(host, timeout=60, context=ssl.create_default_context(cafile=str(AUTHORITY)))


def ask(connection: http.client.HTTPSConnection, method: str, path: str, body: str = "") -> tuple[int, str]:
    """Status and answer."""
    sent = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
    if body:
        sent["Content-Type"] = "application/json"
    connection.request(method, path, body or None, sent)
    response = connection.getresponse()
    return response.status, response.read().decode()


def let_go(connection: http.client.HTTPSConnection) -> None:
    """Close what the other end has closed, as every client with a pool does before it uses a connection again."""
    if connection.sock is not None and select.select([connection.sock], [], [], 0)[0]:
        connection.close()


def call(connection: http.client.HTTPSConnection, path: str) -> str:
    """The status of one listing, or why there is none."""
    let_go(connection)
    how = "new" if connection.sock is None else "kept"
    try:
        return str(ask(connection, "GET", path)[0])
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        return f"{how} connection: {type(error).__name__}: {error}"


def call_for_ever(host: str, path: str) -> None:
    """List and report, until somebody ends the pod."""
    kept = itertools.cycle([connect(host) for _ in range(KEPT)])
    while True:
        answers: collections.Counter[str] = collections.Counter()
        until = time.monotonic() + REPORT_SECONDS
        while time.monotonic() < until:
            fresh = connect(host)
            for connection in (fresh, next(kept)):
                answers[call(connection, path)] += 1
                time.sleep(PAUSE_SECONDS)
            fresh.close()
        say({"answers": answers, "keyIds": {}})


def say(what: object) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("--once", nargs=2, metavar=("METHOD", "PATH"))
    options = parser.parse_args()
    keys = f"/v1/namespaces/{(ACCOUNT / 'namespace').read_text()}/keys"
    if options.once:
        method, path = options.once
        status, answer = ask(connect(options.host), method, keys + path, sys.stdin.read())
        say({"status": status, "answer": json.loads(answer)})
    else:
        call_for_ever(options.host, keys)


if __name__ == "__main__":
    main()
