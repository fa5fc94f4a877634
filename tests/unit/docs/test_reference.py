"""The reference knows everything that there is, and nothing that there is not."""

import argparse
import asyncio
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from keywright.addresses import Tcp
from keywright.console.admin import Admin
from keywright.domain.apikey import Phase
from keywright.domain.conditions import ConditionType
from keywright.domain.reasons import Reason
from keywright.reconcile.metrics import Metrics
from keywright.reconcile.roster import Roster
from keywright.verifier.http.listener import listen
from keywright.verifier.in_process import InProcess
from keywright.verifier.limits.store_address import parse_store
from keywright.verifier.settings import VerifierSettings
from keywright.verifier.verdicts import REFUSALS, Code
from site_extension import resources, settings, verdicts
from tests.unit.cli.test_command_line import _run
from tests.unit.verifier.cluster import running_cluster
from tests.unit.verifier.wire import Served, serving

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "docs/reference"
CRDS = sorted((ROOT / "crds").glob("*.yaml"))


@pytest.mark.parametrize("path", CRDS, ids=lambda path: path.stem)
def test_every_field_has_its_row(path: Path) -> None:
    """Under a heading that is its path, with its description; and each resource has a page."""
    pages = [each for each in REFERENCE.glob("*.md") if f"{{keywright-resource}} {path.name}\n" in each.read_text()]
    assert len(pages) == 1
    told = {
        section.partition("\n")[0]: as_read(section)
        for section in re.split(r"^## ", resources.render(path.name), flags=re.MULTILINE)[1:]
    }
    definition = yaml.safe_load(path.read_text())
    count = 0

    def look(schema: dict[str, Any], at: str) -> None:
        nonlocal count
        for name, field in schema.get("properties", {}).items():
            if at:
                count += 1
                assert field["description"].replace("`", "") in told[at][name]
            if at or name in ("spec", "status"):
                look(field, f"{at}.{name}".lstrip("."))
        if "items" in schema:
            look(schema["items"], f"{at}[]")

    look(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "")
    assert count > 2


@pytest.mark.parametrize("command", ["operator", "verifier", "console"])
def test_every_flag_has_its_row(command: str) -> None:
    """Those that its help names, each with its twin."""
    page = (REFERENCE / "settings.md").read_text()
    assert f"{{keywright-settings}} {command}\n" in page
    told = page + settings.render(command)
    said = _run(command, "--help", COLUMNS="200").stdout
    flags = set(re.findall(r"--[a-z0-9-]+", said.partition("examples:")[0])) - {"--help"}
    assert len(flags) > 5
    for flag in flags:
        twin = "KEYWRIGHT_" + flag[2:].upper().replace("-", "_")
        assert re.search(rf"^\| `{flag}[ `][^\n]*{twin}", told, re.MULTILINE), flag


def test_every_command_has_its_row() -> None:
    """Those that the help names."""
    commands = re.findall(r"^    ([a-z]+) ", _run("--help").stdout, re.MULTILINE)
    assert len(commands) > 3
    told = re.findall(r"^\| `keywright ([a-z]+)", (REFERENCE / "settings.md").read_text(), re.MULTILINE)
    assert sorted(told) == sorted(commands)


def test_a_flag_without_twin_ends_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be missing from the page otherwise, and from the environment."""

    def declare(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--new", help="something")

    monkeypatch.setitem(settings.DECLARED_BY, "operator", declare)
    with pytest.raises(ValueError, match="--new"):
        settings.render("operator")


def test_every_verdict_has_its_row() -> None:
    """All but the one that refuses nothing, and each reason once."""
    told = re.findall(r"^\| `(\w+)` \| `(\w+)`", verdicts.render(), re.MULTILINE)
    assert {code for code, _ in told} == set(Code) - {Code.ALLOWED}
    assert sorted(reason for _, reason in told) == sorted(each.reason for each in REFUSALS)
    assert len(set(told)) == len(REFUSALS) == len({each.reason for each in REFUSALS})


def test_every_word_of_status_is_explained() -> None:
    """Conditions, phases and reasons: each once, and no other."""
    sections = re.split(r"^## ", (REFERENCE / "reasons.md").read_text(), flags=re.MULTILINE)[1:]
    told = {
        section.partition("\n")[0]: [
            word
            for row in re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE)
            for word in re.findall(r"`(\w+)`", row)
        ]
        for section in sections
    }
    for title, words in (("Conditions", ConditionType), ("Phases", Phase), ("Reasons", Reason)):
        assert sorted(told[title]) == sorted(words)


def test_every_annotation_has_its_row() -> None:
    """And every label, each once; none that the sources do not name."""
    told = re.findall(r"^\| `(keywright\.dev/[a-z-]+)`", (REFERENCE / "annotations.md").read_text(), re.MULTILINE)
    sources = "".join(path.read_text() for path in (ROOT / "operator").rglob("*.py"))
    assert sorted(told) == sorted(set(re.findall(r"\"(keywright\.dev/[a-z-]+)\"", sources)))


async def test_every_metric_has_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each that a process exposes with everything switched on; and no row tells of one that is gone."""
    roster = Roster(lambda _: None)
    told = Metrics(per_key=True).samples(roster=roster, queue_depth=0, overdue=0.0, watch_age=lambda: 0.0, leads=True)
    exposed = {name for name, *_ in told}
    (tmp_path / "rules.yaml").write_text("rules: []\n")
    everything = VerifierSettings(
        argon2_workers=1,
        audit=tmp_path / "audit",
        rules=tmp_path / "rules.yaml",
        rate_limit_store=parse_store("redis://127.0.0.1:1/0"),
    )
    async with serving(everything) as served:
        hub = served.verifier.admin_hub
        listener = await listen(Tcp("127.0.0.1", 0), hub.open)
        assert isinstance(listener.address, Tcp)
        admin = Served(served.verifier, served.watch, listener.address.port, hub)
        shown = (await admin.ask(target="/metrics")).body.decode()
        listener.close()
        await admin.close()
        await hub.stop(0)
    async with running_cluster(tmp_path) as (_, kubeconfig):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        shown += await figures_of_the_console()
    exposed |= set(re.findall(r"^# TYPE (\S+)", shown, re.MULTILINE))
    assert documented_metrics() == exposed


async def figures_of_the_console() -> str:
    """What its admin listener answers, where keys are taken."""
    engine = InProcess(VerifierSettings(usage=False))
    running = asyncio.ensure_future(engine.run(lambda: None))
    async with asyncio.timeout(30):
        while not engine.is_ready:
            await asyncio.sleep(0.01)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    await Admin(engine, Counter({200: 1}))({"type": "http", "method": "GET", "path": "/metrics"}, receive, send)
    running.cancel()
    await asyncio.wait({running})
    return str(sent[1]["body"].decode())


def as_read(markdown: str) -> dict[str, str]:
    """The rows of a table by their first word, without the marks of Markdown."""
    tokens = MarkdownIt("commonmark").enable("table").parse(f"## {markdown}")
    cells = [
        "".join(child.content for child in tokens[at + 1].children or [])
        for at, token in enumerate(tokens)
        if token.type == "td_open"
    ]
    return {cells[at].partition(" ")[0]: cells[at + 2] for at in range(0, len(cells), 3)}


def documented_metrics() -> set[str]:
    """What the first cells of the page's tables name; `…_x` has the beginning of the name before it."""
    names = set()
    for cell in re.findall(r"^\| (`keywright_[^|]*) \|", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", cell)
        beginning = "_".join(first.split("_")[:2])
        names |= {first, *(beginning + each.removeprefix("…") for each in others)}
    return names
