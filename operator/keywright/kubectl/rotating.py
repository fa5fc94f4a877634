"""``rotate``: by annotation, so that it is no drift in git, and asks for no rotation where none is wanted."""

from datetime import UTC, datetime
from typing import Any

import click

from keywright.api.apikey import ROTATE_ANNOTATION, ROTATE_GRACE_ANNOTATION
from keywright.api.delivered import is_rotated, newly_stalled, stalled
from keywright.api.standing import read_standing
from keywright.domain.apikey import Delivery, RecordState, Status
from keywright.domain.times import format_instant, parse_duration
from keywright.errors import KeywrightError
from keywright.kube.resources import APIKEYS
from keywright.kubectl.cluster import Cluster, Manifest
from keywright.kubectl.delivering import status_of, wait_for
from keywright.kubectl.finding import find_key
from keywright.kubectl.options import at_cluster, key_argument, timeout_option
from keywright.kubectl.output import say

__all__ = ["rotate"]


@click.command(
    epilog="""\b
examples:
  kubectl apikey rotate ci-deploy           # the old key works on for the grace period
  kubectl apikey rotate ci-deploy --now     # it has leaked: the old key ends at once
"""
)
@key_argument()
@at_cluster()
@click.option("--now", "is_emergency", is_flag=True, help="No grace: every older key ends before the new one is there.")
@click.option("--wait/--no-wait", default=True, help="For the new key. Default: wait.")
@timeout_option
def rotate(*, cluster: Cluster, name: str, is_emergency: bool, wait: bool, timeout: str) -> None:
    """Put a new key into the same Secret."""
    before = find_key(cluster, name)
    name = before["metadata"]["name"]
    _check(before)
    # A value that no one can have written before: with the same one nothing would happen.
    value = datetime.now(UTC).isoformat()
    # Taken away, or the grace of a former emergency would hold for this rotation as well.
    changes = {ROTATE_ANNOTATION: value, ROTATE_GRACE_ANNOTATION: "0s" if is_emergency else None}
    asked = cluster.patch(APIKEYS, before, {"metadata": {"annotations": changes}})
    if asked["spec"].get("suspended"):
        say(f"{name} is suspended: it is rotated when it is resumed")
        return
    if wait:
        old = status_of(before)

        def look(_: Manifest, status: Status) -> bool:
            problem = newly_stalled(status, old)
            if problem is not None:
                raise KeywrightError(f"{name}: {problem.reason}: {problem.message}")
            return is_rotated(status, value)

        asked = wait_for(cluster, asked, look, timeout=parse_duration(timeout), what=f"rotating {name}")
        _tell(asked, status_of(asked))
    click.echo(f"apikey/{name} {'rotated' if wait else 'is to be rotated'}")


def _check(found: Manifest) -> None:
    name, status = found["metadata"]["name"], status_of(found)
    standing = read_standing(found, {}, datetime.now(UTC))
    if standing.is_over:
        raise KeywrightError(f"{name} is {standing.status.lower()} for ever: make a new one with kubectl apikey create")
    if status.current_key_id is None:
        problem = stalled(status)
        why = f": {problem.message}" if problem is not None else ""
        raise KeywrightError(f"{name} has no key yet that could be rotated{why}: see kubectl apikey show {name}")


def _tell(found: Manifest, status: Status) -> None:
    name = found["metadata"]["name"]
    old = [(each.id, each.expires_at) for each in status.keys if each.state is RecordState.RETIRING]
    for key_id, ends_at in old:
        say(f"old key {key_id} works until {format_instant(ends_at) if ends_at else 'it is revoked'}")
    if not old:
        say("no older key works any more")
    delivery: Any = (found["spec"].get("secret") or {}).get("delivery")
    how = f": kubectl apikey reveal {name} prints it once" if delivery == Delivery.ONCE else ""
    say(f"new key {status.current_key_id} is in Secret {status.secret_name}{how}")
