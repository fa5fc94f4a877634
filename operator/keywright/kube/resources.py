"""The resources that Keywright touches, and their URL paths."""

from dataclasses import dataclass

__all__ = [
    "APIKEYCLASSES",
    "APIKEYS",
    "APIKEYUSAGES",
    "EVENTS",
    "LEASES",
    "NAMESPACES",
    "SECRETS",
    "SUBJECTACCESSREVIEWS",
    "TOKENREVIEWS",
    "Resource",
]


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource type of the API server."""

    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of a collection (all namespaces if ``namespace`` is None), an object or a subresource."""
        parts = ["apis" if self.group else "api", self.api_version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts += [part for part in (self.plural, name, subresource) if part is not None]
        return "/" + "/".join(parts)


APIKEYS = Resource("keywright.dev", "v1alpha1", "apikeys")
APIKEYCLASSES = Resource("keywright.dev", "v1alpha1", "apikeyclasses")
APIKEYUSAGES = Resource("keywright.dev", "v1alpha1", "apikeyusages")
SECRETS = Resource("", "v1", "secrets")
EVENTS = Resource("", "v1", "events")
NAMESPACES = Resource("", "v1", "namespaces")
LEASES = Resource("coordination.k8s.io", "v1", "leases")
SUBJECTACCESSREVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews")
TOKENREVIEWS = Resource("authentication.k8s.io", "v1", "tokenreviews")
