"""Rules: the first path that matches decides, and what it does not allow is allowed by none behind it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from keywright.verifier import verdicts
from keywright.verifier.keys.rights import Permits
from keywright.verifier.rules.needs import ANY_KEY, AS_OWNER
from keywright.verifier.rules.originals import Source
from keywright.verifier.rules.reading import read_rules
from keywright.verifier.rules.rules import Rules
from keywright.verifier.settings import VerifierSettings
from tests.unit.verifier.builders import api_key, api_key_class, mint, record
from tests.unit.verifier.wire import Reply, Served, serving

ADMIN, READER, PLAIN = mint(1), mint(2), mint(3)
RULES = """\
rules:
- {path: /healthz, allow: anonymous}
- {path: /api/agents/secret, roles: [admin]}
- {path: /api/agents/*, methods: [GET, HEAD], scopes: [agents:read]}
- {path: /api/agents/*, methods: [POST], scopes: [agents:read]}
- {path: /api/admin/*, hosts: [api.example.com], roles: [admin, root], scopes: [admin:read, admin:write]}
- {path: /open/*}
- {path: /caf\u00e9/*}
"""


def put(served: Served) -> None:
    index = served.verifier.index
    for number, (key, role, scopes) in enumerate(((ADMIN, "admin", ["*"]), (READER, "readonly", ["*:read"]))):
        effective = {"role": role, "scopes": scopes}
        index.put(api_key(record(key), uid=f"uid-{number}", spec={"role": role}, status={"effective": effective}))
    index.put(api_key(record(PLAIN), uid="uid-plain"))


@pytest.fixture
async def ruled(tmp_path: Path) -> AsyncIterator[Served]:
    """A verifier with RULES that takes the original request from the path."""
    (tmp_path / "rules.yaml").write_text(RULES)
    async with serving(VerifierSettings(rules=tmp_path / "rules.yaml")) as served:
        put(served)
        yield served


async def ask(served: Served, key: Any, target: str, method: str = "GET", host: str = "api.example.com") -> Reply:
    present = f"X-API-Key: {key.text}\r\n" if key is not None else ""
    raw = f"{method} /verify{target} HTTP/1.1\r\nHost: {host}\r\n{present}\r\n"
    return await served.send(raw.encode(), is_head=method == "HEAD")


@pytest.mark.parametrize(
    ("key", "method", "target", "code"),
    [
        (READER, "GET", "/api/agents/7", "allowed"),
        (READER, "GET", "/api/agents", "allowed"),
        (READER, "GET", "/api/agents/", "allowed"),
        (READER, "GET", "/api/agents/a/b/c?x=//..;%00", "allowed"),
        (READER, "GET", "/api/agents/caf%c3%a9%20au", "allowed"),
        (READER, "GET", "/%61pi/agents/7", "allowed"),
        (READER, "POST", "/api/agents/7", "forbidden"),
        (READER, "get", "/api/agents/7", "forbidden"),
        (ADMIN, "POST", "/api/agents/7", "forbidden"),
        (PLAIN, "GET", "/api/agents/7", "insufficient_scope"),
        (PLAIN, "POST", "/api/agents/7", "forbidden"),
        (READER, "GET", "/api/agents/secret", "insufficient_scope"),
        (ADMIN, "DELETE", "/api/agents/secret", "allowed"),
        (READER, "GET", "/api/agentsx", "forbidden"),
        (READER, "GET", "/api", "forbidden"),
        (ADMIN, "GET", "/", "forbidden"),
        (ADMIN, "GET", "/api/admin", "allowed"),
        (READER, "GET", "/api/admin", "insufficient_scope"),
        (PLAIN, "PATCH", "/open", "allowed"),
        (PLAIN, "PATCH", "/open/x", "allowed"),
        (PLAIN, "GET", "/caf%C3%A9/x", "allowed"),
        (PLAIN, "GET", "/healthz/x", "forbidden"),
        (PLAIN, "GET", "/Open/x", "forbidden"),
        (ADMIN, "GET", "/API/agents/7", "forbidden"),
        (None, "GET", "/open/x", "missing_key"),
        (None, "GET", "/api/nowhere", "missing_key"),
        (None, "POST", "/api/agents/7", "missing_key"),
        (mint(9), "GET", "/api/nowhere", "invalid_key"),
    ],
)
async def test_each_request_gets_its_verdict(ruled: Served, key: Any, method: str, target: str, code: str) -> None:
    """All scopes, any of the roles, both; and only live keys learn what is forbidden."""
    reply = await ask(ruled, key, target, method)
    assert ("allowed" if reply.status == 200 else reply.code) == code


async def test_forbidden_is_403_with_a_challenge(ruled: Served) -> None:
    """No attribute, for no other key would do."""
    reply = await ask(ruled, ADMIN, "/nowhere")
    assert (reply.status, reply.code) == (403, "forbidden")
    assert reply.all("WWW-Authenticate") == ['Bearer realm="keywright"', 'ApiKey realm="keywright"']


async def test_what_is_needed_is_named_only_where_it_is_a_scope(ruled: Served) -> None:
    """A role has no place in a challenge."""
    missing_scope = await ask(ruled, READER, "/api/admin/x")
    assert 'scope="admin:read admin:write"' in missing_scope.all("WWW-Authenticate")[0]
    missing_role = await ask(ruled, READER, "/api/agents/secret")
    assert "role" in missing_role.problem["detail"]
    assert "scope=" not in missing_role.all("WWW-Authenticate")[0].replace('error="insufficient_scope"', "")


async def test_anonymous_is_nobody_whatever_is_presented(ruled: Served) -> None:
    """Every identity header is there and says nobody, so that no copy of a client's survives."""
    names = ["Subject", "Key", "Key-Id", "Class", "Role", "Scopes"]
    for key in (None, ADMIN, mint(9)):
        reply = await ask(ruled, key, "/healthz", "PUT")
        assert reply.status == 200
        assert [reply.one(f"X-Auth-{name}") for name in names] == ["-"] * 6


async def test_not_even_anonymous_requests_are_answered_without_a_picture(ruled: Served) -> None:
    """A verifier that is not in sync gives no verdicts, whatever they would be."""
    ruled.watch.synced.clear()
    assert (await ask(ruled, None, "/healthz")).code == "unavailable"


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("api.example.com", "allowed"),
        ("API.Example.com:8443", "allowed"),
        ("api.example.com.", "allowed"),
        ("other.example.com", "forbidden"),
        ("127.0.0.1:80", "forbidden"),
        ("[::1]:80", "forbidden"),
        ("api.example.com,other", "invalid_request"),
        ("api.example.com:80:80", "invalid_request"),
        ("api..example.com", "invalid_request"),
        ("user@api.example.com", "invalid_request"),
        ("api.example.com/x", "invalid_request"),
        ("", "invalid_request"),
    ],
)
async def test_a_host_is_compared_as_a_name(ruled: Served, host: str, code: str) -> None:
    """Without case, port and final dot; what is no host is refused, as it may be read as any."""
    reply = await ask(ruled, ADMIN, "/api/admin/x", host=host)
    assert ("allowed" if reply.status == 200 else reply.code) == code


async def test_the_path_source_needs_a_path(ruled: Served) -> None:
    """Exactly /verify names no original request."""
    for target in ("", "?deny=envoy", "?scope=a"):
        assert (await ask(ruled, ADMIN, target)).status == 400


HEADERS = {
    Source.ORIGINAL: {"X-Original-URI": "/api/agents/7", "X-Original-Method": "GET"},
    Source.FORWARDED: {
        "X-Forwarded-Uri": "/api/agents/7?q",
        "X-Forwarded-Method": "GET",
        "X-Forwarded-Host": "api.example.com",
    },
}
FORGED = {
    "X-Original-URI": "/open/x",
    "X-Original-Method": "PUT",
    "X-Forwarded-Uri": "/open/x",
    "X-Forwarded-Method": "PUT",
    "X-Forwarded-Host": "forged",
    "X-Original-Host": "forged",
    "X-Rewrite-URL": "/open/x",
    "X-HTTP-Method-Override": "PUT",
    "Forwarded": "host=forged",
}


def fields(*more: dict[str, str]) -> list[tuple[str, str]]:
    return [(name, value) for each in more for name, value in each.items()]


@pytest.mark.parametrize("source", HEADERS)
async def test_headers_describe_the_request_exactly_once(tmp_path: Path, source: Source) -> None:
    """Missing, empty or repeated is 400; the real method and path do not stand in for them."""
    (tmp_path / "rules.yaml").write_text(RULES)
    said = HEADERS[source]
    async with serving(VerifierSettings(rules=tmp_path / "rules.yaml", request_from=source)) as served:
        put(served)
        key = {"X-API-Key": READER.text}
        for target in ("/verify", "/verify/open/x", "/verify?scope=agents:read"):
            assert (await served.ask(*fields(said, key), target=target, method="PUT")).status == 200
        assert (await served.ask(*fields(said, key), target="/verify?scope=agents:write")).status == 403
        for query, status in (("deny=nginx", 200), ("scope=agents:read", 401), ("x=y", 401)):
            anonymous = said | {next(name for name in said if name.lower().endswith("uri")): "/healthz"}
            assert (await served.ask(*fields(anonymous), target=f"/verify?{query}")).status == status
        others = {name: value for name, value in FORGED.items() if name not in said}
        assert (await served.ask(*fields(others, said, key), target="/verify/open/x")).status == 200
        assert (await served.ask(*fields(others, said), target="/verify/open/x")).code == "missing_key"
        for name in said:
            without = {each: value for each, value in said.items() if each != name}
            for broken in ([without], [said, {name.lower(): said[name]}], [without, {name: ""}]):
                reply = await served.ask(*fields(*broken, key), target="/verify/open/x")
                assert (reply.status, reply.code) == (400, "invalid_request")
        method = next(name for name in said if name.endswith("Method"))
        for value, status in (("POST", 403), ("get", 403), ("CONNECT", 400), ("G T", 400), ("GET, PUT", 400)):
            assert (await served.ask(*fields(said | {method: value}, key))).status == status


async def test_what_describes_the_request_presents_no_key(tmp_path: Path) -> None:
    """Not even for a class that names such a header: it is the proxy's."""
    (tmp_path / "rules.yaml").write_text("rules: [{path: /*}]")
    settings = VerifierSettings(rules=tmp_path / "rules.yaml", request_from=Source.FORWARDED)
    async with serving(settings) as served:
        put(served)
        served.verifier.classes.put(api_key_class("standard", credentials={"headers": ["X-Forwarded-Host"]}))
        said = HEADERS[Source.FORWARDED] | {"X-Forwarded-Host": PLAIN.text}
        assert (await served.ask(*fields(said))).code == "missing_key"
        assert (await served.ask(*fields(said, {"Authorization": f"Bearer {PLAIN.text}"}))).status == 200


async def test_headers_of_other_families_do_not_matter(ruled: Served) -> None:
    """With `path`, nobody looks at what a client says about the request in headers."""
    for target, code in (("/verify/api/agents/secret", 403), ("/verify/api/agents/7", 200)):
        reply = await served_ask(ruled, target)
        assert reply.status == code


async def served_ask(served: Served, target: str) -> Reply:
    return await served.ask(*fields(FORGED, {"X-API-Key": READER.text}), target=target)


async def test_without_rules_headers_do_not_matter_at_all() -> None:
    """Any live key passes, however the request is described."""
    async with serving(VerifierSettings(request_from=Source.FORWARDED)) as served:
        put(served)
        assert (await served.present(PLAIN.text, target="/verify//x")).status == 200


def rules(text: str) -> Rules:
    found = read_rules(text.encode())
    assert isinstance(found, Rules), found
    return found


@pytest.mark.parametrize(
    ("method", "role", "scopes", "passes"),
    [
        (b"GET", "reader", ("agents:read",), True),
        (b"GET", "reader", ("agents:write",), False),
        (b"POST", "reader", ("agents:read",), False),
        (b"POST", "reader", ("agents:read", "agents:write"), True),
        (b"POST", None, ("agents:read", "agents:write"), False),
        (b"HEAD", "reader", ("*",), False),
        (b"DELETE", "reader", ("*",), False),
    ],
)
@pytest.mark.parametrize(
    "verb", ["", "verb: get", "verb: {GET: get, POST: create}"], ids=["alone", "one-verb", "verb-each"]
)
def test_each_method_may_need_its_own_scopes(
    method: bytes, role: str | None, scopes: tuple[str, ...], passes: bool, verb: str
) -> None:
    """Beside the roles, which all of them need; a method that is not named is nobody's, as ever."""
    asked = f", authorize: {{group: a, resource: agents, {verb}}}" if verb else ""
    needs = "roles: [reader], scopes: {GET: [agents:read], POST: [agents:read, agents:write]}"
    table = rules(f"rules: [{{path: /agents/*, {needs}{asked}}}]\ndefault: key")
    _, need = table.find(method, "/agents/7", None)
    assert (need.judge(Permits(role=role, scopes=scopes)) is None) is passes
    right = {"": None, "verb: get": "get"}.get(verb, {b"GET": "get", b"POST": "create"}.get(method))
    assert not passes or (need.right.verb if need.right else None) == right


def test_what_is_done_as_the_owner_asks_for_no_right() -> None:
    """The API server is asked then; a verifier that does nothing itself has to be told which right to ask about."""
    permits = Permits(role=None, scopes=(), needs_owner=True)
    assert ANY_KEY.judge(permits) is verdicts.OWNER_NOT_ASKED
    assert AS_OWNER.judge(permits) is None


def test_hosts_are_part_of_what_matches() -> None:
    """The same path may need one thing on one host and another on the next."""
    table = rules("rules: [{path: /*, hosts: [a, b]}, {path: /*, hosts: [c], roles: [x]}]\ndefault: key")
    assert [table.find(b"GET", "/x", host)[0] for host in ("a", "b")] == [table.rules[0]] * 2
    assert table.find(b"GET", "/", "c")[0] == table.rules[1]
    assert table.find(b"GET", "/", "d")[0] is None
    assert not table.unreachable()


def test_a_path_that_is_an_earlier_one_but_for_case_is_nobodys() -> None:
    """A service that ignores case would serve what the earlier rule protects."""
    text = "rules: [{path: /api/admin/*, roles: [admin]}, {path: /Own, roles: [x]}, {path: /api/*}]\ndefault: key"
    table = rules(text)
    for path in ("/api/Admin/x", "/API/ADMIN", "/own", "/API/x", "/api/\u212admin".replace("\u212a", "A")):
        assert table.find(b"GET", path, None)[1].refusal is not None, path
    for path in ("/api/README.md", "/Own", "/elsewhere/X"):
        assert table.find(b"GET", path, None)[1].refusal is None, path


def test_rules_that_never_decide_are_found() -> None:
    """Behind a wider path, or the same one, on no more hosts."""
    table = rules(
        """\
rules:
- {path: /a/*, hosts: [x, y]}
- {path: /a/b, hosts: [x]}
- {path: /a/b}
- {path: /a}
- {path: /a}
- {path: /ab/*}
- {path: /*}
- {path: /c/*}
"""
    )
    assert table.unreachable() == {1: 0, 4: 3, 7: 6}


def test_a_thousand_slashes_cost_no_more_than_three() -> None:
    """A look-up goes no deeper than the deepest rule."""
    table = rules("rules: [{path: /a/b/c/*, roles: [x]}, {path: /a/*}]")
    deep = "/a" * 8000
    assert table.find(b"GET", deep, None)[0] == table.rules[1]
    assert table._table._depth == 3
