"""Waiting for a key and taking it from its Secret. From here the plain key goes to standard output and nowhere else.

What is believed of a Secret is decided in :mod:`keywright.api.delivered`; here it is fetched, and said to people.
"""

import sys
import time
from collections.abc import Callable
from datetime import timedelta

from keywright.api.apikey import read_spec
from keywright.api.delivered import Delivered, Doubt, Undeliverable, WhyNot, judge_delivery, take_key
from keywright.api.status import read_status
from keywright.domain.apikey import Delivery, InvalidSpec, KeySpec, Status
from keywright.domain.conditions import Condition, ConditionType, find
from keywright.domain.delivery import ACKNOWLEDGED_ANNOTATION
from keywright.domain.plainkey import PlainKey
from keywright.errors import KeywrightError
from keywright.kube.resources import APIKEYS, SECRETS
from keywright.kubectl.cluster import Cluster, Manifest, RequestError
from keywright.kubectl.output import progress, say

__all__ = ["hand_over", "status_of", "wait_for", "wait_for_delivery"]

PAUSE = 0.3  # seconds between two looks
# A rotation may put another key into the Secret between two requests.
LOOKS = 3


def wait_for(
    cluster: Cluster, found: Manifest, look: Callable[[Manifest, Status], bool], *, timeout: timedelta, what: str
) -> Manifest:
    """Look until ``look`` says so, or raises.

    Raises:
        KeywrightError: at the timeout, with what the operator has said last.

    """
    deadline = time.monotonic() + timeout.total_seconds()
    metadata = found["metadata"]
    with progress(what):
        while not look(found, status := status_of(found)):
            if time.monotonic() > deadline:
                said = find(status.conditions, ConditionType.READY)
                raise KeywrightError(f"still {what}: {_last_word(found, status, said)}")
            time.sleep(PAUSE)
            found = cluster.get(APIKEYS, metadata["namespace"], metadata["name"])
            if found["metadata"]["uid"] != metadata["uid"]:
                raise KeywrightError(f"{metadata['name']} was deleted and made anew meanwhile: run the command again")
    return found


def wait_for_delivery(cluster: Cluster, found: Manifest, timeout: timedelta) -> Manifest:
    """Wait until the plain key lies in its Secret; the ApiKey as it is then.

    Raises:
        KeywrightError: if that will not happen by waiting.

    """
    return wait_for(cluster, found, _is_delivered, timeout=timeout, what=f"waiting for {found['metadata']['name']}")


def hand_over(cluster: Cluster, found: Manifest) -> str:
    """Print the plain key on standard output, then acknowledge it if it is delivered once. Its key id.

    Raises:
        KeywrightError: if the Secret does not hold it.

    """
    spec = read_spec(found)
    if isinstance(spec, InvalidSpec):
        raise KeywrightError(spec.message)
    plain, secret = _take(cluster, found, spec)
    try:
        sys.stdout.write(plain.text + "\n")
        sys.stdout.flush()
    except OSError as error:
        # Before it has arrived nothing may be acknowledged, or it is lost.
        sys.stdout = None
        raise KeywrightError(f"the key could not be written ({error.strerror}): it is in its Secret still") from None
    if spec.delivery is Delivery.ONCE:
        _acknowledge(cluster, secret, plain.key_id)
    return plain.key_id


def status_of(manifest: Manifest) -> Status:
    """The status as the domain has it.

    Raises:
        KeywrightError: if somebody has made it unreadable.

    """
    status = read_status(manifest)
    if status is None:
        raise KeywrightError(
            f"the status of {manifest['metadata']['name']} cannot be read: tell the administrators of Keywright"
        )
    return status


def _is_delivered(found: Manifest, status: Status) -> bool:
    verdict = judge_delivery(found, status)
    if isinstance(verdict, Undeliverable):
        raise KeywrightError(_next_step(found["metadata"]["name"], verdict))
    return isinstance(verdict, Delivered)


def _next_step(name: str, verdict: Undeliverable) -> str:
    match verdict.why:
        case WhyNot.ENDED:
            return f"{name} has ended ({verdict.message}): make a new one with kubectl apikey create"
        case WhyNot.WITHDRAWN:
            return (
                f"the key of {name} was delivered once and its Secret is gone: "
                f"kubectl apikey rotate {name} has another one delivered"
            )
        case WhyNot.STALLED:
            return f"{name}: {verdict.message}"


def _take(cluster: Cluster, found: Manifest, spec: KeySpec) -> tuple[PlainKey, Manifest]:
    namespace, name = found["metadata"]["namespace"], found["metadata"]["name"]
    for _ in range(LOOKS):
        status = status_of(found)
        secret = cluster.get(SECRETS, namespace, status.secret_name or spec.secret_name)
        match take_key(secret, spec.secret_key, status):
            case PlainKey() as plain:
                return plain, secret
            case Doubt.FOREIGN_SECRET:
                raise KeywrightError(
                    f"the Secret {secret['metadata']['name']} is not the one that the operator made for {name}, so "
                    f"nothing in it is believed: see kubectl apikey show {name}"
                )
            case Doubt.NOT_ISSUED:
                raise KeywrightError(
                    f"the key in Secret {secret['metadata']['name']} is not the one that was issued for {name}, so "
                    f"somebody has changed it: kubectl apikey rotate {name} --now has another one delivered"
                )
            case Doubt.NOT_CURRENT:
                time.sleep(PAUSE)
                found = cluster.get(APIKEYS, namespace, name)
    raise KeywrightError(
        f"the Secret {spec.secret_name} does not hold the current key of {name}: kubectl apikey rotate {name} "
        "has another one delivered"
    )


def _acknowledge(cluster: Cluster, secret: Manifest, key_id: str) -> None:
    try:
        cluster.patch(SECRETS, secret, {"metadata": {"annotations": {ACKNOWLEDGED_ANNOTATION: key_id}}})
    except RequestError as error:
        say(f"not acknowledged, so the Secret stays until its time is over: {error}")


def _last_word(found: Manifest, status: Status, said: Condition | None) -> str:
    name = found["metadata"]["name"]
    if status.observed_generation is None or said is None:
        where = found["metadata"]["namespace"]
        return f"no operator has looked at {name}: does one run, and for namespace {where}?"
    return f"{said.reason}: {said.message}: go on with kubectl apikey show {name}"
