"""From what a person names to the ApiKey that is meant."""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from keywright.errors import KeywrightError
from keywright.kube.resources import APIKEYS
from keywright.kubectl.cluster import Cluster, Manifest, RequestError

__all__ = ["LONGEST", "check_length", "find_key", "has_id", "owned_by"]

LONGEST = 63  # characters of a name; plain keys have more
_UID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_OBJECT_NAME = re.compile(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", re.ASCII)


def find_key(cluster: Cluster, reference: str) -> Manifest:
    """The ApiKey of that name; if there is none, the one with that key id or UID.

    What has the form of a UID is one first: a UID is a legal name too, and nobody may take it as one from its object.

    Raises:
        KeywrightError: if nothing in the namespace is called so.

    """
    check_length(reference)
    others: list[Manifest] | None = None
    if _UID.fullmatch(reference):
        others = list(_others(cluster))
        for each in others:
            if each["metadata"]["uid"] == reference:
                return each
    if _OBJECT_NAME.fullmatch(reference):
        try:
            return cluster.get(APIKEYS, cluster.namespace, reference)
        except RequestError as error:
            if error.status != 404:
                raise
    if others is None:
        others = list(_others(cluster))
    for each in others:
        if has_id(each, reference):
            return each
    near = get_close_matches(reference, [each["metadata"]["name"] for each in others], n=1)
    hint = (
        f": did you mean {near[0]}?"
        if near
        else f": see kubectl apikey list -n {cluster.namespace}, or name another -n"
    )
    raise KeywrightError(f"there is no ApiKey {reference} in namespace {cluster.namespace}{hint}")


def check_length(name: str) -> None:
    """Refuse what is too long for a name: it may well be a plain key, so it is neither sent nor repeated.

    Raises:
        KeywrightError: if it is.

    """
    if len(name) > LONGEST:
        raise KeywrightError(
            "that is too long for the name of an ApiKey, a key id or a UID: if it is a plain key, your shell remembers "
            "it now, so rotate it with --now"
        )


def has_id(manifest: Mapping[str, Any], wanted: str) -> bool:
    """Whether that is its UID, or the id of one of its keys."""
    return wanted == manifest["metadata"]["uid"] or any(
        each["id"] == wanted for each in manifest.get("status", {}).get("keys") or ()
    )


def owned_by(user: str) -> str:
    """The field selector of an owner's keys, with escapes for what selectors read themselves."""
    return "spec.owner.user=" + re.sub(r"([\\,=])", r"\\\1", user)


def _others(cluster: Cluster) -> Iterator[Manifest]:
    try:
        yield from cluster.list(APIKEYS)
    except RequestError as error:
        # Who may get but not list learns that there is none of that name, and nothing more.
        if error.status != 403:
            raise
