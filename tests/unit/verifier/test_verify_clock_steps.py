"""The clock of a machine is set, by a minute or by years. Keys live by it; nothing else may notice."""

from collections.abc import Iterator
from typing import cast

import pytest

from keywright.verifier.freshness import Freshness
from keywright.verifier.http.answers import Answers
from keywright.verifier.http.request import Limits, Request
from keywright.verifier.http.responses import Dater
from keywright.verifier.http.verify_endpoint import VerifyEndpoint
from keywright.verifier.judgement import Judge
from keywright.verifier.keys.classes import Classes
from keywright.verifier.keys.engine import Engine
from keywright.verifier.keys.index import Index
from keywright.verifier.keys.prover import Prover
from keywright.verifier.limits.limiter import Limiter, OnFailure
from keywright.verifier.metrics import Metrics
from keywright.verifier.owners.owners import Owners
from keywright.verifier.usage import Used
from tests.unit.verifier.builders import NOW, api_key, api_key_class, at, mint, record
from tests.unit.verifier.wire import Watch

KEY, SHORT = mint(1), mint(2)
HOUR, DECADE = 3600.0, 10 * 365 * 86400.0


class Verifier:
    """One whose clock is set by hand, while real time goes on."""

    def __init__(self) -> None:
        self.now = NOW.timestamp()
        self.used: Used = {}
        metrics, index = Metrics(), Index()
        self._prover = Prover(index.entries, workers=1, capacity=1, metrics=metrics)
        dater = Dater()
        judge = Judge(
            Engine(index, self._prover, metrics),
            Limiter(None, OnFailure.LOCAL, metrics),
            Owners(metrics, keep=10.0),
            Freshness([Watch()], 300.0),
            metrics,
            lambda acceptance: Answers(acceptance, dater),
            used=self.used,
            wall_clock=lambda: self.now,
        )
        self._endpoint = VerifyEndpoint(judge, None, dater, wall_clock=lambda: self.now)
        limits = [{"name": "hour", "requests": 10, "window": "1h"}]
        Classes((), self._endpoint.publish).put(api_key_class("standard", prefix="kw_live", rateLimits=limits))
        index.put(api_key(record(KEY)))
        index.put(api_key(record(SHORT, expiresAt=at(60)), uid="uid-2", name="short"))

    def close(self) -> None:
        self._prover.close()

    def ask(self, text: str = KEY.text) -> bytes:
        request = Request(self._endpoint.watched, Limits())
        assert request.read(b"GET /verify HTTP/1.1\r\nHost: v\r\nX-API-Key: %b\r\n\r\n" % text.encode()) is None
        return cast(bytes, self._endpoint.answer(request))


@pytest.fixture
def verifier() -> Iterator[Verifier]:
    made = Verifier()
    yield made
    made.close()


@pytest.mark.parametrize("step", [-DECADE, -HOUR, -1.0, 1.0, HOUR, DECADE])
def test_the_picture_does_not_grow_old_by_it(verifier: Verifier, step: float) -> None:
    """How fresh the picture is goes by the time that passes: a step neither makes it stale nor keeps it fresh."""
    assert verifier.ask().startswith(b"HTTP/1.1 200 ")
    verifier.now += step
    answer = verifier.ask()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert verifier.used.popitem()[1] == verifier.now


@pytest.mark.parametrize("step", [-HOUR, HOUR, DECADE])
def test_limits_count_on(verifier: Verifier, step: float) -> None:
    """Nobody gets a new budget, and nobody is locked out, because a clock was set."""
    for count in range(10):
        assert verifier.ask().startswith(b"HTTP/1.1 200 "), count
        verifier.now += step / 10
    assert verifier.ask().startswith(b"HTTP/1.1 429 ")


def test_keys_live_by_the_clock_that_is(verifier: Verifier) -> None:
    """What has ended by a clock that was wrong works again once it is right: nothing remembers the wrong time."""
    assert verifier.ask(SHORT.text).startswith(b"HTTP/1.1 200 ")
    verifier.now += HOUR
    assert b"expired_key" in verifier.ask(SHORT.text)
    verifier.now -= HOUR
    assert verifier.ask(SHORT.text).startswith(b"HTTP/1.1 200 ")


def test_the_date_of_an_answer_follows(verifier: Verifier) -> None:
    """Forwards and backwards."""
    dates = []
    for step in (0.0, DECADE, -DECADE):
        verifier.now += step
        dates.append(verifier.ask().split(b"Date: ")[1].split(b"\r\n")[0])
    assert dates[0] == dates[2] != dates[1]
