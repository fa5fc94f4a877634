"""Rights that were given, as the API server knows them some time later: asked by the administrator, so that whoever has
them is refused nothing before.
"""

from tests.support.kube import Kube, eventually

__all__ = ["await_right"]


def await_right(
    admin: Kube,
    user: str,
    verb: str,
    resource: str,
    *,
    namespace: str = "",
    name: str = "",
    group: str = "keywright.dev",
) -> None:
    """Wait until RBAC lets the user do that."""
    attributes = {"namespace": namespace, "verb": verb, "group": group, "resource": resource, "name": name}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": ["system:authenticated"], "resourceAttributes": attributes},
    }

    def is_allowed() -> bool:
        answer = admin.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
        return bool(answer["status"]["allowed"])

    eventually(is_allowed, within=30, what=f"{user} may {verb} {resource}")
