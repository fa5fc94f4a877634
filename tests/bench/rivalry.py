"""Requests a second of the verifier, of what one would use in its place, and of proxies with and without it."""

from collections.abc import Iterator, Sequence

from tests.bench import objects
from tests.bench.bench import Bench
from tests.bench.contender import Contender
from tests.bench.contest import Name
from tests.bench.line_up import Extent, contest
from tests.bench.measures import Better, Budget, Measure, Point, median_ratio
from tests.bench.proof import prove
from tests.bench.wrk import Load

__all__ = ["FEW", "RATES", "over_http", "rate", "rates_of"]

FEW, MANY = 10, 100_000
RATES = "rates"
WARM_UP_SECONDS, SECONDS, TURNS = 1, 2, 3
MANY_WARM_UP_SECONDS = 4  # so that also the slowest has met each of ten thousand keys before
# Of these the second is what the first stands against.
PAIRS = (
    (Name.VERIFIER, Name.LIMIT),
    (Name.VERIFIER, Name.STARLETTE),
    (Name.MIDDLEWARE, Name.STARLETTE),
    (Name.NGINX_ASKS, Name.NGINX),
    (Name.ENVOY_ASKS, Name.ENVOY),
    (Name.ENVOY_ASKS, Name.ENVOY_OWN),
    (Name.ENVOY_ASKS_GRPC, Name.ENVOY_ASKS),
    (Name.AUDIT, Name.VERIFIER),
    (Name.MEMORY_LIMITS, Name.VERIFIER),
    (Name.REDIS_LIMITS, Name.VERIFIER),
)


def over_http(bench: Bench) -> Iterator[Measure]:
    """All of them with few keys and with many, and those whose cost may grow with the keys at two sizes between."""
    many = bench.choose(MANY, 2_000)
    sizes = {FEW: Extent.ALL, 1_000: Extent.SHORT, 10_000: Extent.SHORT, many: Extent.RIVALS}
    for keys, extent in sizes.items():
        if bench.quick and keys not in (FEW, many):
            continue
        # Beside the load, so that the other core belongs to what is compared. wrk has room: proxies are slower than it.
        with contest(bench, keys, extent, backend_core=bench.cores.client) as found:
            rates = rates_of(bench, found.contenders, keys)
            found.check()
        for name, runs in rates.items():
            yield rate(name, keys).median_of(runs)
        if extent is not Extent.SHORT:
            yield from _ratios(rates, keys)


def rates_of(bench: Bench, contenders: Sequence[Contender], keys: int) -> dict[str, list[float]]:
    """Prove each with so many keys, then take its runs, in turns. Requests a second, by name."""
    presented = [key.text for key in objects.presentable(keys)]
    loads = {each.name: _load(bench, each, presented) for each in contenders}
    for each in contenders:
        prove(each)
        meets_many = keys >= MANY and each.judges and not each.is_argon2
        loads[each.name].run(each.address, MANY_WARM_UP_SECONDS if meets_many else WARM_UP_SECONDS)
    rates: dict[str, list[float]] = {each.name: [] for each in contenders}
    for _ in range(bench.choose(TURNS, 1)):
        for each in contenders:
            rates[each.name].append(loads[each.name].run(each.address, bench.choose(SECONDS, 1)))
    return rates


def rate(name: str, keys: int) -> Budget:
    """The row of one server with so many keys."""
    return Budget(name=f"{name}, {keys:,} keys", unit="/s", better=Better.HIGHER, point=Point(RATES, name, keys))


def _load(bench: Bench, server: Contender, keys: Sequence[str]) -> Load:
    if server.is_argon2:
        keys = [objects.plain_key(objects.ARGON2_KEY).text]
    elif not server.judges:
        # To them all keys are alike, and wrk is faster with one: it must not be what limits the limit.
        keys = keys[:1]
    return Load(bench.folder, keys, target=server.target, core=bench.cores.client)


def _ratios(rates: dict[str, list[float]], keys: int) -> Iterator[Measure]:
    for ours, theirs in PAIRS:
        if ours in rates and theirs in rates:
            ratio, runs = median_ratio(rates[ours], rates[theirs])
            name = f"  {ours}, {keys:,} keys"
            yield Budget(name=name, unit=f"x {theirs}", better=Better.HIGHER, rival=theirs).measured(ratio, runs)
