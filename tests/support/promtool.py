"""Prometheus' own opinion of an exposition."""

import os
import shutil
import subprocess

import pytest

__all__ = ["complaints"]


def complaints(exposition: str) -> str:
    """What ``promtool check metrics`` has to say against it, parse errors included; empty if nothing.

    Skips the test where there is no promtool, and fails it there if nobody reads skips (CI=true).
    """
    program = shutil.which("promtool")
    if program is None:
        remedy = "there is no promtool: make test-deps"
        if os.environ.get("CI") == "true":
            pytest.fail(remedy)
        pytest.skip(remedy)
    done = subprocess.run(
        [program, "check", "metrics"], input=exposition, text=True, capture_output=True, timeout=30, check=False
    )
    return done.stdout + done.stderr if done.returncode else done.stderr
