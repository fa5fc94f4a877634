"""``keywright rules test``: a rules file proves itself in CI, without a cluster."""

import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keywright.cli.main import main
from tests.unit.cli.test_command_line import _run

RULES = """\
rules:
- {path: /healthz, allow: anonymous}
- {path: /api/agents/*, methods: [GET, HEAD], scopes: [agents:read]}
- {path: /api/admin/*, hosts: [api.example.com], roles: [admin]}
"""
SAMPLES = """\
samples:
- {request: GET /healthz, key: none, expect: allowed}
- {request: GET /api/agents/7, scopes: ["agents:*"], expect: allowed}
- {request: POST /api/agents/7, scopes: ["agents:*"], expect: forbidden}
- {request: GET /api/agents/7, key: none, expect: missing_key}
- {request: GET /api/admin/users, host: api.example.com, role: readonly, expect: insufficient_scope}
- {request: "GET https://api.example.com/api/admin/users", role: admin, expect: allowed}
- {request: GET /healthz#/../api/admin, expect: invalid_request}
- {request: GET /, expect: forbidden}
"""


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """The command sets up logging for a process of its own."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    (tmp_path / "rules.yaml").write_text(RULES)
    return tmp_path / "rules.yaml"


def run(*arguments: str | Path) -> int:
    return main(["rules", "test", *map(str, arguments)], {})


def test_a_right_file_is_said_to_be(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a request, the file alone is checked."""
    assert run(rules) == 0
    assert capsys.readouterr().out == f"{rules}: 3 rules, nothing wrong\n"


def test_a_wrong_file_is_a_line_for_each_mistake(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, with status 1."""
    rules.write_text("rules: [{path: /a, hosts: []}, {x: y, path: /b}]")
    assert run(rules, "GET", "/a") == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert [each.split(": ")[1] for each in said.err.splitlines()] == ["rules[0].hosts", "rules[1].x"]


def test_a_rule_that_never_decides_is_pointed_out(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the decisions, which stand."""
    rules.write_text("rules: [{path: /a/*}, {path: /a/b, roles: [admin]}]")
    assert run(rules, "GET", "/a/b") == 0
    assert "rules[1] never decides: rules[0] stands before it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "status", "decision"),
    [
        ("GET /api/agents/7 --scope agents:read", 0, "allowed rules[1] /api/agents/*"),
        ("GET /api/agents/7 --scope x --scope *:read", 0, "allowed rules[1] /api/agents/*"),
        ("GET /api/agents/7", 1, "insufficient_scope rules[1] /api/agents/* not allowed"),
        ("POST /api/agents/7 --scope agents:read", 1, "forbidden rules[1] /api/agents/* not allowed"),
        ("GET /api/admin/x --role admin --host API.example.com:80", 0, "allowed rules[2] /api/admin/*"),
        ("GET http://api.example.com/api/admin/x --role admin", 0, "allowed rules[2] /api/admin/*"),
        ("GET http://other/api/admin/x --role admin", 1, "forbidden default not allowed"),
        ("GET http://other?x", 1, "forbidden default not allowed"),
        ("GET /healthz --no-key", 0, "allowed rules[0] /healthz"),
        ("GET /api/agents/7 --no-key", 1, "missing_key rules[1] /api/agents/* not allowed"),
        ("GET /healthz/../api", 1, "invalid_request - not allowed"),
    ],
)
def test_one_request(
    rules: Path, capsys: pytest.CaptureFixture[str], arguments: str, status: int, decision: str
) -> None:
    """The decision and the rule; the status says whether it is allowed."""
    method, url, *more = arguments.split()
    assert run(rules, method, url, *more) == status
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["REQUEST", "DECISION", "RULE"]
    assert " ".join(line.split()) == f"{method} {url} {decision}"


