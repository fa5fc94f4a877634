"""Rules behind each proxy: whatever a client writes for a path, nobody reaches what the rules protect."""

import itertools
import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote

import pytest

from keywright_local import ControlPlane
from tests.support.backend import ask, ask_in_bytes
from tests.support.kube import Kube, eventually
from tests.support.processes import Process
from tests.support.proxies import KINDS, VARIANTS
from tests.support.proxy_expectations import assert_told_why
from tests.support.stands import Stand, standing

# As generous as rules get beside what they protect: everything else invites to walk over to it.
RULES = """\
rules:
- {path: /healthz, allow: anonymous}
- {path: /public/*, allow: anonymous}
- {path: /api/admin/*, roles: [admin]}
- {path: /api/scoped, scopes: ["agents:read", "agents:write"]}
- {path: /api/reports, methods: [GET]}
- {path: /api/hosted, hosts: [api.example.com]}
- {path: /api/hosted, roles: [admin]}
- {path: /api/*}
default: deny
"""

HOSTILE = (
    *[
        r"//api/admin/x",
        r"///api/admin/x",
        r"/api//admin/x",
        r"/public//../api/admin/x",
        r"/public///../../api/admin/x",
        r"/public/../api/admin/x",
        r"/public/../../api/admin/x",
        r"/public/./../api/admin/x",
        r"/api/x/../admin/x",
        r"/api/./admin/x",
        r"/api/admin/../admin/x",
        r"/healthz/../api/admin/x",
        r"/healthz/..//api/admin/x",
        r"/public/%2e%2e/api/admin/x",
        r"/public/%2E%2e/api/admin/x",
        r"/public/.%2e/api/admin/x",
        r"/api/%2e/admin/x",
        r"/public/..%2fapi/admin/x",
        r"/public%2f..%2fapi%2fadmin%2fx",
        r"/api%2fadmin%2fx",
        r"/api/admin%2fx",
        r"/%2fapi/admin/x",
        r"/public/..%5capi%5cadmin%5cx",
        r"/public\..\api\admin\x",
        r"/public/..\api/admin/x",
        r"\api\admin\x",
        r"/api\admin\x",
        r"/public/..;/api/admin/x",
        r"/public/..;x=1/api/admin/x",
        r"/api;/admin/x",
        r"/api/;x/admin/x",
        r"/api/admin;x=1/y",
        r"/api/admin/x;/../../public",
        r"/public/x;/../../api/admin/x",
        r"/healthz#/../api/admin/x",
        r"/healthz%23/../api/admin/x",
        r"/api/admin/x#/../../../healthz",
        r"/public/#/../../api/admin",
        r"/api/admin#",
        r"#/api/admin",
        r"/healthz?/../api/admin/x",
        r"/healthz?x=/../api/admin/x",
        r"/healthz%3f/../api/admin/x",
        r"/api/admin/x?/../../healthz",
        r"/api/admin/x?path=/healthz",
        r"?/api/admin/x",
        r"/?/../api/admin/x",
        r"/api/admin%3fx",
        r"/public/%252e%252e/api/admin/x",
        r"/public/..%252fapi/admin/x",
        r"/api/%2561dmin/x",
        r"/api/%61dmin/x",
        r"/%61pi/admin/x",
        r"/healthz%00/../api/admin/x",
        r"/api/admin%00",
        r"/api/admin/x%00.html",
        r"/healthz%0a/api/admin",
        r"/api/admin%0d%0a/x",
        r"/public/%c0%ae%c0%ae/api/admin/x",
        r"/public/..%c0%afapi/admin/x",
        r"/public/%e0%80%ae%e0%80%ae/api/admin/x",
        r"/api/admin%ff",
        r"/public/%uff0e%uff0e/api/admin/x",
        r"/public/%2/../api/admin/x",
        r"/api/admin/%zz",
        r"/public/%ef%bc%8e%ef%bc%8e/api/admin",
        r"/api/admin",
        r"/api/admin/",
        r"/api/admin/x",
        r"/api/admin/.",
        r"/api/admin/..",
        r"/api/admin/x/..",
        r"/api/admin?x",
        r"/API/admin/x",
        r"/Api/Admin/x",
        r"/HEALTHZ/../api/admin/x",
        r"/PUBLIC/../api/admin/x",
        r"/verify/../introspect",
        r"/verify",
        r"/verify/healthz",
        r"/../introspect",
        r"/../verify?scope=",
        r"/..",
        r"/../../metrics",
        r"/.keywright/verify",
        r"/.keywright/verify/",
        r"//.keywright/verify",
        r"/verify?deny=nginx",
        r"/healthz/../../introspect",
        r"http://other.example/api/admin/x",
        r"http://other.example/public/../api/admin/x",
        r"http://other.example//api/admin/x",
        r"http://127.0.0.1/healthz/../api/admin/x",
        r"http:/api/admin/x",
        r"https://x@127.0.0.1/api/admin/x",
        r"ftp://x/api/admin/x",
        r"api/admin/x",
        r"*",
        r"127.0.0.1/api/admin/x",
    ],
    # Those that hold white space, controls or bytes beyond ASCII, or nothing.
    "",
    "/api/admin/x HTTP/1.0",
    "/healthz HTTP/1.1 /api/admin/x",
    "/healthz\t/../api/admin/x",
    "/healthz\x0b/api/admin",
    "/public/\x00/../../api/admin/x",
    "/public/\xa0../../api/admin/x",
)


