"""What a second attempt may hide, and what it may not."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
FLAKY = """
import pathlib

import pytest


@pytest.fixture(scope="module")
def shared():
    return []


@pytest.mark.parametrize("number", range(4))
def test_late(number, shared, tmp_path):
    assert number not in shared, "what the first attempt left is still there"
    shared.append(number)
    seen = pathlib.Path(__file__).with_name(f"seen-{{number}}")
    if number < {late} and not seen.exists():
        seen.touch()
        raise RuntimeError(f"number {{number}} was late")
"""


def run(folder: Path, text: str) -> tuple[int, str]:
    (folder / "test_some.py").write_text(text)
    command = [sys.executable, "-m", "tests.support.second_attempts", "-q", "-p", "no:cov"]
    done = subprocess.run(
        [*command, "--rootdir", str(folder), "-c", "/dev/null", str(folder)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_what_was_repeated_is_shown(tmp_path: Path) -> None:
    """The run passes; it says which tests failed first and of what, and repeats no other."""
    code, said = run(tmp_path, FLAKY.format(late=2))
    assert code == 0, said
    assert "RuntimeError: number 1 was late" in said
    assert "2 failed, 2 passed" in said
    assert "Once more, in a session of its own: test_some.py::test_late[0], test_some.py::test_late[1]\n" in said
    assert "2 passed" in said.partition("Once more")[2]


def test_many_that_are_late_have_failed(tmp_path: Path) -> None:
    code, said = run(tmp_path, FLAKY.format(late=3))
    assert code == 1, said
    assert "3 tests failed: up to 2 would have had a second attempt" in said
    assert "Once more" not in said


def test_what_fails_twice_fails(tmp_path: Path) -> None:
    """There is one second attempt and no third."""
    code, said = run(tmp_path, "def test_wrong():\n    raise RuntimeError('never right')\n")
    assert code == 1, said
    assert said.count("1 failed") == 2


def test_what_is_no_test_that_failed_is_not_repeated(tmp_path: Path) -> None:
    """Tests that cannot be read are nothing that comes right by itself."""
    code, said = run(tmp_path, "import there_is_no_such_module\n")
    assert code == 2, said
    assert "Once more" not in said
