"""The Prometheus text form of a process's figures. Labels are constants of the program or names of objects, never
anything that a request brought along.
"""

from collections.abc import Iterable, Mapping

__all__ = ["CONTENT_TYPE", "Sample", "expose", "labels"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Sample = tuple[str, str, str, Mapping[str, float]]
"""One family: name, type, help, and values by label set in text form (``""`` for none)."""


def labels(**values: str) -> str:
    """A label set in text form. Values are names that need no escape."""
    return "{" + ",".join(f'{name}="{value}"' for name, value in values.items()) + "}"


def expose(samples: Iterable[Sample]) -> bytes:
    """The Prometheus text exposition format, version 0.0.4."""
    lines: list[str] = []
    for name, kind, text, values in samples:
        lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        lines += [f"{name}{label_set} {value:.10g}" for label_set, value in values.items()]
    return ("\n".join(lines) + "\n").encode("ascii")
