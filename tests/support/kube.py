"""The cluster as a test's user sees it: one identity, plain manifests, waiting with a deadline.

Built on the official client, so that what the product's own client gets wrong does not hide itself.
"""

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from kubernetes import config
from kubernetes.client.exceptions import ApiException

__all__ = ["Kube", "Manifest", "eventually", "status_of"]

Manifest = dict[str, Any]

GROUP, VERSION = "keywright.dev", "v1alpha1"
NAMESPACED = {"ApiKey": "apikeys", "ApiKeyUsage": "apikeyusages"}
CLUSTERED = {"ApiKeyClass": "apikeyclasses"}


T = TypeVar("T")


def eventually(look: Callable[[], T | None], *, within: float = 15.0, what: str = "") -> T:
    """Return the first truthy value of ``look``; fail with its last value after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s: {what or look}: last seen {seen!r}")
        time.sleep(0.05)
    return seen


class Kube:
    """One identity at one API server."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self._client = config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._client.close()

    def request(
        self, method: str, path: str, body: Any = None, content_type: str = "application/json", **query: str
    ) -> Manifest:
        """Any request, as this identity. Raises ApiException as the official client does."""
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        serialized = self._client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        response = self._client.call_api(*serialized, _request_timeout=30)
        data = response.read()
        if not 200 <= response.status < 300:
            raise ApiException(status=response.status, reason=response.reason, body=data.decode())
        answer: Manifest = json.loads(data)
        return answer

    def path(self, kind: str, namespace: str | None, name: str = "", subresource: str = "") -> str:
        plural = NAMESPACED.get(kind) or CLUSTERED[kind]
        place = f"/namespaces/{namespace}" if kind in NAMESPACED and namespace else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"/apis/{GROUP}/{VERSION}{place}/{plural}{tail}"

    def create(self, manifest: Manifest) -> Manifest:
        """Create an ApiKey or ApiKeyClass as kubectl does: unknown fields are an error."""
        full = {"apiVersion": f"{GROUP}/{VERSION}", **manifest}
        path = self.path(full["kind"], full["metadata"].get("namespace"))
        return self.request("POST", path, full, fieldValidation="Strict")

    def apikey(self, namespace: str, name: str, **spec: Any) -> Manifest:
        return self.create({"kind": "ApiKey", "metadata": {"name": name, "namespace": namespace}, "spec": spec})

    def get(self, namespace: str, name: str, kind: str = "ApiKey") -> Manifest:
        return self.request("GET", self.path(kind, namespace, name))

    def list(self, namespace: str | None, kind: str = "ApiKey") -> list[Manifest]:
        items: list[Manifest] = self.request("GET", self.path(kind, namespace))["items"]
        return items

    def patch(
        self, namespace: str | None, name: str, patch: Any, kind: str = "ApiKey", subresource: str = ""
    ) -> Manifest:
        path = self.path(kind, namespace, name, subresource)
        return self.request("PATCH", path, patch, "application/merge-patch+json", fieldValidation="Strict")

    def delete(self, namespace: str | None, name: str, kind: str = "ApiKey") -> None:
        self.request("DELETE", self.path(kind, namespace, name))

    def secret(self, namespace: str, name: str) -> Manifest | None:
        try:
            return self.request("GET", f"/api/v1/namespaces/{namespace}/secrets/{name}")
        except ApiException as error:
            if error.status == 404:
                return None
            raise

    def put_secret(self, namespace: str, manifest: Manifest) -> Manifest:
        return self.request("POST", f"/api/v1/namespaces/{namespace}/secrets", manifest)

    def delete_secret(self, namespace: str, name: str) -> None:
        self.request("DELETE", f"/api/v1/namespaces/{namespace}/secrets/{name}")

    def plain_key(self, namespace: str, name: str, entry: str = "api-key") -> str:
        secret = self.secret(namespace, name)
        assert secret is not None, f"no Secret {namespace}/{name}"
        return base64.b64decode(secret["data"][entry]).decode()

    def events(self, namespace: str, name: str) -> Iterator[str]:
        """Reasons of the events about one ApiKey, oldest first."""
        found = self.request("GET", f"/api/v1/namespaces/{namespace}/events")["items"]
        about = [each for each in found if each["involvedObject"]["name"] == name]
        for each in sorted(about, key=lambda each: int(each["metadata"]["resourceVersion"])):
            yield each["reason"]

    def wait(self, namespace: str, name: str, *, within: float = 20.0, **conditions: str) -> Manifest:
        """Wait until conditions hold, as in ``wait(ns, name, Ready="True", Active="False/KeyRevoked")``."""

        def look() -> Manifest | None:
            found = self.get(namespace, name)
            said = status_of(found)
            holds = all(said.get(key, "").startswith(value) for key, value in conditions.items())
            return found if holds else None

        try:
            return eventually(look, within=within, what=f"{namespace}/{name} {conditions}")
        except AssertionError:
            raise AssertionError(
                f"{namespace}/{name} is not {conditions} but {status_of(self.get(namespace, name))}"
            ) from None


def status_of(manifest: Manifest) -> dict[str, str]:
    """Conditions as ``{"Ready": "True/KeyIssued", …}``."""
    conditions = manifest.get("status", {}).get("conditions", [])
    return {each["type"]: f"{each['status']}/{each['reason']}" for each in conditions}
