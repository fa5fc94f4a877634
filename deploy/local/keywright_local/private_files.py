"""Writing files that hold keys or tokens: readable by their owner only, from the first byte on."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["make_private_directory", "write_private"]


def write_private(path: Path, content: bytes) -> Path:
    """Write ``content`` to ``path`` with mode 0600, in one step for whoever reads it."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    draft.replace(path)
    return path


def make_private_directory(path: Path) -> Path:
    """Create ``path`` with mode 0700; an existing empty folder becomes private."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path
