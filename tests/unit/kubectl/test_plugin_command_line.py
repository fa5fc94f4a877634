"""``kubectl apikey`` where no cluster is needed: help, mistakes, and keys judged by their form."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from keywright.kubectl.app import app
from tests.support.kubectl import apikey, at_terminal
from tests.support.processes import BIN
from tests.unit.domain.examples import key

PLAIN = key().text


@pytest.mark.parametrize("command", sorted(app.commands))
def test_each_command_has_help_with_examples(command: str) -> None:
    """``--help`` and ``-h``, on standard output."""
    done = CliRunner().invoke(app, [command, "-h"], prog_name="kubectl apikey")
    assert done.exit_code == 0
    assert "example" in done.stdout
    assert f"  kubectl apikey {command}" in done.stdout
    assert done.stderr == ""


def test_the_first_help_has_the_exit_statuses() -> None:
    """And the version is that of the distribution."""
    assert "exit status: 0 done, 1 refused" in apikey(None, "--help").out
    assert apikey(None, "--version").out.startswith("kubectl-apikey, version ")


@pytest.mark.parametrize(
    "arguments",
    [
        ["frobnicate"],
        ["list", "--frobnicate"],
        ["list", "-o", "xml"],
        ["create"],
        ["create", "x", "--ttl", "ninety days"],
        ["create", "x", "--ttl", "1d", "--expires-at", "2999-01-01"],
        ["create", "x", "--expires-at", "2020-01-01"],
        ["create", "x", "--expires-at", "tomorrow"],
        ["create", "x", "--grace", "1h"],
        ["create", "x", "--owner-group", "g"],
        ["create", "x", "--dry-run", "client", "--wait"],
        ["verify", "--offline", "--url", "http://127.0.0.1"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_two(arguments: list[str]) -> None:
    """And says how it is meant."""
    done = CliRunner().invoke(app, arguments, prog_name="kubectl apikey")
    assert done.exit_code == 2
    assert "Usage: kubectl apikey" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "picked", [["--owner", "", "-l", "x"], ["--owner", "bob", "-l", " "], ["-l", ""], ["--owner", ""]]
)
def test_an_empty_pick_revokes_nothing(picked: list[str], tmp_path: Path) -> None:
    """A variable of the shell that is not set picks no more than was meant: no server is asked at all."""
    done = apikey(_unreachable(tmp_path), "revoke", *picked, "--yes")
    assert done.status == 2
    assert "is empty" in done.err


def test_wrong_usage_of_the_program_exits_with_two() -> None:
    """As the parameter sets above show for the commands; without a traceback."""
    done = apikey(None, "list", "--frobnicate")
    assert done.status == 2
    assert "Usage: kubectl apikey list" in done.err


def test_no_cluster_is_one_line_and_exit_one() -> None:
    """What is missing and what to do."""
    done = apikey(None, "list")
    assert done.status == 1
    assert (
        done.err
        == "kubectl apikey: no kubeconfig at /nonexistent/.kube/config: set KUBECONFIG, or name it with --kubeconfig\n"
    )


@pytest.mark.parametrize("content", ["", "just text", "{", "clusters: 3", "kind: Config\ncurrent-context: x\n"])
def test_a_broken_kubeconfig_is_one_line(tmp_path: Path, content: str) -> None:
    """Whatever is wrong with it."""
    path = tmp_path / "kubeconfig"
    path.write_text(content)
    done = apikey(path, "list")
    assert done.status == 1
    assert len(done.err.splitlines()) == 1
    assert str(path) in done.err
    assert "bug" not in done.err


def test_without_its_extra_it_says_how_to_install_it() -> None:
    """The wheel brings the program along in any case."""
    code = "import sys; sys.modules['click'] = None; from keywright.kubectl.main import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "pip install '.[cli]' in the checkout" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_manifest_needs_no_cluster() -> None:
    """``--dry-run client`` prints what goes into git."""
    done = apikey(
        None, "create", "ci", "-n", "payments", "--dry-run", "client", "--class", "partners", "--role", "readonly",
        "--scope", "a:read", "--scope", "b", "--owner", "bob", "--owner-group", "g", "--expires-at", "2999-01-01",
        "--rotate-every", "30d", "--grace", "1h", "--once", "--display-name", "CI", "--description", "for CI",
    )  # fmt: skip
    assert done.status == 0
    assert yaml.safe_load(done.out) == {
        "apiVersion": "keywright.dev/v1alpha1",
        "kind": "ApiKey",
        "metadata": {"name": "ci", "namespace": "payments"},
        "spec": {
            "displayName": "CI",
            "description": "for CI",
            "className": "partners",
            "owner": {"user": "bob", "groups": ["g"]},
            "role": "readonly",
            "scopes": ["a:read", "b"],
            "expiresAt": "2999-01-01T00:00:00Z",
            "rotation": {"interval": "30d", "gracePeriod": "1h"},
            "secret": {"delivery": "Once"},
        },
    }


@pytest.mark.parametrize(
    ("given", "flags", "status", "says"),
    [
        (PLAIN, [], 0, "well-formed"),
        (f"{PLAIN}\n", [], 0, "well-formed"),
        (f"{PLAIN}\r\n", [], 3, "white space"),
        (f"{PLAIN}\n\n", [], 3, "white space"),
        ("", [], 3, "empty"),
        (PLAIN, ["--prefix", "kw_test"], 3, "another class"),
        (PLAIN[:-2], [], 3, "too short by 2"),
        ("\x00\x1b" * 40000, [], 3, "wrong alphabet"),
    ],
    ids=["key", "line end", "CRLF", "two line ends", "nothing", "another class", "short", "rubbish"],
)
def test_a_key_is_judged_by_its_form(given: str, flags: list[str], status: int, says: str) -> None:
    """Offline, without a kubeconfig; never shown."""
    done = CliRunner().invoke(app, ["verify", "--offline", *flags], input=given, standalone_mode=False)
    assert done.return_value == status
    assert says in done.output
    assert PLAIN[-40:] not in done.output


def test_a_file_holds_the_key_as_well(tmp_path: Path) -> None:
    """Bytes that are no text are no crash."""
    path = tmp_path / "key"
    path.write_bytes(b"\xff\xfe")
    command = ["verify", "--offline", "--file", str(path)]
    assert CliRunner().invoke(app, command, standalone_mode=False).return_value == 3
    path.write_text(PLAIN)
    assert CliRunner().invoke(app, command, standalone_mode=False).return_value == 0
    path.unlink()
    assert CliRunner().invoke(app, command).exit_code == 2


@pytest.mark.parametrize(
    "arguments", [["verify", PLAIN], ["show", PLAIN], ["revoke", PLAIN]], ids=["verify", "show", "revoke"]
)
def test_a_key_among_the_arguments_is_not_repeated(arguments: list[str], tmp_path: Path) -> None:
    """It is in the shell's history as it is; a log of CI must not have it too."""
    done = apikey(_unreachable(tmp_path), *arguments, given=PLAIN)
    assert done.status in (1, 2)
    assert "rotate" in done.err
    assert PLAIN[-40:] not in done.out + done.err


