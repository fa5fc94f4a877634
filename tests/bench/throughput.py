"""Requests a second over HTTP, one core each for server and load, in runs that take turns."""

import contextlib
from collections.abc import Iterator

from tests.bench import budgets, objects
from tests.bench.bench import Bench
from tests.bench.contender import TARGET, Contender
from tests.bench.measures import Measure, median_ratio
from tests.bench.proof import prove
from tests.bench.verifiers import Verifier, rules, verifier_with
from tests.bench.web_servers import idle, nginx
from tests.bench.wrk import Load

__all__ = ["many_keys", "over_http"]

KEYS = 100
VERIFY = f"/verify{TARGET}"
WARM_UP_SECONDS = 1
IDLE = {"uvicorn": budgets.UVICORN, "granian": budgets.GRANIAN}


def over_http(bench: Bench) -> Iterator[Measure]:
    """The verifier and nginx, and two Python servers that judge nothing, all with the same request."""
    key, core = objects.plain_key(0), bench.cores.server
    load = Load(bench.folder, [key.text], target=VERIFY, core=bench.cores.client)
    seconds = bench.choose(3, 1)
    with contextlib.ExitStack() as stack:
        addresses = {"nginx": stack.enter_context(nginx(bench, core=core))}
        ours = stack.enter_context(verifier_with(bench, KEYS, *rules(bench), core=core))
        addresses |= {"verifier": ours.address}
        addresses |= {name: stack.enter_context(idle(bench, name, core=core)) for name in IDLE}
        for name, address in addresses.items():
            prove(_contender(name, address))
            load.run(address, WARM_UP_SECONDS)
        rates: dict[str, list[float]] = {name: [] for name in addresses}
        for turn in range(bench.choose(5, 3)):
            for name in ("nginx", "verifier"):
                rates[name].append(load.run(addresses[name], seconds))
            # The others are there for scale; fewer and shorter runs tell enough.
            if turn < bench.choose(3, 1):
                for name in IDLE:
                    rates[name].append(load.run(addresses[name], min(seconds, 2)))
        _check_proofs(ours)
    ratio, ratios = median_ratio(rates["verifier"], rates["nginx"])
    yield budgets.HTTP.measured(ratio, ratios)
    yield budgets.HTTP_RATE.median_of(rates["verifier"])
    for name, budget in IDLE.items():
        ratio, ratios = median_ratio(rates[name], rates["nginx"][: len(rates[name])])
        yield budget.measured(ratio, ratios)


def many_keys(bench: Bench) -> Iterator[Measure]:
    """A verifier with 100,000 keys, 10,008 of them in use, and one with 10 keys, 9 of them in use."""
    many, core = bench.choose(100_000, 20_000), bench.cores.server
    with verifier_with(bench, 10, core=core) as small, verifier_with(bench, many, core=core) as large:
        pairs = [
            (small, Load(bench.folder, _presentable(10), target="/verify", core=bench.cores.client)),
            (large, Load(bench.folder, _presentable(many), target="/verify", core=bench.cores.client)),
        ]
        for server, load in pairs:
            load.run(server.address, 2 * WARM_UP_SECONDS)
        proven = [server.count("proof_hits_total") for server, _ in pairs]
        rates: tuple[list[float], list[float]] = ([], [])
        # What is looked for is a few percent, less than two runs of the same differ by: so there are many, and who goes
        # first in a turn goes last in the next.
        for turn in range(bench.choose(16, 3)):
            for which in (0, 1) if turn % 2 else (1, 0):
                server, load = pairs[which]
                rates[which].append(load.run(server.address, bench.choose(2, 1)))
        assert all(now.count("proof_hits_total") > before for (now, _), before in zip(pairs, proven, strict=True))
    ratio, ratios = median_ratio(rates[1], rates[0])
    yield budgets.MANY_KEYS.measured(ratio, ratios)


def _contender(name: str, address: str) -> Contender:
    if name == "verifier":
        return Contender(name=name, address=address, target=VERIFY)
    return Contender(name=name, address=address, target=VERIFY, status=204, judges=False, shows=None)


def _presentable(keys: int) -> list[str]:
    return [key.text for key in objects.presentable(keys)]


def _check_proofs(server: Verifier) -> None:
    """Nothing but the first request was decided without a proof that was there already."""
    allowed = server.count('decisions_total{code="allowed"}')
    assert allowed - server.count("proof_hits_total") == 1, "some requests did not go the way of a proven key"
