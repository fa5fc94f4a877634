"""A verifier that watches a world: the verifier's own reading, index and engine, without its sockets."""

from keywright.kube.client import Manifest
from keywright.kube.resources import APIKEYCLASSES, APIKEYS, Resource
from keywright.reconcile.ports import Clock
from keywright.verifier import verdicts
from keywright.verifier.keys.acceptance import AcceptedClass, accept
from keywright.verifier.keys.classes import read_class
from keywright.verifier.keys.credentials import Presented
from keywright.verifier.keys.engine import Engine, Unproven
from keywright.verifier.keys.index import Index
from keywright.verifier.keys.prover import Prover
from keywright.verifier.keys.records import Entry
from keywright.verifier.keys.rights import Permits
from keywright.verifier.metrics import Metrics
from keywright.verifier.verdicts import Refusal

__all__ = ["Judge"]


class Judge:
    """Accepts the keys of every class there is. It sees each change at once."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._index = Index()
        metrics = Metrics()
        self._prover = Prover(self._index.entries, workers=1, capacity=1, metrics=metrics)
        self._engine = Engine(self._index, self._prover, metrics)
        self._classes: dict[str, AcceptedClass] = {}

    def see(self, event: str, resource: Resource, manifest: Manifest) -> None:
        uid = manifest["metadata"]["uid"]
        if resource == APIKEYCLASSES:
            self._classes.pop(uid, None)
            read = read_class(manifest) if event != "DELETED" else None
            if read is not None:
                self._classes[uid] = read
        elif resource == APIKEYS:
            before = dict(self._index.entries)
            if event == "DELETED":
                self._index.remove(uid)
            else:
                self._index.put(manifest)
            self._check_proofs(before)

    def judge(self, plain: str) -> Entry | Refusal:
        """The verdict on a key, by the clock of the world."""
        names = {each.name for each in self._classes.values()} | {"standard"}
        carrier = accept(sorted(names), self._classes.values()).schemes[b"bearer"]
        presented = Presented(plain.encode(), carrier)
        outcome = self._engine.judge(presented, self._clock().timestamp())
        if isinstance(outcome, Unproven):
            if not self._prover.prove_now(outcome.entry, plain):
                return verdicts.INVALID
            outcome = self._engine.judge(presented, self._clock().timestamp())
        assert not isinstance(outcome, Unproven)
        return outcome

    def permits(self, entry: Entry) -> Permits:
        """What an accepted key may do."""
        return entry.rights.under(next(each for each in self._classes.values() if each.name == entry.class_name))

    def _check_proofs(self, before: dict[bytes, Entry]) -> None:
        """Invariant 12: what was proven stays so while uid, id and hash are the same."""
        for key_id, entry in self._index.entries.items():
            known = before.get(key_id)
            if known is not None and known.is_same_key_as(entry):
                assert entry.proof == known.proof, "a write cost a proof"
