"""People, time, crashes and two operators in any order: what must never be otherwise never is."""

import asyncio
import base64
import contextlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from keywright.api.apikey import read_spec
from keywright.api.keyclass import read_class
from keywright.domain import entitlement, hashing
from keywright.domain.apikey import KeySpec, Phase, RecordState, Status
from keywright.domain.delivery import labels_for
from keywright.domain.scopes import is_covered
from keywright.domain.times import format_instant
from keywright.kube.client import Manifest
from keywright.kube.errors import ApiError
from keywright.kube.resources import APIKEYCLASSES, APIKEYS, NAMESPACES, SECRETS
from keywright.reconcile.ports import Ref
from tests.support.fake_api import SimulatedDeathError
from tests.unit.domain.examples import key
from tests.unit.reconcile.world import NAMESPACE, Operator, World, is_made_by_us

REFS = st.sampled_from([Ref(NAMESPACE, "ci-deploy"), Ref(NAMESPACE, "web")])
OPERATORS = st.sampled_from([0, 1])
CALLS = st.integers(0, 8)
STEPS = st.sampled_from([1, 10, 16, 120, 4000])
ENDS = st.sampled_from([-10, 30, 3600, 10_000])
TEAM_A = {"matchLabels": {"team": "a"}}
POLICIES = st.sampled_from(
    [
        {},
        {"allowedNamespaces": TEAM_A},
        {"roles": [{"name": "readonly", "scopes": ["agents:read"]}]},
        {"roles": [], "scopes": [{"name": "logs:read"}, {"name": "agents:write", "includes": ["agents:read"]}]},
        {"grants": [{"namespaces": TEAM_A, "roles": ["*"]}, {"namespaces": {}, "scopes": ["agents:*"]}]},
        {"grants": []},
    ]
)
EVERYTHING: dict[str, Any] = {"allowedNamespaces": None, "roles": None, "scopes": None, "grants": None}
ROLES = st.sampled_from([None, "readonly", "admin"])
SCOPES = st.sampled_from([None, ["agents:write"], ["logs:read", "agents:*"]])
POLICY_REASONS = ("ClassNotAllowed", "RoleNotFound", "ScopeNotAllowed")
TTLS = st.sampled_from([None, "45s", "1h"])
ATTACKERS = key(99).text


