"""The parts of the addresses of pages."""

import re
from typing import Annotated

from fastapi import Path

from keywright.console.service.addressed import KEY_REFERENCE, LONGEST_LABEL, LONGEST_OWNER, NAMESPACE, OWNER_NAME

__all__ = ["KeyReference", "Namespace", "OwnerName", "is_namespace"]

Namespace = Annotated[str, Path(max_length=LONGEST_LABEL, pattern=NAMESPACE)]
KeyReference = Annotated[str, Path(max_length=LONGEST_LABEL, pattern=KEY_REFERENCE)]
OwnerName = Annotated[str, Path(max_length=LONGEST_OWNER, pattern=OWNER_NAME)]


def is_namespace(text: str) -> bool:
    """Whether a namespace may be called so."""
    return len(text) <= LONGEST_LABEL and re.fullmatch(NAMESPACE.strip("^$"), text, re.ASCII) is not None
