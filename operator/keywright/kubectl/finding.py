"""From what a person names to the ApiKey that is meant."""

from collections.abc import Iterator
from difflib import get_close_matches

from keywright.api.finding import LONGEST, has_id, is_name, is_uid
from keywright.errors import KeywrightError
from keywright.kube.resources import APIKEYS
from keywright.kubectl.cluster import Cluster, Manifest, RequestError

__all__ = ["check_length", "find_key"]


def find_key(cluster: Cluster, reference: str) -> Manifest:
    """The ApiKey of that name; if there is none, the one with that key id or UID.

    What has the form of a UID is one first (:mod:`keywright.api.finding`).

    Raises:
        KeywrightError: if nothing in the namespace is called so.

    """
    check_length(reference)
    others: list[Manifest] | None = None
    if is_uid(reference):
        others = list(_others(cluster))
        for each in others:
            if each["metadata"]["uid"] == reference:
                return each
    if is_name(reference):
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


def _others(cluster: Cluster) -> Iterator[Manifest]:
    try:
        yield from cluster.list(APIKEYS)
    except RequestError as error:
        # Who may get but not list learns that there is none of that name, and nothing more.
        if error.status != 403:
            raise
