"""A proxy that is up, with what stands before and behind it: a backend, a verifier, and where they meet."""

import contextlib
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keywright_local.certificates import CertificateAuthority
from tests.support.backend import Backend, backend
from tests.support.kube import eventually
from tests.support.processes import Process, free_address, get, verifier
from tests.support.proxies import VERIFIER, Kind, run

__all__ = ["Stand", "standing"]

GATEWAY = "keywright-verifier.keywright-system.svc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """A proxy that is up, with what stands before and behind it."""

    kind: Kind
    address: str
    proxy: Process
    verifier: Process
    backend: Backend


@contextlib.contextmanager
def standing(kind: Kind, folder: Path, kubeconfig: Path, *flags: str, ready: bool = True) -> Iterator[Stand]:
    """A verifier (with flags of its own), a backend and the proxy between them."""
    meeting, replaced = _meeting(kind, folder)
    with (
        backend() as behind,
        verifier(kubeconfig, folder / "verifier.log", *meeting, *flags, ready=ready) as (judge, _listen, admin),
    ):
        eventually(lambda: get(admin, "/healthz")[0] == 200, within=30)
        with run(kind, folder / "proxy", backend=behind.address, verifier=replaced) as (proxy, address):
            yield Stand(kind=kind, address=address, proxy=proxy, verifier=judge, backend=behind)


def _meeting(kind: Kind, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Where proxy and verifier meet: the verifier's flags, and what to replace in the proxy's configuration."""
    address = free_address()
    match kind.variant:
        case "sidecar":
            path = folder / "verify.sock"
            return ["--listen", f"unix:{path}"], {"/run/keywright/verify.sock": str(path)}
        case "gateway":
            certificates = _certificates(folder)
            flags = ["--tls-cert", "server.crt", "--tls-key", "server.key", "--client-ca", "ca.crt"]
            flags = [flag if flag.startswith("--") else str(folder / flag) for flag in flags]
            where = {kind.write(f"{GATEWAY}:8443"): kind.write(address)}
            return ["--listen", address, *flags], {**where, **certificates}
        case "grpc":
            return ["--grpc-listen", address], {kind.write(VERIFIER): kind.write(address)}
        case _:
            return ["--listen", address], {kind.write(VERIFIER): kind.write(address)}


def _certificates(folder: Path) -> dict[str, str]:
    """Those of both sides; returns where the proxy finds its own."""
    now = dt.datetime.now(dt.UTC)
    authority = CertificateAuthority.create("keywright-test", now=now)
    server, client = (
        authority.issue_for_server([GATEWAY], [], now=now),
        authority.issue_for_client("proxy", [], now=now),
    )
    files = {
        "ca.crt": authority.key_pair.public,
        "server.crt": server.public,
        "server.key": server.private,
        "tls.crt": client.public,
        "tls.key": client.private,
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return {f"/etc/keywright/tls/{name}": str(folder / name) for name in ("ca.crt", "tls.crt", "tls.key")}
