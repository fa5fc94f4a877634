"""A verifier inside of another program: the same judge and watches, without a socket and without bytes of HTTP.

What goes out is a :class:`Verdict`. How the program was asked, and how it tells its own clients, is not known here.
"""

import asyncio
import json
import math
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from keywright.errors import KeywrightError
from keywright.exposition import Sample
from keywright.flags import check_namespaces
from keywright.kube import credentials
from keywright.kube.client import connect
from keywright.verifier import verdicts
from keywright.verifier.freshness import Freshness
from keywright.verifier.http.identity import RefusedError, ValueForm, Verdict
from keywright.verifier.judgement import Judge
from keywright.verifier.keys.classes import Classes
from keywright.verifier.keys.credentials import Field
from keywright.verifier.keys.engine import Engine
from keywright.verifier.keys.index import Index
from keywright.verifier.keys.prover import Prover
from keywright.verifier.keys.rights import SCOPE
from keywright.verifier.limits.limiter import Limiter
from keywright.verifier.metrics import Metrics
from keywright.verifier.owners.owners import CONCURRENT, Owners
from keywright.verifier.rules.file import RulesFile
from keywright.verifier.rules.gate import Gate, RulesHolder
from keywright.verifier.rules.needs import ANY_KEY, AS_OWNER, add_scopes
from keywright.verifier.rules.originals import Source
from keywright.verifier.rules.queries import PLAIN
from keywright.verifier.rules.reading import read_rules
from keywright.verifier.rules.rules import Rules
from keywright.verifier.rules.targets import read_path
from keywright.verifier.settings import LEAST_STALENESS, VerifierSettings
from keywright.verifier.upkeep import publisher_for, reflectors_for, report_first_picture
from keywright.verifier.usage import Publisher, Used
from keywright.verifier.verdicts import Refusal

__all__ = ["InProcess"]

FLUSH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _FixedRules:
    rules: Rules | None


