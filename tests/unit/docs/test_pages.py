"""The pages hold together: on a code host, where they are plain Markdown, and as a site."""

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from myst_parser.slugs import github_slugify

from site_extension.links import REPOSITORY

ROOT = Path(__file__).parents[3]
GENERATED = {"build", "node_modules"}
PAGES = sorted(
    path
    for path in ROOT.rglob("*.md")
    if not any(part.startswith(".") or part in GENERATED for part in path.relative_to(ROOT).parts)
)
SECURITY = ROOT / "docs/explanation/security.md"
NAMED_TEST = re.compile(r"`((?:unit|integration)/[\w/]+\.py)::(test_\w+)`")


@cache
def parsed(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text())


@cache
def anchors(page: Path) -> set[str]:
    tokens = parsed(page)
    titles = [tokens[at + 1] for at, token in enumerate(tokens) if token.type == "heading_open"]
    return {github_slugify("".join(each.content for each in title.children or [])) for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of the repository, and to a heading in it."""
    links = [
        str(child.attrs["href"])
        for token in parsed(page)
        for child in token.children or []
        if child.tag == "a" and child.attrs
    ]
    for link in links:
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_modules_that_are_named_are_there(page: Path) -> None:
    """By a path from the root, the package, the tests or the page; by a name alone, anywhere."""
    roots = (ROOT, ROOT / "operator/keywright", ROOT / "tests", page.parent)
    words = [child.content for token in parsed(page) for child in token.children or [] if child.type == "code_inline"]
    for name in (word.partition("::")[0] for word in words if re.fullmatch(r"[\w./-]+\.py(::\w+)?", word)):
        assert any((root / name).exists() for root in roots) or ("/" not in name and name in modules()), name


@cache
def modules() -> set[str]:
    return {
        path.name for folder in ("operator", "tests", "deploy", "examples") for path in (ROOT / folder).rglob("*.py")
    }


def test_every_threat_names_tests_that_exist() -> None:
    """Each row of its tables has one at least."""
    threats = SECURITY.read_text().partition("\n## Threats\n")[2].partition("\n## ")[0]
    rows = [line for line in threats.splitlines() if line.startswith("| ") and not line.endswith("| shown by |")]
    assert len(rows) > 30
    for row in rows:
        named = NAMED_TEST.findall(row)
        assert named, f"no test shows it: {row}"
        for file, name in named:
            assert name in functions(ROOT / "tests" / file), f"{file} has no {name}"


def test_every_claim_about_others_has_its_source() -> None:
    """Each number in brackets is in the list of sources, and nothing is there that no claim rests on."""
    claims, _, sources = (ROOT / "docs/explanation/comparison.md").read_text().partition("\n## Sources\n")
    assert {*re.findall(r"\[(\d+)\]", claims)} == {*re.findall(r"^(\d+)\. ", sources, re.MULTILINE)}


@cache
def functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def build(pages: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [
        "-q",
        "--fail-on-warning",
        "--fresh-env",
        "-c",
        str(ROOT / "docs"),
        str(pages),
        str(pages.parent / "site"),
    ]
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *command],
        env={name: value for name, value in os.environ.items() if name != REPOSITORY} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_broken_link_ends_the_build(tmp_path: Path) -> None:
    """To a page, to a heading, to a file of the repository, and out of it."""
    pages = tmp_path / "repository/docs"
    pages.mkdir(parents=True)
    (tmp_path / "outside").touch()
    links = ("gone.md", "index.md#gone", "../absent", "../../outside")
    (pages / "index.md").write_text("# Title\n\n" + "".join(f"[somewhere]({link})\n" for link in links))
    done = build(pages)
    assert done.returncode != 0
    complaints = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert len(complaints) == len(links), done.stderr
    for word in ("'gone.md'", "'gone'", "/absent", "/outside"):
        assert any(word in each for each in complaints), word


def test_a_link_to_a_file_of_the_repository(tmp_path: Path) -> None:
    """Is its path in words, or a link where somebody says where the files are shown."""
    pages = tmp_path / "repository/docs"
    pages.mkdir(parents=True)
    (tmp_path / "repository/examples").mkdir()
    (tmp_path / "repository/README.md").write_text("# Read me\n")
    (pages / "index.md").write_text("# Title\n\n[a whole one](../examples), [the first page](../README.md#read-me)\n")
    for environment, expected in (
        ({}, (">examples</span>", ">README.md</span>")),
        ({REPOSITORY: "https://code.example"}, ('"https://code.example/examples"', '"https://code.example/README.md"')),
    ):
        done = build(pages, **environment)
        assert (done.returncode, done.stderr) == (0, "")
        shown = (tmp_path / "repository/site/index.html").read_text()
        assert [each for each in expected if each not in shown] == []


def test_the_reference_stands_where_it_is_asked_for(tmp_path: Path) -> None:
    """Tables and headings, in their order, with the marks of Markdown read as such."""
    pages = tmp_path / "repository/docs"
    pages.mkdir(parents=True)
    wanted = ("resource} apikeys.yaml", "settings} verifier", "verdicts}")
    (pages / "index.md").write_text("# Title\n\n" + "".join(f"```{{keywright-{each}\n```\n\n" for each in wanted))
    done = build(pages)
    assert (done.returncode, done.stderr) == (0, "")
    shown = (tmp_path / "repository/site/index.html").read_text()
    landmarks = (">The resource<", ">.status.phase<", ">spec.rotation<", ">--max-staleness", ">revoked_key<")
    places = [shown.find(each) for each in landmarks]
    assert -1 not in places
    assert places[:3] == sorted(places[:3])
