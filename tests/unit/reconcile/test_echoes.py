"""What a watch shows of our own writes before we know of them ourselves: no news, and never lost."""

import asyncio
from typing import Any

import pytest

from keywright.domain.delivery import NAME_LABEL
from keywright.kube.client import Manifest
from keywright.reconcile.echoes import Echoes
from keywright.reconcile.pictures import SecretPicture
from keywright.reconcile.ports import Ref

SECRET, APIKEY = Ref("payments", "secret"), Ref("payments", "key")


class Fixture:
    """A picture behind echoes, and who was said to be concerned."""

    def __init__(self) -> None:
        self.told: list[Ref] = []
        self.picture = SecretPicture(self.told.append)
        self.echoes = Echoes(self.picture)

    def note(self, uid: str = "ours") -> None:
        self.picture.note(SECRET, uid, APIKEY, version="7", is_right=True)


def shown(uid: str = "ours", **metadata: Any) -> Manifest:
    labels = {NAME_LABEL: APIKEY.name}
    return {
        "metadata": {"namespace": "payments", "name": "secret", "uid": uid, "resourceVersion": "7", "labels": labels}
    }


async def test_an_echo_is_no_news() -> None:
    """The watch is faster than the answer: once the write is noted, there is nothing to tell."""
    given = Fixture()
    with given.echoes.writing(SECRET):
        given.echoes.put(shown())
    given.note()
    await asyncio.sleep(0)
    assert given.told == []
    assert given.picture.uid_of(SECRET) == "ours"


async def test_what_somebody_else_wrote_meanwhile_is_told() -> None:
    """It differs from what was noted."""
    given = Fixture()
    with given.echoes.writing(SECRET):
        given.echoes.put(shown())
        given.echoes.put(shown("theirs"))
    given.note()
    await asyncio.sleep(0)
    assert given.told == [APIKEY]
    assert given.picture.uid_of(SECRET) == "theirs"


async def test_a_write_that_failed_holds_nothing_back() -> None:
    """Whether it was carried out or not: what was shown is told."""
    given = Fixture()

    def time_out() -> None:
        given.echoes.put(shown())
        raise TimeoutError

    with pytest.raises(TimeoutError), given.echoes.writing(SECRET):
        time_out()
    await asyncio.sleep(0)
    assert given.told == [APIKEY]


async def test_a_removal_does_not_overtake_what_was_held_back() -> None:
    """Shown, then removed, while a write is under way: it is gone in the end."""
    given = Fixture()
    with given.echoes.writing(SECRET):
        given.echoes.put(shown())
        given.echoes.remove("ours")
    await asyncio.sleep(0)
    assert given.picture.uid_of(SECRET) is None
    assert given.told == [APIKEY, APIKEY]


async def test_two_writes_at_once_end_with_the_last() -> None:
    """Two ApiKeys may name one Secret."""
    given = Fixture()
    with given.echoes.writing(SECRET):
        with given.echoes.writing(SECRET):
            pass
        await asyncio.sleep(0)
        given.echoes.put(shown())
        assert given.told == []
    await asyncio.sleep(0)
    assert given.told == [APIKEY]


def test_other_secrets_pass() -> None:
    """As if it were not there."""
    given = Fixture()
    given.echoes.put(shown())
    assert given.told == [APIKEY]
    assert list(given.echoes.uids_in("payments")) == ["ours"]
    given.echoes.remove("ours")
    assert given.echoes.uids_in(None) == []