class InProcess:
    """Judges for one program for as long as :meth:`run` runs; before and after that it is not in sync.

    ``anonymous`` are paths as in a rules file, which need no key; ``scopes`` are needed by everything else. With
    ``acts_as_owner`` the program does what it is asked as the owner of the key, and nothing in its own name.

    Raises:
        KeywrightError: for what cannot be, naming the option.

    """

    def __init__(
        self,
        settings: VerifierSettings,
        *,
        anonymous: Sequence[str] = (),
        scopes: Sequence[str] = (),
        acts_as_owner: bool = False,
    ) -> None:
        _check(settings, anonymous, scopes)
        self._settings = settings
        self._scopes = tuple(scopes)
        self._any_key = AS_OWNER if acts_as_owner else ANY_KEY
        self._metrics, self._index = Metrics(), Index()
        self._prover = Prover(
            self._index.entries,
            workers=settings.argon2_workers,
            capacity=settings.argon2_queue,
            metrics=self._metrics,
        )
        self._watches: list[Any] = []
        self._freshness = Freshness(self._watches, settings.max_staleness)
        self._limiter = Limiter(None, settings.rate_limit_on_failure, self._metrics)
        self._owners = Owners(self._metrics, keep=settings.owner_cache)
        self._used: Used | None = {} if settings.usage else None
        self._rules = RulesFile(settings.rules, self._metrics) if settings.rules is not None else None
        holder: RulesHolder | None = _open(anonymous) if anonymous else self._rules
        self._gate = Gate(Source.PATH, holder) if holder is not None else None
        engine = Engine(self._index, self._prover, self._metrics)
        self._judge = Judge(
            engine, self._limiter, self._owners, self._freshness, self._metrics, ValueForm, used=self._used
        )
        self._classes = Classes(settings.classes, self._judge.publish)

    def judge(
        self, *, method: bytes, target: bytes, path: str, host: bytes, fields: Iterable[Field]
    ) -> Verdict | Coroutine[Any, Any, Verdict]:
        """The verdict on a request, at once unless its key has to be proven first. ``path`` is what the program makes
        of ``target``; ``fields`` have names in lower case.
        """
        now, need = time.time(), self._any_key
        if self._gate is not None:
            # What the rules are held against has to be what the program looks up.
            is_plain = read_path(target.partition(b"?")[0]) == path
            found = self._gate.decide((method, target, host)) if is_plain else verdicts.AMBIGUOUS
            if isinstance(found, Refusal):
                return self._judge.refuse(found, PLAIN, now)
            need = found
        if self._scopes and not need.is_anonymous:
            need = add_scopes(need, self._scopes)
        carried = [each for each in fields if each[0] in self._judge.carriers]
        return self._judge.judge(carried, need, PLAIN, now)

    async def judge_alone(self, key: bytes) -> Verdict:
        """The verdict on a key that came without a request, as out of a form."""
        return await self._judge.judge_alone(key, self._any_key, PLAIN)

    def judge_again(self, key: str, key_id: str) -> Verdict | Coroutine[Any, Any, Verdict]:
        """The verdict on a key that was presented and proven before, as it stands now: who remembers the one who asked
        need not remember the key. ``key`` is ``namespace/name``.
        """
        now = time.time()
        entry = self._index.entries.get(key_id.encode("ascii", "replace"))
        if entry is None or entry.path.decode() != key or entry.class_name not in self._judge.class_names:
            return self._judge.refuse(verdicts.INVALID, PLAIN, now)
        return self._judge.judge_known(entry, self._any_key, PLAIN, now)

    @property
    def carriers(self) -> frozenset[bytes]:
        """The headers that may carry a key, in lower case."""
        return self._judge.carriers

    @property
    def schemes(self) -> frozenset[bytes]:
        """The schemes of Authorization that a key may come in, in lower case."""
        return self._judge.schemes

    @property
    def is_ready(self) -> bool:
        """Whether verdicts are given: every watch has brought a whole picture, and was heard of lately."""
        return self._freshness.is_fresh()

    @property
    def known(self) -> int:
        """How many key records the picture holds."""
        return len(self._index.entries)

    @property
    def watch_age(self) -> float:
        """Seconds since the API server was last heard of; infinite before it ever was."""
        return self._freshness.age()

    def samples(self) -> list[Sample]:
        """What has been judged, under the names of a verifier: one alert is good for both."""
        return self._metrics.of_judging()

    def refuse(self, error: RefusedError) -> Verdict:
        """The verdict on a request that turned out to need more."""
        return self._judge.refuse(error.refusal, PLAIN, time.time(), error.scopes)

    async def run(self, started: Callable[[], None]) -> None:
        """Watch until cancelled. ``started`` is called once everything that a person has to mend is in order.

        Raises:
            KeywrightError: if it is not.

        """
        try:
            cluster = credentials.load()
            if self._rules is not None:
                self._rules.look()
            async with (
                connect(cluster) as client,
                connect(cluster, connections=CONCURRENT) as asking,
                asyncio.TaskGroup() as tasks,
            ):
                self._owners.client = asking
                self._watches += reflectors_for(self._settings, cluster.namespace, client, self._classes, self._index)
                publisher = publisher_for(self._settings, cluster.namespace, client, self._used, self._metrics)
                for each in (
                    *(watch.run() for watch in self._watches),
                    *([self._rules.keep_looking()] if self._rules is not None else []),
                    *([_publish_to_the_end(publisher)] if publisher is not None else []),
                    *self._limiter.chores(),
                ):
                    tasks.create_task(each)
                started()
                for watch in self._watches:
                    await watch.synced.wait()
                report_first_picture(self._settings.namespaces, self._classes, self._index)
        finally:
            # Nobody watches any more, so nothing is known any more.
            self._watches.clear()
            self._freshness.until = -math.inf
            self._prover.close()


async def _publish_to_the_end(publisher: Publisher) -> None:
    try:
        await publisher.run()
    finally:
        await publisher.flush(FLUSH_SECONDS)


def _open(paths: Sequence[str]) -> _FixedRules:
    """Rules that want a key for everything but these paths."""
    document = {"rules": [{"path": each, "allow": "anonymous"} for each in paths], "default": "key"}
    rules = read_rules(json.dumps(document).encode())
    if not isinstance(rules, Rules):
        raise KeywrightError(f"anonymous: {rules[0]}")
    return _FixedRules(rules)


def _check(settings: VerifierSettings, anonymous: Sequence[str], scopes: Sequence[str]) -> None:
    check_namespaces(
        settings.namespaces, everywhere=settings.all_namespaces, named_by="namespaces", all_by="all_namespaces"
    )
    if settings.rules is not None and anonymous:
        raise KeywrightError("rules and anonymous exclude each other: write `allow: anonymous` into the rules file")
    if settings.max_staleness < LEAST_STALENESS:
        raise KeywrightError(f"max_staleness is in seconds, and {LEAST_STALENESS:.0f} at least")
    for each in scopes:
        if not SCOPE.fullmatch(each):
            raise KeywrightError(f"scopes: {each!r} is no scope: use a word, or resource:action")