@pytest.fixture(scope="module", params=[*KINDS, *VARIANTS], ids=lambda kind: kind.name)
def ruled(
    request: pytest.FixtureRequest, plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stand]:
    folder = tmp_path_factory.mktemp("ruled")
    rules = folder / "rules.yaml"
    rules.write_text(RULES)
    flags = ["--rules", str(rules), "--request-from", request.param.source]
    with standing(request.param, folder, plane.kubeconfig, *flags) as up:
        yield up


@pytest.fixture
def plain(shared_operator: Process, admin: Kube, namespace: str, ruled: Stand) -> str:
    """A key without role and scopes."""
    admin.apikey(namespace, "plain")
    admin.wait(namespace, "plain", Active="True")
    key = admin.plain_key(namespace, "plain")
    eventually(lambda: ask(ruled.address, [("X-API-Key", key)], target="/api/agents").status == 200)
    ruled.backend.take()
    return key


def readings(target: str) -> set[str]:
    """Every path that some backend may take a target for: decoded again and again, parameters and fragments cut off or
    kept, backslashes and empty segments made even, dot segments resolved at any moment of it. Only a query is never
    taken for a path.
    """
    steps: tuple[Callable[[str], str], ...] = (
        unquote,
        lambda path: path.replace("\\", "/"),
        lambda path: path.partition("?")[0],
        lambda path: path.partition("#")[0],
        lambda path: path.partition("\0")[0],
        lambda path: re.sub(";[^/]*", "", path),
        lambda path: re.sub("/{2,}", "/", path),
        lambda path: re.sub("^[a-z]+:/*[^/]*", "", path),
        _without_dots,
    )
    start = target.partition("?")[0]
    seen, fresh = {start}, {start}
    while fresh:
        fresh = {step(path) for step, path in itertools.product(steps, fresh)} - seen
        seen |= fresh
    return seen


def _without_dots(path: str) -> str:
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1] or [""]
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept)


def is_protected(target: str) -> bool:
    return any(re.match(r"/*api/admin(?![^/])", path) for path in readings(target))


def test_the_table_knows_what_is_protected() -> None:
    """What judges the next test sees through every trick, and lets plain paths alone."""
    tricks = [
        "/public/%252e%252e/api/admin/x",
        "/public/..;/api/admin",
        "/public\\..\\api\\admin",
        "/healthz#/../api/admin",
    ]
    assert all(is_protected(each) for each in [*tricks, "//api/admin", "http://x/api/admin", "/api/%61dmin?x"])
    assert not any(
        is_protected(each) for each in ["/healthz?/../api/admin", "/api/agents?x=%2e", "/api/administrators"]
    )


def test_a_hostile_target_reaches_nothing_that_is_protected(ruled: Stand, plain: str) -> None:
    """Without a key and with one that lacks the role: what comes through is judged by what the backend received."""
    lines = {"": b"", "key": f"X-API-Key: {plain}\r\n".encode()}
    answered: dict[int, int] = {}
    for target, (who, line) in itertools.product(HOSTILE, lines.items()):
        head = f"GET {target} HTTP/1.1\r\nHost: {ruled.address}\r\nConnection: close\r\n".encode("latin-1")
        status = ask_in_bytes(ruled.address, head + line + b"\r\n")
        answered[status] = answered.get(status, 0) + 1
        for received in ruled.backend.take():
            assert not is_protected(received.target), (target, who, received.target)
            assert status == 200
        assert status != 500, (target, who)
    # The tricks are refused for what they are, and not because nothing gets through at all.
    assert answered[400] > len(HOSTILE) / 2


