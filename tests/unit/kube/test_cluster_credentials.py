"""Where the API server is and who we are: every form of kubeconfig, and errors that say what to do."""

import base64
import json
import ssl
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keywright.errors import KeywrightError
from keywright.kube import credentials as credentials_module
from keywright.kube.credentials import Credentials, load

TOKEN = "eyJhbGciOi.hunter2"


@pytest.fixture(scope="session")
def pems() -> tuple[str, str]:
    """A certificate that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "keywright")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def _config(
    *, cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None, namespace: str | None = None
) -> dict[str, Any]:
    context = {"cluster": "c", "user": "u"} | ({"namespace": namespace} if namespace else {})
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "elsewhere", "context": {}}, {"name": "here", "context": context}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example.com:6443/"} | (cluster or {})}],
        "users": [{"name": "u", "user": user or {}}],
    }


def _load(path: Path, config: Any) -> Credentials:
    path.write_text(config if isinstance(config, str) else yaml.safe_dump(config), encoding="utf-8")
    return load({"KUBECONFIG": str(path)})


def _b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_the_current_context_decides(tmp_path: Path) -> None:
    """Server, namespace and name of the context; the namespace is default unless one is named."""
    read = _load(tmp_path / "config", _config())
    assert (read.server, read.namespace, read.context) == ("https://api.example.com:6443", "default", "here")
    assert read.token() is None
    assert _load(tmp_path / "config", _config(namespace="payments")).namespace == "payments"


def test_certificates_as_data(tmp_path: Path, pems: tuple[str, str]) -> None:
    """As kind and kubeadm write them; they make a TLS context that trusts the CA and proves us."""
    certificate, key = pems
    read = _load(
        tmp_path / "config",
        _config(
            cluster={"certificate-authority-data": _b64(certificate)},
            user={"client-certificate-data": _b64(certificate), "client-key-data": _b64(key)},
        ),
    )
    assert (read.ca, read.certificate, read.private_key) == (certificate, certificate, key)
    context = read.ssl_context()
    assert len(context.get_ca_certs()) == 1
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_certificates_as_files_beside_the_kubeconfig(tmp_path: Path, pems: tuple[str, str]) -> None:
    """Relative paths start at the kubeconfig, absolute ones stay."""
    certificate, key = pems
    (tmp_path / "ca.crt").write_text(certificate)
    (tmp_path / "own.crt").write_text(certificate)
    (tmp_path / "own.key").write_text(key)
    read = _load(
        tmp_path / "config",
        _config(
            cluster={"certificate-authority": "ca.crt"},
            user={"client-certificate": str(tmp_path / "own.crt"), "client-key": "own.key"},
        ),
    )
    assert (read.ca, read.certificate, read.private_key) == (certificate, certificate, key)
    read.ssl_context()


def test_a_token(tmp_path: Path) -> None:
    """The same for every request, and in no repr."""
    read = _load(tmp_path / "config", _config(user={"token": TOKEN}))
    assert read.token() == TOKEN
    assert "hunter2" not in repr(read)


def test_a_token_file_is_read_again_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever rotates it is followed within half a minute; it is not read for every request."""
    now = 1000.0
    monkeypatch.setattr("keywright.kube.credentials.time.monotonic", lambda: now)
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    read = _load(tmp_path / "config", _config(user={"tokenFile": "token"}))
    assert read.token() == TOKEN
    file.write_text("another")
    assert read.token() == TOKEN
    now += credentials_module.TOKEN_AGE + 1
    assert read.token() == "another"


def test_verification_can_be_switched_off(tmp_path: Path) -> None:
    """Where the kubeconfig says so, and nowhere else."""
    read = _load(tmp_path / "config", _config(cluster={"insecure-skip-tls-verify": True}))
    assert read.ssl_context().verify_mode is ssl.CERT_NONE
    assert not read.ssl_context().check_hostname


def test_a_plugin_is_left_to_the_client_library(tmp_path: Path) -> None:
    """Exec plugins, as of the cloud providers."""
    answer = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": TOKEN},
    }
    plugin = tmp_path / "plugin.py"
    plugin.write_text(f"print({json.dumps(answer)!r})")
    read = _load(
        tmp_path / "config",
        _config(
            namespace="payments",
            user={
                "exec": {
                    "apiVersion": "client.authentication.k8s.io/v1",
                    "command": sys.executable,
                    "args": [str(plugin)],
                    "interactiveMode": "Never",
                }
            },
        ),
    )
    assert read.token() == TOKEN
    assert (read.server, read.namespace, read.context) == ("https://api.example.com:6443", "payments", "here")


