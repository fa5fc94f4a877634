"""``keywright rules test``: what would the rules say? Checks a file, and requests against it, without a cluster."""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from keywright.domain.plainkey import escape
from keywright.errors import KeywrightError
from keywright.verifier.keys.rights import Permits
from keywright.verifier.rules.documents import Document, OddDocumentError, read_document
from keywright.verifier.rules.reading import read_rules
from keywright.verifier.rules.rules import Rule, Rules
from keywright.verifier.verdicts import MISSING, Code, Refusal

__all__ = ["add_arguments", "run"]

EPILOG = """\
examples:
  keywright rules test rules.yaml
  keywright rules test rules.yaml GET /api/agents/7 --scope agents:read
  keywright rules test rules.yaml DELETE https://api.example.com/api/admin/users --role admin
  keywright rules test rules.yaml --samples samples.yaml

samples.yaml holds requests and the verdict that each of them must get:
  samples:
  - {request: GET /healthz, key: none, expect: allowed}
  - {request: GET /api/agents/7, scopes: ["agents:*"], expect: allowed}
  - {request: POST /api/agents/7, scopes: ["agents:*"], expect: forbidden}
  - {request: GET /api/admin/users, host: api.example.com, role: readonly, expect: insufficient_scope}

A key has the role and scopes that are named here, whatever a cluster would grant. Paths are sent as they stand.
What only the API server can tell is the decision ask-owner, with the right that the owner of the key would need.
exit status: 0 as expected (one request: allowed, or up to its owner), 1 not so, or the rules are wrong, 2 wrong flags
"""

