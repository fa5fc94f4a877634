"""``python -m tests.bench``: measure, print a table, write build/bench.json and the plots beside it.

Exit status: 0 when every floor that was measured is met, 1 otherwise.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.bench import (
    authorino,
    expiry,
    first_use,
    footprint,
    in_process,
    latency,
    machine,
    onboarding,
    outage,
    report,
    revocation,
    rival_latency,
    rivalry,
    scale,
    throughput,
)
from tests.bench.bench import ROOT, Bench
from tests.bench.measures import Measure, SkippedError

GROUPS: dict[str, Callable[[Bench], Iterator[Measure]]] = {
    "http": throughput.over_http,
    "keys": throughput.many_keys,
    "decision": in_process.decision,
    "latency": latency.added,
    "first-use": first_use.at_once,
    "flood": latency.under_flood,
    "rivals": rivalry.over_http,
    "rival-latency": rival_latency.by_load,
    "memory": footprint.of_verifier,
    "revocation": revocation.to_refusal,
    "outage": outage.of_api_server,
    "onboarding": onboarding.to_ready,
    "expiry": expiry.lag,
    "scale": scale.of_operator,
    "authorino": authorino.http_check,
}
BUSY = 0.7  # load average from which figures deserve a warning


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=GROUPS, metavar="NAME", help=f"of {', '.join(GROUPS)}")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter runs: does it work, not how fast")
    parser.add_argument("--output", type=Path, default=ROOT / "build", help="folder of the results (default: build)")
    chosen = parser.parse_args(arguments)
    about = machine.describe() | {"quick": chosen.quick, "waiting": {}}
    if chosen.quick:
        _say("a quick run: sizes are smaller than the names say, and the figures are for nobody")
    if about["load_at_start"] > BUSY:
        _say(f"this machine is busy (load {about['load_at_start']}): ratios hold up better than times")
    measures: list[Measure] = []
    with tempfile.TemporaryDirectory(prefix="keywright-bench-") as folder:
        # nginx's worker is another user, who has to get to its files.
        Path(folder).chmod(0o755)
        with Bench(Path(folder), quick=chosen.quick) as bench:
            broken = [name for name in chosen.only or GROUPS if not _run(name, bench, measures, about["waiting"])]
    chosen.output.mkdir(parents=True, exist_ok=True)
    report.write_json(chosen.output / "bench.json", about, measures)
    _say("\n" + report.table(measures))
    _draw(chosen.output, measures)
    missed = [each.budget.name for each in measures if not each.ok]
    for what, names in (("floors missed", missed), ("could not be measured", broken)):
        if names:
            _say(f"{what}: {', '.join(names)}")
    return 1 if missed or broken else 0


def _run(name: str, bench: Bench, measures: list[Measure], waiting: dict[str, float]) -> bool:
    """Take the measures of one group; whether it went through. What it has yielded counts in any case."""
    begun, waited = time.monotonic(), machine.waited_seconds()
    try:
        for measure in GROUPS[name](bench):
            measures.append(measure)
            _say(f"  {measure.budget.name.strip()}: {report.shown(measure.value)} {measure.budget.unit}")
    except SkippedError as why:
        _say(f"{name}: skipped, {why}")
    except Exception as error:  # noqa: BLE001 - one that breaks must not take the others' figures with it
        _say(f"{name}: broke: {type(error).__name__}: {error}")
        return False
    else:
        seconds, waited_by_now = time.monotonic() - begun, machine.waited_seconds()
        note = ""
        if waited is not None and waited_by_now is not None:
            waiting[name] = round((waited_by_now - waited) / seconds, 3)
            note = f"; somebody waited for a core {waiting[name]:.0%} of the time"
        _say(f"{name}: {seconds:.0f} s{note}")
    return True


def _draw(folder: Path, measures: Sequence[Measure]) -> None:
    # A second of import that only these lines need.
    from tests.bench import plot, rival_plots

    plot.write(folder / "bench.svg", measures)
    rival_plots.write(folder, measures)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
