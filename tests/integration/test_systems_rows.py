"""Every row of what the three systems do has one test that proves it, and is told in the README of its example."""

import re
from collections import Counter

import pytest

from tests.integration import test_systems_kubevision, test_systems_kubiya, test_systems_kupe
from tests.support.installed_system import ROOT
from tests.support.system_rows import ROWS, Row, proofs

PROOFS = proofs(test_systems_kubiya, test_systems_kupe, test_systems_kubevision)


def row_id(row: Row) -> str:
    return f"{row.system}: {row.behaviour}"


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_a_row_has_exactly_one_proof(row: Row) -> None:
    """In the module of its system."""
    (test,) = [test for proven, test in PROOFS if proven == row]
    assert test.startswith(f"test_systems_{row.system}.py::")


@pytest.mark.parametrize("row", ROWS, ids=row_id)
def test_a_row_is_told_in_its_example(row: Row) -> None:
    """Word for word, with the test that proves it, and without putting anything off."""
    table = (ROOT / "examples" / row.system / "README.md").read_text()
    (test,) = [test for proven, test in PROOFS if proven == row]
    (line,) = [line for line in table.splitlines() if line.startswith(f"| {row.behaviour} |")]
    assert f"`{test.partition('::')[2]}`" in line
    assert "to come" not in line


def test_the_examples_tell_no_other_rows() -> None:
    """So that no promise stands there that nobody proves."""
    told: Counter[str] = Counter()
    for system in {row.system for row in ROWS}:
        table = (ROOT / "examples" / system / "README.md").read_text()
        told[system] = len(re.findall(r"^\| .* \| `test_\w+` \|$", table, re.MULTILINE))
    assert told == Counter(row.system for row in ROWS)
