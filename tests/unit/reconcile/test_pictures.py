"""What the operator's own watches show, and what they make of it."""

from typing import Any

import pytest

from keywright.reconcile.pictures import ClassPicture, NamespacePicture, SecretPicture, WatchGuard
from keywright.reconcile.ports import Ref
from keywright.reconcile.roster import Roster

A = Ref("payments", "a")
LABELS = {"app.kubernetes.io/managed-by": "keywright", "keywright.dev/api-key": "a"}


def a_class(uid: str, name: str = "gold", *, is_default: bool = False, **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "uid": uid,
            "creationTimestamp": "2026-06-01T12:00:00Z",
            "annotations": {"keywright.dev/is-default-class": "true"} if is_default else {},
        },
        "spec": {"prefix": name} | spec,
    }


class Classes:
    def __init__(self) -> None:
        self.changed: list[str] = []
        self.picture = ClassPicture(self.changed.append)

    def prefix_of(self, name: str | None) -> str | None:
        found = self.picture.resolve(name)
        return found.prefix if found is not None else None


def test_a_class_that_comes_changes_or_goes_is_told_by_name() -> None:
    """And resolved as it is at that moment."""
    given = Classes()
    assert given.prefix_of("gold") is None
    given.picture.put(a_class("u1"))
    assert given.prefix_of("gold") == "gold"
    given.picture.put(a_class("u1", prefix="acme"))
    assert given.prefix_of("gold") == "acme"
    given.picture.remove("u1")
    assert given.prefix_of("gold") is None
    assert given.changed == ["gold", "gold", "gold"]
    assert list(given.picture.uids()) == []


def test_a_class_that_says_the_same_again_is_no_news() -> None:
    """A re-list of unchanged classes wakes no ApiKey; removing an unknown one neither."""
    given = Classes()
    for _ in range(3):
        given.picture.put(a_class("u1"))
    given.picture.remove("unknown")
    assert given.changed == ["gold"]


def test_a_class_deleted_and_made_anew_is_there_whatever_is_told_first() -> None:
    """The removal of the old one must not take the new one along."""
    given = Classes()
    given.picture.put(a_class("u1"))
    given.picture.put(a_class("u2", prefix="acme"))
    given.picture.remove("u1")
    assert given.prefix_of("gold") == "acme"
    assert list(given.picture.uids()) == ["u2"]


def test_a_class_that_is_being_deleted_is_gone() -> None:
    """Whatever finalizer still holds it; the built-in takes the place of a `standard` that goes."""
    given = Classes()
    for name in ("gold", "standard"):
        manifest = a_class(name, name, prefix="acme")
        given.picture.put(manifest)
        manifest["metadata"]["deletionTimestamp"] = "2026-06-01T13:00:00Z"
        for _ in range(2):
            given.picture.put(manifest)
    assert given.prefix_of("gold") is None
    assert given.prefix_of("standard") == "kw_live"
    assert given.changed == ["gold", "gold", "standard", "standard"]


def test_a_class_that_cannot_be_read_does_not_exist_for_its_keys() -> None:
    """It is refused rather than guessed, also where a built-in has the same name."""
    given = Classes()
    given.picture.put(a_class("u1", lifetime={"max": "for ever"}))
    given.picture.put(a_class("u2", "standard", lifetime={"max": "for ever"}))
    assert given.prefix_of("gold") is None
    assert given.prefix_of("standard") is None
    given.picture.put(a_class("u1"))
    assert given.prefix_of("gold") == "gold"


def test_an_unreadable_standard_is_not_replaced_by_the_built_in() -> None:
    """The built-in applies as long as no object of that name exists; this one does."""
    given = Classes()
    given.picture.put(a_class("u2", "standard", lifetime={"max": "for ever"}))
    assert given.prefix_of(None) is None


def test_the_default_class_is_found_by_its_annotation() -> None:
    """Else the built-in."""
    given = Classes()
    assert given.prefix_of(None) == "kw_live"
    given.picture.put(a_class("u1", is_default=True))
    assert given.prefix_of(None) == "gold"


def a_namespace(uid: str, name: str = "payments", **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": uid} | ({"labels": labels} if labels else {})}


def test_a_namespace_with_other_labels_is_told_and_one_without_news_is_not() -> None:
    """A namespace that was never seen has no labels that are known, which is not the same as having none."""
    changed: list[str] = []
    picture = NamespacePicture(changed.append)
    assert picture.labels_of("payments") is None
    for _ in range(2):
        picture.put(a_namespace("u1"))
    assert picture.labels_of("payments") == {}
    picture.put(a_namespace("u1", team="a"))
    assert picture.labels_of("payments") == {"team": "a"}
    assert changed == ["payments", "payments"]
    picture.remove("u1")
    picture.remove("unknown")
    assert picture.labels_of("payments") is None


def test_a_namespace_made_anew_is_there_whatever_is_told_first() -> None:
    """And a re-list of one namespace does not remove another."""
    picture = NamespacePicture(lambda _: None)
    picture.put(a_namespace("u1", team="a"))
    picture.put(a_namespace("u2", team="b"))
    picture.put(a_namespace("u3", "web"))
    assert (picture.uids_in("payments"), picture.uids_in("web")) == (["u1", "u2"], ["u3"])
    assert picture.uids_in(None) == list(picture.uids()) == ["u1", "u2", "u3"]
    picture.remove("u1")
    assert picture.labels_of("payments") == {"team": "b"}


def a_secret(
    uid: str, name: str = "a", *, namespace: str = "payments", labels: Any = LABELS, version: int = 1
) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "uid": uid, "labels": labels, "resourceVersion": str(version)}
    return {"metadata": metadata}


