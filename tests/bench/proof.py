"""Before a server is timed: does it do what its row says?"""

import http.client
import time

from tests.bench import objects
from tests.bench.contender import Contender

__all__ = ["prove"]

PATIENCE = 240.0
POLL_SECONDS = 0.05
NOT_YET = (0, 404, 503)  # nobody listens; Authorino knows no such host yet; the keys have not been read


def prove(server: Contender) -> None:
    """A server that judges answers the right key with 200 and its id, and a wrong secret for the same id with 401;
    one that does not answers both alike. A server that has not read its keys yet is waited for.

    Raises:
        AssertionError: for any other answer.

    """
    number = objects.ARGON2_KEY if server.is_argon2 else 0
    key = objects.plain_key(number)
    expected = (server.status, key.key_id if server.shows else None)
    deadline = time.monotonic() + PATIENCE
    while (said := _ask(server, key.text)) != expected:
        assert said[0] in NOT_YET, f"{server.name} answered a right key with {said}"
        assert time.monotonic() < deadline, f"{server.name} still answers {said} after {PATIENCE:.0f} s"
        time.sleep(POLL_SECONDS)
    said = _ask(server, objects.wrong_secret(number, 0))
    assert said == ((401, None) if server.judges else expected), f"{server.name} answered a wrong key with {said}"


def _ask(server: Contender, key: str) -> tuple[int, str | None]:
    connection = http.client.HTTPConnection(server.address, timeout=10)
    try:
        connection.request("GET", server.target, headers={"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        response.read()
        return response.status, response.getheader(server.shows) if server.shows else None
    except ConnectionRefusedError:
        return 0, None
    finally:
        connection.close()
