"""A whole issue on an API server in memory, and what it leaves behind."""

from datetime import timedelta

import pytest

from keywright.domain.apikey import Phase, RecordState
from keywright.domain.delivery import labels_for
from keywright.domain.reasons import Reason
from keywright.domain.report import Note
from keywright.kube.errors import ApiError, ApiUnavailableError, ConflictError
from keywright.kube.resources import APIKEYCLASSES, APIKEYS, EVENTS, SECRETS
from keywright.reconcile import events
from keywright.reconcile.ports import Ref
from tests.unit.reconcile.world import CHEAP, FAST, NAMESPACE, REF, START, World


@pytest.mark.parametrize("kind", [CHEAP, FAST], ids=["argon2id", "sha256"])
async def test_an_apikey_gets_its_key(kind: dict[str, object]) -> None:
    """From ``spec: {}`` to one Current record that the Secret proves, Ready and Active."""
    world = World(hashing_of_class=kind)
    world.apply()
    assert await world.operator().reconcile() is None
    held = world.check_issued()
    assert world.accepts(held.text)
    assert world.status().phase is Phase.ACTIVE
    assert world.said("Ready") == ("True", "KeyIssued")
    assert world.events() == ["KeyIssued"]
    assert len(world.minted) == 1


async def test_the_order_is_hash_then_secret_then_current() -> None:
    """Invariant 2: (a) Pending with the hash, (b) the Secret, (c) Current. Nothing else is written."""
    world = World()
    world.apply()
    operator = world.operator()
    await operator.reconcile()
    assert [str(each) for each in operator.api.recent] == [
        "get apikeys",
        "get secrets",
        "update apikeys status",
        "create secrets",
        "update apikeys status",
        "create events",
    ]
    first, _, last, _ = operator.api.writes
    assert first.manifest is not None
    assert last.manifest is not None
    (pending,), (current,) = first.manifest["status"]["keys"], last.manifest["status"]["keys"]
    assert (pending["state"], current["state"]) == ("Pending", "Current")
    assert pending | {"state": "Current"} == current


async def test_the_secret_is_exactly_what_the_contract_says() -> None:
    """Two labels, the time of issue, one owner that does not block deletion, one entry, nothing more."""
    world = World()
    world.apply()
    await world.operator().reconcile()
    secret, apikey = world.secret(), world.apikey()
    assert secret is not None
    assert secret["type"] == "Opaque"
    assert list(secret["data"]) == ["api-key"]
    assert secret["metadata"]["labels"] == labels_for("ci-deploy")
    assert secret["metadata"]["annotations"] == {"keywright.dev/issued-at": "2026-06-01T12:00:00Z"}
    assert secret["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "keywright.dev/v1alpha1",
            "kind": "ApiKey",
            "name": "ci-deploy",
            "uid": apikey["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": False,
        }
    ]


async def test_the_secret_has_the_name_and_entry_that_were_asked_for() -> None:
    """``spec.secret`` decides where the key goes."""
    world = World()
    world.apply(secret={"name": "elsewhere", "key": "TOKEN"})
    await world.operator().reconcile()
    secret = world.cluster.get(SECRETS, NAMESPACE, "elsewhere")
    assert list(secret["data"]) == ["TOKEN"]
    assert world.secret() is None
    assert world.status().secret_name == "elsewhere"


async def test_an_unchanged_apikey_costs_no_write() -> None:
    """Invariant 7: as often as one looks."""
    world = World()
    world.apply(ttl="90d")
    operator = world.operator()
    wake_at = await operator.reconcile()
    assert wake_at == START + timedelta(days=76)
    for seconds in (1, 3600, 86400):
        world.clock.step(seconds)
        assert await operator.reconcile() == wake_at
        assert operator.api.writes == []


async def test_an_unchanged_apikey_that_a_watch_shows_costs_no_request() -> None:
    """What makes a restart with many keys cheap: the pictures are enough to see that nothing is to be done."""
    world = World()
    world.apply(ttl="90d")
    world.apply("gone", revoked=True)
    first = world.operator()
    await first.reconcile()
    await first.reconcile(Ref(NAMESPACE, "gone"))
    restarted = world.operator()
    assert await restarted.reconcile(seen=world.apikey()) == START + timedelta(days=76)
    assert await restarted.reconcile(Ref(NAMESPACE, "gone"), world.apikey(Ref(NAMESPACE, "gone"))) is None
    assert restarted.api.calls == []