def test_a_secret_that_comes_or_goes_wakes_the_apikey_of_its_label() -> None:
    """Once each; what was told already is of no interest."""
    told: list[Ref] = []
    picture = SecretPicture(told.append)
    picture.put(a_secret("s1"))
    picture.put(a_secret("s1"))
    assert picture.uid_of(A) == "s1"
    picture.remove("s1")
    picture.remove("s1")
    assert told == [A, A]
    assert picture.uid_of(A) is None


def test_a_secret_that_changes_wakes_whom_it_names_and_named() -> None:
    """Whoever takes our label off or changes it is noticed; an older version than the one that is known tells nothing."""
    told: list[Ref] = []
    picture = SecretPicture(told.append)
    picture.put(a_secret("s1", version=2))
    picture.put(a_secret("s1", version=3, labels=LABELS | {"keywright.dev/api-key": "b"}))
    picture.put(a_secret("s1", version=1))
    assert told == [A, Ref("payments", "b"), A]
    assert picture.version_of("s1") == "3"


def test_what_the_operator_has_looked_at_itself_tells_nobody() -> None:
    """Neither a read nor a write of its own is news when the watch shows it; what somebody changes later is."""
    told: list[Ref] = []
    picture = SecretPicture(told.append)
    picture.note(A, "s1", A, version="5", is_right=True)
    picture.put(a_secret("s1", version=5))
    picture.note(A, "s1", A, version="4", is_right=False)
    assert (told, picture.is_right("s1"), picture.version_of("s1")) == ([], True, "5")
    picture.put(a_secret("s1", version=6))
    assert (told, picture.is_right("s1")) == ([A], False)


def test_a_secret_replaced_by_another_of_its_name_is_the_other() -> None:
    """In whichever order the two are told."""
    told: list[Ref] = []
    picture = SecretPicture(told.append)
    picture.put(a_secret("s1"))
    picture.put(a_secret("s2"))
    picture.remove("s1")
    assert picture.uid_of(A) == "s2"
    assert told == [A, A, A]


@pytest.mark.parametrize("labels", [None, {}, {"app.kubernetes.io/managed-by": "keywright"}])
def test_a_secret_without_our_label_wakes_nobody(labels: Any) -> None:
    """It is known by its place all the same."""
    told: list[Ref] = []
    picture = SecretPicture(told.append)
    picture.put(a_secret("s1", labels=labels))
    picture.remove("s1")
    assert told == []


def test_the_uids_of_one_namespace() -> None:
    """A re-list of one namespace must not remove the Secrets of another."""
    picture = SecretPicture(lambda _: None)
    picture.put(a_secret("s1"))
    picture.put(a_secret("s2", namespace="web"))
    assert list(picture.uids_in("payments")) == ["s1"]
    assert set(picture.uids_in(None)) == set(picture.uids()) == {"s1", "s2"}


class Guarded:
    """A guard, the roster that the framework fills, and a clock of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("keywright.reconcile.pictures.time.monotonic", lambda: self.now)
        self.roster = Roster(lambda _: None)
        self.guard = WatchGuard(self.roster, "payments")

    def framework_sees(self, uid: str, version: int) -> None:
        self.roster.observe(A, _apikey(uid, version))

    def guard_sees(self, uid: str, version: int) -> None:
        self.guard.put(_apikey(uid, version))


def _apikey(uid: str, version: int) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "resourceVersion": str(version), "creationTimestamp": "2026-06-01T12:00:00Z"}}


def test_what_both_watches_have_shown_owes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """In either order."""
    given = Guarded(monkeypatch)
    given.framework_sees("u1", 1)
    given.guard_sees("u1", 1)
    given.guard_sees("u1", 2)
    given.framework_sees("u1", 2)
    given.now += 100
    assert given.guard.lag() == 0


def test_what_the_framework_has_not_shown_lags_from_the_first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Newer versions do not set the clock back, and a partial catching up does not end it."""
    given = Guarded(monkeypatch)
    given.guard_sees("u1", 1)
    given.now += 10
    given.guard_sees("u1", 5)
    given.framework_sees("u1", 3)
    assert given.guard.lag() == 10
    given.framework_sees("u1", 5)
    assert given.guard.lag() == 0


def test_the_oldest_debt_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One ApiKey that never arrives is a dead watch, whatever the others do."""
    given = Guarded(monkeypatch)
    given.guard_sees("u1", 1)
    given.now += 30
    given.guard_sees("u2", 2)
    assert given.guard.lag() == 30


def test_a_deletion_that_the_framework_missed_is_made_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """The roster forgets it, and nothing is owed for it any more."""
    given = Guarded(monkeypatch)
    given.framework_sees("u1", 1)
    given.guard_sees("u1", 9)
    given.guard.remove("u1")
    given.now += 100
    assert given.guard.lag() == 0
    assert len(given.roster) == 0


def test_a_relist_can_find_what_went_unnoticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both what the roster holds in this namespace and what is still awaited."""
    given = Guarded(monkeypatch)
    given.framework_sees("u1", 1)
    given.roster.observe(Ref("web", "b"), _apikey("u3", 1))
    given.guard_sees("u2", 2)
    assert set(given.guard.uids()) == {"u1", "u2"}
