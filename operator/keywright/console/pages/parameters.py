"""What may stand in an address of a page: it becomes part of addresses of the API server."""

import re
from typing import Annotated

from fastapi import Path

__all__ = ["KeyReference", "Namespace", "OwnerName", "is_namespace"]

_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_NAME = r"^[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*$"

Namespace = Annotated[str, Path(max_length=63, pattern=_LABEL)]
KeyReference = Annotated[str, Path(max_length=63, pattern=_NAME)]
OwnerName = Annotated[str, Path(max_length=253, pattern=r"^[!-~]([ -~]*[!-~])?$")]


def is_namespace(text: str) -> bool:
    """Whether a namespace may be called so."""
    return len(text) <= 63 and re.fullmatch(_LABEL.strip("^$"), text, re.ASCII) is not None