_FIELDS = ("request", "host", "role", "scopes", "key", "expect")
# Where none is named. No rule of a service on its own host names this one.
_HOST = "localhost"
_ASK_OWNER = "ask-owner"
_ABSOLUTE = re.compile(r"https?://([^/?#]+)(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    method: str
    url: str
    host: str = _HOST
    role: str | None = None
    scopes: tuple[str, ...] = ()
    has_key: bool = True
    expect: tuple[str, ...]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare ``rules`` and what is below it."""
    commands = parser.add_subparsers(dest="rules_command", required=True, metavar="COMMAND")
    test = commands.add_parser(
        "test",
        help="check a rules file, and requests against it",
        allow_abbrev=False,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    test.add_argument("file", type=Path, metavar="FILE", help="the rules, as for keywright verifier --rules")
    test.add_argument("method", nargs="?", metavar="METHOD", help="of one request, as in GET")
    test.add_argument("url", nargs="?", metavar="URL", help="of that request: a path, or http://host/path")
    test.add_argument("--samples", type=Path, metavar="FILE", help="requests with the verdicts they must get")
    test.add_argument("--host", help="host of the request (default: that of URL, or localhost)")
    test.add_argument("--role", help="role of the key that is presented (default: none)")
    test.add_argument("--scope", action="append", metavar="SCOPE", help="scope of that key; * stands for any; repeats")
    test.add_argument("--no-key", action="store_true", help="present no key")
    test.set_defaults(complain=test.error)


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each request; the exit status.

    Raises:
        KeywrightError: for a file that cannot be read.

    """
    one = arguments.method is not None
    if one and arguments.url is None:
        arguments.complain("a METHOD needs a URL, as in GET /api/agents/7")
    if arguments.samples is not None and one:
        arguments.complain("give --samples, or a METHOD and a URL")
    if not one and (arguments.host or arguments.role or arguments.scope or arguments.no_key):
        arguments.complain("--host, --role, --scope and --no-key are of one request: give a METHOD and a URL")
    rules = _load_rules(arguments.file)
    if rules is None:
        return 1
    samples: Sequence[_Sample] = ()
    if one:
        samples = [
            _Sample(
                method=arguments.method,
                url=arguments.url,
                host=arguments.host or _HOST,
                role=arguments.role,
                scopes=tuple(arguments.scope or ()),
                has_key=not arguments.no_key,
                expect=(Code.ALLOWED, _ASK_OWNER),
            )
        ]
    elif arguments.samples is not None:
        samples = _load_samples(arguments.samples)
    return _report(rules, samples, arguments.file)


def _load_rules(path: Path) -> Rules | None:
    found = read_rules(_read(path))
    if not isinstance(found, Rules):
        for problem in found:
            print(f"{path}: {problem}", file=sys.stderr)
        return None
    for number, before in found.unreachable().items():
        print(f"{path}: rules[{number}] never decides: rules[{before}] stands before it", file=sys.stderr)
    return found


def _report(rules: Rules, samples: Sequence[_Sample], path: Path) -> int:
    if not samples:
        print(f"{path}: {len(rules.rules)} rules, nothing wrong")
        return 0
    rows, failed = [("REQUEST", "DECISION", "RULE", "")], 0
    for sample in samples:
        code, rule, note = _judge(rules, sample)
        is_expected = code in sample.expect
        failed += not is_expected
        if not is_expected:
            note = f"not {sample.expect[0]}"
        rows.append((f"{sample.method} {sample.url}", code, _named(rule, code), note))
    # What is asked about may hold anything; a terminal gets to see it, but does not obey it.
    table = [[escape(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    for row in table:
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 1 if failed else 0


def _judge(rules: Rules, sample: _Sample) -> tuple[str, Rule | None, str]:
    """The decision, the rule that made it, and what the owner of the key would be asked for."""
    url, host = sample.url, sample.host
    if (absolute := _ABSOLUTE.fullmatch(url)) is not None:
        host, url = absolute[1], absolute[2] if absolute[2].startswith("/") else f"/{absolute[2]}"
    method, target, name = (part.encode("utf-8", "surrogateescape") for part in (sample.method, url, host))
    found = rules.decide((method, target, name))
    if isinstance(found, Refusal):
        return found.code, None, ""
    rule, need = found
    if need.is_anonymous:
        return Code.ALLOWED, rule, ""
    if not sample.has_key:
        return MISSING.code, rule, ""
    refusal = need.judge(Permits(role=sample.role, scopes=sample.scopes))
    if refusal is not None:
        return refusal.code, rule, ""
    if need.right is not None:
        return _ASK_OWNER, rule, f"asks whether the owner may {need.right}"
    return Code.ALLOWED, rule, ""


def _named(rule: Rule | None, code: str) -> str:
    if rule is not None:
        return f"rules[{rule.number}] {rule.path}"
    return "-" if code == Code.INVALID_REQUEST else "default"


def _load_samples(path: Path) -> list[_Sample]:
    try:
        document = read_document(_read(path))
    except OddDocumentError as error:
        raise KeywrightError(f"{path}: {error}") from None
    samples = document.get("samples") if isinstance(document, dict) else None
    if not isinstance(samples, list) or not samples or len(document or ()) != 1:
        raise KeywrightError(f"{path}: write samples: and a list of requests: see keywright rules test --help")
    return [_read_sample(each, f"{path}: samples[{number}]") for number, each in enumerate(samples)]


def _read_sample(document: Document, where: str) -> _Sample:
    if not isinstance(document, dict):
        raise KeywrightError(f"{where}: write it as {{request: GET /path, expect: allowed}}")
    for name in document:
        if name not in _FIELDS:
            raise KeywrightError(f"{where}.{name}: there is no such field: use {', '.join(_FIELDS)}")
    texts = {name: document.get(name) for name in ("request", "host", "role", "key", "expect")}
    request, expect, scopes = texts["request"], texts["expect"], document.get("scopes", [])
    if not isinstance(request, str) or len(request.split()) != 2:
        raise KeywrightError(f"{where}.request: write method and URL, as in GET /api/agents/7")
    if expect not in (*Code, _ASK_OWNER):
        raise KeywrightError(f"{where}.expect: use one of {', '.join((*Code, _ASK_OWNER))}")
    if not isinstance(scopes, list) or not all(isinstance(each, str) for each in scopes):
        raise KeywrightError(f"{where}.scopes: write a list, as in [agents:read]")
    if texts["key"] not in (None, "none"):
        raise KeywrightError(f"{where}.key: use none, or leave it out")
    host, role = texts["host"], texts["role"]
    if not isinstance(host, str | None) or not isinstance(role, str | None):
        raise KeywrightError(f"{where}: host and role are text: write one of each")
    method, url = request.split()
    return _Sample(
        method=method,
        url=url,
        host=host or _HOST,
        role=role,
        scopes=tuple(str(each) for each in scopes),
        has_key=texts["key"] is None,
        expect=(str(expect),),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KeywrightError(f"{path} cannot be read: {error.strerror}: check the name") from None
