"""``kubectl apikey`` among ApiKeys, Secrets and names that pass for others, where no operator mends anything."""

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from keywright.api.status import write_status
from keywright.domain.apikey import KeyRecord, Phase, RecordState, Status
from keywright.domain.conditions import Condition
from keywright.domain.plainkey import PlainKey, checksum
from keywright_local import ControlPlane
from tests.support.kube import Kube, eventually
from tests.support.kubectl import apikey
from tests.unit.domain.examples import NOW, key, record

PLAIN = key(1)
Namespaces = Callable[[Kube], str]


def said(kind: str, status: str, reason: str) -> Condition:
    return Condition(
        type=kind, status=status, reason=reason, message="as it is", observed_generation=1, last_transition_at=NOW
    )


def status(**fields: Any) -> Status:
    """That of an ApiKey whose key is :data:`PLAIN`."""
    mine: KeyRecord = record(PLAIN)
    conditions = (said("Active", "True", "KeyIssued"), said("SecretDelivered", "True", "KeyIssued"))
    fresh = Status(
        observed_generation=1,
        phase=Phase.ACTIVE,
        class_name="default",
        keys=(mine,),
        current_key_id=mine.id,
        conditions=conditions,
    )
    return replace(fresh, **fields)


@pytest.fixture
def place(own_admin: Kube, make_namespace: Namespaces) -> str:
    return make_namespace(own_admin)


def make(own_admin: Kube, place: str, name: str, written: Status) -> str:
    """Make an ApiKey with that status; its UID."""
    made = own_admin.apikey(place, name)
    own_admin.patch(place, name, {"status": write_status(written)}, subresource="status")
    return str(made["metadata"]["uid"])


def make_secret(own_admin: Kube, place: str, name: str, plain: PlainKey) -> str:
    """The Secret of an ApiKey; its UID."""
    data = {"api-key": base64.b64encode(plain.text.encode()).decode()}
    return str(own_admin.put_secret(place, {"metadata": {"name": name}, "data": data})["metadata"]["uid"])


def test_a_key_that_an_editor_has_put_into_the_secret_is_not_handed_over(
    own_plane: ControlPlane, own_admin: Kube, place: str
) -> None:
    """The Secret is the operator's and the id is right, but the hash is of another key. It is not acknowledged either."""
    body = PLAIN.text[:-49] + "A" * 43
    forged = PlainKey(PLAIN.prefix, PLAIN.key_id, body + checksum(body))
    own_admin.create(
        {
            "kind": "ApiKey",
            "metadata": {"name": "ci", "namespace": place},
            "spec": {"secret": {"delivery": "Once"}},
        }
    )
    uid = make_secret(own_admin, place, "ci", forged)
    written = status(secret_name="ci", secret_uid=uid)
    own_admin.patch(place, "ci", {"status": write_status(written)}, subresource="status")
    done = apikey(own_plane.kubeconfig, "reveal", "ci", "-n", place)
    assert (done.status, done.out) == (1, "")
    assert "is not the one that was issued for ci" in done.err
    assert forged.text[-49:] not in done.err
    secret = own_admin.secret(place, "ci")
    assert secret is not None
    assert "annotations" not in secret["metadata"]
    right = base64.b64encode(PLAIN.text.encode()).decode()
    own_admin.request(
        "PATCH", f"/api/v1/namespaces/{place}/secrets/ci", {"data": {"api-key": right}}, "application/merge-patch+json"
    )
    assert apikey(own_plane.kubeconfig, "reveal", "ci", "-n", place).out == f"{PLAIN.text}\n"


@pytest.mark.parametrize(
    "reason", ["ClassNotFound", "ClassNotAllowed", "StatusTampered", "KeySuspended", "InvalidSpec"]
)
def test_what_the_operator_says_verifiers_refuse_is_not_valid(
    own_plane: ControlPlane, own_admin: Kube, place: str, reason: str
) -> None:
    """Neither the spec nor the time says so: only the condition does."""
    make(own_admin, place, "ci", status(conditions=(said("Active", "False", reason),)))
    done = apikey(own_plane.kubeconfig, "verify", "-n", place, given=PLAIN.text)
    assert (done.status, done.out) == (3, "")
    assert done.err.startswith(f"not valid: {reason}: ")
    assert "as it is" in done.err


