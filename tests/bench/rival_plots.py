"""Plots of the rivals, in the colours of plot.py: requests a second, cost by number of keys, latency by load."""

from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from tests.bench.contest import Name
from tests.bench.measures import Measure
from tests.bench.plot import BAR, GOAL, LABEL_ROOM, OTHERS, OURS, TEXT
from tests.bench.report import shown
from tests.bench.rival_latency import LATENCY
from tests.bench.rivalry import FEW, RATES

__all__ = ["write"]

# The verifier's own lines are solid; a colour for each kind, at least 3:1 on white and on black.
GREEN, VIOLET = "#2a9d4b", "#a06bea"
LINES: dict[str, tuple[str, str]] = {
    Name.LIMIT: (TEXT, ":"),
    Name.VERIFIER: (OURS, "-"),
    Name.NGINX: (GREEN, ":"),
    Name.NGINX_ASKS: (GREEN, "-"),
    Name.ENVOY: (VIOLET, ":"),
    Name.ENVOY_OWN: (VIOLET, "--"),
    Name.ENVOY_ASKS: (VIOLET, "-"),
    Name.ENVOY_ASKS_GRPC: (VIOLET, "-."),
    Name.STARLETTE: (GOAL, "--"),
    Name.MIDDLEWARE: (GOAL, "-"),
}
LEAST_POINTS = 2  # of a line

Series = dict[str, dict[float, float]]


def write(folder: Path, measures: Sequence[Measure]) -> None:
    """rivals.svg, rivals-cost.svg and rivals-latency.svg; none of what was not measured."""
    rates, latencies = _series(measures, RATES), _series(measures, LATENCY)
    # One core did nothing else, so the time of a request is the inverse of its rate.
    costs = {name: {at: 1e6 / rate for at, rate in values.items()} for name, values in rates.items()}
    most = max(map(len, costs.values()), default=0)
    whole = {name: values for name, values in costs.items() if len(values) == most and name in LINES}
    with mpl.rc_context({"font.size": 10, "svg.fonttype": "none", "svg.hashsalt": "keywright", "text.color": TEXT}):
        if rates:
            height = 0.34 * len(rates) + 0.8
            _save(folder / "rivals.svg", height, lambda axes: _draw_rates(axes, rates))
        if _has_lines(whole):
            title = "Microseconds of one core for a request, by number of keys"
            _save(folder / "rivals-cost.svg", 3.4, lambda axes: _draw_lines(axes, whole, title, "keys"))
        if _has_lines(latencies):
            title = "Milliseconds that one request in a hundred waits (p99), by load"
            unit = "requests a second"
            _save(folder / "rivals-latency.svg", 4.4, lambda axes: _draw_lines(axes, latencies, title, unit))


def _series(measures: Sequence[Measure], plot: str) -> Series:
    found: Series = {}
    for each in measures:
        point = each.budget.point
        if point is not None and point.plot == plot:
            found.setdefault(point.series, {})[point.at] = each.value
    return {name: found[name] for name in Name if name in found}


def _has_lines(series: Series) -> bool:
    return any(len(values) >= LEAST_POINTS for values in series.values())


def _save(path: Path, height: float, draw: Callable[[Axes], None]) -> None:
    figure = Figure(figsize=(9, height), layout="constrained")
    draw(figure.subplots())
    figure.savefig(path, transparent=True, metadata={"Date": None})


def _draw_rates(axes: Axes, rates: Series) -> None:
    """A bar for few keys and a line across it for many."""
    few = [values.get(FEW, 0.0) for values in rates.values()]
    most = max(max(values.values()) for values in rates.values())
    axes.barh(list(rates), few, BAR, color=[OURS if _has_verifier(name) else OTHERS for name in rates])
    axes.set_xlim(0, most * LABEL_ROOM)
    sizes = max(rates.values(), key=len)
    for row, values in enumerate(rates.values()):
        many = values.get(max(sizes)) if max(sizes) > FEW else None
        if many is not None:
            axes.plot([many, many], [row - 0.42, row + 0.42], color=GOAL, linewidth=1.8)
        text = " / ".join(shown(round(each)) for each in (values.get(FEW), many) if each is not None)
        axes.annotate(text, (1, row), xycoords=("axes fraction", "data"), ha="right", va="center")
    axes.invert_yaxis()
    axes.xaxis.set_visible(False)
    _style(axes, f"Requests a second on one core: {FEW} keys (bar) / {max(sizes):,.0f} keys (line)")


def _draw_lines(axes: Axes, series: Series, title: str, unit: str) -> None:
    for name, values in series.items():
        color, dashes = LINES[name]
        width = 2.4 if name == Name.VERIFIER else 1.6
        axes.plot(
            list(values),
            list(values.values()),
            dashes,
            color=color,
            linewidth=width,
            marker="o",
            markersize=3.5,
            label=name,
        )
    ticks = sorted({at for values in series.values() for at in values})
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(ticks, [f"{each:,.0f}" for each in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: shown(value)))
    axes.yaxis.set_minor_formatter(FuncFormatter(lambda value, _: shown(value) if str(value)[0] in "25" else ""))
    axes.set_xlabel(unit, color=TEXT)
    axes.grid(visible=True, color=OTHERS, alpha=0.35, linewidth=0.6)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, labelcolor=TEXT)
    _style(axes, title)


def _has_verifier(name: str) -> bool:
    return "verifier" in name or name == Name.MIDDLEWARE


def _style(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, fontweight="bold", color=TEXT)
    axes.tick_params(which="both", colors=TEXT, length=0)
    for side in axes.spines.values():
        side.set_visible(False)
