"""What may stand in an address of a page or of REST: it becomes part of addresses of the API server."""

from typing import Annotated

from pydantic import Field

from keywright.api.fields import NAME_PATTERN

__all__ = ["KeyReference", "Namespace", "OwnerName"]

_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?"

Namespace = Annotated[str, Field(min_length=1, max_length=63, pattern=NAME_PATTERN, description="A namespace.")]
KeyReference = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        pattern=rf"^{_LABEL}(\.{_LABEL})*$",
        description="Name of a key, id of one of its plain keys, or its UID.",
    ),
]
OwnerName = Annotated[
    str, Field(min_length=1, max_length=253, pattern=r"^[!-~]([ -~]*[!-~])?$", description="User name of an owner.")
]
