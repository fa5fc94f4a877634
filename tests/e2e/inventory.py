"""Everything that a cluster holds, by name, so that a test can tell what was left behind."""

from tests.e2e.places import Place

__all__ = ["inventory"]

# These come and go by themselves.
_FLEETING = {"events", "events.events.k8s.io", "endpointslices.discovery.k8s.io", "leases.coordination.k8s.io"}
_TEMPLATE = "{range .items[*]}{.metadata.namespace}/{.metadata.name}{'\\n'}{end}"


def inventory(place: Place) -> set[str]:
    """``kind/name`` or ``kind/namespace/name`` of all objects; in a cluster of somebody's, of those named after us."""
    kubectl = place.kubectl
    found = set()
    for kind in kubectl("api-resources", "--verbs=list,delete", "-o", "name").split():
        if kind in _FLEETING:
            continue
        for line in kubectl("get", kind, "--all-namespaces", "-o", f"jsonpath={_TEMPLATE}").split():
            found.add(f"{kind}/{line.lstrip('/')}")
    if place.plane is None:
        found = {each for each in found if "keywright" in each}
    return {each.replace("customresourcedefinitions.apiextensions.k8s.io/", "crd/") for each in found}
