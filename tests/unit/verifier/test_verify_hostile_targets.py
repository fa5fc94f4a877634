"""Targets that can be read in two ways are refused, whichever way they came; and what passes can be read in one only."""

import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keywright.verifier.rules.needs import Need
from keywright.verifier.rules.originals import Source
from keywright.verifier.rules.reading import read_rules
from keywright.verifier.rules.rules import Rules
from keywright.verifier.rules.targets import read_path
from keywright.verifier.settings import VerifierSettings
from keywright.verifier.verdicts import Refusal
from tests.unit.verifier.builders import api_key, mint, record
from tests.unit.verifier.wire import serving

KEY = mint()
# A key that may do nothing but what is for everybody, and the worst case: all the rest is for any key.
RULES = """\
rules:
- {path: /healthz, allow: anonymous}
- {path: /static/*, allow: anonymous}
- {path: /api/admin/*, roles: [admin]}
default: key
"""
HOSTILE = [
    b"/healthz/../api/admin",
    b"/static/../api/admin",
    b"/static/..",
    b"/static/./x",
    b"/static/.",
    b"/static/%2e%2e/api/admin",
    b"/static/%2E%2e/api/admin",
    b"/static/.%2e/api/admin",
    b"/static/..%2fapi/admin",
    b"/static/..%2Fapi/admin",
    b"/static/%2e%2e%2fapi%2fadmin",
    b"/static/..%5capi%5cadmin",
    b"/static/..\\api\\admin",
    b"/static/a%2fb",
    b"/api%2Fadmin",
    b"/static/%252e%252e/api/admin",
    b"/static/%25",
    b"/static/%",
    b"/static/%2",
    b"/static/%zz",
    b"/static/%u002e%u002e/api/admin",
    b"/static/..;/api/admin",
    b"/static/..;x=y/api/admin",
    b"/static/x;/../../api/admin",
    b"/api;x/admin",
    b"/api/admin;x",
    b"/api/%3bx/admin",
    b"/healthz#/../api/admin",
    b"/healthz%23/../api/admin",
    b"/healthz#",
    b"/healthz%23",
    b"/healthz%3f",
    b"//api/admin",
    b"/api//admin",
    b"/static//../api/admin",
    b"/api/admin//",
    b"///",
    b"/static/%00",
    b"/static/\x00",
    b"/static/%0a",
    b"/static/%0d%0aX-Auth-Role:%20admin",
    b"/static/%7f",
    b"/static/%c2%85",
    b"/static/\xc2\x85",
    b"/static/\xff",
    b"/static/%ff",
    b"/static/%c0%ae%c0%ae/api/admin",
    b"/static/\xc0\xae\xc0\xae/api/admin",
    b"/static/%e0%80%af",
    b"/static/%ed%a0%80",
    b"/static/a b",
    b"http://api.example.com/api/admin",
    b"http:/healthz",
    b"healthz",
    b"*",
    b"api/admin",
    b"?/healthz",
    b"\\api\\admin",
    b"/verify/../introspect",
]
# Plain, but never for a key without the role.
PROTECTED = [
    b"/api/admin",
    b"/api/admin/",
    b"/api/admin/x?/healthz",
    b"/api/admin?/../../healthz",
    b"/api/%61dmin",
    b"/%61%70%69/admin/x",
    b"/API/admin",
    b"/api/Admin/x",
    b"/api/%41dmin",
]


def request(source: str, target: bytes, key: bytes) -> bytes:
    line, said = b"GET /verify", b""
    if source == Source.PATH:
        line = b"GET /verify" + target
    elif source == Source.ORIGINAL:
        said = b"X-Original-URI: %b\r\nX-Original-Method: GET\r\n" % target
    else:
        said = b"X-Forwarded-Uri: %b\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Host: h\r\n" % target
    return line + b" HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + said + key + b"\r\n"


