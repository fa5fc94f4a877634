"""What a verifier takes before it has answered anything: memory, and time until it is ready."""

import time
from collections.abc import Iterator

from tests.bench import budgets
from tests.bench.bench import Bench
from tests.bench.machine import resident_mib
from tests.bench.measures import Measure
from tests.bench.verifiers import stand_in, verifier

__all__ = ["of_verifier"]

SETTLE_SECONDS = 1.0
STARTS = 3


def of_verifier(bench: Bench) -> Iterator[Measure]:
    """Resident memory at three sizes, each in a fresh process, and the start with 10,000 keys."""
    for keys, budget in budgets.MEMORY.items():
        started, sizes = [], []
        with stand_in(bench, keys) as kubeconfig:
            for _ in range(1 if bench.quick or keys > 10_000 else STARTS):
                with verifier(bench, kubeconfig, "--all-namespaces") as ours:
                    assert ours.count("keys") == keys, f"the verifier holds {ours.count('keys')} keys of {keys}"
                    time.sleep(SETTLE_SECONDS)
                    sizes.append(resident_mib(ours.pid))
                    started.append(ours.ready_after)
        yield budget.median_of(sizes)
        if keys == 10_000:
            yield budgets.READY_10K.median_of(started)
