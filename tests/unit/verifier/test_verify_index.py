"""The index holds one entry for each key id, whatever comes and goes, and in whatever order."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from keywright.verifier.keys.index import Index, NamespaceView
from tests.unit.verifier.builders import api_key, at, mint, record
from tests.unit.verifier.wire import Served

KEY = mint()
OLDER = {"uid": "uid-b", "namespace": "blue", "created_at": at(-200)}
YOUNGER = {"uid": "uid-a", "namespace": "green", "created_at": at(-100)}


async def subject(served: Served) -> str | None:
    reply = await served.present(KEY.text)
    return reply.one("X-Auth-Key") if reply.status == 200 else None


async def test_the_older_of_two_keeps_the_id(served: Served) -> None:
    """A copy in a second place neither kills the original nor replaces it, whichever is seen first."""
    for first, second in ((OLDER, YOUNGER), (YOUNGER, OLDER)):
        served.verifier.index.put(api_key(record(KEY), **first))  # type: ignore[arg-type]
        served.verifier.index.put(api_key(record(KEY), **second))  # type: ignore[arg-type]
        assert await subject(served) == "blue/ci-deploy"
        served.verifier.index.remove("uid-a")
        served.verifier.index.remove("uid-b")


async def test_the_younger_takes_over(served: Served) -> None:
    """When the older goes away, the younger holds the id, and gives it back when the older returns."""
    index = served.verifier.index
    index.put(api_key(record(KEY), **OLDER))  # type: ignore[arg-type]
    index.put(api_key(record(KEY), **YOUNGER))  # type: ignore[arg-type]
    index.put(api_key(record(KEY), metadata={"deletionTimestamp": at(0)}, **OLDER))  # type: ignore[arg-type]
    assert await subject(served) == "green/ci-deploy"
    index.put(api_key(record(KEY), **OLDER))  # type: ignore[arg-type]
    assert await subject(served) == "blue/ci-deploy"
    index.remove("uid-a")
    assert await subject(served) == "blue/ci-deploy"
    index.remove("uid-b")
    assert await subject(served) is None


async def test_a_revoked_original_is_not_replaced_by_its_copy(served: Served) -> None:
    """The older one counts in whatever state it is: copying a revoked key does not bring it back."""
    served.verifier.index.put(api_key(record(KEY), spec={"revoked": True}, **OLDER))  # type: ignore[arg-type]
    served.verifier.index.put(api_key(record(KEY), **YOUNGER))  # type: ignore[arg-type]
    assert (await served.present(KEY.text)).code == "revoked_key"


async def test_of_two_equally_old_the_lower_uid_counts(served: Served) -> None:
    """Every verifier decides alike."""
    for uid in ("uid-2", "uid-1", "uid-3"):
        served.verifier.index.put(api_key(record(KEY), uid=uid, namespace=f"ns-{uid}", created_at=at(-100)))
    assert await subject(served) == "ns-uid-1/ci-deploy"


def test_a_namespace_sees_its_own_only() -> None:
    """A re-list of one namespace must not remove what another watch has brought."""
    index = Index()
    blue, green = NamespaceView(index, "blue"), NamespaceView(index, "green")
    blue.put(api_key(record(mint(1)), **OLDER))  # type: ignore[arg-type]
    green.put(api_key(record(mint(2)), **YOUNGER))  # type: ignore[arg-type]
    assert (set(blue.uids()), set(green.uids())) == ({"uid-b"}, {"uid-a"})
    assert set(index.uids()) == {"uid-a", "uid-b"}
    blue.remove("uid-b")
    assert (set(blue.uids()), len(index.entries)) == (set(), 1)


@given(st.lists(st.tuples(st.integers(0, 4), st.sets(st.integers(1, 3)), st.booleans()), max_size=30))
def test_any_history_leaves_what_is_there(history: list[tuple[int, set[int], bool]]) -> None:
    """After any puts and removals the index equals one that was filled with what remains, in any order."""
    index, remaining = Index(), {}
    for number, keys, is_put in history:
        uid = f"uid-{number}"
        if is_put:
            manifest = api_key(*(record(mint(key)) for key in keys), uid=uid, created_at=at(-100 * (number % 3) - 1))
            remaining[uid] = manifest
            index.put(manifest)
        else:
            remaining.pop(uid, None)
            index.remove(uid)
    fresh = Index()
    manifests = list(remaining.values())
    Random(1).shuffle(manifests)
    for manifest in manifests:
        fresh.put(manifest)
    assert {key: entry.uid for key, entry in index.entries.items()} == {
        key: entry.uid for key, entry in fresh.entries.items()
    }
    assert set(index.uids()) == set(fresh.uids())
