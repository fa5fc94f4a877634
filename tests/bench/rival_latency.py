"""What a client waits at each of the rivals, at loads that do not depend on how fast they answer."""

import math
import statistics
from collections.abc import Iterator

from tests.bench import objects
from tests.bench.bench import Bench
from tests.bench.contender import Contender
from tests.bench.line_up import Extent, contest
from tests.bench.measures import Better, Budget, Measure, Point, percentile
from tests.bench.open_loop import Stream, get, play
from tests.bench.proof import prove
from tests.bench.rivalry import FEW

__all__ = ["LATENCY", "by_load"]

LATENCY = "latency"
LOADS = (500, 1_000, 2_000, 5_000, 10_000)
COMPARED = 1_000
SECONDS = 1.0
HELD = 50.0  # milliseconds at the median: beyond that a queue is growing, and the values say how long the run was


def by_load(bench: Bench) -> Iterator[Measure]:
    """p99 of each at rising loads, in turns, until it does not hold one; at one of the loads the median as well. Then
    the highest load that each has held.
    """
    # The client never rests, so a backend on its core would wait for it.
    with contest(bench, FEW, Extent.RIVALS, backend_core=bench.cores.server) as found:
        standing = [each for each in found.contenders if not each.is_argon2]
        for each in standing:
            prove(each)
            _milliseconds(bench, each, COMPARED, 0)
        held = {each.name: 0 for each in standing}
        for load in LOADS:
            taken: dict[str, list[list[float]]] = {each.name: [] for each in standing}
            for turn in range(bench.choose(3, 1)):
                for each in standing:
                    taken[each.name].append(_milliseconds(bench, each, load, turn))
            p99, p50 = (
                {name: [percentile(run, percent) for run in runs] for name, runs in taken.items()}
                for percent in (99, 50)
            )
            standing = [each for each in standing if statistics.median(p50[each.name]) <= HELD]
            for each in standing:
                held[each.name] = load
                yield _budget(each.name, load, 99, Point(LATENCY, each.name, load)).median_of(p99[each.name])
                if load == COMPARED:
                    yield _budget(each.name, load, 50).median_of(p50[each.name])
    for name, load in held.items():
        yield Budget(name=f"{name} holds, of loads up to {LOADS[-1]:,}/s", unit="/s", better=Better.HIGHER).measured(
            load
        )


def _milliseconds(bench: Bench, server: Contender, load: int, seed: int) -> list[float]:
    requests = [get(server.target, key.text) for key in objects.presentable(FEW)]
    stream = Stream(address=server.address, rate=load, requests=requests, status=server.status)
    try:
        play([stream], bench.choose(SECONDS, 0.5), core=bench.cores.client, seed=seed)
    except (AssertionError, ConnectionError):
        # All were proven before: who closes connections or refuses now does not hold the load.
        return [math.inf]
    return [each * 1000 for each in stream.latencies]


def _budget(name: str, load: int, percent: int, point: Point | None = None) -> Budget:
    title = f"{name} at {load:,}/s, p{percent}"
    return Budget(name=title if point else f"  {title}", unit="ms", better=Better.LOWER, point=point)
