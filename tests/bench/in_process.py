"""The decision without HTTP, and the answer without sockets, timed call by call."""

import asyncio
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice, repeat
from typing import Any, TypeVar

from keywright.domain.keyclass import BUILT_IN_NAME
from keywright.verifier.assembly import assemble
from keywright.verifier.http.request import Request
from keywright.verifier.http.timed import TimedHandler
from keywright.verifier.http.watched import Watched
from keywright.verifier.keys.acceptance import BUILT_IN_CLASS
from keywright.verifier.keys.credentials import Presented
from keywright.verifier.keys.engine import Engine
from keywright.verifier.keys.records import Entry
from keywright.verifier.metrics import Metrics
from keywright.verifier.settings import VerifierSettings
from tests.bench import budgets, objects
from tests.bench.bench import Bench
from tests.bench.machine import on_core
from tests.bench.measures import Measure, percentile
from tests.bench.open_loop import get_verify

__all__ = ["decision"]

KEYS = 10_000
CALLS = 20_000
COUNTS = 200_000

T = TypeVar("T")


@dataclass
class _Watch:
    """A watch that has synced and was heard of just now."""

    synced: asyncio.Event = field(default_factory=asyncio.Event)
    heard_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.synced.set()


def decision(bench: Bench) -> Iterator[Measure]:
    """``Engine.judge`` on proven keys, then everything between a request's bytes and those of its answer, and what of that
    goes into metrics.
    """
    parts = assemble(VerifierSettings(), [_Watch()])
    for number in range(KEYS):
        parts.index.put(objects.manifest(number))
    keys = [objects.plain_key(number).text for number in range(KEYS) if objects.is_presentable(number)]
    engine = Engine(parts.index, parts.prover, parts.metrics)
    now = time.time()

    def answer(head: bytes) -> Any:
        assert request.read(head) is None
        return parts.verify_hub.answer(request)

    request = Request(parts.verify_hub.watched, parts.verify_hub.limits)
    presented = [Presented(key.encode(), {BUILT_IN_NAME: BUILT_IN_CLASS}) for key in keys]
    heads = [get_verify(key) for key in keys]
    # The first time round proves each key.
    assert all(isinstance(engine.judge(each, now), Entry) for each in presented)
    assert all(answer(each).startswith(b"HTTP/1.1 200 ") for each in heads)
    proven = parts.metrics.proof_hits
    runs, answers, counts = [], [], []
    with on_core(bench.cores.client):
        for _ in range(bench.choose(5, 3)):
            runs.append(_p50(engine.judge, presented, now))
            answers.append(_p50(answer, heads))
            counts.append(_Counting(request).nanoseconds())
    assert parts.metrics.proof_hits - proven == 2 * CALLS * len(runs), "a decision was made without a proof"
    parts.prover.close()
    yield budgets.DECISION.median_of(runs)
    yield budgets.ANSWER.median_of(answers)
    yield budgets.METRICS.median_of(counts)


@dataclass
class _Nothing:
    """A handler that has its answer ready."""

    watched: Watched

    def answer(self, _request: Request) -> bytes:
        return b""


class _Counting:
    """What is counted of a request with a proven key that is allowed, and nothing else of it."""

    def __init__(self, request: Request) -> None:
        self._metrics = Metrics()
        self._request = request
        self._bare = _Nothing(Watched())
        self._timed = TimedHandler(self._bare, self._metrics.answer_seconds)

    def nanoseconds(self) -> float:
        """How much longer a request takes with it than without."""
        without = self._without()
        return (self._with() - without) / COUNTS

    def _with(self) -> int:
        answer, request, begun = self._timed.answer, self._request, time.perf_counter_ns()
        for _ in repeat(None, COUNTS):
            answer(request)
            self._metrics.proof_hits += 1
            self._metrics.allowed += 1
        return time.perf_counter_ns() - begun

    def _without(self) -> int:
        answer, request, begun = self._bare.answer, self._request, time.perf_counter_ns()
        for _ in repeat(None, COUNTS):
            answer(request)
        return time.perf_counter_ns() - begun


def _p50(call: Callable[..., Any], arguments: Sequence[T], *more: Any) -> float:
    """Median microseconds of a call, the clock's own reading (some 50 ns) included."""
    clock, taken = time.perf_counter_ns, []
    gc.disable()
    try:
        for argument in islice(cycle(arguments), CALLS):
            begun = clock()
            call(argument, *more)
            taken.append(clock() - begun)
    finally:
        gc.enable()
    return percentile(taken, 50) / 1000
