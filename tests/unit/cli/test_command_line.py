"""``keywright``: help, CRDs, and mistakes that cost one line instead of a traceback."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from keywright.addresses import Tcp, parse_tcp
from keywright.cli.main import main
from keywright.errors import KeywrightError
from keywright.handlers import settings

KEYWRIGHT = [sys.executable, "-c", "import sys; from keywright.cli.main import main; sys.exit(main())"]


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "KEYWRIGHT"))}
    return subprocess.run(
        [*KEYWRIGHT, *arguments],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_help_says_how_to_begin() -> None:
    """Commands, examples, where the cluster comes from, what the exit status means."""
    done = _run("--help")
    assert done.returncode == 0
    for part in ("operator", "verifier", "console", "crds", "kubectl apply", "KUBECONFIG", "KEYWRIGHT_", "exit status"):
        assert part in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("command", ["operator", "console", "crds"])
def test_each_command_has_help(command: str) -> None:
    """With the environment twin beside each flag."""
    done = _run(command, "--help")
    assert done.returncode == 0
    assert "KEYWRIGHT_LOG_LEVEL" in done.stdout


def test_the_version_is_that_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    """``keywright --version``."""
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith("keywright ")


def test_crds_are_printed_for_kubectl() -> None:
    """Nothing but YAML on standard output."""
    done = _run("crds")
    assert done.returncode == 0
    assert [each["kind"] for each in yaml.safe_load_all(done.stdout)] == ["CustomResourceDefinition"] * 3
    assert done.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [[], ["frobnicate"], ["crds", "--colour"], ["operator", "--frobnicate"], ["operator", "--log-format", "xml"]],
    ids=" ".join,
)
def test_wrong_flags_exit_with_two(arguments: list[str]) -> None:
    """As POSIX tools do, naming the flag."""
    done = _run(*arguments)
    assert done.returncode == 2
    assert "usage: keywright" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["operator", "console"])
def test_no_cluster_is_one_line_and_exit_one(command: str) -> None:
    """What is missing and what to do."""
    done = _run(command)
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("keywright: no cluster to talk to: set KUBECONFIG")


def test_a_broken_kubeconfig_is_one_line_and_exit_one(tmp_path: Path) -> None:
    """Not a traceback of YAML."""
    (tmp_path / "config").write_text("{")
    done = _run("operator", KUBECONFIG=str(tmp_path / "config"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("keywright: ")
    assert line.endswith("check KUBECONFIG")


def test_an_address_that_is_none_is_one_line_and_exit_one() -> None:
    """It names the flag."""
    done = _run("operator", "--health-listen", "nowhere:x")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("keywright: --health-listen 'nowhere:x' is not possible: use HOST:PORT")


def test_keys_are_not_shown_to_the_network() -> None:
    """The console wants TLS, or to be told that somebody else sees to it, before it looks for a cluster."""
    done = _run("console", "--listen", "0.0.0.0:8443")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "keywright: --listen 0.0.0.0:8443 without TLS would show keys to the network: give --tls-cert"
    )


@pytest.mark.parametrize("name", ["KEYWRIGHT_LOG_LEVEL", "KEYWRIGHT_LOG_FORMAT"])
def test_a_wrong_environment_twin_is_refused_like_the_flag(name: str) -> None:
    """argparse checks choices of flags only, not of their defaults."""
    done = _run("crds", **{name: "nonsense"})
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr


def _settings(*arguments: str, **environment: str) -> settings.OperatorSettings:
    parser = argparse.ArgumentParser()
    settings.add_arguments(parser)
    return settings.from_arguments(parser.parse_args(arguments), environment)


def test_operator_settings_without_a_flag() -> None:
    """All namespaces, probes on loopback."""
    assert _settings() == settings.OperatorSettings(namespaces=(), health_listen=Tcp("127.0.0.1", 8082), workers=32)


def test_every_flag_of_the_operator_has_a_twin_and_wins_over_it() -> None:
    """The environment is for manifests, flags are for people."""
    environment = {
        "KEYWRIGHT_NAMESPACE": "payments,, web,payments",
        "KEYWRIGHT_HEALTH_LISTEN": ":9000",
        "KEYWRIGHT_WORKERS": "4",
    }
    assert _settings(**environment) == settings.OperatorSettings(
        namespaces=("payments", "web"), health_listen=Tcp("", 9000), workers=4
    )
    given = _settings("--namespace", "a", "--namespace", "b", "--workers", "8", **environment)
    assert (given.namespaces, given.workers) == (("a", "b"), 8)


def test_where_else_verifiers_publish_belongs_to_chosen_namespaces() -> None:
    """Who watches everything watches that too."""
    given = _settings("--namespace", "a", "--usage-namespace", "gateway")
    assert given.usage_namespaces == ("gateway",)
    assert _settings(KEYWRIGHT_NAMESPACE="a", KEYWRIGHT_USAGE_NAMESPACE="x,y").usage_namespaces == ("x", "y")
    for flag in ("--namespace", "--usage-namespace"):
        with pytest.raises(KeywrightError, match=rf"^{flag} 'A\*' is not possible: use the name of a namespace"):
            _settings("--namespace", "a", flag, "A*")
    with pytest.raises(KeywrightError, match=r"^--usage-namespace belongs to --namespace"):
        _settings("--usage-namespace", "gateway")


@pytest.mark.parametrize("workers", ["0", "-1", "1025", "many", "٨", "1.5"])
def test_a_number_of_workers_that_cannot_be_is_refused_by_the_name_of_its_flag(workers: str) -> None:
    """Whichever way it came."""
    with pytest.raises(KeywrightError, match=r"^--workers .*: use a whole number from 1 to 1024$"):
        _settings(f"--workers={workers}")
    with pytest.raises(KeywrightError, match=r"^--workers"):
        _settings(KEYWRIGHT_WORKERS=workers)


def test_a_lease_is_named_by_namespace_and_name() -> None:
    """Off unless it is named; the flag wins over its twin."""
    assert _settings().lease is None
    assert _settings(KEYWRIGHT_LEASE="a/b").lease == ("a", "b")
    assert _settings("--lease", "keywright-system/keywright-operator", KEYWRIGHT_LEASE="a/b").lease == (
        "keywright-system",
        "keywright-operator",
    )


@pytest.mark.parametrize("lease", ["name", "/name", "namespace/", "a/b/c", "A/b", "-a/b", "a b/c", "a/b\n"])
def test_a_lease_that_cannot_be_is_refused_by_the_name_of_its_flag(lease: str) -> None:
    """With a form as example."""
    with pytest.raises(KeywrightError, match=r"^--lease .*: use NAMESPACE/NAME"):
        _settings(f"--lease={lease}")
    with pytest.raises(KeywrightError, match=r"^--lease"):
        _settings(KEYWRIGHT_LEASE=lease)


ADDRESSES = {
    "127.0.0.1:80": ("127.0.0.1", 80),
    "[::1]:80": ("::1", 80),
    ":80": ("", 80),
    "localhost:0": ("localhost", 0),
}


@pytest.mark.parametrize(("text", "expected"), ADDRESSES.items(), ids=ADDRESSES)
def test_an_address_is_host_and_port(text: str, expected: tuple[str, int]) -> None:
    """IPv6 in brackets, no host means every interface; it prints as it is written."""
    address = parse_tcp(text)
    assert address == Tcp(*expected)
    assert parse_tcp(str(address)) == address


@pytest.mark.parametrize("text", ["", "host", "host:", "host:x", "host:65536", "::1:80", "host:-1", "host:٨", "8082"])
def test_anything_else_is_refused_by_the_name_of_its_flag(text: str) -> None:
    """With a form as example. Who wants every interface says so with a colon."""
    with pytest.raises(ValueError, match=r"missing|brackets"):
        parse_tcp(text)
    if text:
        with pytest.raises(KeywrightError, match=r"^--health-listen .*: use HOST:PORT"):
            _settings("--health-listen", text)
