"""build/bench.svg: the figures at a glance, for the README.

Text and bars are of middle tones on a transparent ground, so that they stand out from a white page and from a
dark one alike (at least 4:1 and 3:1); no style sheet has to guess which it is.
"""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.bench.budgets import NGINX
from tests.bench.measures import Better, Measure
from tests.bench.report import shown

__all__ = ["write"]

TEXT = "#6e7781"
OURS, OTHERS, MISSED = "#2f81f7", "#8b949e", "#d1483c"
GOAL = "#bf8700"
BAR = 0.62
LABEL_ROOM = 1.25  # of the width of the bars, for the values beside them
MOST = 100.0  # times better than its floor: beyond that a bar would only dwarf the others


def write(path: Path, measures: Sequence[Measure]) -> None:
    """Draw what was measured; nothing where nothing was."""
    throughput = [each for each in measures if each.budget.unit == "x nginx"]
    # A floor of nothing leaves no ratio to draw.
    headroom = [each for each in measures if each.budget.floor and each not in throughput]
    heights = [len(each) + 1.6 for each in (throughput, headroom) if each]
    if not heights:
        return
    with mpl.rc_context({"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "keywright", "text.color": TEXT}):
        figure = Figure(figsize=(9, 0.34 * sum(heights) + 0.5), layout="constrained")
        axes = iter(figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0])
        if throughput:
            _draw_throughput(next(axes), throughput)
        if headroom:
            _draw_headroom(next(axes), headroom)
        figure.savefig(path, transparent=True, metadata={"Date": None})


def _draw_throughput(axes: Axes, measures: Sequence[Measure]) -> None:
    """Requests a second on one core, nginx being 1."""
    names = [NGINX, *(each.budget.name.strip() for each in measures)]
    values = [1.0, *(each.value for each in measures)]
    colors = [OTHERS, *(_color(each) if each.budget.floor else OTHERS for each in measures)]
    axes.barh(names, values, BAR, color=colors)
    axes.set_xlim(0, max(values) * LABEL_ROOM)
    for row, value in enumerate(values):
        _label(axes, row, f"{value:.2f}")
    for row, each in enumerate(measures, start=1):
        _mark(axes, row, each.budget.floor, each.budget.goal)
    _style(axes, f"Requests a second over HTTP on one core ({NGINX} is 1)")


def _draw_headroom(axes: Axes, measures: Sequence[Measure]) -> None:
    """How many times better than its floor each measure is, on a logarithmic scale."""
    names = [each.budget.name.strip() for each in measures]
    values = [_headroom(each, each.value) for each in measures]
    # On a logarithmic scale nothing starts at zero: every bar grows from its floor, to whichever side.
    axes.barh(names, [value - 1 for value in values], BAR, left=1, color=[_color(each) for each in measures])
    axes.set_xscale("log")
    low, high = min(*values, 1) * 0.9, max(*values, 2)
    axes.set_xlim(low, low * (high / low) ** LABEL_ROOM)
    for row, each in enumerate(measures):
        _label(axes, row, f"{shown(each.value)} {each.budget.unit}")
        _mark(axes, row, 1, _headroom(each, each.budget.goal) if each.budget.goal else None)
    _style(axes, "Times better than the floor (long line); the goal is the short line")


def _headroom(measure: Measure, value: float) -> float:
    floor = measure.budget.floor
    assert floor
    if measure.budget.better is Better.HIGHER:
        return value / floor
    return min(floor / value, MOST) if value > 0 else MOST


def _label(axes: Axes, row: int, text: str) -> None:
    axes.annotate(text, (1, row), xycoords=("axes fraction", "data"), ha="right", va="center")


def _mark(axes: Axes, row: int, floor: float | None, goal: float | None) -> None:
    for at, reach, color in ((floor, 0.46, TEXT), (goal, 0.36, GOAL)):
        if at is not None:
            axes.plot([at, at], [row - reach, row + reach], color=color, linewidth=1.6)


def _color(measure: Measure) -> str:
    return OURS if measure.ok else MISSED


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=TEXT)
    axes.margins(y=0.01)
    axes.invert_yaxis()
    axes.tick_params(colors=TEXT, length=0)
    axes.xaxis.set_visible(False)
    for side in axes.spines.values():
        side.set_visible(False)
