"""Clients in pods, which call all the time and tell what they have got."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.e2e.places import Place
from tests.support.kube import eventually

__all__ = ["Calls", "Client"]


@dataclass(frozen=True, slots=True)
class Calls:
    """What a client has got: statuses (or why there was none), and ids of the keys it was served for."""

    statuses: dict[str, int]
    key_ids: dict[str, int]


class Client:
    """A Deployment of one pod, which reports every second."""

    def __init__(self, place: Place, namespace: str, name: str) -> None:
        self.namespace = namespace
        self.kubectl = place.kubectl.within(namespace)
        self._name = name

    def reports(self) -> list[dict[str, dict[str, int]]]:
        """One for each second since the client has started."""
        lines = self.kubectl("logs", f"deployment/{self._name}", "--tail=-1").splitlines()
        return [json.loads(line) for line in lines]

    def calls_since(self, report: int) -> Calls:
        """What it has got after the first ``report`` reports."""
        reports = self.reports()[report:]
        return Calls(_add(each["answers"] for each in reports), _add(each["keyIds"] for each in reports))

    def newest(self) -> Calls:
        """What it has got in the last second."""
        return self.calls_since(-1)

    def wait_for_calls(self, holds: Callable[[Calls], bool], *, within: float = 60) -> Calls:
        """Wait for a second of which ``holds`` is true."""

        def look() -> Calls | None:
            calls = self.newest()
            return calls if holds(calls) else None

        try:
            return eventually(look, within=within)
        except AssertionError:
            raise AssertionError(f"{self.namespace}: not within {within} s, last seen {self.newest()}") from None

    def wait_for_reports(self, count: int) -> None:
        eventually(lambda: len(self.reports()) >= count, within=60, what=f"{count} reports of {self.namespace}")


def _add(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for each in counts:
        for name, count in each.items():
            total[name] = total.get(name, 0) + count
    return total
