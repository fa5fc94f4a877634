"""One JSON line a decision: who wanted what, and what came of it. Never a key, never a header as it was sent.

Allowed requests may be sampled; refusals never are. But somebody who sends nothing else must not fill the disk: of one
verdict and peer only so many lines are written a second, and one more says how many there were beside.
"""

import asyncio
import random
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as quoted
from typing import NamedTuple

from keywright.exposition import Sample
from keywright.verifier.audit.sink import AuditSink
from keywright.verifier.keys.records import Entry
from keywright.verifier.verdicts import Code, Refusal

__all__ = ["Audit", "Case"]

LINES_A_SECOND = 20
_MOST_PEERS = 1024
_ALL_OTHERS = "other"
_LONGEST_PATH = 256
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
# The secret part of a key and its checksum, which somebody may have put into a path.
_SECRET = re.compile(rb"(_|%(?:25)*5[Ff])[0-9A-Za-z]{49}")
# These verdicts are given only once the secret is proven: then it is known who asked.
_PROVEN = frozenset(
    {
        Code.EXPIRED_KEY,
        Code.REVOKED_KEY,
        Code.SUSPENDED_KEY,
        Code.INSUFFICIENT_SCOPE,
        Code.FORBIDDEN,
        Code.RATE_LIMITED,
    }
)


class Case(NamedTuple):
    """What a decision was about, and who has connected. ``rule`` counts from 0 as in the file, ``trace`` is a trace id
    of W3C Trace Context.
    """

    peer: str
    method: bytes = b""
    target: bytes = b""
    rule: int | None = None
    trace: bytes | None = None


class Audit:
    """Writes lines. ``entries`` are those that stand now, by key id."""

    def __init__(
        self,
        sink: AuditSink,
        entries: Mapping[bytes, Entry],
        *,
        allowed: float = 1.0,
        wall_clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._sink = sink
        self._entries = entries
        self._allowed = allowed
        self._wall_clock = wall_clock
        self._chance = chance
        # Who adds up allowed lines has to know how many requests each stands for.
        self._end = b"}\n" if allowed == 1 else b',"rate":%s}\n' % f"{allowed:g}".encode()
        self._counts: dict[tuple[Code, str], int] = {}
        self._second, self._until = b"", 0.0
        self.lines = 0
        self.summarised = 0

    def wants(self, outcome: Entry | Refusal | None, peer: str) -> bool:
        """Whether this decision gets a line of its own. ``None`` is a request that was allowed without a key."""
        if not isinstance(outcome, Refusal):
            return self._allowed == 1 or self._chance() < self._allowed
        bucket = (outcome.code, peer)
        count = self._counts.get(bucket)
        if count is None and len(self._counts) >= _MOST_PEERS:
            bucket = (outcome.code, _ALL_OTHERS)
            count = self._counts.get(bucket)
        self._counts[bucket] = count = (count or 0) + 1
        return count <= LINES_A_SECOND

    def tell(self, outcome: Entry | Refusal | None, case: Case, presented: bytes | None = None) -> None:
        """Write the line of a decision. ``presented`` is the id of what was refused, if it had the form of a key."""
        self.lines += 1
        refusal = outcome if isinstance(outcome, Refusal) else None
        entry = outcome if isinstance(outcome, Entry) else None
        if refusal is not None and refusal.code in _PROVEN and presented is not None:
            entry = self._entries.get(presented)
        parts = [self._time()]
        if refusal is None:
            parts.append(b'"verdict":"allowed","code":"allowed","status":200')
        else:
            detail = quoted(refusal.detail)
            said = f'"verdict":"refused","code":"{refusal.code}","status":{refusal.status},"detail":{detail}'
            parts.append(said.encode("ascii"))
        if entry is not None:
            parts.append(_identity(entry))
        elif presented is not None:
            parts.append(b'"keyId":"%b"' % presented)
        if _METHOD.fullmatch(case.method):
            parts.append(b'"method":"%b"' % case.method)
        if case.target:
            parts.append(b'"path":' + _path(case.target))
        if case.rule is not None:
            parts.append(b'"rule":%d' % case.rule)
        parts.append(b'"peer":' + quoted(case.peer).encode("ascii"))
        if case.trace is not None:
            parts.append(b'"trace":"%b"' % case.trace)
        self._sink.put(b",".join(parts) + (self._end if refusal is None else b"}\n"))

    async def keep_summarising(self) -> None:
        """Once a second, for ever: say how many refusals had no line of their own."""
        while True:
            await asyncio.sleep(1.0)
            self.summarise()

    def summarise(self) -> None:
        """Begin to count anew."""
        for (code, peer), count in self._counts.items():
            if count > LINES_A_SECOND:
                more = count - LINES_A_SECOND
                self.summarised += more
                self.lines += 1
                said = f',"verdict":"refused","code":"{code}","count":{more},"peer":{quoted(peer)}}}\n'
                self._sink.put(self._time() + said.encode("ascii"))
        self._counts.clear()

    def start(self) -> None:
        """Begin to write."""
        self._sink.start()

    def close(self) -> None:
        """Write what is left."""
        self.summarise()
        self._sink.close()

    def samples(self) -> list[Sample]:
        """The figures of the log."""
        return [
            _counter("lines", "Audit lines written or about to be.", self.lines),
            _counter("summarised", "Refusals that an audit line only counts.", self.summarised),
            _counter("lost", "Audit lines lost: the file could not be written fast enough.", self._sink.lost),
        ]

    def _time(self) -> bytes:
        """The beginning of a line. The second is rendered once."""
        now = self._wall_clock()
        if not self._until - 1 <= now < self._until:
            self._until = float(int(now)) + 1
            self._second = datetime.fromtimestamp(int(now), UTC).strftime('{"time":"%Y-%m-%dT%H:%M:%S').encode("ascii")
        return b'%b.%03dZ"' % (self._second, int((now - self._until + 1) * 1000))


def _identity(entry: Entry) -> bytes:
    path = entry.path.decode("ascii")
    actor = f"apikey:{path}" if entry.owner is None else entry.owner
    agent = path.partition("/")[2] if entry.agent is None else entry.agent
    said = f'"actor":{quoted(actor)},"agent":{quoted(agent)},"key":"{path}","class":"{entry.class_name}","keyId":"'
    return said.encode("ascii") + entry.key_id + b'"'


def _path(target: bytes) -> bytes:
    """A path as a JSON string: without its query, without keys, in ASCII and not too long."""
    path = _SECRET.sub(rb"\1[redacted]", target.partition(b"?")[0])
    text = path[:_LONGEST_PATH].decode("utf-8", "backslashreplace") + ("…" if len(path) > _LONGEST_PATH else "")
    return quoted(text).encode("ascii")


def _counter(name: str, text: str, value: float) -> Sample:
    return (f"keywright_verifier_audit_{name}_total", "counter", text, {"": float(value)})
