"""What reaches a terminal or a pipe: tables in colour, documents without hashes, and nothing that a terminal obeys."""

import copy
import json
import re
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager

import click
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keywright.api.standing import Tone
from keywright.domain.plainkey import escape, redact
from keywright.kubectl.cluster import Manifest

__all__ = ["print_documents", "print_fields", "print_table", "progress", "say"]

NAME_PREFIX = "apikey.keywright.dev/"
# Enough for any row: what is piped is for programs, which want it whole.
PIPE_WIDTH = 4000
_TRAILING_BLANKS = re.compile(r" +((?:\x1b\[[0-9;]*m)*)$", re.MULTILINE)
_STYLES = {Tone.PLAIN: "", Tone.AMBER: "yellow", Tone.RED: "red"}


def say(text: str) -> None:
    """One line for people, on standard error. A plain key that was typed in the wrong place is not repeated."""
    click.echo(escape(redact(text)), err=True)


def progress(text: str) -> AbstractContextManager[object]:
    """A spinner on standard error while something is waited for; nothing where that is not a terminal."""
    return Console(stderr=True).status(Text(escape(text)))


def print_table(header: Sequence[str], rows: Sequence[tuple[Tone, Sequence[str]]], *, to_stderr: bool = False) -> None:
    """Columns under a header; a name is broken over lines rather than cut."""
    table = Table(*header, box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="")
    for column in table.columns:
        column.overflow = "fold"
    for tone, cells in rows:
        table.add_row(*(Text(escape(cell), style=_STYLES[tone]) for cell in cells))
    _print(table, to_stderr=to_stderr)


def print_fields(fields: Iterable[tuple[str, Tone, str]]) -> None:
    """A label and a text a line; empty texts are left out."""
    grid = Table.grid(padding=(0, 3, 0, 0))
    for label, tone, text in fields:
        if text:
            grid.add_row(Text(label), Text(escape(text), style=_STYLES[tone], overflow="fold"))
    _print(grid)


def _print(table: Table, *, to_stderr: bool = False) -> None:
    console = Console(stderr=to_stderr, highlight=False)
    if not console.is_terminal:
        console = Console(stderr=to_stderr, highlight=False, width=PIPE_WIDTH)
    with console.capture() as captured:
        console.print(table)
    # The library fills each line up to the width of the last column. Whether there are colours was its decision.
    click.echo(_TRAILING_BLANKS.sub(r"\1", captured.get()), nl=False, err=to_stderr, color=True)


def print_documents(manifests: Sequence[Manifest], form: str, *, is_list: bool = False) -> None:
    """As ``json``, ``yaml`` or ``name``. Metadata only: hashes and fingerprints stay in the cluster."""
    if form == "name":
        for each in manifests:
            click.echo(NAME_PREFIX + escape(each["metadata"]["name"]))
        return
    shown = [_without_hashes(each) for each in manifests]
    document = {"apiVersion": "v1", "kind": "List", "items": shown} if is_list else shown[0]
    if form == "json":
        click.echo(json.dumps(document, indent=2))
    else:
        click.echo(yaml.safe_dump(document, sort_keys=False), nl=False)


def _without_hashes(manifest: Manifest) -> Manifest:
    shown = copy.deepcopy(manifest)
    shown["metadata"].pop("managedFields", None)
    for record in shown.get("status", {}).get("keys") or ():
        record.pop("hash", None)
        record.pop("fingerprint", None)
    return shown
