"""``python -m tests.support.second_attempts PYTEST-ARGUMENTS``: run tests, and the few that fail once more.

Real processes on a machine that has other things to do can be late for a promise that holds. But what fails now and then
may also be a race of ours: so what failed first is printed like any failure, and more of them than ``MOST`` is one. The
second attempt is a session of its own, on a cluster of its own, so that nothing the first left behind decides it.
"""

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

__all__ = ["MOST", "run"]

MOST = 2
"""So many tests may need a second attempt."""


def run(arguments: Sequence[str]) -> int:
    """The exit code of pytest with these arguments."""
    with tempfile.TemporaryDirectory() as cache:
        here = [*arguments, "-o", f"cache_dir={cache}"]
        code = pytest.main(here)
        if code != pytest.ExitCode.TESTS_FAILED:
            return code
        failed = json.loads(Path(cache, "v/cache/lastfailed").read_text())
        if len(failed) > MOST:
            sys.stdout.write(f"{len(failed)} tests failed: up to {MOST} would have had a second attempt\n")
            return code
        sys.stdout.write(f"\nOnce more, in a session of its own: {', '.join(failed)}\n")
        return pytest.main([*here, "--last-failed", "--last-failed-no-failures=none"])


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