def test_what_only_the_api_server_can_tell(rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The decision is up to the owner, and says what he would need; whatever else the rule names is judged."""
    right = "authorize: {group: kv.io, resource: clusters, name: $2, verb: {GET: get}}"
    rules.write_text(f"rules: [{{path: /clusters/*, scopes: [a], {right}}}]")
    assert run(rules, "GET", "/clusters/prod", "--scope", "a") == 0
    line = " ".join(capsys.readouterr().out.splitlines()[1].split())
    asks = "ask-owner rules[0] /clusters/* asks whether the owner may get clusters.kv.io prod"
    assert line == f"GET /clusters/prod {asks}"
    assert run(rules, "GET", "/clusters/prod") == 1
    assert run(rules, "GET", "/clusters", "--scope", "a") == 1
    samples = tmp_path / "samples.yaml"
    samples.write_text("samples: [{request: GET /clusters/x, scopes: [a], expect: ask-owner}]")
    assert run(rules, "--samples", samples) == 0
    samples.write_text("samples: [{request: GET /clusters/x, scopes: [a], expect: allowed}]")
    assert run(rules, "--samples", samples) == 1


def test_samples_hold_what_is_expected(rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """0 when each gets what it should, else 1 and a note beside it."""
    samples = tmp_path / "samples.yaml"
    text = SAMPLES.replace("GET /healthz, ", "GET /healthz, ").replace("/7, ", "/7, ")
    samples.write_text(text)
    assert run(rules, "--samples", samples) == 0
    assert capsys.readouterr().out.count("\n") == 9
    samples.write_text(SAMPLES.replace("expect: missing_key", "expect: allowed"))
    assert run(rules, "--samples", samples) == 1
    notes = [each for each in capsys.readouterr().out.splitlines() if "not " in each]
    assert [" ".join(each.split()) for each in notes] == [
        "GET /api/agents/7 missing_key rules[1] /api/agents/* not allowed"
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "write samples: and a list of requests"),
        ("samples: []", "write samples: and a list of requests"),
        ("samples: [{}]\nmore: x", "write samples: and a list of requests"),
        ("samples: {", "this is not YAML"),
        ("samples: [x]", "samples[0]: write it as {request:"),
        ("samples: [{expect: allowed}]", "samples[0].request: write method and URL"),
        ("samples: [{request: /x, expect: allowed}]", "samples[0].request: write method and URL"),
        ("samples: [{request: GET /x}]", "samples[0].expect: use one of allowed, missing_key"),
        ("samples: [{request: GET /x, expect: yes please}]", "samples[0].expect: use one of"),
        ("samples: [{request: GET /x, expect: allowed, scopes: a}]", "samples[0].scopes: write a list"),
        ("samples: [{request: GET /x, expect: allowed, key: abc}]", "samples[0].key: use none"),
        ("samples: [{request: GET /x, expect: allowed, host: [a]}]", "samples[0]: host and role are text"),
        ("samples: [{request: GET /x, expect: allowed, rule: a}]", "samples[0].rule: there is no such field"),
    ],
)
def test_wrong_samples_are_one_line(
    rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, line: str
) -> None:
    """Which sample, which field, what to do; status 1."""
    samples = tmp_path / "samples.yaml"
    samples.write_text(text)
    assert run(rules, "--samples", samples) == 1
    (said,) = capsys.readouterr().err.splitlines()
    assert line in said


@pytest.mark.parametrize(
    "arguments",
    [["GET"], ["GET", "/x", "--samples", "s"], ["--role", "admin"], ["--no-key"], ["--colour"]],
    ids=" ".join,
)
def test_wrong_flags_are_two(rules: Path, arguments: list[str]) -> None:
    """As with every command."""
    done = _run("rules", "test", str(rules), *arguments)
    assert done.returncode == 2
    assert "usage: keywright" in done.stderr


def test_a_missing_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not a traceback."""
    assert run(tmp_path / "none") == 1
    assert capsys.readouterr().err.endswith("/none cannot be read: No such file or directory: check the name\n")


def test_a_terminal_does_not_obey_a_request(rules: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is asked about is shown with its controls spelled out."""
    assert run(rules, "GET", "/\x1b[2J") == 1
    assert "\\x1b[2J" in capsys.readouterr().out


def test_help_shows_how(capsys: pytest.CaptureFixture[str]) -> None:
    """Examples, the form of samples, and what the status means."""
    with pytest.raises(SystemExit) as caught:
        run("--help")
    assert caught.value.code == 0
    said = capsys.readouterr().out
    for part in ("examples:", "samples:", "expect: forbidden", "exit status"):
        assert part in said


def test_the_samples_of_the_help_are_right(rules: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They hold for the rules that every text here uses."""
    with pytest.raises(SystemExit):
        run("--help")
    lines = capsys.readouterr().out.splitlines()
    begin = lines.index("  samples:")
    samples = tmp_path / "samples.yaml"
    samples.write_text("\n".join(lines[begin : begin + 5]))
    assert run(rules, "--samples", samples) == 0


def test_nothing_of_a_server_is_loaded() -> None:
    """It is a check for CI, so it starts fast and needs no extra."""
    code = "import sys, keywright.cli.rules as _; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"kopf", "pydantic", "kubernetes", "aiohttp", "httptools", "uvloop"}
