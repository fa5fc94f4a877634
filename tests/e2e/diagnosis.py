"""What a person would look at first when pods do not do as they should."""

import subprocess

from tests.e2e.places import Place

__all__ = ["diagnose"]

_LOG_LINES = 15


def diagnose(place: Place) -> str:
    """Pods, warnings, and the last lines of each container of a pod of ours. Logs hold no keys."""
    kubectl = place.kubectl
    said = [
        _ask(place, "get", "pods", "--all-namespaces", "-o", "wide"),
        _ask(place, "get", "events", "--all-namespaces", "--field-selector=type=Warning", "--sort-by=.lastTimestamp"),
    ]
    try:
        pods = kubectl.get("pods", "--all-namespaces")["items"]
    except (AssertionError, subprocess.TimeoutExpired):
        return "\n".join(said)
    for pod in pods:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        if "keywright" in namespace:
            flags = ("--all-containers", "--prefix", f"--tail={_LOG_LINES}", "--namespace", namespace)
            said.append(_ask(place, "logs", name, *flags))
    return "\n".join(said)


def _ask(place: Place, *arguments: str) -> str:
    try:
        return place.kubectl(*arguments, timeout=30)
    except (AssertionError, subprocess.TimeoutExpired) as error:
        return f"{error}\n"
