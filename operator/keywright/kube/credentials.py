"""Where the API server is and who we are to it: from ``KUBECONFIG``, or from the pod we run in.

The plain forms of a kubeconfig (client certificate, token, token file) are read here, because importing the
kubernetes package costs a process 40 MiB and the verifier's whole budget is 45. Everything else (exec plugins,
auth providers, several merged files) is left to that package. See docs/decisions/0006.
"""

import base64
import binascii
import os
import ssl
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from keywright.errors import KeywrightError

__all__ = ["Credentials", "load"]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_AGE = 30.0  # seconds; kubelet rotates a projected token long before it ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """One API server and one identity. ``token`` is asked before every request; ``namespace`` is our own."""

    server: str
    namespace: str
    context: str
    ca: str | None = field(default=None, repr=False)
    certificate: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    token: Callable[[], str | None] = field(default=lambda: None, repr=False)
    skips_verification: bool = False

    def ssl_context(self) -> ssl.SSLContext:
        """TLS for this server. PEM texts pass through private files only where OpenSSL insists on files.

        Raises:
            KeywrightError: if OpenSSL refuses a certificate or key.

        """
        try:
            return self._ssl_context()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            what = getattr(error, "reason", None) or type(error).__name__
            raise KeywrightError(
                f"the certificates of context {self.context} cannot be used ({what}): check KUBECONFIG"
            ) from None

    def _ssl_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.ca)
        if self.skips_verification:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate is not None and self.private_key is not None:
            with tempfile.NamedTemporaryFile("w", suffix=".pem") as chain:
                chain.write(self.certificate + "\n" + self.private_key)
                chain.flush()
                context.load_cert_chain(chain.name)
        return context


def load(environment: Mapping[str, str] = os.environ) -> Credentials:
    """Read the credentials of this process.

    Raises:
        KeywrightError: if there are none, or they cannot be read.

    """
    paths = environment.get("KUBECONFIG", "")
    if paths:
        return _from_kubeconfig(paths)
    host = environment.get("KUBERNETES_SERVICE_HOST")
    if host and (SERVICE_ACCOUNT / "token").exists():
        port = environment.get("KUBERNETES_SERVICE_PORT", "443")
        return Credentials(
            server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
            namespace=(SERVICE_ACCOUNT / "namespace").read_text().strip(),
            context="in-cluster",
            ca=(SERVICE_ACCOUNT / "ca.crt").read_text(),
            token=_token_file(SERVICE_ACCOUNT / "token"),
        )
    raise KeywrightError(
        "no cluster to talk to: set KUBECONFIG to a kubeconfig file, or run in a pod with a service account token"
    )


def _from_kubeconfig(paths: str) -> Credentials:
    if os.pathsep in paths:
        return _from_client_library(paths)
    path = Path(paths)
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        context = _named(config, "contexts", config["current-context"])["context"]
        cluster = _named(config, "clusters", context["cluster"])["cluster"]
        user = _named(config, "users", context["user"]).get("user") or {}
        if not user.keys() <= {
            "client-certificate",
            "client-certificate-data",
            "client-key",
            "client-key-data",
            "token",
            "tokenFile",
        } or cluster.keys() & {"proxy-url", "tls-server-name"}:
            return _from_client_library(paths)
        token_file = user.get("tokenFile")
        return Credentials(
            server=cluster["server"].rstrip("/"),
            namespace=context.get("namespace", "default"),
            context=config["current-context"],
            ca=_pem(cluster, "certificate-authority", path.parent),
            certificate=_pem(user, "client-certificate", path.parent),
            private_key=_pem(user, "client-key", path.parent),
            token=_token_file(path.parent / token_file) if token_file else _fixed(user.get("token")),
            skips_verification=bool(cluster.get("insecure-skip-tls-verify")),
        )
    except OSError as error:
        raise KeywrightError(f"cannot read the kubeconfig {path}: {error.strerror}: check KUBECONFIG") from None
    except (KeyError, TypeError, AttributeError, yaml.YAMLError, UnicodeDecodeError, binascii.Error):
        raise KeywrightError(f"{path} is not a kubeconfig with a usable current-context: check KUBECONFIG") from None


def _named(config: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in (*config[kind], {}) if each.get("name", name) == name)
    if not found:
        raise KeyError(name)
    return found


def _pem(source: dict[str, Any], name: str, base: Path) -> str | None:
    if data := source.get(f"{name}-data"):
        return base64.b64decode(data).decode()
    file = source.get(name)
    return Path(base, file).read_text(encoding="ascii") if file else None


def _fixed(token: str | None) -> Callable[[], str | None]:
    return lambda: token


def _token_file(path: Path) -> Callable[[], str | None]:
    read_at, token = 0.0, ""

    def current() -> str:
        nonlocal read_at, token
        if not token or time.monotonic() - read_at > TOKEN_AGE:
            token, read_at = path.read_text().strip(), time.monotonic()
        return token

    return current


def _from_client_library(paths: str) -> Credentials:
    try:
        from kubernetes import client, config  # noqa: PLC0415 - 40 MiB, only for those who need it
    except ImportError:
        raise KeywrightError(
            f"the kubeconfig {paths} calls a plugin or is several files, which takes the kubernetes package: "
            "pip install kubernetes, or name one file with a token or a client certificate"
        ) from None
    try:
        configuration = client.Configuration()
        config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=paths, client_configuration=configuration
        )
        _, active = config.list_kube_config_contexts(  # type: ignore[no-untyped-call]
            config_file=paths
        )
    except (config.ConfigException, OSError, KeyError) as error:
        raise KeywrightError(f"cannot use the kubeconfig {paths}: {type(error).__name__}: check KUBECONFIG") from None

    def read(file: str | None) -> str | None:
        return Path(file).read_text() if file else None

    def token() -> str | None:
        value = configuration.get_api_key_with_prefix("BearerToken")
        value = value or configuration.get_api_key_with_prefix("authorization")
        return str(value).removeprefix("Bearer ") if value else None

    return Credentials(
        server=configuration.host,
        namespace=active["context"].get("namespace", "default"),
        context=active["name"],
        ca=read(configuration.ssl_ca_cert),
        certificate=read(configuration.cert_file),
        private_key=read(configuration.key_file),
        token=token,
        skips_verification=not configuration.verify_ssl,
    )
