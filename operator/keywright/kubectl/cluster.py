"""The API server as the person at the terminal may use it.

Built on the official client: contexts, merged kubeconfigs and credential plugins work as in kubectl
(docs/decisions/0012). It knows paths and JSON; what a refusal means is said by :mod:`keywright.kubectl.refusals`.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from keywright.errors import KeywrightError
from keywright.kube.credentials import SERVICE_ACCOUNT
from keywright.kube.resources import Resource
from keywright.kubectl.refusals import Attempt, explain

__all__ = ["Cluster", "Manifest", "RequestError", "Target", "connect"]

Manifest = dict[str, Any]

PAGE = "500"
TIMEOUT = (5, 30)  # seconds to connect, and to answer
MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to look, as the flags say. ``None`` leaves it to the kubeconfig."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    all_namespaces: bool = False


class RequestError(KeywrightError):
    """A request that was refused, or not answered at all (status 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Cluster:
    """One identity at one API server. Every method raises :class:`RequestError`, which says what to do."""

    def __init__(self, api: client.ApiClient, *, context: str, namespace: str, is_everywhere: bool) -> None:
        self.context = context
        self.namespace = namespace
        self.scope = None if is_everywhere else namespace
        """Where lists look: a namespace, or ``None`` for all of them."""
        self._api = api

    def get(self, resource: Resource, namespace: str, name: str) -> Manifest:
        return self._request("GET", Attempt("get", resource, namespace, name))

    def list(
        self, resource: Resource, *, label_selector: str | None = None, field_selector: str | None = None
    ) -> Iterator[Manifest]:
        """All objects of the scope that the selectors pick."""
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        query = {"limit": PAGE} | {name: value for name, value in selectors.items() if value}
        while True:
            page = self._request("GET", Attempt("list", resource, self.scope), **query)
            # The API server leaves kind and version out of the items of a list.
            kind = {"apiVersion": resource.api_version, "kind": str(page["kind"]).removesuffix("List")}
            yield from (kind | each for each in page["items"] or ())
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    def create(self, resource: Resource, namespace: str, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        query = {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
        attempt = Attempt("create", resource, namespace, manifest["metadata"]["name"])
        return self._request("POST", attempt, manifest, **query)

    def patch(self, resource: Resource, found: Manifest, changes: Manifest) -> Manifest:
        """Merge changes into exactly this object: one that has taken its name since is left alone."""
        name, namespace, uid = (found["metadata"][each] for each in ("name", "namespace", "uid"))
        body = changes | {"metadata": changes.get("metadata", {}) | {"uid": uid}}
        return self._request("PATCH", Attempt("patch", resource, namespace, name), body)

    def delete(self, resource: Resource, found: Manifest) -> None:
        """Delete exactly this object."""
        name, namespace, uid = (found["metadata"][each] for each in ("name", "namespace", "uid"))
        self._request("DELETE", Attempt("delete", resource, namespace, name), {"preconditions": {"uid": uid}})

    def _request(self, method: str, attempt: Attempt, body: Any = None, /, **query: str) -> Manifest:
        name = attempt.name if method != "POST" else None
        try:
            serialized = self._api.param_serialize(
                method,
                attempt.resource.path(attempt.namespace, name),
                query_params=list(query.items()),
                header_params={
                    "Accept": "application/json",
                    "Content-Type": MERGE_PATCH if method == "PATCH" else "application/json",
                },
                body=body,
                auth_settings=["BearerToken"],
            )
            response = self._api.call_api(*serialized, _request_timeout=TIMEOUT)
            status, content = response.status, response.read()  # type: ignore[no-untyped-call]
        except (ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            raise RequestError(0, self._away(error)) from None
        document = _read(content)
        if 200 <= status < 300 and document is not None:
            return document
        raise RequestError(status, explain(attempt, status, document, self.context))

    def _away(self, error: Exception) -> str:
        host = urllib3.util.parse_url(self._api.configuration.host).netloc
        what = "does not answer" if isinstance(error, urllib3.exceptions.TimeoutError) else "cannot be reached"
        if isinstance(error, ApiException | urllib3.exceptions.SSLError):
            what = "cannot be trusted (TLS)"
        return f"the API server {host} of context {self.context} {what}: check the context, the network and the VPN"


def connect(target: Target, environment: Mapping[str, str] = os.environ) -> Cluster:
    """Take the kubeconfig that kubectl would take, or the service account of the pod this runs in.

    Raises:
        KeywrightError: if there is neither, or it cannot be used.

    """
    configuration = client.Configuration()
    configuration.retries = False
    paths = target.kubeconfig or environment.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    if not any(Path(each).exists() for each in paths.split(os.pathsep)):
        if (SERVICE_ACCOUNT / "token").exists() and not target.kubeconfig and not target.context:
            return _connect_in_pod(configuration, target)
        raise KeywrightError(f"no kubeconfig at {paths}: set KUBECONFIG, or name it with --kubeconfig")
    try:
        contexts, active = config.list_kube_config_contexts(paths)  # type: ignore[no-untyped-call]
        if target.context is not None:
            active = next((each for each in contexts if each["name"] == target.context), None)
            if active is None:
                known = ", ".join(sorted(each["name"] for each in contexts))
                raise KeywrightError(f"{paths} has no context {target.context}: it has {known}")
        config.load_kube_config(  # type: ignore[no-untyped-call]
            paths, context=active["name"], client_configuration=configuration, persist_config=False
        )
    except config.ConfigException as error:
        raise KeywrightError(f"the kubeconfig {paths} cannot be used: {error}: correct it") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise KeywrightError(f"the kubeconfig {paths} cannot be read ({type(error).__name__}): correct it") from None
    return Cluster(
        client.ApiClient(configuration),
        context=active["name"],
        namespace=target.namespace or active["context"].get("namespace") or "default",
        is_everywhere=target.all_namespaces,
    )


def _connect_in_pod(configuration: client.Configuration, target: Target) -> Cluster:
    config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    return Cluster(
        client.ApiClient(configuration),
        context="in-cluster",
        namespace=target.namespace or (SERVICE_ACCOUNT / "namespace").read_text(encoding="ascii").strip(),
        is_everywhere=target.all_namespaces,
    )


def _read(content: bytes) -> Manifest | None:
    try:
        document = json.loads(content)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
