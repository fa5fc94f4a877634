"""The same person at the API server and at the key service: whether each lets him do the same to a key.

At the API server nothing is carried out (``dryRun``): admission decides as it would.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kubernetes.client.exceptions import ApiException

from tests.support.askers import Asker
from tests.support.kube import Kube, Manifest
from tests.support.people import key
from tests.support.visitor import Reply, Visitor

__all__ = ["ACTIONS", "BothWays"]

ACTIONS = ("list", "get", "create", "rotate", "suspend", "resume", "revoke", "delete")
CHANGES: dict[str, Manifest] = {
    "rotate": {"metadata": {"annotations": {"keywright.dev/rotate": "now"}}},
    "suspend": {"spec": {"suspended": True}},
    "resume": {"spec": {"suspended": False}},
    "revoke": {"spec": {"revoked": True}},
}
# Their key is taken out of its Secret, and acknowledged there, by whoever asks.
HANDED_OUT = ("create", "rotate")
MERGE = "application/merge-patch+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class BothWays:
    """One person, and what he asks for: keys of this class, delivered once. ``secret`` is one of the namespace."""

    kube: Kube
    asker: Asker
    class_name: str
    secret: str

    @property
    def namespace(self) -> str:
        return self.asker.namespace

    def may_by_kubectl(self, action: str, name: str) -> bool:
        """Whether the API server takes every request that this action is made of, from the person himself."""
        keys, one = self.kube.path("ApiKey", self.namespace), self.kube.path("ApiKey", self.namespace, name)
        secret = f"/api/v1/namespaces/{self.namespace}/secrets/{self.secret}"
        request = self.kube.request
        taken: list[bool] = []
        match action:
            case "list":
                taken.append(is_taken(lambda: request("GET", keys)))
            case "get":
                taken.append(is_taken(lambda: request("GET", one)))
            case "create":
                spec = {"className": self.class_name, "secret": {"delivery": "Once"}}
                body = {"apiVersion": "keywright.dev/v1alpha1", **key(self.namespace, **spec)}
                taken.append(is_taken(lambda: request("POST", keys, body, dryRun="All")))
            case "delete":
                taken.append(is_taken(lambda: request("DELETE", one, dryRun="All")))
            case _:
                taken.append(is_taken(lambda: request("PATCH", one, CHANGES[action], MERGE, dryRun="All")))
        if action in HANDED_OUT:
            seen = {"metadata": {"annotations": {"seen": "yes"}}}
            taken.append(is_taken(lambda: request("GET", secret)))
            taken.append(is_taken(lambda: request("PATCH", secret, seen, MERGE, dryRun="All")))
        return all(taken)

    def may_by_rest(self, action: str, name: str) -> bool:
        """Whether the key service does it. A refusal has to be one of rights."""
        match action:
            case "list":
                answer = self.asker.ask("GET")
            case "get":
                answer = self.asker.ask("GET", f"/{name}")
            case "create":
                answer = self.asker.ask("POST", "", {"className": self.class_name})
            case "delete":
                answer = self.asker.ask("DELETE", f"/{name}")
            case _:
                answer = self.asker.ask("POST", f"/{name}/{action}")
        if answer.status < 300:
            return True
        assert (answer.status, answer.code) == (403, "forbidden"), (action, answer)
        return False

    def may_look_in_pages(self, name: str) -> bool:
        return is_shown(self._visitor().get(f"/keys/{self.namespace}/{name}"))

    def may_suspend_in_pages(self, name: str) -> bool:
        """With a form that counts, also for who is not shown the page that it belongs to."""
        visitor = self._visitor()
        found = re.search(r'name="csrf" value="([^"]+)"', visitor.get(f"/keys/{self.namespace}/new").text)
        assert found is not None
        reply = visitor.post(f"/keys/{self.namespace}/{name}/suspend", {"csrf": found[1]})
        assert "not made for your session" not in reply.text
        return is_shown(reply)

    def _visitor(self) -> Visitor:
        return Visitor(self.asker.console.address, self.asker.headers)


def is_taken(request: Callable[[], Any]) -> bool:
    """Whether the API server takes it; anything but a refusal of rights is an error of the test."""
    try:
        request()
    except ApiException as error:
        if error.status != 403:
            raise
        return False
    return True


def is_shown(reply: Reply) -> bool:
    if reply.status in (200, 303):
        return True
    assert reply.status == 403, reply
    return False
