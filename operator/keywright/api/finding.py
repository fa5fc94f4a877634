"""What an ApiKey may be called by, and which ones somebody owns. Pure.

A name comes first, then a key id or a UID; but what has the form of a UID is one before it is a name: a UID is a legal
name too, and nobody may take it as one from its object.
"""

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["LONGEST", "has_id", "is_name", "is_uid", "owned_by"]

LONGEST = 63  # characters of a name; plain keys have more
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_OBJECT_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", re.ASCII)


def is_uid(reference: str) -> bool:
    """Whether it has the form of a UID."""
    return _UID.fullmatch(reference) is not None


def is_name(reference: str) -> bool:
    """Whether it has the form of an object's name, so that the API server may be asked for it by its path."""
    return _OBJECT_NAME.fullmatch(reference) is not None


def has_id(manifest: Mapping[str, Any], wanted: str) -> bool:
    """Whether that is its UID, or the id of one of its keys."""
    return wanted == manifest["metadata"]["uid"] or any(
        each["id"] == wanted for each in manifest.get("status", {}).get("keys") or ()
    )


def owned_by(user: str) -> str:
    """The field selector of an owner's keys, with escapes for what selectors read themselves."""
    return "spec.owner.user=" + re.sub(r"([\\,=])", r"\\\1", user)