@pytest.mark.parametrize("source", Source)
async def test_hostile_targets_are_refused(tmp_path: Path, source: Source) -> None:
    """400, whoever asks; a few break the request itself, which is a plain HTTP error, or lead nowhere."""
    (tmp_path / "rules.yaml").write_text(RULES)
    async with serving(VerifierSettings(rules=tmp_path / "rules.yaml", request_from=source)) as served:
        served.verifier.index.put(api_key(record(KEY)))
        key = b"X-API-Key: %b\r\n" % KEY.text.encode()
        for target in HOSTILE:
            for presented in (key, b""):
                answer = await served.send_until_close(request(source, target, presented))
                # After /verify without a slash comes another path, or a query that is not understood.
                is_elsewhere = source is Source.PATH and not target.startswith(b"/")
                expected = (b"400", b"401", b"404") if is_elsewhere else (b"400",)
                assert answer.split(b" ")[1] in expected, (target, answer)
        for target in PROTECTED:
            answer = await served.send_until_close(request(source, target, key))
            assert answer.split(b" ")[1] == b"403", (target, answer)
        for target in (b"/healthz", b"/healthz?a=//..;", b"/static/a.b/..c/.d/e%20f"):
            answer = await served.send_until_close(request(source, target, b""))
            assert answer.split(b" ")[1] == b"200", (target, answer)


def _tomcat(raw: bytes) -> bytes:
    return re.sub(rb";[^/]*", b"", unquote_to_bytes(raw))


READERS: dict[str, Callable[[bytes], bytes]] = {
    "decoded": unquote_to_bytes,
    "decoded twice": lambda raw: unquote_to_bytes(unquote_to_bytes(raw)),
    "dots, then decoded": lambda raw: unquote_to_bytes(posixpath.normpath(raw)),
    "decoded, then dots": lambda raw: posixpath.normpath(unquote_to_bytes(raw)),
    "without parameters": _tomcat,
    "backslashes": lambda raw: unquote_to_bytes(raw).replace(b"\\", b"/"),
    "cut at a hash": lambda raw: unquote_to_bytes(raw.partition(b"#")[0]),
    "cut at an encoded hash": lambda raw: unquote_to_bytes(raw).partition(b"#")[0],
    "cut at NUL": lambda raw: unquote_to_bytes(raw).partition(b"\0")[0],
    "cut at an encoded query": lambda raw: unquote_to_bytes(raw).partition(b"?")[0],
    "one slash": lambda raw: re.sub(rb"/+", b"/", unquote_to_bytes(raw)),
}
PIECES = st.sampled_from(
    b"/ . .. %2e %2f %5c \\ %25 % ; # ? %3b %00 %23 %3f api admin static healthz %61 Admin \xc3\xa9 %c3%a9 \xff %c0%ae".split()
)


@given(st.lists(PIECES, max_size=12).map(lambda pieces: b"/" + b"".join(pieces)))
@example(b"/static/%2e%2e/api/admin")
def test_who_reads_a_path_otherwise_reads_the_same(target: bytes) -> None:
    """Whatever a service makes of a target that passes, the same rule protects it."""
    rules = read_rules(RULES.encode())
    assert isinstance(rules, Rules)
    found = rules.decide((b"GET", target, b""))
    if isinstance(found, Refusal):
        return
    raw = target.partition(b"?")[0]
    for name, read in READERS.items():
        other = rules.find(b"GET", read(raw).decode("utf-8"), None)
        assert _strictness(found[1]) >= _strictness(other[1]), name


def _strictness(need: Need) -> int:
    return 0 if need.is_anonymous else 2 if need.roles or need.refusal is not None else 1


@given(st.binary(max_size=40))
def test_no_bytes_are_an_error(target: bytes) -> None:
    """A path that is read is plain text that begins with a slash."""
    path = read_path(target)
    if path is not None:
        assert path.startswith("/")
        assert not re.search(r"//|/\.\.?(/|\Z)|[\\;#?%\x00]", path)