def test_several_files_are_merged_by_the_client_library(tmp_path: Path, pems: tuple[str, str]) -> None:
    """As kubectl does with a list of paths."""
    config = _config(cluster={"certificate-authority-data": _b64(pems[0])})
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(yaml.safe_dump(config | {"users": []}))
    second.write_text(
        yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "users": [{"name": "u", "user": {"token": TOKEN}}]})
    )
    read = load({"KUBECONFIG": f"{first}:{second}"})
    assert read.token() == TOKEN
    assert read.ca == pems[0]


def test_without_the_client_library_it_says_what_would_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image leaves the library out; a kubeconfig that it takes is refused in one line."""
    monkeypatch.setitem(sys.modules, "kubernetes", None)
    with pytest.raises(KeywrightError, match=r"calls a plugin or is several files.*: pip install kubernetes, or"):
        _load(tmp_path / "config", _config(user={"exec": {"command": "aws"}}))


BROKEN: dict[str, Any] = {
    "empty": "",
    "not YAML": "{",
    "a list": "[1, 2]",
    "a word": "hello",
    "no current-context": {key: value for key, value in _config().items() if key != "current-context"},
    "a current-context that does not exist": _config() | {"current-context": "nowhere"},
    "no such cluster": _config() | {"clusters": []},
    "no such user": _config() | {"users": []},
    "no users at all": {key: value for key, value in _config().items() if key != "users"},
    "clusters that are null": _config() | {"clusters": None},
    "a cluster without server": _config() | {"clusters": [{"name": "c", "cluster": {}}]},
    "data that is not base64": _config(cluster={"certificate-authority-data": "a"}),
    "data that is not text": _config(cluster={"certificate-authority-data": "/////w=="}),
}


@pytest.mark.parametrize("config", BROKEN.values(), ids=BROKEN)
def test_a_broken_kubeconfig_is_one_line_with_the_remedy(config: Any, tmp_path: Path) -> None:
    """Which file, and what to check."""
    path = tmp_path / "config"
    with pytest.raises(KeywrightError) as caught:
        _load(path, config)
    assert str(caught.value) == f"{path} is not a kubeconfig with a usable current-context: check KUBECONFIG"


@pytest.mark.parametrize("what", ["missing", "a directory", "a certificate that is missing"])
def test_a_file_that_cannot_be_read_is_one_line_with_the_remedy(what: str, tmp_path: Path) -> None:
    """With the reason of the operating system."""
    path = tmp_path / "config"
    if what == "a directory":
        path.mkdir()
    if what == "a certificate that is missing":
        path.write_text(yaml.safe_dump(_config(cluster={"certificate-authority": "nowhere.crt"})))
    with pytest.raises(KeywrightError, match=r"^cannot read the kubeconfig .*: check KUBECONFIG$"):
        load({"KUBECONFIG": str(path)})


def test_several_files_of_which_none_works_are_one_line_too(tmp_path: Path) -> None:
    """The client library's own exception does not get out."""
    with pytest.raises(KeywrightError, match=r"^cannot use the kubeconfig .*: check KUBECONFIG$") as caught:
        load({"KUBECONFIG": f"{tmp_path}/a:{tmp_path}/b"})
    assert "\n" not in str(caught.value)


def test_nothing_at_all_says_both_ways(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """KUBECONFIG, or a pod."""
    monkeypatch.setattr(credentials_module, "SERVICE_ACCOUNT", tmp_path)
    for environment in ({}, {"KUBECONFIG": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}):
        with pytest.raises(KeywrightError, match="set KUBECONFIG to a kubeconfig file, or run in a pod"):
            load(environment)


@pytest.mark.parametrize(
    ("environment", "server"),
    [
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "https://10.0.0.1:443"),
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}, "https://10.0.0.1:6443"),
        ({"KUBERNETES_SERVICE_HOST": "fd00::1"}, "https://[fd00::1]:443"),
    ],
    ids=["default port", "another port", "IPv6"],
)
def test_a_pod_uses_its_service_account(
    environment: dict[str, str],
    server: str,
    pems: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The files that kubelet mounts."""
    monkeypatch.setattr(credentials_module, "SERVICE_ACCOUNT", tmp_path)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "namespace").write_text("keywright\n")
    (tmp_path / "ca.crt").write_text(pems[0])
    read = load(environment)
    assert (read.server, read.namespace, read.ca) == (server, "keywright", pems[0])
    assert read.token() == TOKEN


@pytest.mark.parametrize("part", ["ca", "certificate"])
def test_a_certificate_that_is_none_is_one_line_with_the_remedy(part: str) -> None:
    """It is found when the first connection is prepared."""
    broken = {"ca": "no certificate"} if part == "ca" else {"certificate": "none", "private_key": "none"}
    read = Credentials(server="https://x", namespace="n", context="c", **broken)  # type: ignore[arg-type]
    with pytest.raises(KeywrightError):
        read.ssl_context()
