"""The Prometheus text form of a process's figures. Labels are constants of the program or names of objects, never
anything that a request brought along.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

__all__ = ["CONTENT_TYPE", "Histogram", "Sample", "expose", "labels"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[str, str, str, Mapping[str, float]]
"""One family: name, type, help, and values by label set in text form (``""`` for none). Those of a histogram begin with
the ending of their name, as in ``_bucket{le="1"}``.
"""


def labels(**values: str) -> str:
    """A label set in text form. Values are names that need no escape."""
    return "{" + ",".join(f'{name}="{value}"' for name, value in values.items()) + "}"


def expose(samples: Iterable[Sample]) -> bytes:
    """The Prometheus text exposition format, version 0.0.4."""
    lines: list[str] = []
    for name, kind, text, values in samples:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{label_set} {value:.10g}" for label_set, value in values.items()]
    return ("\n".join(lines) + "\n").encode("ascii")


class Histogram:
    """Counts of what was observed, by upper bounds (the last one, infinity, goes without saying)."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float, *, times: int = 1) -> None:
        """Count a value, several times if it stands for others that were not looked at."""
        self._counts[bisect_left(self._bounds, value)] += times
        self._sum += value * times

    def values(self, **names: str) -> Mapping[str, float]:
        """The values of one label set, for :data:`Sample`."""
        bounds = [*(f"{bound:g}" for bound in self._bounds), "+Inf"]
        plain = labels(**names) if names else ""
        buckets = {
            f"_bucket{labels(**names, le=bound)}": float(count)
            for bound, count in zip(bounds, accumulate(self._counts), strict=True)
        }
        return {**buckets, f"_sum{plain}": self._sum, f"_count{plain}": float(sum(self._counts))}
