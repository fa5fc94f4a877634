"""What is measured against what: a budget, a measure, and the statistics between them."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

__all__ = ["Better", "Budget", "Measure", "Point", "SkippedError", "median_ratio", "percentile"]


class SkippedError(Exception):
    """A measure cannot be taken here; the text is one line that names the remedy."""


class Better(StrEnum):
    """In which direction a value improves."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True, slots=True)
class Point:
    """Where a value belongs in a plot: which plot, which of its series, and at what (keys, requests a second)."""

    plot: str
    series: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A measured value. ``runs`` are the single values it was taken from, in their order."""

    budget: "Budget"
    value: float
    runs: tuple[float, ...]

    @property
    def ok(self) -> bool:
        """Whether the floor is met; a measure without a floor always is."""
        return self.budget.floor is None or self.budget.is_met(self.value, self.budget.floor)

    @property
    def reaches_goal(self) -> bool:
        return self.budget.goal is not None and self.budget.is_met(self.value, self.budget.goal)

    def as_json(self) -> dict[str, Any]:
        budget = self.budget
        return {
            "name": budget.name,
            "value": _rounded(self.value),
            "unit": budget.unit,
            "better": str(budget.better),
            "floor": budget.floor,
            "goal": budget.goal,
            "rival": budget.rival,
            "point": asdict(budget.point) if budget.point else None,
            "runs": [_rounded(each) for each in self.runs],
            "ok": self.ok,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A row of the table. Without ``floor`` the measure is there for comparison and cannot fail."""

    name: str
    unit: str
    better: Better
    floor: float | None = None
    goal: float | None = None
    rival: str | None = None
    point: Point | None = None

    def is_met(self, value: float, bound: float) -> bool:
        return value >= bound if self.better is Better.HIGHER else value <= bound

    def measured(self, value: float, runs: Sequence[float] = ()) -> Measure:
        return Measure(budget=self, value=value, runs=tuple(runs) or (value,))

    def median_of(self, runs: Sequence[float]) -> Measure:
        return self.measured(statistics.median(runs), runs)


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank: a value that was really seen, so p99 of 100 is the second largest."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(percent / 100 * len(ordered))) - 1]


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, list[float]]:
    """Median of the ratios of runs that stood next to each other, and these ratios."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(ratios), ratios


def _rounded(value: float) -> float:
    """Four significant digits; nobody can measure more here."""
    return float(f"{value:.4g}")
