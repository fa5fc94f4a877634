"""A rules file is right as a whole, or refused with a line for each mistake that says where it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.verifier.owners.rights import Right
from keywright.verifier.rules.reading import read_rules
from keywright.verifier.rules.rules import Rules

ONE = {
    "kind: ConfigMap": "this is a ConfigMap",
    "": "the file has no fields",
    "[]": "the file has no fields",
    "x": "the file has no fields",
    "rules": "the file has no fields",
    "default: key": "rules: a list of rules is missing",
    "rules: []": "rules: a list of rules is missing",
    "rules: {path: /a}": "rules: a list of rules is missing",
    "rules: [/a]": "rules[0]: a rule has fields",
    "rules: [{path: /a}]\ndefault: allow": "default: use deny or key",
    "rules: [{path: /a}]\ndefault: [key]": "default: use deny or key",
    "rules: [{path: /a}]\ndefaults: key": "defaults: there is no such field: use rules, default",
    "rules: [{}]": "rules[0].path: it is missing",
    "rules: [{path: }]": "rules[0].path: it is missing",
    "rules: [{path: /a}, {path: b}]": "rules[1].path: a path starts with a slash",
    "rules: [{path: [/a]}]": "rules[0].path: a path starts with a slash",
    "rules: [{path: '*'}]": "rules[0].path: a path starts with a slash",
    "rules: [{path: /a*}]": "rules[0].path: write it decoded and unambiguous",
    "rules: [{path: /*/a}]": "rules[0].path: write it decoded and unambiguous",
    "rules: [{path: /a/**}]": "rules[0].path: write it decoded and unambiguous",
    "rules: [{path: /a//b}]": "rules[0].path: write it decoded and unambiguous",
    "rules: [{path: //*}]": "rules[0].path: write it decoded and unambiguous",
    "rules: [{path: /a/../b}]": "rules[0].path: write it decoded and unambiguous",
    "rules: [{path: /a%20b}]": "rules[0].path: write it decoded and unambiguous",
    "rules: [{path: '/a?b'}]": "rules[0].path: write it decoded and unambiguous",
    'rules: [{path: "/a\\nb"}]': "rules[0].path: write it decoded and unambiguous",
    "rules: [{path: /a, method: GET}]": "rules[0].method: there is no such field",
    "rules: [{path: /a, methods: []}]": "rules[0].methods: the list is empty",
    "rules: [{path: /a, hosts: []}]": "rules[0].hosts: the list is empty",
    "rules: [{path: /a, scopes: []}]": "rules[0].scopes: the list is empty",
    "rules: [{path: /a, roles: []}]": "rules[0].roles: the list is empty",
    "rules: [{path: /a, methods: GET}]": "rules[0].methods: write a list of methods",
    "rules: [{path: /a, methods: }]": "rules[0].methods: write a list of methods",
    "rules: [{path: /a, methods: [GET, get]}]": "rules[0].methods: [1] is not possible: use methods in capitals",
    "rules: [{path: /a, methods: [CONNECT]}]": "rules[0].methods: [0] is not possible",
    "rules: [{path: /a, methods: ['*']}]": "rules[0].methods: [0] is not possible",
    "rules: [{path: /a, methods: [[GET]]}]": "rules[0].methods: [0] is not possible",
    "rules: [{path: /a, scopes: ['agents:*']}]": "rules[0].scopes: [0] is not possible: use scopes without wildcards",
    "rules: [{path: /a, scopes: [a:b:c]}]": "rules[0].scopes: [0] is not possible",
    "rules: [{path: /a, roles: [Admin]}]": "rules[0].roles: [0] is not possible: use names of roles",
    "rules: [{path: /a, hosts: ['*.example.com']}]": "rules[0].hosts: [0] is not possible: use host names",
    "rules: [{path: /a, hosts: ['example.com:80']}]": "rules[0].hosts: [0] is not possible",
    "rules: [{path: /a, hosts: ['https://example.com']}]": "rules[0].hosts: [0] is not possible",
    "rules: [{path: /a, hosts: [b\u00fccher.example]}]": "rules[0].hosts: [0] is not possible",
    "rules: [{path: /a, allow: everybody}]": "rules[0].allow: use anonymous, or leave it out",
    "rules: [{path: /a, allow: }]": "rules[0].allow: use anonymous, or leave it out",
    "rules: [{path: /a, allow: anonymous, roles: [a]}]": "rules[0].allow: who needs no key has no scopes",
    "rules: [{path: /a, path: /b}]": "line 1: a field that stands twice",
    "rules: [{path: /a}]\nrules: [{path: /b}]": "line 2: a field that stands twice",
    "rules: [{path: /a, roles: [true]}]": "line 1: this is read as something else than text: put it in quotes",
    "rules: [{path: /a, roles: [5]}]": "line 1: this is read as something else than text",
    "rules: [{path: 2026-01-01}]": "line 1: this is read as something else than text",
    "rules: [{5: /a}]": "line 1: this is read as something else than text",
    "rules: [{[a]: /a}]": "line 1: the name of a field is not text",
    "rules: [{<<: {path: /a}}]": "line 1: this is read as something else than text",
    "rules: &a [*a]": "line 1: aliases are not possible",
    "rules: " + 9 * "[": "line 1: this is nested too deeply",
    "[" * 200_000: "this is nested too deeply",
    "- " * 100_000: "this is nested too deeply",
    "{a: " * 60_000: "this is nested too deeply",
    "rules: [{~: /a}]": "line 1: the name of a field is not text",
    "rules: [\n{path: /a\nx": "line 4: this is not YAML",
    "rules: [{path: /a}]\n---\nrules: [{path: /b}]": "line 2: a second document begins",
    "rules: !!python/object/apply:os.system [id]": "rules[0]: a rule has fields",
    "\x00": "this is not YAML",
    "a" * 262_145: "the file is too long: 256 KiB are allowed",
}


@pytest.mark.parametrize(("text", "line"), ONE.items(), ids=[each[:60] for each in ONE])
def test_each_mistake_is_one_line(text: str, line: str) -> None:
    """With the number of the rule and the field, or the line where it is not even that far."""
    found = read_rules(text.encode())
    assert isinstance(found, tuple)
    (problem,) = found
    assert line in problem
    assert "\n" not in problem


GET = "rules: [{path: /a/*, methods: [GET], authorize: %s}]"
GET_DEPLOYMENTS = "{group: apps, resource: deployments, verb: get}"
IN_AUTHORIZE = {
    "": "authorize: write a right of the owner",
    "x": "authorize: write a right of the owner",
    "[x]": "authorize: write a right of the owner",
    "{resource: deployments, verb: get}": "authorize.group: write the API group",
    "{group: apps, verb: get}": "authorize.resource: write one resource",
    "{group: apps, resource: deployments}": "authorize.verb: write one verb",
    "{group: apps, resource: '*', verb: get}": "authorize.resource: write one resource",
    "{group: '*', resource: deployments, verb: get}": "authorize.group: write the API group",
    "{group: apps, resource: deployments, verb: '*'}": "authorize.verb: write one verb",
    "{group: apps, resource: deployments/scale, verb: get}": "authorize.resource: write one resource",
    "{group: apps, resource: deployments, subresource: '*', verb: get}": "authorize.subresource: write one",
    "{group: apps, resource: deployments, namespace: '', verb: get}": "authorize.namespace: write one namespace",
    "{group: apps, resource: deployments, namespace: a.b, verb: get}": "authorize.namespace: write one namespace",
    "{group: apps, resource: deployments, name: [a], verb: get}": "authorize.name: write one name",
    "{group: apps, resource: deployments, name: $0, verb: get}": "authorize.name: write one name",
    "{group: apps, resource: deployments, name: x$2, verb: get}": "authorize.name: write one name",
    "{group: apps, resource: deployments, name: $1, verb: get}": "authorize.name: $1 is none of the segments",
    "{group: apps, resource: $2, verb: get}": "authorize.resource: write one resource",
    "{group: apps, resource: deployments, verbs: get}": "authorize.verbs: there is no such field: use group",
    "{group: apps, resource: deployments, verb: {GET: get}}": "methods: they stand in authorize.verb already",
    "{group: apps, resource: deployments, verb: {}}": "authorize.verb: write one verb",
    "{nonResource: /kv}": "authorize.nonResource: write {path: /",
    "{nonResource: {path: /kv, verb: get}, verb: get}": "authorize.nonResource: it goes with no other field",
    "{nonResource: {path: /kv}}": "authorize.nonResource.verb: write one verb",
    "{nonResource: {verb: get}}": "authorize.nonResource.path: write one path",
    "{nonResource: {path: kv, verb: get}}": "authorize.nonResource.path: write one path",
    "{nonResource: {path: /kv/*, verb: get}}": "authorize.nonResource.path: write one path",
    "{nonResource: {path: /, verb: get}}": "authorize.nonResource.path: write it plainly",
    "{nonResource: {path: /kv/../api, verb: get}}": "authorize.nonResource.path: write it plainly",
    "{nonResource: {path: /api/agents, verb: get}}": "authorize.nonResource.path: the API server has such paths",
    "{nonResource: {path: /API, verb: get}}": "authorize.nonResource.path: the API server has such paths",
    "{nonResource: {path: /apis, verb: get}}": "authorize.nonResource.path: the API server has such paths",
    "{nonResource: {path: /.well-known/x, verb: get}}": "authorize.nonResource.path: the API server has such paths",
    "{nonResource: {path: /kv, verb: get, name: x}}": "authorize.nonResource.name: there is no such field: use path, verb",
}


@pytest.mark.parametrize(("text", "line"), IN_AUTHORIZE.items(), ids=list(IN_AUTHORIZE))
def test_each_mistake_in_authorize_is_one_line(text: str, line: str) -> None:
    """No wildcard, nothing that stands for everything, no path that the API server opens to everybody."""
    found = read_rules((GET % text).encode())
    assert isinstance(found, tuple)
    (problem,) = found
    assert problem.startswith(f"rules[0].{line}")


@pytest.mark.parametrize(
    ("rule", "line"),
    {
        "{path: /a, authorize: %s}": "rules[0].methods: name those that authorize.verb stands for",
        "{path: /a, allow: anonymous, methods: [GET], authorize: %s}": "rules[0].allow: who needs no key",
        "{path: /a, authorize: {group: a, resource: b, verb: {get: get}}}": "rules[0].authorize.verb.get: use methods",
        "{path: /a, authorize: {group: a, resource: b, verb: {GET: '*'}}}": "rules[0].authorize.verb.GET: write one verb",
        "{path: /a, authorize: {group: a, resource: b, name: $2, verb: {GET: get}}}": "rules[0].authorize.name: $2 is none",
    }.items(),
)
def test_authorize_fits_its_rule(rule: str, line: str) -> None:
    """A verb for each method that is let through, and segments only where there is a star for them."""
    found = read_rules(f"rules: [{rule.replace('%s', GET_DEPLOYMENTS)}]".encode())
    assert isinstance(found, tuple)
    (problem,) = found
    assert problem.startswith(line)


def test_a_right_is_asked_for_in_the_words_of_the_rule() -> None:
    """With the verb of the method, and what the path says where the rule takes it from there; else it is forbidden."""
    found = read_rules(
        b"""rules:
