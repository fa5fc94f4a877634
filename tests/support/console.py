"""``keywright console`` as its own service account, with the rights of deploy/rbac and no others, and who asks it."""

import contextlib
import http.client
import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from kubernetes.client.exceptions import ApiException

from keywright_local import ControlPlane
from tests.support.kube import Kube, Manifest
from tests.support.people import RBAC
from tests.support.processes import Process, serving

__all__ = [
    "ACCOUNT",
    "HOME",
    "Answer",
    "Console",
    "ask",
    "console",
    "console_account",
    "make_account",
    "serve",
    "sign_in",
    "token_of",
]

HOME = "keywright-system"
ACCOUNT = "keywright-console"
EVERYWHERE = ("keywright-console", "keywright-console-acting")
IN_EACH = ("keywright-verifier", "keywright-console-keys", "keywright-console-secrets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``fields`` have their names in lower case; ``body`` is what JSON says, or the text."""

    status: int
    fields: Mapping[str, str]
    body: Any

    @property
    def code(self) -> str | None:
        """The one word of a problem."""
        return self.body.get("code") if isinstance(self.body, dict) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """A running key service. ``address`` and ``admin`` are HOST:PORT."""

    process: Process
    address: str
    admin: str
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.address}"

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        body: Any = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request; ``token`` goes as Bearer, whatever it is, ``body`` as JSON, ``form`` as a browser sends one."""
        return ask(self.address, method, path, token=token, body=body, form=form, headers=headers, tls=self.tls)


def ask(
    address: str,
    method: str,
    path: str,
    *,
    token: str | None = None,
    body: Any = None,
    form: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
) -> Answer:
    """One request to a key service."""
    sent = dict(headers or {})
    if token is not None:
        sent["Authorization"] = f"Bearer {token}"
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        sent.setdefault("Content-Type", "application/json")
    elif form is not None:
        data = urlencode(form).encode()
        sent["Content-Type"] = "application/x-www-form-urlencoded"
    if tls is not None:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(address, timeout=60, context=tls)
    else:
        connection = http.client.HTTPConnection(address, timeout=60)
    with contextlib.closing(connection):
        connection.request(method, path, data, sent)
        response = connection.getresponse()
        text = response.read().decode()
        fields = {name.lower(): value for name, value in response.getheaders()}
        is_json = "json" in fields.get("content-type", "")
        return Answer(status=response.status, fields=fields, body=json.loads(text) if is_json else text)


def sign_in(service: Console, credential: str) -> str:
    """The cookie of a session that begins with this credential."""
    answer = service.ask("POST", "/sign-in", form={"credential": credential})
    assert answer.status == 303, answer
    return answer.fields["set-cookie"].partition(";")[0]


def console_account(
    plane: ControlPlane, admin: Kube, *, namespaces: Sequence[str] = (), everywhere: bool = False
) -> Path:
    """The kubeconfig of the service's account, with its roles bound; ``everywhere`` as for --all-namespaces."""
    _make(admin, f"/api/v1/namespaces/{HOME}/serviceaccounts", {"metadata": {"name": ACCOUNT}})
    for role in (*EVERYWHERE, *(IN_EACH[:2] if everywhere else ())):
        _make(admin, f"{RBAC}/clusterrolebindings", _binding(role))
    _make(admin, f"{RBAC}/namespaces/{HOME}/rolebindings", _binding("keywright-usage-publisher"))
    for namespace in namespaces:
        serve(admin, namespace)
    config = json.loads(plane.kubeconfig_for_service_account(HOME, ACCOUNT).read_text())
    config["contexts"][0]["context"]["namespace"] = HOME
    path = plane.directory / "console.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return path


def serve(admin: Kube, namespace: str) -> None:
    """Bind what the service needs in each namespace that it serves."""
    for role in IN_EACH:
        _make(admin, f"{RBAC}/namespaces/{namespace}/rolebindings", _binding(role))


@contextlib.contextmanager
def console(
    kubeconfig: Path,
    log: Path,
    *flags: str,
    namespaces: Sequence[str] = (),
    ready: bool = True,
    environment: dict[str, str] | None = None,
    tls: ssl.SSLContext | None = None,
    rate_limit: int = 10_000,
) -> Iterator[Console]:
    """``keywright console``, ready. Without ``namespaces`` it serves all of them. What waits for something asks it over
    and over, and has nothing to do with ``rate_limit``, requests a minute.
    """
    flags = (*flags, "--rate-limit", str(rate_limit))
    with serving("console", kubeconfig, log, *flags, namespaces=namespaces, ready=ready, environment=environment) as (
        process,
        address,
        admin,
    ):
        yield Console(process=process, address=address, admin=admin, tls=tls)


def make_account(admin: Kube, namespace: str, name: str, *roles: str) -> str:
    """A service account that these ClusterRoles are bound to in its namespace; a token of it, good for an hour."""
    _make(admin, f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})
    for role in roles:
        _make(admin, f"{RBAC}/namespaces/{namespace}/rolebindings", _binding(role, namespace, name))
    return token_of(admin, namespace, name)


def token_of(admin: Kube, namespace: str, name: str, **spec: Any) -> str:
    """A new token of an account."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return str(admin.request("POST", path, request)["status"]["token"])


def _binding(role: str, namespace: str = HOME, account: str = ACCOUNT) -> Manifest:
    return {
        "metadata": {"name": f"{account}-{role}"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }


def _make(admin: Kube, path: str, body: Manifest) -> None:
    """Make it, unless another test has."""
    try:
        admin.request("POST", path, body)
    except ApiException as error:
        if error.status != 409:
            raise
