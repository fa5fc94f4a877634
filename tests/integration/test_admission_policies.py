"""Who may use a class, who may write a status, and whoever is on call: tried as users on the real API server."""

from collections.abc import Callable

import yaml

from tests.integration.conftest import ROOT
from tests.support.kube import Kube
from tests.support.people import allowed, bind, grant, key, refusal

MakeClass = Callable[..., str]


def test_a_class_must_be_granted(admin: Kube, editor: Kube, namespace: str, make_class: MakeClass) -> None:
    """An editor may use `standard`, may not use another class, and may once a RoleBinding says so."""
    restricted = make_class()
    editor.create(key(namespace))
    editor.create(key(namespace, className="standard"))
    asked = key(namespace, className=restricted)
    message = refusal(lambda: editor.create(asked), saying=f"may not use the ApiKeyClass {restricted}")
    assert "spec.className" in message
    grant(admin, namespace, f"editor-of-{namespace}", "apikeyclasses", "use", restricted)
    allowed(lambda: editor.create(key(namespace, className=restricted)))


def test_leaving_the_class_out_does_not_get_round_it(
    admin: Kube, editor: Kube, namespace: str, make_class: MakeClass
) -> None:
    """When a class that is not granted becomes the default, a key without className is refused as well."""
    restricted = make_class()
    annotation = {"metadata": {"annotations": {"keywright.dev/is-default-class": "true"}}}
    admin.patch(None, restricted, annotation, kind="ApiKeyClass")
    refusal(lambda: editor.create(key(namespace)), saying=f"may not use the default ApiKeyClass {restricted}")
    editor.create(key(namespace, className="standard"))


def test_whoever_is_on_call_can_always_act(admin: Kube, editor: Kube, namespace: str, make_class: MakeClass) -> None:
    """Suspending, revoking and deleting a key takes no right to its class."""
    restricted = make_class()
    refusal(lambda: editor.create(key(namespace, className=restricted)))
    admin.apikey(namespace, "theirs", className=restricted)
    for change in ({"suspended": True}, {"revoked": True}):
        editor.patch(namespace, "theirs", {"spec": change})
    editor.delete(namespace, "theirs")


def test_status_takes_a_verb_of_its_own(admin: Kube, editor: Kube, namespace: str) -> None:
    """A role that grants apikeys/status by accident still issues nothing: the verb `issue` is missing."""
    user = f"editor-of-{namespace}"
    for verb in ("update", "patch"):
        grant(admin, namespace, user, "apikeys/status", verb)
    admin.apikey(namespace, "key")
    record = {"id": "0" * 12, "state": "Current", "hash": "sha256:" + "0" * 64, "issuedAt": "2026-01-01T00:00:00Z"}

    def forge() -> None:
        manifest = editor.get(namespace, "key")
        manifest["status"]["keys"] = [record]
        editor.request("PUT", editor.path("ApiKey", namespace, "key", "status"), manifest)

    refusal(forge, saying="only the operator")
    patch = {"status": {"keys": [record]}}
    refusal(lambda: editor.patch(namespace, "key", patch, subresource="status"), saying="only the operator")
    grant(admin, namespace, user, "apikeys/status", "issue")
    allowed(lambda: editor.patch(namespace, "key", patch, subresource="status"))


def test_a_rolebinding_grants_in_its_namespace_only(
    admin: Kube, editor: Kube, namespace: str, make_namespace: Callable[[Kube], str], make_class: MakeClass
) -> None:
    """What a RoleBinding grants in one namespace is refused in the other."""
    user = f"editor-of-{namespace}"
    restricted = make_class()
    elsewhere = make_namespace(admin)
    for place in (namespace, elsewhere):
        refusal(lambda place=place: editor.create(key(place, className=restricted)))  # type: ignore[misc]
    bind(admin, elsewhere, user, "edit")
    for resource, verb, name in (
        ("apikeyclasses", "use", restricted),
        ("apikeyclasses/roles", "grant", f"{restricted}:readonly"),
        ("apikeyclasses/scopes", "grant", f"{restricted}:agents:read"),
    ):
        grant(admin, namespace, user, resource, verb, name)
    asked = {"className": restricted, "role": "readonly", "scopes": ["agents:read"]}
    allowed(lambda: editor.create(key(namespace, **asked)))
    refusal(lambda: editor.create(key(elsewhere, className=restricted)), saying="may not use the ApiKeyClass")
    grant(admin, elsewhere, user, "apikeyclasses", "use", restricted)
    for field in ("role", "scopes"):
        wanted = {"className": restricted, field: asked[field]}
        refusal(lambda w=wanted: editor.create(key(elsewhere, **w)), saying=f"spec.{field}")  # type: ignore[misc]


def test_nothing_that_needs_a_class_stands_in_the_way_of_a_change() -> None:
    """A policy whose parameter is a class fails for half a minute after an API server has started: it may then
    refuse creations, and changes only if it ignores its own failures."""
    for path in (ROOT / "deploy/admission").rglob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text()):
            spec = document.get("spec", {})
            if "paramKind" in spec and spec["failurePolicy"] != "Ignore":
                (rule,) = spec["matchConstraints"]["resourceRules"]
                assert rule["operations"] == ["CREATE"], document["metadata"]["name"]
