"""The console behind a proxy that signs people in (deploy/console): who it says somebody is, and who cannot say so."""

import base64
import contextlib
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from keywright_local import ControlPlane
from tests.integration.conftest import ROOT
from tests.support.console import ask, console, console_account, make_account
from tests.support.installation import by_name, kubectl, kustomize, pods
from tests.support.kube import Kube, eventually
from tests.support.people import bind
from tests.support.processes import Process, free_address, start
from tests.support.proxies import find_program
from tests.support.visitor import Reply, Visitor

EXAMPLES = ROOT / "deploy/console"
PASSWORDS = {"alice@example.com": "first", "bob@example.com": "second"}


@pytest.fixture
def front(plane: ControlPlane, admin: Kube, namespace: str, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The nginx of the example and the console behind it: their addresses. Alice may see the keys of the namespace by her
    name, and whoever is of the group payments by that.
    """
    nginx = find_program("nginx")
    flags = ("--proxy-from", "127.0.0.1/32", "--proxy-user-header", "X-Forwarded-User")
    groups = ("--proxy-groups-header", "X-Forwarded-Groups")
    bind(admin, namespace, "alice@example.com", "view")
    account = console_account(plane, admin, namespaces=[namespace])
    with (
        console(account, tmp_path / "log", *flags, *groups, namespaces=[namespace]) as behind,
        proxy(nginx, tmp_path / "nginx", behind.address) as (_, address),
    ):
        yield address, behind.address


@contextlib.contextmanager
def proxy(nginx: Path, folder: Path, behind: str) -> Iterator[tuple[Process, str]]:
    """nginx as in the example; only addresses, its scratch folder and the passwords are of this test."""
    shutil.copytree(EXAMPLES / "nginx", folder)
    (folder / "run").mkdir()
    (folder / "users").write_text("".join(f"{user}:{{PLAIN}}{word}\n" for user, word in PASSWORDS.items()))
    address = free_address()
    main = folder / "nginx.conf"
    text = main.read_text()
    for said, meant in {"127.0.0.1:8090;": f"{behind};", "listen 8000;": f"listen {address};"}.items():
        assert text.count(said) == 1
        text = text.replace(said, meant)
    main.write_text(text.replace("/tmp/nginx", str(folder / "run")))
    user = " user root;" if os.geteuid() == 0 else ""
    command = [str(nginx), "-e", "stderr", "-p", str(folder), "-c", "nginx.conf", "-g", f"daemon off;{user}"]
    host, _, port = address.rpartition(":")

    def is_listening() -> bool:
        assert process.popen.poll() is None, process.log
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    with start(command, kubeconfig=None, log=folder / "log") as process:
        eventually(is_listening, within=30)
        yield process, address


def basic(user: str) -> dict[str, str]:
    word = base64.b64encode(f"{user}:{PASSWORDS[user]}".encode()).decode()
    return {"Authorization": f"Basic {word}"}


def is_signed_in_as(reply: Reply, user: str) -> bool:
    return reply.status == 200 and f"<bdi>{user}</bdi>" in reply.text


def test_who_signs_in_at_the_proxy_is_known_at_the_console(front: tuple[str, str], namespace: str) -> None:
    """Alice sees the keys that she may see, without pasting anything; nobody gets past the proxy without a password."""
    address, _ = front
    alice = Visitor(address, basic("alice@example.com"))
    eventually(lambda: is_signed_in_as(alice.get(f"/?namespace={namespace}"), "alice@example.com"), within=30)
    assert Visitor(address).get("/").status == 401
    bob = Visitor(address, basic("bob@example.com")).get(f"/?namespace={namespace}")
    assert bob.status == 403


FORGED = {
    "the same name": {"X-Forwarded-User": "alice@example.com"},
    "lower case": {"x-forwarded-user": "alice@example.com"},
    "an underscore": {"X_Forwarded_User": "alice@example.com"},
    "her groups": {"X-Forwarded-Groups": "payments"},
    "whence it came": {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-User": "alice@example.com"},
}


@pytest.mark.parametrize("headers", FORGED.values(), ids=FORGED)
def test_nobody_says_himself_who_he_is(
    front: tuple[str, str], admin: Kube, namespace: str, headers: dict[str, str]
) -> None:
    """Bob is Bob whatever he sends beside his password; and where the proxy asks for none, he is nobody."""
    address, behind = front
    listing = f"/v1/namespaces/{namespace}/keys"
    said = {"X-Forwarded-User": "alice@example.com"}
    eventually(lambda: ask(behind, "GET", listing, headers=said).status == 200, within=30)
    shown = Visitor(address, basic("bob@example.com") | headers).get(f"/?namespace={namespace}")
    assert shown.status == 403
    assert "alice" not in shown.text
    assert ask(address, "GET", listing, headers=headers).code == "missing_key"


def test_programs_bring_a_credential_of_their_own(front: tuple[str, str], admin: Kube, namespace: str) -> None:
    """A token of the cluster gets through the proxy to /v1, and is judged by the console: this account may see nothing."""
    address, _ = front
    listing = f"/v1/namespaces/{namespace}/keys"
    token = make_account(admin, namespace, "robot")
    # 503 while the console's own rights are not known yet.
    eventually(lambda: ask(address, "GET", listing, token=token).code == "forbidden", within=30)


def test_oauth2_proxy_and_the_console_share_a_pod(plane: ControlPlane, admin: Kube) -> None:
    """The API server takes it. The console listens to the pod alone and has no port of its own; the proxy hands on who
    somebody is, in place of what the client says, and no credential.
    """
    done = kubectl(
        plane, "apply", "--server-side", "--force-conflicts", "--dry-run=server", "-k", EXAMPLES / "oauth2-proxy"
    )
    assert (done.returncode, done.stderr) == (0, "")
    (pod,) = pods(by_name(kustomize(plane, EXAMPLES / "oauth2-proxy")))
    containers = {each["name"]: each for each in pod["spec"]["containers"]}
    arguments = containers["console"]["args"]
    assert [each for each in arguments if each.startswith(("--listen", "--proxy", "--tls"))] == [
        "--listen=127.0.0.1:8090",
        "--proxy-from=127.0.0.1/32",
        "--proxy-user-header=X-Forwarded-User",
        "--proxy-groups-header=X-Forwarded-Groups",
    ]
    assert [port["name"] for port in containers["console"]["ports"]] == ["admin"]
    assert [port["name"] for port in containers["oauth2-proxy"]["ports"]] == ["console"]
    settings = dict(
        line.split(" = ", 1)
        for line in (EXAMPLES / "oauth2-proxy/oauth2-proxy.cfg").read_text().splitlines()
        if " = " in line
    )
    assert {name: settings[name] for name in settings if name.startswith(("pass_", "skip_auth_strip"))} == {
        "pass_user_headers": "true",
        "skip_auth_strip_headers": "true",
        "pass_basic_auth": "false",
        "pass_authorization_header": "false",
        "pass_access_token": "false",
    }