- path: /api/clusters/*
  authorize: {group: kv.io, resource: clusters, namespace: $4, name: $3, verb: {GET: get, POST: update}}
- {path: /all, methods: [GET], scopes: [a], authorize: {nonResource: {path: /kv/all, verb: get}}}
- {path: /core, methods: [GET, PUT], authorize: {group: "", resource: pods, subresource: log, namespace: n, verb: get}}
"""
    )
    assert isinstance(found, Rules)
    right = Right(verb="get", group="kv.io", resource="clusters", namespace="eu", name="prod.1")
    assert found.find(b"GET", "/api/clusters/prod.1/eu/nodes", None)[1].right == right
    assert str(right) == "get clusters.kv.io prod.1 in eu"
    update = found.find(b"POST", "/api/clusters/prod.1/eu", None)[1].right
    assert update is not None
    assert update.attributes() == {
        "resourceAttributes": {
            "verb": "update",
            "group": "kv.io",
            "resource": "clusters",
            "namespace": "eu",
            "name": "prod.1",
        }
    }
    for path in ("/api/clusters", "/api/clusters/prod", "/api/clusters/prod/", "/api/clusters/PROD/eu"):
        assert found.find(b"GET", path, None)[1].refusal is not None, path
    for path in (
        "/api/clusters/*/eu",
        "/api/clusters/prod/e.u",
        "/api/clusters/pr od/eu",
        "/api/clusters/caf\u00e9/eu",
    ):
        assert found.find(b"GET", path, None)[1].refusal is not None, path
    assert found.find(b"DELETE", "/api/clusters/prod/eu", None)[1].refusal is not None
    need = found.find(b"GET", "/all", None)[1]
    assert need.scopes == ("a",)
    assert need.right is not None
    assert need.right.attributes() == {"nonResourceAttributes": {"path": "/kv/all", "verb": "get"}}
    pods = found.find(b"PUT", "/core", None)[1].right
    assert str(pods) == "get pods/log in n"


def test_all_mistakes_are_told_at_once() -> None:
    """Nobody has to load a file five times to get it right."""
    found = read_rules(b"rules: [{path: a, hosts: []}, {path: /a, x: y}]\ndefault: z\n")
    assert isinstance(found, tuple)
    assert [each.split(":")[0] for each in found] == ["rules[0].path", "rules[0].hosts", "rules[1].x", "default"]


def test_what_is_left_out() -> None:
    """No methods and hosts: all of them; nothing needed: any live key; no default: deny."""
    found = read_rules("rules: [{path: /caf\u00e9/*}, {path: '/a b', roles: [x]}]".encode())
    assert isinstance(found, Rules)
    assert found.find(b"BREW", "/caf\u00e9", None)[1].scopes == ()
    assert found.find(b"GET", "/a b", None)[1].roles == {"x"}
    assert found.find(b"GET", "/", None)[1].refusal is not None


@given(st.binary(max_size=60))
def test_no_bytes_are_an_error(text: bytes) -> None:
    """Whatever stands in the file, there are rules or lines."""
    found = read_rules(text)
    assert isinstance(found, Rules) or all("\n" not in each for each in found)