def test_a_first_key_is_valid_before_it_is_active(own_plane: ControlPlane, own_admin: Kube, place: str) -> None:
    """Verifiers accept it from its first instant."""
    pending = record(PLAIN, RecordState.PENDING)
    conditions = (said("Active", "False", "Pending"),)
    make(own_admin, place, "ci", status(keys=(pending,), current_key_id=None, conditions=conditions))
    done = apikey(own_plane.kubeconfig, "verify", "-n", place, given=PLAIN.text)
    assert done.status == 0, done.err


def test_a_copy_of_a_status_does_not_speak_for_the_key(own_plane: ControlPlane, own_admin: Kube, place: str) -> None:
    """Of two ApiKeys with one key id verifiers take the older, whichever comes first in a list."""
    make(own_admin, place, "original", status())
    made_at = own_admin.get(place, "original")["metadata"]["creationTimestamp"]

    def is_younger() -> bool:
        """Times of API servers are in seconds."""
        own_admin.apikey(place, "copy")
        if own_admin.get(place, "copy")["metadata"]["creationTimestamp"] > made_at:
            return True
        own_admin.delete(place, "copy")
        return False

    eventually(is_younger)
    barred = status(conditions=(said("Active", "False", "StatusTampered"),))
    own_admin.patch(place, "copy", {"status": write_status(barred)}, subresource="status")
    done = apikey(own_plane.kubeconfig, "verify", "-n", place, given=PLAIN.text)
    assert done.status == 0, done.err
    assert f"{place}/original" in done.out
    own_admin.delete(place, "original")
    assert apikey(own_plane.kubeconfig, "verify", "-n", place, given=PLAIN.text).status == 3


def test_nobody_takes_the_uid_of_another_as_a_name(own_plane: ControlPlane, own_admin: Kube, place: str) -> None:
    """A UID is a legal name: the object that has it as UID is meant; a name in that form is still found."""
    uid = make(own_admin, place, "ci", status())
    own_admin.apikey(place, uid)
    assert apikey(own_plane.kubeconfig, "suspend", uid, "-n", place).out == "apikey/ci suspended\n"
    assert own_admin.get(place, uid)["spec"]["suspended"] is False
    own_admin.delete(place, "ci")
    assert apikey(own_plane.kubeconfig, "suspend", uid, "-n", place).out == f"apikey/{uid} suspended\n"


def test_a_plain_key_in_the_wrong_place_is_not_repeated(own_plane: ControlPlane, own_admin: Kube, place: str) -> None:
    """Neither by the program nor out of the answer of an API server."""
    own_admin.apikey(place, "other")
    for command in (
        ["suspend", PLAIN.text, "other"],
        ["suspend", PLAIN.text[:-1], "other"],
        ["revoke", PLAIN.text, PLAIN.text],
        ["list", "-l", f"{PLAIN.text} x"],
        ["list", "--owner", PLAIN.text],
        ["create", PLAIN.text, "--no-wait"],
    ):
        done = apikey(own_plane.kubeconfig, *command, "-n", place)
        assert PLAIN.text[-48:-1] not in done.out + done.err, command
    assert own_admin.get(place, "other")["spec"]["suspended"] is True
    assert [each["metadata"]["name"] for each in own_admin.list(place)] == ["other"]


def test_all_namespaces_are_named_also_when_there_is_one(own_plane: ControlPlane, own_admin: Kube, place: str) -> None:
    """What is found everywhere cannot be told apart by its name."""
    own_admin.create(
        {"kind": "ApiKey", "metadata": {"name": "ci", "namespace": place, "labels": {"of": place}}, "spec": {}}
    )
    rows = apikey(own_plane.kubeconfig, "list", "-A", "-l", f"of={place}").out.splitlines()
    assert [each.split()[:2] for each in rows] == [["NAMESPACE", "NAME"], [place, "ci"]]
    asked = apikey(own_plane.kubeconfig, "revoke", "-A", "-l", f"of={place}").err
    assert asked.startswith("NAMESPACE")
    assert apikey(own_plane.kubeconfig, "list", "-n", place).out.startswith("NAME ")
