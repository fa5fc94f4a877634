"""What people do to ApiKeys, classes, namespaces and Secrets, those included who must not be able to."""

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from keywright.domain.apikey import Phase
from keywright.domain.delivery import labels_for
from keywright.domain.times import format_instant, parse_duration
from keywright.kube.client import Manifest
from keywright.kube.resources import APIKEYCLASSES, APIKEYS, APIKEYUSAGES, SECRETS
from keywright.reconcile.ports import Ref
from tests.unit.domain.examples import key
from tests.unit.reconcile.invariants import Invariants
from tests.unit.reconcile.world import FAST, NAMESPACE, World

__all__ = ["ATTACKERS", "DEPLOY", "REFS", "WEB", "People", "decoded"]

DEPLOY, WEB = Ref(NAMESPACE, "ci-deploy"), Ref(NAMESPACE, "web")
REFS = st.sampled_from([DEPLOY, WEB])
STEPS = st.sampled_from([1, 10, 16, 120, 4000, -30, -4000])
ENDS = st.sampled_from([3600, 10_000, None, 30, -10])
TEAM_A = {"matchLabels": {"team": "a"}}
POLICIES = st.sampled_from(
    [
        {},
        {"allowedNamespaces": TEAM_A},
        {"roles": [{"name": "readonly", "scopes": ["agents:read"]}]},
        {"roles": [], "scopes": [{"name": "logs:read"}, {"name": "agents:write", "includes": ["agents:read"]}]},
        {"grants": [{"namespaces": TEAM_A, "roles": ["*"]}, {"namespaces": {}, "scopes": ["agents:*"]}]},
        {"grants": []},
        {"lifetime": {"default": "30h", "max": "60h"}},
        {"lifetime": {"max": "90s"}},
    ]
)
EVERYTHING: dict[str, Any] = {
    "allowedNamespaces": None,
    "roles": None,
    "scopes": None,
    "grants": None,
    "lifetime": None,
}
CLASSES = st.sampled_from(["standard", "team"])
ROLES = st.sampled_from([None, "readonly", "admin"])
SCOPES = st.sampled_from([None, ["agents:write"], ["logs:read", "agents:*"]])
TTLS = st.sampled_from([None, "45s", "1h"])
GRACES = st.sampled_from([None, "0s", "20s", "10m"])
INTERVALS = st.sampled_from([None, "30s", "1h"])
ATTACKERS = key(99).text