async def test_what_a_watch_shows_is_never_acted_upon_unread() -> None:
    """Stale news wastes two reads and does no harm."""
    world = World()
    world.apply()
    old = world.apikey()
    operator = world.operator()
    await operator.reconcile()
    await operator.reconcile(seen=old)
    assert operator.api.writes == []
    assert len(operator.api.recent) == 2
    world.check_issued()


async def test_a_suspension_is_enacted_and_undone_with_the_same_key() -> None:
    """The Secret keeps its key all the while."""
    world = World()
    world.apply()
    operator = world.operator()
    await operator.reconcile()
    held = world.check_issued()
    world.edit(suspended=True)
    assert not world.accepts(held.text)
    await operator.reconcile()
    assert world.status().phase is Phase.SUSPENDED
    world.edit(suspended=None)
    await operator.reconcile()
    assert world.check_issued() == held
    assert world.events() == ["KeyIssued", "KeySuspended", "KeyResumed"]


async def test_a_revoked_key_is_refused_recorded_and_withdrawn() -> None:
    """In this order; and it stays so when the spec says otherwise again."""
    world = World()
    world.apply()
    operator = world.operator()
    await operator.reconcile()
    held = world.check_issued()
    world.edit(revoked=True, revocationReason="leaked")
    await operator.reconcile()
    assert [str(each) for each in operator.api.writes] == ["update apikeys status", "create events", "delete secrets"]
    assert world.secret() is None
    world.edit(revoked=None)
    await operator.reconcile()
    assert world.status().phase is Phase.REVOKED
    assert not world.accepts(held.text)
    assert len(world.minted) == 1


async def test_an_end_is_recorded_and_the_secret_withdrawn_when_its_time_comes() -> None:
    """The pass before tells when to look again, first for the warning, then for the end."""
    world = World()
    world.apply(ttl="30d")
    operator = world.operator()
    warn_at = await operator.reconcile()
    assert warn_at == START + timedelta(days=16)
    world.clock.now = warn_at
    ends_at = await operator.reconcile()
    assert world.status().phase is Phase.EXPIRING
    assert ends_at == START + timedelta(days=30)
    world.clock.now = ends_at
    assert await operator.reconcile() is None
    assert world.status().phase is Phase.EXPIRED
    assert world.secret() is None
    assert world.events() == ["KeyIssued", "ExpiresSoon", "KeyExpired"]


async def test_a_missing_class_is_waited_for() -> None:
    """Refused with a remedy; issued once the class exists."""
    world = World()
    world.apply(className="gold")
    operator = world.operator()
    await operator.reconcile()
    assert world.said("Stalled") == ("True", "ClassNotFound")
    assert world.minted == []
    world.make_class("gold", prefix="acme_gold", hashing=FAST)
    await operator.reconcile()
    assert world.check_issued().prefix == "acme_gold"


async def test_a_deleted_class_refuses_its_live_keys_and_mints_nothing_new() -> None:
    """The record stays, so that the class can come back."""
    world = World()
    world.make_class("gold", hashing=FAST)
    world.apply(className="gold")
    operator = world.operator()
    await operator.reconcile()
    held = world.check_issued()
    world.cluster.delete(APIKEYCLASSES, None, "gold")
    await operator.reconcile()
    assert world.said("Active") == ("False", "ClassNotFound")
    world.make_class("gold", hashing=FAST)
    await operator.reconcile()
    assert world.check_issued() == held
    assert world.said("Active") == ("True", "KeyIssued")


async def test_an_apikey_that_is_gone_is_forgotten() -> None:
    """No request but the one that finds out."""
    world = World()
    world.apply()
    operator = world.operator()
    operator.die()
    world.delete()
    assert await operator.reconcile() is None
    assert len(operator.api.recent) == 1
    assert len(operator.roster) == 0