class Keywright(RuleBasedStateMachine):
    """The model is small: which ApiKeys were revoked or have ended, and which Secrets are somebody else's."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.world = self.make_world()
        self.skew = 0.0
        self.operators: list[Operator] = []
        self.revoked: set[str] = set()
        self.ended: set[str] = set()
        self.foreign: dict[str, Manifest] = {}

    def make_world(self) -> World:
        """Another machine may play in another world."""
        return World()

    @initialize(skew=st.sampled_from([0.0, 20.0]))
    def start(self, skew: float) -> None:
        self.skew = skew
        self.operators = [self.world.operator(), self.world.operator(ahead=skew)]
        self.world.apply("ci-deploy")

    def teardown(self) -> None:
        """Whatever happened, time and one more look set everything right."""
        with contextlib.closing(self.runner):
            if self.operators:
                self._come_to_rest()

    # What people do.

    @rule(ref=REFS, ttl=TTLS, suspended=st.booleans())
    def create(self, ref: Ref, ttl: str | None, suspended: bool) -> None:
        if self._apikey(ref) is None:
            spec: dict[str, object] = {"ttl": ttl} if ttl else {}
            self.world.apply(ref.name, suspended=suspended, **spec)

    @rule(policy=POLICIES)
    def change_class(self, policy: dict[str, Any]) -> None:
        self.world.edit_class(**(EVERYTHING | policy))

    @rule(labels=st.sampled_from([{}, {"team": "a"}]))
    def label_namespace(self, labels: dict[str, str]) -> None:
        self.world.label_namespace(**labels)

    @rule(ref=REFS, role=ROLES, scopes=SCOPES)
    def ask_for(self, ref: Ref, role: str | None, scopes: list[str] | None) -> None:
        if self._apikey(ref) is not None:
            self.world.edit(ref, role=role, scopes=scopes)

    @rule(ref=REFS, suspended=st.booleans())
    def suspend_or_resume(self, ref: Ref, suspended: bool) -> None:
        if self._apikey(ref) is not None:
            self.world.edit(ref, suspended=suspended)

    @rule(ref=REFS)
    def revoke(self, ref: Ref) -> None:
        if (manifest := self._apikey(ref)) is not None:
            self.revoked.add(manifest["metadata"]["uid"])
            self.world.edit(ref, revoked=True)

    @rule(ref=REFS, seconds=ENDS)
    def set_end(self, ref: Ref, seconds: int) -> None:
        if self._apikey(ref) is not None:
            end = format_instant(self.world.clock() + timedelta(seconds=seconds))
            self.world.edit(ref, ttl=None, expiresAt=end)

    @rule(ref=REFS, collect=st.booleans())
    def delete(self, ref: Ref, collect: bool) -> None:
        if (apikey := self._apikey(ref)) is not None:
            secret = self.world.secret(ref)
            if secret is not None and not secret["metadata"].get("ownerReferences"):
                # It stays, and is its successor's only when somebody says so.
                self.foreign[secret["metadata"]["uid"]] = secret
            self.world.forgotten.discard(apikey["metadata"]["uid"])
            self.world.delete(ref, collect=False)
            if collect:
                self.collect_garbage()

    @rule()
    def collect_garbage(self) -> None:
        self.world.cluster.collect_garbage()
        self._forget_removed()

    @rule(ref=REFS)
    def lose_secret(self, ref: Ref) -> None:
        if self.world.secret(ref) is not None:
            self.world.lose_secret(ref)
            self._forget_removed()

    @rule(ref=REFS, is_forged=st.booleans())
    def plant_secret(self, ref: Ref, is_forged: bool) -> None:
        apikey = self._apikey(ref)
        if self.world.secret(ref) is not None:
            return
        metadata: dict[str, object] = {}
        if is_forged and apikey is not None:
            owner = {
                "apiVersion": "keywright.dev/v1alpha1",
                "kind": "ApiKey",
                "name": ref.name,
                "uid": apikey["metadata"]["uid"],
            }
            metadata = {"labels": labels_for(ref.name), "ownerReferences": [owner]}
        planted = self.world.plant(ref.name, text=ATTACKERS, **metadata)
        self.foreign[planted["metadata"]["uid"]] = planted

    @rule(ref=REFS, delivery=st.sampled_from(["Once", "Persistent"]), loss=st.sampled_from(["Report", "Rotate"]))
    def have_a_key(self, ref: Ref, delivery: str, loss: str) -> None:
        """So that much of what follows is about keys that are in use."""
        if self._apikey(ref) is None:
            self.world.apply(ref.name, secret={"delivery": delivery, "onLoss": loss})
            self.work(0, ref)

    @rule(
        ref=REFS,
        text=st.sampled_from(["$(key)", "$(name)/$(keyId)", "$(kye)"]),
        label=st.sampled_from([None, "reloader.stakater.com/a", "other.com/a"]),
    )
    def change_template(self, ref: Ref, text: str, label: str | None) -> None:
        labels = {label: "x"} if label else {}
        self._set_secret(ref, template={"data": {"file": text}, "labels": labels})

    @rule(
        ref=REFS,
        delivery=st.sampled_from(["Once", "Persistent"]),
        deletion=st.sampled_from(["Delete", "Retain"]),
        inactive=st.sampled_from(["Delete", "Keep"]),
        loss=st.sampled_from(["Report", "Rotate"]),
    )
    def deliver_otherwise(self, ref: Ref, delivery: str, deletion: str, inactive: str, loss: str) -> None:
        policies = {"deletionPolicy": deletion, "whenInactive": inactive, "onLoss": loss}
        self._set_secret(ref, delivery=delivery, **policies)

    @rule(ref=REFS, what=st.sampled_from(["empty", "strip", "add", "acknowledge", "acknowledge another"]))
    def change_secret(self, ref: Ref, what: str) -> None:
        secret, apikey = self.world.secret(ref), self._apikey(ref)
        if secret is None or apikey is None or secret["metadata"]["uid"] in self.foreign:
            return
        key_id = self.world.status(ref).current_key_id if what == "acknowledge" else "0" * 12

        def edit(manifest: Manifest) -> None:
            match what:
                case "empty":
                    manifest["data"] = {}
                case "add":
                    manifest["data"]["extra"] = "eA=="
                case "strip":
                    manifest["metadata"] |= {"labels": {}, "ownerReferences": []}
                case _:
                    annotations = manifest["metadata"].setdefault("annotations", {})
                    annotations["keywright.dev/acknowledged"] = key_id or ""

        self.world.cluster.edit(SECRETS, NAMESPACE, ref.name, edit)
        self.work(1, ref)

    @rule(ref=REFS)
    def lose_status(self, ref: Ref) -> None:
        if (apikey := self._apikey(ref)) is not None:
            uid = apikey["metadata"]["uid"]
            self.world.forgotten.add(uid)
            self.ended.discard(uid)
            self.world.cluster.edit(APIKEYS, NAMESPACE, ref.name, lambda each: each.update(status={}))

    @rule(ref=REFS)
    def ask_for_adoption(self, ref: Ref) -> None:
        """Of a Secret that is its own, or was that of its predecessor; of nobody else's."""
        secret = self.world.secret(ref)
        if self._apikey(ref) is None or secret is None or ATTACKERS in repr(decoded(secret)):
            return
        uid = secret["metadata"]["uid"]
        self.foreign.pop(uid, None)
        annotations = {"keywright.dev/adopt-secret": uid}

        def annotate(manifest: Manifest) -> None:
            manifest["metadata"]["annotations"] = annotations

        self.world.cluster.edit(APIKEYS, NAMESPACE, ref.name, annotate)

    @rule(seconds=STEPS)
    def let_time_pass(self, seconds: int) -> None:
        self.world.clock.step(seconds)

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
        if (manifest := self._apikey(ref)) is not None:
            self._run(self.operators[which], ref, seen=manifest)

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
        what=st.sampled_from(["revoke", "delete", "replace", "lose", "plant", "forge", "suspend", "stall"]),
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
            self.world.check(ref)
            status = self.world.status(ref)
            if status.phase is Phase.EXPIRED and status.record(RecordState.CURRENT) is not None:
                self.ended.add(uid)
            if uid in self.ended:
                assert status.phase in (Phase.EXPIRED, Phase.REVOKED), "an ended key came back"
            if uid in self.revoked:
                assert not any(self.world.accepts(each, ref) for each in self.world.minted), "a revoked key works"
            assert not self.world.accepts(ATTACKERS, ref), "a planted key is believed"
        for uid, planted in self.foreign.items():
            assert self.world.cluster.find(SECRETS, NAMESPACE, planted["metadata"]["name"]) == planted, uid

    def _come_to_rest(self) -> None:
        """Time passes, both operators look until neither writes; then the cluster is as the specs ask."""
        self.collect_garbage()
        self.world.clock.step(60)
        for _ in range(3):
            for operator in list(self.operators):
                for manifest in self.world.cluster.list_all(APIKEYS):
                    self._run(operator, Ref(NAMESPACE, manifest["metadata"]["name"]))
        self._check()
        for manifest in self.world.cluster.list_all(APIKEYS):
            self._check_at_rest(Ref(NAMESPACE, manifest["metadata"]["name"]), manifest)

    def _check_at_rest(self, ref: Ref, manifest: Manifest) -> None:
        status, secret = self.world.status(ref), self.world.secret(ref)
        uid = manifest["metadata"]["uid"]
        is_ours = (
            secret is not None and is_made_by_us(secret, manifest) and (secret["metadata"]["uid"] not in self.foreign)
        )
        asked = manifest["spec"].get("secret") or {}
        if uid in self.revoked or uid in self.ended:
            is_kept = asked.get("whenInactive") == "Keep" or uid in self.world.forgotten
            assert is_kept or not is_ours, "the Secret of an ended key was left behind"
            return
        if status.phase is Phase.EXPIRED:
            assert uid in self.world.forgotten or not is_ours, "the Secret of a key born past its end was left behind"
            return
        self._check_policy(ref, status, manifest)
        if self.world.said("Stalled", ref)[0] == "True":
            assert self.world.said("Stalled", ref)[1] in (
                "SecretConflict",
                "SecretMissing",
                "InvalidSpec",
                *POLICY_REASONS,
            )
            return
        record = status.record(RecordState.CURRENT)
        assert record is not None
        if self.world.said("SecretDelivered", ref) == ("False", "SecretWithdrawn"):
            assert asked.get("delivery") == "Once"
            assert secret is None
            return
        held = self.world.key_in_secret(ref)
        assert held is not None
        assert hashing.verify(record.hash, held.text)
        assert secret is not None
        filled = decoded(secret)
        text = (asked.get("template") or {}).get("data", {}).get("file")
        if text is not None:
            assert filled["file"] == text.replace("$(key)", held.text).replace(
                "$(name)/$(keyId)", f"{ref.name}/{record.id}"
            )
        assert "extra" not in filled
        is_owned = bool(secret["metadata"].get("ownerReferences"))
        assert is_owned is (asked.get("deletionPolicy") != "Retain")

    def _set_secret(self, ref: Ref, **fields: object) -> None:
        if (manifest := self._apikey(ref)) is not None:
            self.world.edit(ref, secret=(manifest["spec"].get("secret") or {}) | fields)

    def _check_policy(self, ref: Ref, status: Status, manifest: Manifest) -> None:
        """A live key may do what is asked, as far as the class allows it here, and nothing else."""
        key_class = read_class(self.world.cluster.get(APIKEYCLASSES, None, "standard"))
        asked = read_spec(manifest)
        assert key_class is not None
        assert isinstance(asked, KeySpec)
        labels = self.world.cluster.get(NAMESPACES, None, NAMESPACE)["metadata"].get("labels") or {}
        is_barred = key_class.allowed_namespaces is not None and labels.get("team") != "a"
        assert (status.disallowed_at is not None) is is_barred
        if status.effective is None:
            return
        allowed = entitlement.allow(asked, key_class, labels)
        if entitlement.object_to(asked, key_class, labels) is None and not is_barred:
            assert status.effective == allowed
            return
        assert status.effective.role in (None, allowed.role)
        assert all(is_covered(each, allowed.scopes) for each in status.effective.scopes), "wider than policy allows"

    def _apikey(self, ref: Ref) -> Manifest | None:
        return self.world.cluster.find(APIKEYS, ref.namespace, ref.name)

    def _forget_removed(self) -> None:
        """Somebody or the garbage collector removed Secrets; the operators never may."""
        there = {each["metadata"]["uid"] for each in self.world.cluster.list_all(SECRETS)}
        self.foreign = {uid: each for uid, each in self.foreign.items() if uid in there}

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


def decoded(secret: Manifest) -> dict[str, str]:
    return {entry: base64.b64decode(value).decode() for entry, value in (secret.get("data") or {}).items()}


TestKeywright = Keywright.TestCase
TestKeywright.settings = settings(max_examples=80, stateful_step_count=30)
