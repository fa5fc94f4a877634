"""wrk: as many requests as one core can take, over 32 connections that never rest."""

import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.bench.machine import pinned
from tests.bench.measures import SkippedError

__all__ = ["Load", "check_answer"]

CONNECTIONS = 32
_RATE = re.compile(r"^Requests/sec:\s*([0-9.]+)$", re.MULTILINE)
_TROUBLE = re.compile(r"^\s*(Non-2xx or 3xx responses: .*|Socket errors: .*)$", re.MULTILINE)

# The requests are built before the clock starts; each next one is the next key.
_SCRIPT = """\
local requests, next_one = {{}}, 0
function init()
  for key in io.lines({file}) do
    requests[#requests + 1] = wrk.format("GET", "/verify", {{["Authorization"] = "Bearer " .. key}})
  end
end
function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end
"""


class Load:
    """A load of GET /verify with the given plain keys, one after the other, from one core."""

    def __init__(self, folder: Path, keys: Sequence[str], *, core: int) -> None:
        program = shutil.which("wrk")
        if program is None:
            raise SkippedError("there is no wrk: make test-deps")
        self._program = program
        self._core = core
        if len(keys) == 1:
            self._arguments = ["--header", f"Authorization: Bearer {keys[0]}"]
        else:
            listed = folder / f"keys-{len(keys)}"
            listed.write_text("\n".join(keys) + "\n")
            script = folder / f"keys-{len(keys)}.lua"
            script.write_text(_SCRIPT.format(file=json.dumps(str(listed))))
            self._arguments = ["--script", str(script)]

    def run(self, address: str, seconds: float) -> float:
        """Requests a second that were answered with 2xx; anything else among them is an error."""
        command = [self._program, "--threads", "1", "--connections", str(CONNECTIONS), "--duration"]
        command += [f"{round(seconds)}s", *self._arguments, f"http://{address}/verify"]
        done = subprocess.run(
            pinned(self._core, command), capture_output=True, text=True, timeout=seconds + 30, check=True
        )
        found, trouble = _RATE.search(done.stdout), _TROUBLE.search(done.stdout)
        assert found is not None, f"wrk said: {done.stdout}"
        assert trouble is None, f"{address} did not answer every request with 2xx: {trouble[1].strip()}"
        return float(found[1])


def check_answer(address: str, key: str, *, key_id: str | None) -> None:
    """One request as the load sends it: 200 with the identity of ``key_id``, or 204 of a server that knows none."""
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", "/verify", headers={"Authorization": f"Bearer {key}"})
        response = connection.getresponse()
        response.read()
        said = (response.status, response.getheader("X-Auth-Key-Id"))
        assert said == ((204, None) if key_id is None else (200, key_id)), f"{address} answered {said}"
    finally:
        connection.close()
