"""What a second attempt may hide, and what it may not."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
FLAKY = """
import pytest

seen = set()

@pytest.mark.parametrize("number", range({count}))
def test_late(number):
    if number not in seen:
        seen.add(number)
        raise RuntimeError(f"number {{number}} was late")
"""


def run(folder: Path, text: str) -> tuple[int, str]:
    (folder / "test_some.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "tests.support.second_attempts", "--reruns", "1", "-q"]
    done = subprocess.run(
        [*command, "--rootdir", str(folder), "-c", "/dev/null", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_what_was_repeated_is_shown(tmp_path: Path) -> None:
    """The run passes, and says which test failed first and of what."""
    code, said = run(tmp_path, FLAKY.format(count=2))
    assert code == 0, said
    assert "2 passed, 2 rerun" in said
    assert "failed, and run once more" in said
    assert "RuntimeError: number 1 was late" in said


def test_what_is_often_repeated_fails(tmp_path: Path) -> None:
    """More second attempts than a run may need are a failure, although every test has passed in the end."""
    code, said = run(tmp_path, FLAKY.format(count=3))
    assert code == 1, said
    assert "3 tests needed a second attempt, 2 may: the run has failed" in said


def test_what_fails_twice_fails(tmp_path: Path) -> None:
    """There is one second attempt and no third."""
    code, said = run(tmp_path, "def test_wrong():\n    raise RuntimeError('never right')\n")
    assert code == 1, said
    assert "1 failed, 1 rerun" in said
