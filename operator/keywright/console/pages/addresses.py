"""Where pages are."""

from urllib.parse import quote, urlencode

from keywright.api.finding import is_uid
from keywright.console.service.views import KeyView

__all__ = ["address", "keys_address", "local_address", "owner_address"]


def address(key: KeyView) -> str:
    """Of the page of a key."""
    # One that is called new would get the address of the form for new ones; one that is called like another's UID, that
    # of the other one.
    reference = key.uid if key.name == "new" or is_uid(key.name) else key.name
    return f"/keys/{quote(key.namespace, safe='')}/{quote(reference, safe='')}"


def owner_address(user: str) -> str:
    """Of the page of an owner, whose name may hold a slash."""
    return f"/users/{quote(user, safe='')}"


def keys_address(namespace: str, done: str = "") -> str:
    """Of the table of a namespace."""
    return "/?" + urlencode({"namespace": namespace} | ({"done": done} if done else {}))


def local_address(wanted: str) -> str:
    """What leads to a page of ours; the first page in place of anything else."""
    is_ours = wanted.startswith("/") and wanted.isprintable() and wanted[1:2] not in ("/", "\\")
    return wanted if is_ours else "/"
