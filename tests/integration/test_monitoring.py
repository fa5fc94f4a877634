"""Alerts and dashboard against the figures that running processes offer, by Prometheus' own parser."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from keywright.domain.reasons import Reason
from keywright.verifier.verdicts import REFUSALS, Code
from keywright_local import ControlPlane
from tests.integration.conftest import ROOT
from tests.integration.test_exposition import families
from tests.support.console import console, console_account
from tests.support.kube import Kube, eventually
from tests.support.processes import free_address, get, operator, verifier
from tests.support.programs import program

MONITORING = ROOT / "deploy/monitoring"
RUNBOOKS = ROOT / "docs/runbooks"
GUIDES = ROOT / "docs/guides"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "dashboard.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]


def promtool(*arguments: str | Path) -> str:
    """Run it here; what it says, and a failure if it is not content."""
    command = [program("promtool"), *map(str, arguments)]
    done = subprocess.run(command, cwd=MONITORING, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def exposed(plane: ControlPlane, admin: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[str]]:
    """Every family of an operator, of a console, and of a verifier that has everything switched on."""
    folder = tmp_path_factory.mktemp("monitoring")
    (folder / "rules.yaml").write_text("rules: [{path: /healthz, allow: anonymous}]\n")
    probes = free_address()
    # A store that nobody serves is enough: whether it answers is one of the figures.
    flags = ["--rules", folder / "rules.yaml", "--audit", folder / "audit", "--rate-limit-store-file", folder / "store"]
    (folder / "store").write_text(f"redis://{free_address()}\n")
    with (
        operator(plane.kubeconfig, folder / "o", "--health-listen", probes, namespaces=["default"], ready=False),
        verifier(plane.kubeconfig, folder / "v", *map(str, flags), namespaces=["default"]) as (
            _,
            _listen,
            admin_listen,
        ),
        console(console_account(plane, admin, namespaces=["default"]), folder / "c", namespaces=["default"]) as service,
    ):
        eventually(lambda: get(probes, "/readyz")[0] == 200, within=40)
        addresses = (probes, admin_listen, service.admin)
        yield {each for address in addresses for each in families(get(address, "/metrics")[2])}


def named(expression: str) -> set[str]:
    """The families that an expression names; the endings of a histogram belong to its family."""
    return {
        re.sub(r"_(bucket|sum|count)$", "", each) if "duration_seconds" in each or "lag_seconds" in each else each
        for each in re.findall(r"keywright_\w+", expression)
    }


def test_the_rules_do_what_their_tests_say() -> None:
    """promtool runs them over made-up series."""
    promtool("check", "rules", "alerts.yaml")
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yaml")


def test_each_alert_is_tested_both_ways() -> None:
    """There is a case in which it fires, and one in which it does not."""
    fires: dict[str, set[bool]] = {rule["alert"]: set() for rule in RULES}
    for group in yaml.safe_load((MONITORING / "alerts_test.yaml").read_text())["tests"]:
        for case in group["alert_rule_test"]:
            fires[case["alertname"]].add(bool(case["exp_alerts"]))
    assert {name: seen for name, seen in fires.items() if seen != {True, False}} == {}


def test_each_alert_has_a_runbook() -> None:
    """A page of its name that the rule names, and no page of no alert. The guide links them all."""
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {rule["alert"] for rule in RULES}
    guide = (GUIDES / "monitoring.md").read_text()
    for rule in RULES:
        page = ROOT / rule["annotations"]["runbook_url"]
        assert page == RUNBOOKS / f"{rule['alert']}.md"
        assert page.read_text().startswith(f"# {rule['alert']}\n")
        assert f"(../runbooks/{page.name})" in guide
        assert rule["labels"]["severity"] in {"warning", "critical"}


PAGES = [
    *sorted(RUNBOOKS.glob("*.md")),
    *(GUIDES / f"{name}.md" for name in ("monitoring", "gitops", "secret-scanning")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_pages_link_to_what_exists(page: Path) -> None:
    """Whoever is called at night finds what the runbook points to."""
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert links or page.parent == RUNBOOKS
    assert [each for each in links if not (page.parent / each).exists()] == []


def test_every_figure_that_is_asked_for_exists(exposed: set[str]) -> None:
    """Rules and dashboard name no metric that the processes do not offer."""
    asked = {name: named(expression) for name, expression in [(r["alert"], r["expr"]) for r in RULES]}
    asked |= {query: named(query) for query in QUERIES}
    assert all(asked.values())
    assert {where: missing for where, names in asked.items() if (missing := names - exposed)} == {}


def test_every_figure_that_the_runbooks_name_exists(exposed: set[str]) -> None:
    """The guide and the runbooks too."""
    pages = [*RUNBOOKS.glob("*.md"), GUIDES / "monitoring.md"]
    assert {path.stem: missing for path in pages if (missing := named(path.read_text()) - exposed)} == {}


def test_the_label_values_that_are_asked_for_exist() -> None:
    """A verdict or reason that was misspelt would never be seen."""
    known: dict[str, set[str]] = {
        "code": set(map(str, Code)),
        "reason": {*map(str, Reason), *(each.reason for each in REFUSALS)},
        "result": {"done", "conflict", "refused", "failed"},
    }
    expressions = " ".join([*QUERIES, *(rule["expr"] for rule in RULES)])
    asked = re.findall(r"\b(code|reason|result)[!=]~?\"([^\"]+)\"", expressions)
    assert asked
    assert [(label, each) for label, values in asked for each in values.split("|") if each not in known[label]] == []


def test_the_dashboard_is_one() -> None:
    """What Grafana needs to import it: a title, a uid, panels with ids and places of their own, and a data source to choose."""
    assert DASHBOARD["title"]
    assert re.fullmatch(r"[a-z0-9-]{1,40}", DASHBOARD["uid"])
    assert DASHBOARD["schemaVersion"] >= 39
    assert "id" not in DASHBOARD, "Grafana gives it one"
    (source,) = [each for each in DASHBOARD["templating"]["list"] if each["type"] == "datasource"]
    assert (source["name"], source["query"]) == ("datasource", "prometheus")
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells
    for panel in PANELS:
        assert panel["title"]
        assert panel["description"]
        for each in (panel, *panel["targets"]):
            assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    """Put into rules, because promtool parses those. Grafana replaces its variables before it asks."""
    replaced = [query.replace("$__rate_interval", "5m") for query in QUERIES]
    assert [query for query in replaced if "$" in query] == []
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(replaced)]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    promtool("check", "rules", file)
