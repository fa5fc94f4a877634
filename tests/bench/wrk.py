"""wrk: as many requests as one core can take, over 32 connections that never rest."""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.machine import pinned
from tests.bench.measures import SkippedError

__all__ = ["Load"]

CONNECTIONS = 32
TIMEOUT = "10s"  # wrk counts a slower answer as an error; argon2 in a row of 32 takes more than its two seconds
_RATE = re.compile(r"^Requests/sec:\s*([0-9.]+)$", re.MULTILINE)
_TROUBLE = re.compile(r"^\s*(Non-2xx or 3xx responses: .*|Socket errors: .*)$", re.MULTILINE)

# The requests are built before the clock starts; each next one is the next key.
_SCRIPT = """\
local requests, next_one = {{}}, 0
function init()
  for key in io.lines({file}) do
    requests[#requests + 1] = wrk.format("GET", {target}, {{["Authorization"] = "Bearer " .. key}})
  end
end
function request()
  next_one = next_one % #requests + 1
  return requests[next_one]
end
"""


class Load:
    """A load of GET requests for one target with the given plain keys, one after the other, from one core."""

    def __init__(self, folder: Path, keys: Sequence[str], *, target: str, core: int) -> None:
        program = shutil.which("wrk")
        if program is None:
            raise SkippedError("there is no wrk: make test-deps")
        self._program = program
        self._core = core
        self._target = target
        if len(keys) == 1:
            self._arguments = ["--header", f"Authorization: Bearer {keys[0]}"]
        else:
            place = Path(tempfile.mkdtemp(prefix="load-", dir=folder))
            listed, script = place / "keys", place / "load.lua"
            listed.write_text("\n".join(keys) + "\n")
            script.write_text(_SCRIPT.format(file=json.dumps(str(listed)), target=json.dumps(target)))
            self._arguments = ["--script", str(script)]

    def run(self, address: str, seconds: float) -> float:
        """Requests a second that were answered with 2xx; anything else among them is an error."""
        command = [self._program, "--threads", "1", "--connections", str(CONNECTIONS), "--duration"]
        command += [f"{round(seconds)}s", "--timeout", TIMEOUT, *self._arguments, f"http://{address}{self._target}"]
        done = subprocess.run(
            pinned(self._core, command), capture_output=True, text=True, timeout=seconds + 30, check=True
        )
        found, trouble = _RATE.search(done.stdout), _TROUBLE.search(done.stdout)
        assert found is not None, f"wrk said: {done.stdout}"
        assert trouble is None, f"{address} did not answer every request with 2xx: {trouble[1].strip()}"
        return float(found[1])
