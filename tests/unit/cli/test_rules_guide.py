"""The rules and samples that the guide shows are right, and agree with each other."""

import re
from pathlib import Path

import yaml

from keywright.verifier.rules.reading import read_rules
from keywright.verifier.rules.rules import Rules
from tests.unit.cli.test_command_line import _run

GUIDES = Path(__file__).parents[3] / "docs/guides"
GUIDE = GUIDES / "rules.md"


def test_the_guides_rules_hold_its_samples(tmp_path: Path) -> None:
    """As its reader would try them out; and the console lines are what is printed."""
    text = GUIDE.read_text()
    blocks = [yaml.safe_load(each) for each in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    (files,) = (each["data"] for each in blocks if each["kind"] == "ConfigMap")
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    rules = read_rules(files["rules.yaml"].encode())
    assert isinstance(rules, Rules)
    assert not rules.unreachable()
    done = _run("rules", "test", str(tmp_path / "rules.yaml"), "--samples", str(tmp_path / "samples.yaml"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 10
    command, *printed = re.findall(r"```console\n(.*?)\n\$ ", text, re.DOTALL)[0].splitlines()
    words = command.replace("'", "").replace("rules.yaml", str(tmp_path / "rules.yaml")).split()[2:]
    assert _run(*words).stdout.splitlines() == printed


def test_the_rules_about_owners_hold_their_samples(tmp_path: Path) -> None:
    """As far as they can be tried out without a cluster."""
    text = (GUIDES / "owner.md").read_text()
    blocks = [yaml.safe_load_all(each) for each in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]
    (files,) = (each["data"] for block in blocks for each in block if each["kind"] == "ConfigMap")
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    done = _run("rules", "test", str(tmp_path / "rules.yaml"), "--samples", str(tmp_path / "samples.yaml"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("ask-owner") == 2
