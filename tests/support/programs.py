"""Programs of others that tests ask. Those in tests/support/go are built from the modules pinned there, and Go's own cache
keeps what was compiled: the first build takes minutes, a later one seconds.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

__all__ = ["build", "program"]

MODULE = Path(__file__).with_name("go")


def build(package: str, name: str, folder: Path) -> Path:
    """The program of that package, as ``name`` in the folder. Skips the test where it cannot be built, and fails it there
    if nobody reads skips (CI=true).
    """
    target = folder / name
    command = [
        program("go", remedy="install Go"),
        "build",
        "-trimpath",
        "-ldflags",
        "-s -w",
        "-o",
        str(target),
        package,
    ]
    done = subprocess.run(command, cwd=MODULE, capture_output=True, text=True, timeout=1200, check=False)
    if done.returncode:
        _give_up(f"{package} does not build; Go needs its module proxy for it: {done.stderr.strip().splitlines()[-1]}")
    return target


def program(name: str, *, remedy: str = "make test-deps") -> str:
    """Where the program is. Skips or fails as :func:`build` does."""
    found = shutil.which(name)
    if found is None:
        _give_up(f"there is no {name}: {remedy}")
    return str(found)


def _give_up(why: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)
