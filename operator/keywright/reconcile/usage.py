"""What verifiers report about the use of keys, and whose turn it is to have it written into status.

The picture keeps the uses that are newer than what a status says. A sweep every few seconds hands out turns: to an
ApiKey whose record is an hour old, or that has none yet, at an even pace whatever has piled up (a restart, a thousand
keys used for the first time); to a replaced key that is still used at once. Without a turn no pass hears of a use, so
none of them costs a write of its own.

Whoever may publish can say that a key was used when it was not. Nothing else follows from a report.
"""

import asyncio
import logging
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from keywright.domain import usage
from keywright.domain.times import find_instant
from keywright.domain.usage import EVERY, News, OnRecord, Uses
from keywright.kube.client import Manifest
from keywright.kube.errors import ApiError
from keywright.kube.resources import APIKEYUSAGES
from keywright.reconcile.ports import Api, Clock, Ref

__all__ = ["UsagePicture"]

SWEEP = 5.0  # seconds
# An hour and this at the most: what was written in one go spreads over time.
JITTER = 600  # seconds
# Turns for each thousand ApiKeys with news. Together below 20 in any minute; the steady state takes 15.4.
PER_MINUTE = 16
BURST = 3
UNKNOWN_FOR = timedelta(minutes=2)  # a report may be here before the list of ApiKeys is
STALE_AFTER = timedelta(hours=2)  # every use is in status by then
RETRY_REMOVAL = timedelta(minutes=10)
NEVER: Uses = {}

logger = logging.getLogger(__name__)


class OnRecords(Protocol):
    """What the newest status of each ApiKey says of uses."""

    def on_record(self, ref: Ref) -> OnRecord | None: ...


@dataclass(slots=True)
class _Report:
    """One ApiKeyUsage. ``raw`` is as it came, so that only what differs is read again."""

    ref: Ref
    version: str
    stale_at: datetime
    raw: Mapping[str, str]


@dataclass(slots=True)
class _News:
    """Uses of one ApiKey that its status does not have, as far as is known."""

    since: datetime
    uses: dict[str, datetime] = field(default_factory=dict)
    turn_for: OnRecord | None = None
    """What was on record when the turn was given: it is over as soon as that changes."""


class UsagePicture:
    """A sink of reflectors. ``turn`` is called with each ApiKey whose turn it is."""

    def __init__(self, on_records: OnRecords, turn: Callable[[Ref], None], *, clock: Clock) -> None:
        self._on_records = on_records
        self._turn = turn
        self._clock = clock
        self._reports: dict[str, _Report] = {}
        self._news: dict[Ref, _News] = {}
        self._allowance = float(BURST)
        self._swept_at = clock()

    def put(self, manifest: Manifest) -> None:
        metadata, spec = manifest["metadata"], manifest["spec"]
        known = self._reports.get(metadata["uid"])
        raw: dict[str, str] = spec.get("uses") or {}
        now = self._clock()
        self._reports[metadata["uid"]] = _Report(
            ref=Ref(metadata["namespace"], metadata["name"]),
            version=metadata["resourceVersion"],
            # A clock that is ahead must not keep its objects for ever.
            stale_at=min(find_instant(spec["renewedAt"]) or now, now) + STALE_AFTER,
            raw=raw,
        )
        before = known.raw if known is not None else {}
        for key, text in raw.items():
            if before.get(key) != text:
                self._note(key, text, now)

    def remove(self, uid: str) -> None:
        self._reports.pop(uid, None)

    def uids_in(self, namespace: str | None) -> Collection[str]:
        """The UIDs of the reports of one namespace, or of all."""
        return [uid for uid, each in self._reports.items() if namespace in (None, each.ref.namespace)]

    def uses_of(self, ref: Ref) -> Uses:
        """What is to be written of the uses of one ApiKey: nothing unless it is its turn."""
        news, said = self._news.get(ref), self._on_records.on_record(ref)
        return news.uses if news is not None and said is not None and news.turn_for == said else NEVER

    async def run(self, api: Api) -> None:
        """Hand out turns and remove what no verifier renews, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP)
            self.sweep()
            await self._remove_stale(api)

    def sweep(self) -> None:
        """Hand out the turns that are due now."""
        now = self._clock()
        due = [ref for ref, news in list(self._news.items()) if self._is_due(ref, news, now)]
        elapsed = (now - self._swept_at).total_seconds()
        self._swept_at = now
        rate = PER_MINUTE * max(1.0, len(self._news) / 1000) / 60
        self._allowance = min(max(BURST, rate * SWEEP), self._allowance + max(0.0, elapsed) * rate)
        for ref in due[: int(self._allowance)]:
            self._allowance -= 1
            self._give_turn(ref)

    def _is_due(self, ref: Ref, news: _News, now: datetime) -> bool:
        """Whether it waits for its turn; who is in a hurry does not wait."""
        said = self._on_records.on_record(ref)
        if said is None:
            if now - news.since > UNKNOWN_FOR:
                del self._news[ref]
            return False
        weight = usage.weigh(said, news.uses, now, every=EVERY + _jitter(ref))
        if weight is News.NONE:
            del self._news[ref]
        elif weight is News.URGENT and news.turn_for != said:
            self._give_turn(ref)
        return weight is News.DUE and news.turn_for != said

    def _give_turn(self, ref: Ref) -> None:
        self._news[ref].turn_for = self._on_records.on_record(ref)
        self._turn(ref)

    def _note(self, key: str, text: str, now: datetime) -> None:
        namespace, _, rest = key.partition("/")
        name, _, key_id = rest.partition("/")
        used_at = find_instant(text)
        if used_at is None:
            return
        used_at = min(used_at, now.replace(microsecond=0))
        news = self._news.get(Ref(namespace, name))
        if news is None:
            news = self._news[Ref(namespace, name)] = _News(now)
        if key_id not in news.uses or news.uses[key_id] < used_at:
            news.uses[key_id] = used_at

    async def _remove_stale(self, api: Api) -> None:
        """Objects of verifiers that are gone, once status has all that is in them. Who only rested makes his anew."""
        now = self._clock()
        for uid, each in list(self._reports.items()):
            if now < each.stale_at or any(_ref(key) in self._news for key in each.raw):
                continue
            try:
                await api.delete(
                    APIKEYUSAGES, each.ref.namespace, each.ref.name, uid=uid, resource_version=each.version
                )
            except ApiError as error:
                logger.debug("ApiKeyUsage %s stays for now: %s", each.ref, error)
                each.stale_at = now + RETRY_REMOVAL


def _ref(key: str) -> Ref:
    namespace, _, rest = key.partition("/")
    return Ref(namespace, rest.partition("/")[0])


def _jitter(ref: Ref) -> timedelta:
    return timedelta(seconds=zlib.crc32(str(ref).encode()) % JITTER)
