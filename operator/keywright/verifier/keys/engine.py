"""The verdict on one presented key, in the order of what it costs (DESIGN section 7).

:meth:`Engine.judge` never waits: it answers with the entry of an allowed key, with a refusal, or with the work
that has to be done first. After that work the caller judges again from the start, by then with whatever the
watch has brought in meanwhile, so a slow argon2 run can neither bring a revoked key back nor skip a rule.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from keywright.domain import hashing, plainkey
from keywright.domain.plainkey import Malformed, MalformedCause
from keywright.verifier import verdicts
from keywright.verifier.freshness import Freshness
from keywright.verifier.keys.acceptance import Carrier
from keywright.verifier.keys.credentials import Presented
from keywright.verifier.keys.index import Index
from keywright.verifier.keys.prover import Prover
from keywright.verifier.keys.records import Entry
from keywright.verifier.metrics import Metrics
from keywright.verifier.verdicts import Refusal

__all__ = ["ROUNDS", "Engine", "Outcome", "Unproven"]

ROUNDS = 3
"""A record that changes under every single proof is not going to settle."""

# Beyond this nothing is a key, with or without white space round it, and nothing is read of it.
_LONGEST = plainkey.MAX_LENGTH + 64
# Where the key id stands, counted from the right: a prefix has no fixed width (DESIGN section 4).
_ID_FROM = -(plainkey.ID_LENGTH + 1 + plainkey.SECRET_LENGTH + plainkey.CHECKSUM_LENGTH)
_ID_TO = _ID_FROM + plainkey.ID_LENGTH


@dataclass(slots=True, eq=False)
class Unproven:
    """A key that has to be proven before anything can be said about it."""

    entry: Entry
    text: str = field(repr=False)


Outcome = Entry | Refusal | Unproven


class Engine:
    """Judges keys against the index. Synchronous but for proofs."""

    def __init__(self, index: Index, prover: Prover, metrics: Metrics) -> None:
        self._index = index
        self._entries = index.entries
        self._prover = prover
        self._digest = prover.digest
        self._metrics = metrics

    def judge(self, presented: Presented, now: float) -> Outcome:
        """The verdict at ``now`` (wall clock, seconds). Raises nothing, whatever was presented."""
        text, carrier = presented.text, presented.carrier
        entry = self._entries.get(text[_ID_FROM:_ID_TO])
        # A text whose digest is a proof was parsed and proven before, so the whole way there is skipped; who
        # accepts it, and its life, are looked at on every request.
        if entry is None or entry.proof is None or entry.proof != self._digest(text) or entry.class_name not in carrier:
            return self._examine(text, carrier, now)
        self._metrics.proof_hits += 1
        return _judge_life(entry, now)

    def judge_again(self, entry: Entry, now: float) -> Entry | Refusal:
        """The verdict on a key that was proven a while ago, by what the watch has brought in since."""
        standing = self._entries.get(entry.key_id)
        if standing is None or not standing.is_same_key_as(entry):
            return verdicts.INVALID
        return _judge_life(standing, now)

    async def prove(self, unproven: Unproven) -> Refusal | None:
        """Do the work that :meth:`judge` asked for. ``None`` means: judge again."""
        is_right = await self._prover.prove(unproven.entry, unproven.text)
        if is_right is None:
            return verdicts.BUSY
        return None if is_right else verdicts.INVALID

    async def judge_through(
        self, present: Callable[[], Presented], freshness: Freshness, wall_clock: Callable[[], float]
    ) -> Entry | Refusal:
        """The verdict on a key, proven if need be. ``present`` is asked anew after a proof: who accepts it may have
        changed. Nothing is awaited after the verdict was made.
        """
        for _ in range(ROUNDS):
            if not freshness.is_fresh():
                return verdicts.NOT_IN_SYNC
            outcome = self.judge(present(), wall_clock())
            if not isinstance(outcome, Unproven):
                return outcome
            refusal = await self.prove(outcome)
            if refusal is not None:
                return refusal
        return verdicts.BUSY

    def _examine(self, text: bytes, carrier: Carrier, now: float) -> Outcome:
        parsed = _parse(text)
        if isinstance(parsed, Malformed):
            if parsed.cause is MalformedCause.WHITE_SPACE:
                return verdicts.MALFORMED_WHITE_SPACE
            return verdicts.MALFORMED_MISTYPED
        entry = self._entries.get(parsed.key_id.encode("ascii"))
        # A class that was made anew may have another prefix than its older keys. Only who has such a key can tell:
        # for all others the prefix alone decides, whether or not the id is known.
        if all(each.prefix != parsed.prefix for each in carrier.values()) and (
            entry is None
            or entry.class_name not in carrier
            or entry.fingerprint is None
            or entry.fingerprint.hex() != hashing.fingerprint(parsed.text)
        ):
            return verdicts.MALFORMED_PREFIX
        if entry is None or entry.class_name not in carrier:
            return verdicts.INVALID
        if entry.fingerprint is not None and entry.fingerprint.hex() != hashing.fingerprint(parsed.text):
            self._metrics.fingerprint_refusals += 1
            return verdicts.INVALID
        if hashing.is_argon2(entry.hash):
            return Unproven(entry, parsed.text)
        if not self._prover.prove_now(entry, parsed.text):
            return verdicts.INVALID
        return _judge_life(entry, now)


def _parse(text: bytes) -> plainkey.PlainKey | Malformed:
    if len(text) > _LONGEST:
        return Malformed(MalformedCause.MISTYPED)
    # Bytes that are no UTF-8 become a character that no key holds.
    return plainkey.parse(text.decode("utf-8", "replace"))


def _judge_life(entry: Entry, now: float) -> Entry | Refusal:
    """Only for proven keys: what became of a key is told to nobody else."""
    if entry.barred is verdicts.REVOKED:
        return entry.barred
    if entry.ends_at <= now:
        return verdicts.EXPIRED
    return entry.barred if entry.barred is not None else entry
