"""The run for people and for machines: a table, and build/bench.json."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.bench.measures import Better, Measure

__all__ = ["shown", "table", "write_json"]


def table(measures: Sequence[Measure]) -> str:
    """One line a measure."""
    rows: list[tuple[str, ...]] = [("measure", "value", "floor", "goal", "ok", "runs")]
    for each in measures:
        budget = each.budget
        sign = ">=" if budget.better is Better.HIGHER else "<="
        bounds = [f"{sign} {shown(bound)}" if bound is not None else "" for bound in (budget.floor, budget.goal)]
        spread = f"{shown(min(each.runs))} .. {shown(max(each.runs))}" if len(each.runs) > 1 else ""
        rows.append((budget.name, f"{shown(each.value)} {budget.unit}", *bounds, _word(each), spread))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def shown(value: float) -> str:
    """Three significant digits, and no exponent."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"


def write_json(path: Path, machine: dict[str, Any], measures: Sequence[Measure]) -> None:
    document = {"machine": machine, "measures": [each.as_json() for each in measures]}
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _word(measure: Measure) -> str:
    if measure.budget.floor is None:
        return ""
    if not measure.ok:
        return "MISSED"
    return "goal" if measure.reaches_goal else "floor"
