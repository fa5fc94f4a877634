"""What a request waits: at 1,000 requests a second, and while somebody guesses secrets."""

from collections.abc import Iterator

from tests.bench import budgets, objects
from tests.bench.bench import Bench
from tests.bench.measures import Measure, median_ratio, percentile
from tests.bench.open_loop import Stream, get_verify, play
from tests.bench.verifiers import Verifier, verifier_with
from tests.bench.web_servers import nginx

__all__ = ["added", "under_flood"]

KEYS = 10_000
RATE = 1000.0
FLOOD_RATE = 5000.0
# Many short turns: whatever else runs on the machine spoils some of them, and the median leaves those out.
PAIRS = 9
SECONDS = 1.0


def added(bench: Bench) -> Iterator[Measure]:
    """p99 of the verifier less that of nginx, at the same rate, by the same client, in turns."""
    request = get_verify(objects.plain_key(0).text)
    core = bench.cores.server
    differences: list[float] = []
    with nginx(bench, core=core) as bare, verifier_with(bench, KEYS, core=core) as ours:
        for turn in range(bench.choose(PAIRS, 3)):
            p99 = []
            for address, status in ((bare, 204), (ours.address, 200)):
                stream = Stream(address=address, rate=RATE, requests=[request], status=status)
                play([stream], SECONDS, core=bench.cores.client, seed=turn)
                p99.append(percentile(stream.latencies, 99) * 1000)
            differences.append(p99[1] - p99[0])
    yield budgets.ADDED_LATENCY.median_of(differences)


def under_flood(bench: Bench) -> Iterator[Measure]:
    """p99 of a proven key, 1,000 times a second, with and without wrong secrets for the ids of other keys."""
    count = int(FLOOD_RATE)
    # Ids whose stored hash is argon2id: a guess that got past the fingerprint would cost a run.
    targets = [number for number in range(KEYS) if not objects.is_presentable(number)]
    guesses = [get_verify(objects.wrong_secret(targets[each % len(targets)], each)) for each in range(count)]
    calm: list[float] = []
    flooded: list[float] = []
    with verifier_with(bench, KEYS, core=bench.cores.server) as ours:
        _valid_p99(bench, ours, [], 0)
        before = ours.count("argon2_runs_total")
        for turn in range(bench.choose(PAIRS, 3)):
            calm.append(_valid_p99(bench, ours, [], turn))
            flooded.append(_valid_p99(bench, ours, guesses, turn))
        runs = ours.count("argon2_runs_total") - before
        assert ours.count("fingerprint_refusals_total") > 0, "the guesses were not refused by fingerprint"
    ratio, ratios = median_ratio(flooded, calm)
    yield budgets.FLOOD.measured(ratio, ratios)
    yield budgets.FLOOD_P99.median_of([each * 1000 for each in flooded])
    yield budgets.ARGON2_IN_FLOOD.measured(runs)


def _valid_p99(bench: Bench, ours: Verifier, guesses: list[bytes], seed: int) -> float:
    valid = Stream(address=ours.address, rate=RATE, requests=[get_verify(objects.plain_key(0).text)], status=200)
    streams = [valid]
    if guesses:
        streams.append(Stream(address=ours.address, rate=FLOOD_RATE, requests=guesses, status=401))
    play(streams, SECONDS, core=bench.cores.client, seed=seed)
    return percentile(valid.latencies, 99)