@pytest.mark.parametrize(
    "arguments",
    [
        [PLAIN],
        [f"--{PLAIN}"],
        ["show", f"--{PLAIN}"],
        ["show", "x", PLAIN],
        ["verify", "--file", PLAIN],
        ["create", PLAIN],
        ["create", PLAIN, "--dry-run", "client"],
        ["create", PLAIN[:-1], "--dry-run", "client"],
        ["create", "x", "--ttl", PLAIN],
        ["list", "-n", "x", "--context", PLAIN],
        ["list", "--kubeconfig", PLAIN],
        ["suspend", PLAIN, PLAIN],
        ["suspend", PLAIN[:-1], "x"],
    ],
    ids=lambda given: " ".join(given).replace(PLAIN, "KEY").replace(PLAIN[:-1], "KE"),
)
def test_a_key_in_the_place_of_anything_is_cut_out(arguments: list[str], tmp_path: Path) -> None:
    """Whoever says the error: click, this program, or the system."""
    done = apikey(_unreachable(tmp_path), *arguments)
    assert done.status in (1, 2)
    assert PLAIN[-49:-1] not in done.out + done.err


def test_a_reader_that_has_gone_is_no_error_message() -> None:
    """``kubectl apikey … | head`` ends quietly."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [BIN / "kubectl-apikey", "create", "x", "--dry-run", "client"],
        stdout=writing, stderr=subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip
    os.close(writing)
    assert done.returncode == 1
    assert done.stderr == b""


def test_a_key_that_is_typed_is_not_shown(tmp_path: Path) -> None:
    """At a terminal it is asked for."""
    done = at_terminal(tmp_path, "verify", "--offline", given=f"{PLAIN}\n", prompt="API key")
    assert done.status == 0
    assert "well-formed" in done.out
    assert PLAIN[-40:] not in done.out


def _unreachable(directory: Path) -> Path:
    """A kubeconfig of a cluster that is away."""
    path = directory / "kubeconfig"
    path.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: c, user: u}}], "
        "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}], users: [{name: u, user: {}}]}"
    )
    return path
