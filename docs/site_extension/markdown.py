"""Pieces of Markdown that all generated pages are made of."""

from collections.abc import Iterable, Sequence

__all__ = ["code", "plain", "table"]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table. Cells are Markdown; what would end a cell is taken care of here."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n\n"


def plain(text: str) -> str:
    """Prose that was not written as Markdown. Words in backticks become code all the same."""
    return text.replace("<", "&lt;").replace("*", "\\*").replace("[", "\\[")


def code(text: str) -> str:
    """A word as it is written in YAML or on a command line."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"
