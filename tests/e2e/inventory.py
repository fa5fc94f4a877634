"""Everything that a cluster holds, by name, so that a test can tell what was left behind."""

from tests.e2e.places import Place

__all__ = ["inventory"]

# These come and go by themselves.
_FLEETING = {"events", "events.events.k8s.io", "endpointslices.discovery.k8s.io", "leases.coordination.k8s.io"}
_TEMPLATE = "{range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}{'\\n'}{end}"


def inventory(place: Place) -> set[str]:
    """``Kind/namespace/name`` of all objects, ``Kind/name`` without; in a named cluster, of those named after us."""
    kubectl = place.kubectl
    kinds = sorted({*kubectl("api-resources", "--verbs=list,delete", "-o", "name").split()} - _FLEETING)
    lines = kubectl("get", ",".join(kinds), "--all-namespaces", "-o", f"jsonpath={_TEMPLATE}").split()
    found = {line.replace("//", "/") for line in lines}
    return found if place.plane is not None else {each for each in found if "keywright" in each}