async def test_an_apikey_on_its_way_out_gets_nothing() -> None:
    """Somebody's finalizer holds it; nothing is minted into it."""
    world = World()
    world.apply()
    world.cluster.edit(APIKEYS, NAMESPACE, "ci-deploy", lambda each: each["metadata"].update(finalizers=["x/y"]))
    world.delete(collect=False)
    operator = world.operator()
    await operator.reconcile()
    assert operator.api.writes == []


async def test_a_status_that_cannot_be_read_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody wrote it who should not have; a second key would hide it."""
    world = World()
    world.apply()
    world.cluster.edit(APIKEYS, NAMESPACE, "ci-deploy", lambda each: each.update(status={"phase": "Hacked"}))
    operator = world.operator()
    await operator.reconcile(seen=world.apikey())
    assert operator.api.writes == []
    assert "StatusTampered" in caplog.text


async def test_a_key_whose_hash_was_replaced_is_reported() -> None:
    """An oversized cost in status is refused by verifiers and told to people."""
    world = World()
    world.apply()
    operator = world.operator()
    await operator.reconcile()
    world.cluster.edit(
        APIKEYS,
        NAMESPACE,
        "ci-deploy",
        lambda each: each["status"]["keys"][0].update(hash="$argon2id$v=19$m=4194304,t=1,p=1$aaaa$bbbb"),
    )
    await operator.reconcile()
    assert world.said("Stalled") == ("True", "StatusTampered")
    assert len(world.minted) == 1


async def test_a_spec_that_cannot_be_read_says_so_and_the_key_works_on() -> None:
    """As when an older CRD let it in, where it says nothing that verifiers would have to keep to."""
    world = World()
    world.apply()
    operator = world.operator()
    await operator.reconcile()
    held = world.check_issued()
    world.edit(rotation={"interval": "soon"})
    await operator.reconcile()
    assert world.said("Ready") == ("False", "InvalidSpec")
    assert world.accepts(held.text)


async def test_delivery_is_tried_again_while_the_api_server_is_away() -> None:
    """The plain key is held in memory only, so giving up at once would waste it."""
    world = World()
    world.apply()
    operator = world.operator()

    async def cut() -> None:
        operator.api.be_unavailable(5)

    operator.api.before(3, cut)
    await operator.reconcile()
    assert [str(each) for each in operator.api.recent].count("create secrets") == 6
    world.check_issued()
    assert len(world.minted) == 1


async def test_delivery_whose_answer_was_lost_is_found_out() -> None:
    """The Secret was created, the answer never came: the second attempt conflicts and the next pass promotes."""
    world = World()
    world.apply()
    operator = world.operator()

    async def mute() -> None:
        operator.api.lose_answers(1)

    operator.api.before(3, mute)
    await operator.work()
    world.check_issued()
    assert len(world.minted) == 1


async def test_delivery_is_given_up_well_before_others_take_over() -> None:
    """Ten seconds after the proposal; a fresh pass then waits for the patience to end and issues another."""
    world = World()
    world.apply()
    operator = world.operator()

    async def cut() -> None:
        operator.api.be_unavailable(1000)
        world.clock.step(11)

    operator.api.before(3, cut)
    with pytest.raises(ApiUnavailableError):
        await operator.reconcile()
    operator.api.be_unavailable(0)
    assert await operator.reconcile() == START + timedelta(seconds=15)
    assert operator.api.writes == []
    world.clock.step(4)
    await operator.reconcile()
    world.check_issued()
    assert len(world.minted) == 2


@pytest.mark.parametrize("call", range(6))
async def test_an_outage_at_any_call_ends_well(call: int) -> None:
    """Whichever request fails, later passes finish with exactly one key, and an event is not worth failing for."""
    world = World()
    world.apply()
    operator = world.operator()

    async def cut() -> None:
        operator.api.be_unavailable(1)

    operator.api.before(call, cut)
    try:
        await operator.reconcile()
    except ApiError:
        await operator.work()
    world.clock.step(20)
    await operator.work()
    held = world.check_issued()
    assert set(world.delivered) == {held.text}


async def test_an_event_that_exists_already_is_no_trouble() -> None:
    """Its name is made from what happened, so a repeat is refused as existing."""
    world = World()
    world.apply()
    operator = world.operator()

    async def anticipate() -> None:
        note = Note(Reason.KEY_ISSUED, "the same")
        world.cluster.create(EVENTS, NAMESPACE, events.event(world.apikey(), REF, note, world.clock()))

    operator.api.before(5, anticipate)
    await operator.reconcile()
    (event,) = world.cluster.list_all(EVENTS)
    assert event["involvedObject"]["resourceVersion"] == world.apikey()["metadata"]["resourceVersion"]
    assert isinstance(operator.api.refused[-1], ConflictError)
    world.check_issued()


async def test_an_event_says_what_happened_and_to_whom() -> None:
    """As ``kubectl describe`` and ``kubectl events --for`` look for it."""
    world = World()
    world.apply()
    await world.operator().reconcile()
    (event,) = world.cluster.list_all(EVENTS)
    apikey = world.apikey()
    assert event["involvedObject"] == {
        "apiVersion": "keywright.dev/v1alpha1",
        "kind": "ApiKey",
        "namespace": NAMESPACE,
        "name": "ci-deploy",
        "uid": apikey["metadata"]["uid"],
        "resourceVersion": apikey["metadata"]["resourceVersion"],
    }
    assert (event["type"], event["reason"]) == ("Normal", "KeyIssued")
    assert event["message"] == f"key {world.status().current_key_id} is in place"
    assert event["firstTimestamp"] == event["lastTimestamp"] == "2026-06-01T12:00:00Z"


async def test_a_pass_that_gets_nowhere_ends() -> None:
    """A world that never settles costs a bounded number of steps and is tried again later."""
    world = World()
    world.apply()
    operator = world.operator()

    class Fickle:
        """A class that comes and goes at every look."""

        def __init__(self) -> None:
            self.looks = -1

        def resolve(self, name: str | None) -> object:
            self.looks += 1
            return operator.classes.resolve(name) if self.looks % 2 == 0 else None

    await operator.reconcile()
    operator.reconciler._classes = Fickle()  # type: ignore[assignment]
    with pytest.raises(ApiUnavailableError, match="NoProgress"):
        await operator.reconcile()


async def test_a_pending_record_is_left_to_its_writer_and_then_taken_over() -> None:
    """Fifteen seconds, then the Secret is fenced before the record is replaced."""
    world = World()
    world.apply()
    dead = world.operator()

    async def cut() -> None:
        raise ApiError(422, "Invalid", "create secrets")

    dead.api.before(3, cut)
    with pytest.raises(ApiError):
        await dead.reconcile()
    assert world.status().keys[0].state is RecordState.PENDING
    operator = world.operator()
    assert await operator.reconcile() == START + timedelta(seconds=15)
    world.clock.step(15)
    await operator.reconcile()
    assert [str(each) for each in operator.api.writes] == [
        "create secrets",
        "update apikeys status",
        "update secrets",
        "update apikeys status",
        "create events",
    ]
    fence = operator.api.writes[0].manifest
    assert fence is not None
    assert fence["data"] == {}
    assert "keywright.dev/fence" in fence["metadata"]["annotations"]
    world.check_issued()
    secret = world.secret()
    assert secret is not None
    assert "keywright.dev/fence" not in secret["metadata"]["annotations"]


async def test_a_secret_that_is_refused_is_told_once_and_tried_again() -> None:
    """A quota, a policy, an immutable Secret: Stalled with the remedy instead of for ever on its way; then it heals."""
    world = World()
    world.apply()
    operator = world.operator()

    async def refuse() -> None:
        raise ApiError(403, "Forbidden", "create secrets")

    operator.api.before(3, refuse)
    with pytest.raises(ApiError):
        await operator.reconcile()
    assert world.said("Stalled") == ("True", "SecretRefused")
    assert world.status().phase is Phase.FAILED
    world.clock.step(60)
    operator.api.heal()
    await operator.reconcile()
    assert world.said("Stalled")[0] == "False"
    assert world.events() == ["SecretRefused", "KeyIssued"]
    world.check_issued()