def test_plain_paths_get_what_the_rules_say(ruled: Stand, plain: str) -> None:
    """Anonymous where it is allowed, any key, a role that is missing, a method that is not listed, the default."""
    key = [("X-API-Key", plain)]
    table = [
        ("GET", "/healthz", [], 200),
        ("GET", "/public/a/b?c=//..%2f", [], 200),
        ("GET", "/public/a?scope=agents:write&deny=nginx", [], 200),
        ("GET", "/api/agents?scope=agents:write&deny=nginx", key, 200),
        ("GET", "/healthzz", key, 403),
        ("GET", "/api/agents", [], 401),
        ("POST", "/api/agents?x=/../y", key, 200),
        ("GET", "/api/reports", key, 200),
        ("POST", "/api/reports", key, 403),
        ("GET", "/api/admin/x", [], 401),
        ("GET", "/api/admin/x", key, 403),
        ("GET", "/", key, 403),
    ]
    for method, target, headers, status in table:
        answer = ask(ruled.address, headers, method=method, target=target)
        assert answer.status == status, (method, target)
        assert [each.target for each in ruled.backend.take()] == ([target] if status == 200 else [])
        if status in (401, 403):
            assert "www-authenticate" in answer.headers, (method, target)


def test_who_lacks_a_right_is_told_which(ruled: Stand, plain: str) -> None:
    """403 says to the client whether nothing would help (a method or path that no rule covers), or a role, or which
    scopes.
    """
    forbidden, scopes = ("forbidden", None, None), "agents:read agents:write"
    table = [
        ("POST", "/api/reports", *forbidden),
        ("GET", "/x", *forbidden),
        ("GET", "/api/admin/x", "insufficient_scope", "insufficient_scope", None),
        ("GET", "/api/scoped", "insufficient_scope", "insufficient_scope", scopes),
    ]
    for method, target, code, error, scope in table:
        answer = ask(ruled.address, [("X-API-Key", plain)], method=method, target=target)
        assert_told_why(answer, ruled, status=403, code=code, error=error, scope=scope)


def test_forged_headers_do_not_move_a_request(ruled: Stand, plain: str) -> None:
    """No family of headers, the proxy's own among them, makes the verifier judge another request."""
    forged = [
        *(
            (f"X-{family}-{part}", "/healthz")
            for family in ("Original", "Forwarded")
            for part in ("URI", "Url", "Path")
        ),
        *((f"X-{family}-Method", "GET") for family in ("Original", "Forwarded")),
        *((f"X-{family}-Host", "api.example.com") for family in ("Original", "Forwarded")),
        ("x_original_uri", "/healthz"),
        ("x_forwarded_uri", "/healthz"),
        ("X-Rewrite-URL", "/healthz"),
        ("X-HTTP-Method-Override", "GET"),
        ("Forwarded", "host=api.example.com"),
    ]
    for headers in (forged, [*forged, ("X-API-Key", plain)]):
        for method, target in (
            ("GET", "/api/admin/x"),
            ("POST", "/api/reports"),
            ("GET", "/api/hosted"),
            ("GET", "/x"),
        ):
            answer = ask(ruled.address, headers, method=method, target=target)
            assert answer.status in (400, 401, 403), (method, target)
            assert ruled.backend.take() == []


def test_the_host_that_counts_is_the_one_that_the_backend_gets(ruled: Stand, plain: str) -> None:
    """A rule for a host matches that host; a whole URL on the request line names none that differs from it."""
    assert ask_in_bytes(ruled.address, _get("/api/hosted", "api.example.com", plain)) == 200
    assert ruled.backend.take_one().values("host") == ["api.example.com"]
    assert ask_in_bytes(ruled.address, _get("/api/hosted", "other.example.com", plain)) == 403
    for target, host in (
        ("http://api.example.com/api/hosted", "other.example.com"),
        ("http://other.example.com/api/hosted", "api.example.com"),
        ("http://api.example.com/api/hosted", "api.example.com"),
    ):
        status = ask_in_bytes(ruled.address, _get(target, host, plain))
        for received in ruled.backend.take():
            assert (status, received.values("host")) == (200, ["api.example.com"]), (target, host)
            # The form that the verifier has judged, not the one that the client chose.
            assert received.target == "/api/hosted"
    twice = _get("/api/hosted", "other.example.com\r\nHost: api.example.com", plain)
    assert ask_in_bytes(ruled.address, twice) in (400, 403)
    assert ruled.backend.take() == []


def _get(target: str, host: str, key: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {key}\r\nConnection: close\r\n\r\n".encode()
