"""What a template may say, and what comes of it."""

from typing import Any

import pytest

from keywright.domain import policy
from keywright.domain.apikey import KeySpec, Template
from keywright.domain.keyclass import KeyClass
from keywright.domain.policy import Refused
from keywright.domain.reasons import Reason
from keywright.domain.template import MAX_BYTES, allowed, expand, find_fault, may_set
from tests.unit.domain.examples import NOW, STANDARD, spec

VALUES = {"key": "kw_live_x", "keyId": "4hJk29sLmQ0z", "name": "ci-deploy", "namespace": "payments"}


def asked(**parts: Any) -> KeySpec:
    return spec(template=Template(**parts))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(key)", "kw_live_x"),
        ('header = "Authorization: Bearer $(key)"', 'header = "Authorization: Bearer kw_live_x"'),
        ("$(namespace)/$(name)#$(keyId)", "payments/ci-deploy#4hJk29sLmQ0z"),
        ("$$(key)", "$(key)"),
        ("$$$(key)", "$$(key)"),
        ("$ $key ${key} $$ )", "$ $key ${key} $$ )"),
        ("", ""),
    ],
)
def test_what_is_filled_in(text: str, expected: str) -> None:
    """Four names; ``$$(`` is a plain ``$(``, and every other dollar is itself."""
    assert find_fault(asked(data={"file": text}), "standard", ()) is None
    assert expand(text, VALUES) == expected


@pytest.mark.parametrize("text", ["$(kye)", "$(key", "a $( b", "$(KEY)", "$()", "$( key )", "$$(key) $(x)"])
def test_what_is_not_known_or_not_closed_is_refused(text: str) -> None:
    """With the entry, and what is allowed; never with the text, which may hold anything."""
    fault = find_fault(asked(data={"file": text}), "standard", ())
    assert fault is not None
    assert fault.startswith("spec.secret.template.data[file] ")
    assert "$(key), $(keyId), $(name) or $(namespace)" in fault


FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "the entry of the key itself": ({"data": {"api-key": "x"}}, "spec.secret.template.data[api-key] is the entry"),
    "an entry with a slash": ({"data": {"a/b": "x"}}, "spec.secret.template.data has a malformed entry name"),
    "an entry that leaves its folder": ({"data": {"..": "x"}}, "spec.secret.template.data has a malformed"),
    "an empty entry name": ({"data": {"": "x"}}, "spec.secret.template.data has a malformed"),
    "too much": ({"data": {f"e{n}": "$(key)" * 600 for n in range(3)}}, "spec.secret.template.data may become larger"),
    "a label that the class does not allow": ({"labels": {"other.com/a": "b"}}, "class standard does not allow"),
    "an annotation likewise": ({"annotations": {"other.com/a": "b"}}, "class standard does not allow"),
    "a malformed label": ({"labels": {"-a": "b"}}, "spec.secret.template.labels has a malformed key"),
    "a malformed annotation": ({"annotations": {"a/b/c": "b"}}, "spec.secret.template.annotations has a malformed"),
    "a malformed label value": ({"labels": {"team": "a b"}}, "spec.secret.template.labels[team] has a malformed value"),
}


@pytest.mark.parametrize(("parts", "expected"), FAULTS.values(), ids=FAULTS)
def test_a_faulty_template_is_refused_by_field(parts: dict[str, Any], expected: str) -> None:
    """InvalidSpec from policy, so that a live key goes on."""
    key_class = KeyClass(name="standard", secret_metadata=("example.com/*", "team"))
    verdict = policy.judge(asked(**parts), key_class, NOW)
    assert isinstance(verdict, Refused)
    assert verdict.reason is Reason.INVALID_SPEC
    assert verdict.message.startswith(expected)


def test_what_the_class_allows_is_accepted() -> None:
    """Exact keys, and those that begin as a pattern with a star does."""
    parts = {
        "labels": {"team": "payments", "example.com/a": ""},
        "annotations": {"example.com/note": "any text at all"},
    }
    key_class = KeyClass(name="standard", secret_metadata=("example.com/*", "team"))
    assert isinstance(policy.judge(asked(**parts), key_class, NOW), policy.Accepted)
    assert isinstance(policy.judge(asked(annotations={"team-b": "x"}), key_class, NOW), Refused)


@pytest.mark.parametrize(
    "key",
    [
        "kubernetes.io/service-account.name",
        "app.kubernetes.io/managed-by",
        "x-kubernetes.io/a",
        "node.k8s.io/a",
        "keywright.dev/acknowledged",
        "argoproj.io/a",
        "notifications.argoproj.io/a",
        "kustomize.toolkit.fluxcd.io/name",
        "helm.sh/resource-policy",
        "meta.helm.sh/release-name",
    ],
)
def test_some_keys_are_out_of_bounds_whatever_a_class_says(key: str) -> None:
    """Others read them, or prune by them."""
    assert not may_set(key, ("*", key))
    assert may_set("reflector.example/" + key.partition("/")[2], ("*",))


def test_what_is_not_allowed_falls_out_of_the_template() -> None:
    """A class change that forbids a label takes that label away and no other; data stay."""
    template = Template(
        labels={"team": "a", "other": "b", "-": "c", "example.com/x": "not a value!"},
        annotations={"team": "a", "other": "b", "/": "c"},
        data={"file": "$(key)"},
    )
    assert allowed(template, ("team", "example.com/*")) == Template(
        labels={"team": "a"}, annotations={"team": "a"}, data={"file": "$(key)"}
    )


def test_the_bound_is_on_what_may_come_out() -> None:
    """Counted with the longest key and names there are, so it does not depend on where a template is used."""
    assert find_fault(asked(data={"file": "x" * (MAX_BYTES - 4)}), "standard", ()) is None
    assert find_fault(asked(data={"file": "x" * (MAX_BYTES - 3)}), "standard", ()) is not None
    assert isinstance(policy.judge(asked(data={"file": "$(key)"}), STANDARD, NOW), policy.Accepted)
