"""People, time, crashes and two operators in any order: what must never be otherwise never is.

Played in memory by test_any_order_of_things.py, and on a real API server by tests/integration/test_model.py.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from keywright.api.apikey import read_spec
from keywright.domain import entitlement, hashing
from keywright.domain.apikey import KeySpec, Phase, RecordState, Status
from keywright.domain.scopes import is_covered
from keywright.kube.client import Manifest
from keywright.kube.errors import ApiError
from keywright.kube.resources import APIKEYS, NAMESPACES, SECRETS
from keywright.reconcile.ports import Ref
from keywright.verifier import verdicts
from keywright.verifier.keys.records import Entry
from tests.support.fake_api import SimulatedDeathError
from tests.unit.reconcile.invariants import Invariants
from tests.unit.reconcile.people import ATTACKERS, DEPLOY, REFS, WEB, People, decoded
from tests.unit.reconcile.world import NAMESPACE, Operator, World, is_made_by_us

__all__ = ["Keywright"]

OPERATORS = st.sampled_from([0, 1])
CALLS = st.integers(0, 8)
PROBLEMS = (
    "SecretConflict",
    "SecretMissing",
    "InvalidSpec",
    "ClassNotAllowed",
    "ClassNotFound",
    "LifetimeExceeded",
    "RoleNotFound",
    "ScopeNotAllowed",
)


class Keywright(People):
    """What operators go through while people act."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = self.make_world()
        self.promises = Invariants(self.world)
        self.skew = 0.0
        self.operators: list[Operator] = []
        self.revoked = set()

        self.foreign = {}
        self.tampered = set()
        self.asked = 0

    def make_world(self) -> World:
        """Another machine may play in another world."""
        return World()

    @initialize(skew=st.sampled_from([0.0, 20.0]))
    def start(self, skew: float) -> None:
        self.skew = skew
        self.operators = [self.world.operator(), self.world.operator(ahead=skew)]
        for ref in (DEPLOY, WEB):
            self.world.apply(ref.name)
            self._run(self.operators[0], ref)

    def teardown(self) -> None:
        """Whatever happened, time and one more look set everything right."""
        with contextlib.closing(self.runner):
            if self.operators:
                self._come_to_rest()

    # What happens to operators.

    @rule(which=OPERATORS, ref=REFS)
    def work(self, which: int, ref: Ref) -> None:
        """A pass to its end; a second look has nothing to do."""
        operator = self.operators[which]
        self._run(operator, ref)
        self._run(operator, ref)
        assert operator.api.writes == [], operator.api.writes

    @rule(which=OPERATORS, ref=REFS)
    def see(self, which: int, ref: Ref) -> None:
        """As after a restart: what a watch shows is enough, or everything is read."""
        if (manifest := self.apikey(ref)) is not None:
            self._run(self.operators[which], ref, seen=manifest)

    @rule(which=OPERATORS, ref=REFS, age=st.integers(0, 6))
    def see_what_is_old(self, which: int, ref: Ref, age: int) -> None:
        """A manifest that has waited in the queue while the object went on, or was replaced by another."""
        manifests = [
            manifest
            for event, resource, manifest in self.world.cluster.history
            if resource == APIKEYS and event != "DELETED" and manifest["metadata"]["name"] == ref.name
        ]
        if manifests:
            self._run(self.operators[which], ref, seen=manifests[max(-len(manifests), -1 - age)])

    @rule(which=OPERATORS, is_doubled=st.booleans(), is_reversed=st.booleans())
    def fall_behind_or_catch_up(self, which: int, is_doubled: bool, is_reversed: bool) -> None:
        """Watches are late, then bring everything at once, one before or after the other, some of it twice."""
        operator = self.operators[which]
        if operator.is_behind:
            operator.catch_up(is_doubled=is_doubled, is_reversed=is_reversed)
        else:
            operator.fall_behind()

    @rule(which=OPERATORS)
    def hand_out_turns(self, which: int) -> None:
        """To those whose reported uses are to be written."""
        operator = self.operators[which]
        operator.told.clear()
        operator.usage.sweep()
        for ref in list(operator.told):
            self._run(operator, ref)

    @rule(which=OPERATORS, ref=REFS, call=CALLS, is_before=st.booleans())
    def crash(self, which: int, ref: Ref, call: int, is_before: bool) -> None:
        operator = self.operators[which]
        (operator.api.die_before if is_before else operator.api.die_after)(call)
        self._run(operator, ref)

    @rule(which=OPERATORS)
    def restart(self, which: int) -> None:
        self._replace(self.operators[which])

    @rule(which=OPERATORS, ref=REFS, call=CALLS)
    def work_while_the_other_works(self, which: int, ref: Ref, call: int) -> None:
        operator, other = self.operators[which], self.operators[1 - which]

        async def run() -> None:
            with contextlib.suppress(ApiError):
                await other.reconcile(ref)
            self._check()

        operator.api.before(call, run)
        self._run(operator, ref)

    @rule(
        which=OPERATORS,
        ref=REFS,
        call=CALLS,
        what=st.sampled_from(
            ["revoke", "delete", "replace", "lose", "plant", "forge", "suspend", "stall", "rotate", "no grace", "class"]
        ),
    )
    def work_while_people_act(self, which: int, ref: Ref, call: int, what: str) -> None:
        operator = self.operators[which]
        acts: dict[str, Callable[[], None]] = {
            "revoke": lambda: self.revoke(ref),
            "delete": lambda: self.delete(ref, False),
            "replace": lambda: (self.delete(ref, False), self.create(ref, None, False))[0],
            "lose": lambda: self.lose_secret(ref),
            "plant": lambda: self.plant_secret(ref, False),
            "forge": lambda: self.plant_secret(ref, True),
            "suspend": lambda: self.suspend_or_resume(ref, True),
            "stall": lambda: self.let_time_pass(20),
            "rotate": lambda: self.ask_for_rotation(ref, None, "20s", True, False),
            "no grace": lambda: self.annotate_rotation(ref, "0s", False),
            "class": lambda: self.make_or_delete_class(False, "kw_team"),
        }

        async def act() -> None:
            acts[what]()
            self._check()

        operator.api.before(call, act)
        self._run(operator, ref)

    @rule(which=OPERATORS, ref=REFS, call=CALLS)
    def work_through_an_outage(self, which: int, ref: Ref, call: int) -> None:
        operator = self.operators[which]

        async def cut() -> None:
            operator.api.be_unavailable(2)

        operator.api.before(call, cut)
        self._run(operator, ref)

    @precondition(lambda self: bool(self.operators))
    @rule()
    def rest(self) -> None:
        self._come_to_rest()

    # What must never be otherwise.

    @invariant()
    def holds(self) -> None:
        self._check()

    def _check(self) -> None:
        for manifest in self.world.cluster.list_all(APIKEYS):
            ref, uid = Ref(NAMESPACE, manifest["metadata"]["name"]), manifest["metadata"]["uid"]
            self.promises.check(manifest)
            if uid in self.revoked:
                assert not any(self.world.accepts(each, ref) for each in self.world.minted), "5: a revoked key works"
        assert not isinstance(self.world.judge.judge(ATTACKERS), Entry), "2: a planted key is believed"
        for uid, planted in self.foreign.items():
            assert self.world.cluster.find(SECRETS, NAMESPACE, planted["metadata"]["name"]) == planted, f"3: {uid}"

    def _come_to_rest(self) -> None:
        """Time passes, both operators look until neither writes; then the cluster is as the specs ask."""
        self.collect_garbage()
        for operator in self.operators:
            operator.catch_up()
        self.world.clock.now = self.promises.latest + timedelta(seconds=60)
        for _ in range(3):
            for operator in list(self.operators):
                for manifest in self.world.cluster.list_all(APIKEYS):
                    self._run(operator, Ref(NAMESPACE, manifest["metadata"]["name"]))
        self._check()
        for manifest in self.world.cluster.list_all(APIKEYS):
            self._check_at_rest(Ref(NAMESPACE, manifest["metadata"]["name"]), manifest)
        self._check_restart()

    def _check_restart(self) -> None:
        """7: a new process writes nothing, whether it goes by what its watches show or reads everything."""
        self._replace(self.operators[-1])
        operator = self.operators[-1]
        for manifest in self.world.cluster.list_all(APIKEYS):
            ref = Ref(NAMESPACE, manifest["metadata"]["name"])
            self._run(operator, ref, seen=manifest)
            assert operator.api.writes == [], f"7: {operator.api.writes}"
            self._run(operator, ref)
            assert operator.api.writes == [], f"7: {operator.api.writes}"

    def _check_at_rest(self, ref: Ref, manifest: Manifest) -> None:
        status, secret = self.world.status(ref), self.world.secret(ref)
        uid = manifest["metadata"]["uid"]
        is_ours = (
            secret is not None and is_made_by_us(secret, manifest) and (secret["metadata"]["uid"] not in self.foreign)
        )
        asked = manifest["spec"].get("secret") or {}
        record = status.record(RecordState.CURRENT)
        assert uid not in self.revoked or status.phase is Phase.REVOKED, "5: a revocation is not recorded"
        if status.phase in (Phase.REVOKED, Phase.EXPIRED):
            is_kept = record is not None and (
                asked.get("whenInactive") == "Keep" or self.promises.elder_of(manifest, record.id) is not None
            )
            assert is_kept or uid in self.world.forgotten or not is_ours, "the Secret of an ended key was left behind"
            return
        self._check_policy(ref, status, manifest)
        stalled, reason = self.world.said("Stalled", ref)
        if record is not None:
            is_odd = not hashing.is_trustworthy(record.hash) or self.promises.elder_of(manifest, record.id) is not None
            assert (reason == "StatusTampered") is is_odd
            if is_odd:
                return
        if stalled == "True":
            assert reason in PROBLEMS
            return
        assert record is not None
        if self.world.said("SecretDelivered", ref) == ("False", "SecretWithdrawn"):
            assert asked.get("delivery") == "Once"
            assert secret is None
            return
        if uid not in self.world.forgotten:
            self._check_verdict(manifest, status)
        self._check_secret(ref, asked, record.id)

    def _check_verdict(self, manifest: Manifest, status: Status) -> None:
        """2, 4: at rest the verifier says of the key in the Secret what the spec says."""
        held = self.world.key_in_secret(Ref(NAMESPACE, manifest["metadata"]["name"]))
        assert held is not None
        assert held.key_id == status.current_key_id
        verdict = self.world.judge.judge(held.text)
        if manifest["spec"].get("suspended"):
            assert verdict is verdicts.SUSPENDED
        else:
            assert isinstance(verdict, Entry)

    def _check_secret(self, ref: Ref, asked: Manifest, key_id: str) -> None:
        secret, held = self.world.secret(ref), self.world.key_in_secret(ref)
        assert secret is not None
        assert held is not None
        filled = decoded(secret)
        text = (asked.get("template") or {}).get("data", {}).get("file")
        if text is not None:
            wanted = text.replace("$(key)", held.text).replace("$(name)/$(keyId)", f"{ref.name}/{key_id}")
            assert filled["file"] == wanted
        assert "extra" not in filled
        is_owned = bool(secret["metadata"].get("ownerReferences"))
        assert is_owned is (asked.get("deletionPolicy") != "Retain")

    def _check_policy(self, ref: Ref, status: Status, manifest: Manifest) -> None:
        """4: a live key may do what is asked, as far as the class allows it here, and nothing else."""
        key_class, asked = self.promises.class_of(manifest, status), read_spec(manifest)
        assert isinstance(asked, KeySpec)
        if key_class is None:
            assert self.world.said("Stalled", ref)[0] == "True"
            return
        labels = self.world.cluster.get(NAMESPACES, None, NAMESPACE)["metadata"].get("labels") or {}
        is_barred = key_class.allowed_namespaces is not None and labels.get("team") != "a"
        assert (status.disallowed_at is not None) is is_barred
        if status.effective is None:
            return
        allowed = entitlement.allow(asked, key_class, labels)
        if self.world.said("Stalled", ref)[0] == "False":
            assert status.effective == allowed
        assert status.effective.role in (None, allowed.role)
        assert all(is_covered(each, allowed.scopes) for each in status.effective.scopes), "4: wider than policy allows"

    def _run(self, operator: Operator, ref: Ref, seen: Manifest | None = None) -> None:
        try:
            with contextlib.suppress(ApiError):
                self.runner.run(operator.reconcile(ref, seen))
        except SimulatedDeathError:
            self._replace(operator)
        operator.api.heal()

    def _replace(self, operator: Operator) -> None:
        operator.die()
        index = self.operators.index(operator)
        self.operators[index] = self.world.operator(ahead=self.skew * index)
