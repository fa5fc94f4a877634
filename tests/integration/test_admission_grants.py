"""Who may give a key which role and which scopes: tried as users on the real API server."""

from collections.abc import Callable
from typing import Any

from tests.support.kube import Kube
from tests.support.people import allowed, grant, key, refusal, refused_change

MakeClass = Callable[..., str]


def pin(admin: Kube, namespace: str, name: str, class_name: str) -> None:
    """Say which class a key has, as the operator does at its first look."""
    manifest = admin.get(namespace, name)
    manifest["status"]["className"] = class_name
    admin.request("PUT", admin.path("ApiKey", namespace, name, "status"), manifest)


def test_a_role_must_be_granted(admin: Kube, editor: Kube, namespace: str) -> None:
    """At creation and when it changes; no role is free, and so is everything else on a key that has one."""
    user = f"editor-of-{namespace}"
    asked = key(namespace, className="standard", role="admin")
    message = refusal(lambda: editor.create(asked), saying="spec.role")
    assert "apikeyclasses/roles standard:admin" in message
    grant(admin, namespace, user, "apikeyclasses/roles", "grant", "standard:readonly")
    allowed(lambda: editor.create(key(namespace, className="standard", role="readonly")))
    refusal(lambda: editor.create(key(namespace, className="standard", role="admin")))
    admin.apikey(namespace, "key", className="standard", role="admin")
    editor.patch(namespace, "key", {"spec": {"description": "as before", "suspended": True}})
    editor.patch(namespace, "key", {"spec": {"role": "readonly"}})
    refused_change(editor, namespace, "key", {"spec": {"role": "admin"}}, saying="standard:admin")
    editor.patch(namespace, "key", {"spec": {"role": None}})
    refused_change(editor, namespace, "key", {"spec": {"role": "admin"}}, saying="standard:admin")


def test_each_scope_must_be_granted(admin: Kube, editor: Kube, namespace: str) -> None:
    """At creation and when one is added; fewer scopes, and one that a former one covers, are free."""
    user = f"editor-of-{namespace}"
    asked = key(namespace, className="standard", scopes=["agents:read"])
    message = refusal(lambda: editor.create(asked), saying="spec.scopes")
    assert "apikeyclasses/scopes standard:agents:read" in message
    grant(admin, namespace, user, "apikeyclasses/scopes", "grant", "standard:agents:read")
    allowed(lambda: editor.create(key(namespace, className="standard", scopes=["agents:read"])))
    for scopes in (["agents:write"], ["agents:read", "agents:*"], ["*"], ["agents:read", "word"], ["*:read"]):
        asked = key(namespace, className="standard", scopes=scopes)
        refusal(lambda k=asked: editor.create(k), saying=scopes[-1])  # type: ignore[misc]
    admin.apikey(namespace, "key", className="standard", scopes=["agents:*", "*:list", "word"])

    def change(*scopes: str) -> Callable[[], Any]:
        return lambda: editor.patch(namespace, "key", {"spec": {"scopes": list(scopes)}})

    for scopes in (["agents:*", "*:write"], ["*"], ["*:*"], ["word", "other"], ["agents:*", "users:read"], ["agents"]):
        refusal(change(*scopes), saying=f"standard:{scopes[-1]}")
    change("word", "agents:*", "*:list", "agents:read")()
    change("agents:*", "users:list")()
    change("agents:write")()
    refusal(change("agents:*"), saying="standard:agents:*")
    change("agents:write", "agents:read")()
    editor.patch(namespace, "key", {"spec": {"scopes": None}})
    refusal(change("agents:write"), saying="standard:agents:write")


def test_sixteen_scopes_can_be_granted_and_the_last_one_is_judged(admin: Kube, editor: Kube, namespace: str) -> None:
    """As many as the schema takes, within what the API server lets a policy cost; so does a role beside them."""
    scopes = [f"things-{number}:read" for number in range(16)]
    names = [f"standard:{scope}" for scope in scopes]
    asked = key(namespace, className="standard", scopes=scopes, role="readonly")
    user = f"editor-of-{namespace}"
    grant(admin, namespace, user, "apikeyclasses/roles", "grant", "standard:readonly")
    grant(admin, namespace, user, "apikeyclasses/scopes", "grant", *names[:-1])
    refusal(lambda: editor.create(asked), saying=names[-1])
    grant(admin, namespace, user, "apikeyclasses/scopes", "grant", names[-1])
    allowed(lambda: editor.create(asked))
    admin.apikey(namespace, "key", className="standard", scopes=[f"other-{number}:read" for number in range(16)])
    editor.patch(namespace, "key", {"spec": {"scopes": scopes}})


def test_without_a_class_the_grant_is_needed_in_every_default(
    admin: Kube, editor: Kube, namespace: str, make_class: MakeClass
) -> None:
    """Which class a key without className gets may turn out later, so `standard` and each marked class are asked."""
    user = f"editor-of-{namespace}"
    asked = key(namespace, role="readonly", scopes=[f"things-{number}:read" for number in range(16)])
    refusal(lambda: editor.create(asked), saying="standard:readonly")
    grant(admin, namespace, user, "apikeyclasses/roles", "grant", "standard:readonly")
    scopes = [f"standard:{scope}" for scope in asked["spec"]["scopes"]]
    grant(admin, namespace, user, "apikeyclasses/scopes", "grant", *scopes)
    allowed(lambda: editor.create(asked))
    marked = make_class(default=True)
    grant(admin, namespace, user, "apikeyclasses", "use", marked)
    message = refusal(lambda: editor.create(asked), saying=f"{marked}:readonly")
    assert "name the class" in message
    grant(admin, namespace, user, "apikeyclasses/roles", "grant", f"{marked}:readonly")
    refusal(lambda: editor.create(asked), saying=f"{marked}:things-0:read")
    grant(
        admin,
        namespace,
        user,
        "apikeyclasses/scopes",
        "grant",
        *(scope.replace("standard", marked) for scope in scopes),
    )
    allowed(lambda: editor.create(asked))


def test_the_class_that_the_operator_pinned_is_the_one_that_counts(
    admin: Kube, editor: Kube, namespace: str, make_class: MakeClass
) -> None:
    """A key without className, changed later: a grant of the default class is not one of the key's own class."""
    user = f"editor-of-{namespace}"
    other = make_class()
    grant(admin, namespace, user, "apikeyclasses/roles", "grant", "standard:admin")
    grant(admin, namespace, user, "apikeyclasses", "use", "standard", other)
    admin.apikey(namespace, "key")
    more = {"spec": {"role": "admin"}}
    refused_change(editor, namespace, "key", more, saying="status.className")
    pin(admin, namespace, "key", other)
    refused_change(editor, namespace, "key", more, saying=f"{other}:admin")
    grant(admin, namespace, user, "apikeyclasses/roles", "grant", f"{other}:admin")
    allowed(lambda: editor.patch(namespace, "key", more))


def test_a_key_that_the_operator_has_not_seen_takes_the_grant_in_every_class(
    admin: Kube, editor: Kube, namespace: str
) -> None:
    """A rule without names is enough, also before the class is known."""
    user = f"editor-of-{namespace}"
    admin.apikey(namespace, "key")
    more = {"spec": {"scopes": ["agents:read"]}}
    refused_change(editor, namespace, "key", more, saying="status.className")
    grant(admin, namespace, user, "apikeyclasses/scopes", "grant")
    grant(admin, namespace, user, "apikeyclasses", "use")
    allowed(lambda: editor.patch(namespace, "key", more))