class People(RuleBasedStateMachine):
    """The model is small: which ApiKeys were revoked, and which Secrets are somebody else's."""

    world: World
    promises: Invariants
    revoked: set[str]
    foreign: dict[str, Manifest]
    tampered: set[str]
    asked: int

    def work(self, which: int, ref: Ref) -> None:
        """A pass of one operator to its end."""
        raise NotImplementedError

    # ApiKeys.

    @rule(ref=REFS, ttl=TTLS, suspended=st.booleans(), class_name=st.sampled_from([None, "standard", "team"]))
    def create(self, ref: Ref, ttl: str | None, suspended: bool, class_name: str | None = None) -> None:
        if self.apikey(ref) is None:
            spec: dict[str, object] = {"ttl": ttl, "className": class_name}
            self.world.apply(ref.name, suspended=suspended, **{name: each for name, each in spec.items() if each})

    @rule(ref=REFS, delivery=st.sampled_from(["Once", "Persistent"]), loss=st.sampled_from(["Report", "Rotate"]))
    def have_a_key(self, ref: Ref, delivery: str, loss: str) -> None:
        """So that much of what follows is about keys that are in use: an ended one gets a successor."""
        if (apikey := self.apikey(ref)) is not None and self.world.status(ref).phase in (Phase.REVOKED, Phase.EXPIRED):
            self.delete(ref, True)
            apikey = None
        if apikey is None:
            self.world.apply(ref.name, secret={"delivery": delivery, "onLoss": loss})
            self.work(0, ref)

    @rule(ref=REFS, role=ROLES, scopes=SCOPES)
    def ask_for(self, ref: Ref, role: str | None, scopes: list[str] | None) -> None:
        if self.apikey(ref) is not None:
            self.world.edit(ref, role=role, scopes=scopes)

    @rule(ref=REFS, suspended=st.booleans())
    def suspend_or_resume(self, ref: Ref, suspended: bool) -> None:
        if self.apikey(ref) is not None:
            self.world.edit(ref, suspended=suspended)

    @rule(ref=REFS)
    def revoke(self, ref: Ref) -> None:
        if (manifest := self.apikey(ref)) is not None:
            self.revoked.add(manifest["metadata"]["uid"])
            self.world.edit(ref, revoked=True)

    @rule(ref=REFS, seconds=ENDS)
    def set_end(self, ref: Ref, seconds: int | None) -> None:
        """Nearer, further off, or none any more."""
        if self.apikey(ref) is not None:
            end = self.world.clock() + timedelta(seconds=seconds) if seconds is not None else None
            self.world.edit(ref, ttl=None, expiresAt=format_instant(end) if end is not None else None)

    @rule(ref=REFS, interval=INTERVALS, grace=GRACES, is_triggered=st.booleans(), works=st.booleans())
    def ask_for_rotation(
        self, ref: Ref, interval: str | None, grace: str | None, is_triggered: bool, works: bool
    ) -> None:
        """By trigger, by the clock, or only with another grace than before."""
        if (manifest := self.apikey(ref)) is None:
            return
        trigger = (manifest["spec"].get("rotation") or {}).get("trigger")
        if is_triggered:
            trigger = self._new_value()
        ttl = manifest["spec"].get("ttl")
        if ttl is not None and grace is not None and parse_duration(grace) >= parse_duration(ttl):
            grace = None  # The schema refuses it; a ttl that is shortened under a grace, it does not.
        fields = {"interval": interval, "gracePeriod": grace, "trigger": trigger}
        self.world.edit(ref, rotation={name: each for name, each in fields.items() if each is not None})
        if works:
            self.work(0, ref)

    @rule(ref=REFS, grace=GRACES, works=st.booleans())
    def annotate_rotation(self, ref: Ref, grace: str | None, works: bool) -> None:
        if self.apikey(ref) is None:
            return
        asked = {"keywright.dev/rotate": self._new_value()}
        if grace is not None:
            asked["keywright.dev/rotate-grace"] = grace

        def annotate(manifest: Manifest) -> None:
            others = manifest["metadata"].get("annotations") or {}
            others.pop("keywright.dev/rotate-grace", None)
            manifest["metadata"]["annotations"] = others | asked

        self.world.cluster.edit(APIKEYS, NAMESPACE, ref.name, annotate)
        if works:
            self.work(1, ref)

    @rule(ref=REFS, collect=st.booleans())
    def delete(self, ref: Ref, collect: bool) -> None:
        if (apikey := self.apikey(ref)) is not None:
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

    # Classes and the namespace.

    @rule(name=CLASSES, policy=POLICIES, labels=st.sampled_from([None, {}, {"team": "a"}]))
    def change_policy(self, name: str, policy: dict[str, Any], labels: dict[str, str] | None) -> None:
        if labels is not None:
            self.world.label_namespace(**labels)
        elif self.world.cluster.find(APIKEYCLASSES, None, name) is not None:
            self.world.edit_class(name, **(EVERYTHING | policy))

    @rule(is_default=st.booleans(), prefix=st.sampled_from(["kw_team", "kw_other"]))
    def make_or_delete_class(self, is_default: bool, prefix: str) -> None:
        """A second class comes and goes. Of the first, what is built in would take the place, at the cost of argon2."""
        if self.world.cluster.find(APIKEYCLASSES, None, "team") is not None:
            self.world.delete_class("team")
            return
        annotations = {"keywright.dev/is-default-class": "true"} if is_default else {}
        self.world.make_class("team", annotations, hashing=FAST, prefix=prefix)

    # Secrets.

    @rule(ref=REFS)
    def lose_secret(self, ref: Ref) -> None:
        if self.world.secret(ref) is not None:
            self.world.lose_secret(ref)
            self._forget_removed()

    @rule(ref=REFS, is_forged=st.booleans())
    def plant_secret(self, ref: Ref, is_forged: bool) -> None:
        apikey = self.apikey(ref)
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
        secret, apikey = self.world.secret(ref), self.apikey(ref)
        if secret is None or apikey is None or secret["metadata"]["uid"] in self.foreign:
            return
        key_id = self.world.status(ref).current_key_id if what == "acknowledge" else "0" * 12

        def edit(manifest: Manifest) -> None:
            match what:
                case "empty":
                    manifest["data"] = {}
                case "add":
                    manifest["data"] = (manifest.get("data") or {}) | {"extra": "eA=="}
                case "strip":
                    manifest["metadata"] |= {"labels": {}, "ownerReferences": []}
                case _:
                    annotations = manifest["metadata"].setdefault("annotations", {})
                    annotations["keywright.dev/acknowledged"] = key_id or ""

        self.world.cluster.edit(SECRETS, NAMESPACE, ref.name, edit)
        self.work(1, ref)

    @rule(ref=REFS)
    def ask_for_adoption(self, ref: Ref) -> None:
        """Of a Secret that is its own, or was that of its predecessor; of nobody else's."""
        secret = self.world.secret(ref)
        if self.apikey(ref) is None or secret is None or ATTACKERS in repr(decoded(secret)):
            return
        uid = secret["metadata"]["uid"]
        self.foreign.pop(uid, None)

        def annotate(manifest: Manifest) -> None:
            manifest["metadata"].setdefault("annotations", {})["keywright.dev/adopt-secret"] = uid

        self.world.cluster.edit(APIKEYS, NAMESPACE, ref.name, annotate)

    # Status: lost in a restore, or written by somebody who may write it.

    @rule(
        ref=REFS,
        what=st.sampled_from(["lose", "copy", "effective", "conditions", "record", "secretUID", "hash", "bad hash"]),
    )
    def write_status(self, ref: Ref, what: str) -> None:
        """With a record of a key that the writer knows, with the hash of it, with more rights, with another Secret."""
        if what == "lose":
            self._tamper(ref, lambda status: status.clear(), is_lost=True)
            return
        if what == "copy":
            self._copy_status(ref)
            return
        apikey = self.apikey(ref)
        records = (apikey or {}).get("status", {}).get("keys") or []
        if not records:
            return

        def change(status: Manifest) -> None:
            match what:
                case "hash":
                    status["keys"][0]["hash"] = "sha256:" + "0" * 64
                case "bad hash":
                    status["keys"][0]["hash"] = "$argon2id$v=19$m=999999999,t=1,p=1$c2l4dGVlbiBieXRlcyBvaw$AAAA"
                case "secretUID":
                    status["secretUID"] = "00000000-0000-4000-8000-999999999999"
                case "effective":
                    status["effective"] = (status.get("effective") or {}) | {"role": "admin", "scopes": ["*"]}
                case "conditions":
                    status.pop("conditions", None)
                case _ if len(records) < 8 and all(each["id"] != "0" * 12 for each in records):
                    foreign = {**records[0], "id": "0" * 12, "state": "Retiring", "hash": "sha256:" + "1" * 64}
                    status["keys"].append({name: each for name, each in foreign.items() if name != "fingerprint"})

        self._tamper(ref, change, is_forgotten=what not in ("effective", "conditions"))

    def _copy_status(self, ref: Ref) -> None:
        """From the other ApiKey: the same key ids in both."""
        source = self.apikey(WEB if ref == DEPLOY else DEPLOY)
        if source is not None and source.get("status", {}).get("keys"):
            copied = source["status"]

            def replace(status: Manifest) -> None:
                status.clear()
                status.update(copied)

            self._tamper(ref, replace)

    def _tamper(
        self, ref: Ref, change: Callable[[Manifest], None], *, is_forgotten: bool = True, is_lost: bool = False
    ) -> None:
        if (apikey := self.apikey(ref)) is None:
            return
        uid = apikey["metadata"]["uid"]
        if is_forgotten:
            self.world.forgotten.add(uid)
        if not is_lost:
            self.tampered.add(uid)
        with self.promises.looking_away(uid):
            self.world.cluster.edit(APIKEYS, NAMESPACE, ref.name, lambda each: change(each.setdefault("status", {})))

    # Use, and time.

    @rule(ref=REFS, seconds=st.sampled_from([0, -60, 500]))
    def use(self, ref: Ref, seconds: int) -> None:
        """A verifier reports every key of an ApiKey as used, and one that there is not."""
        ids = [each.id for each in self.world.status(ref).keys] if self.apikey(ref) is not None else []
        at = format_instant(self.world.clock() + timedelta(seconds=seconds))
        spec = {
            "verifier": "gateway",
            "renewedAt": format_instant(self.world.clock()),
            "uses": {f"{ref}/{each}": at for each in (*ids, "0" * 12)},
        }
        found = self.world.cluster.find(APIKEYUSAGES, NAMESPACE, "gateway")
        if found is not None:
            self.world.cluster.update(APIKEYUSAGES, NAMESPACE, "gateway", found | {"spec": spec})
        else:
            manifest = {"apiVersion": APIKEYUSAGES.api_version, "kind": "ApiKeyUsage", "metadata": {"name": "gateway"}}
            self.world.cluster.create(APIKEYUSAGES, NAMESPACE, manifest | {"spec": spec})

    @rule(seconds=STEPS)
    def let_time_pass(self, seconds: int) -> None:
        """Or have a clock set back."""
        self.world.clock.step(seconds)

    def apikey(self, ref: Ref) -> Manifest | None:
        return self.world.cluster.find(APIKEYS, ref.namespace, ref.name)

    def _set_secret(self, ref: Ref, **fields: object) -> None:
        if (manifest := self.apikey(ref)) is not None:
            self.world.edit(ref, secret=(manifest["spec"].get("secret") or {}) | fields)

    def _new_value(self) -> str:
        self.asked += 1
        return f"ask-{self.asked}"

    def _forget_removed(self) -> None:
        """Somebody or the garbage collector removed Secrets; the operators never may."""
        there = {each["metadata"]["uid"] for each in self.world.cluster.list_all(SECRETS)}
        self.foreign = {uid: each for uid, each in self.foreign.items() if uid in there}


def decoded(secret: Manifest) -> dict[str, str]:
    return {entry: base64.b64decode(value).decode() for entry, value in (secret.get("data") or {}).items()}
