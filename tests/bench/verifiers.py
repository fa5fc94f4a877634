"""The verifier under test, as its users run it, before a stand-in API server."""

import contextlib
import datetime as dt
import http.client
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from keywright_local.certificates import CertificateAuthority
from keywright_local.kubeconfigs import BearerToken, render_kubeconfig
from tests.bench.bench import Bench
from tests.bench.contender import RULES
from tests.bench.machine import pinned
from tests.bench.waiting import wait_for, wait_listening
from tests.support.processes import BIN, Process, free_address, start

__all__ = ["Verifier", "rules", "stand_in", "verifier", "verifier_with"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """A running verifier. ``ready_after`` is in seconds from the start of its process."""

    process: Process
    address: str
    admin: str
    ready_after: float

    @property
    def pid(self) -> int:
        return self.process.popen.pid

    def count(self, name: str) -> int:
        """A counter or gauge of its metrics, as in ``argon2_runs_total``; labels go with the name."""
        wanted = f"keywright_verifier_{name} "
        for line in _get(self.admin, "/metrics")[1].splitlines():
            if line.startswith(wanted):
                return int(float(line.removeprefix(wanted)))
        raise LookupError(f"the verifier has no metric {wanted}")


@contextlib.contextmanager
def stand_in(bench: Bench, keys: int, *, limited: bool = False) -> Iterator[Path]:
    """A stand-in API server with so many ApiKeys, under limits if asked for; yields a kubeconfig for it."""
    address, folder = free_address(), bench.folder / f"stand-in-{keys}-{time.monotonic_ns()}"
    folder.mkdir()
    now = dt.datetime.now(dt.UTC)
    authority = CertificateAuthority.create("keywright-bench", now=now)
    pair = authority.issue_for_server(["localhost"], ["127.0.0.1"], now=now)
    certificate, private_key, kubeconfig = folder / "tls.crt", folder / "tls.key", folder / "kubeconfig"
    certificate.write_bytes(pair.public)
    private_key.write_bytes(pair.private)
    kubeconfig.write_bytes(
        render_kubeconfig(
            server=f"https://{address}",
            authority=authority.key_pair.public,
            user="bench",
            credential=BearerToken(token="nobody-asks"),
        )
    )
    command = [sys.executable, "-m", "tests.bench.stand_in", address, str(keys), str(certificate), str(private_key)]
    command += ["limited"] if limited else []
    with start(command, kubeconfig=None, log=folder / "log") as process:
        wait_listening(process, address)
        yield kubeconfig


def rules(bench: Bench) -> list[str]:
    """The flags of a verifier that holds each request against the rules file of all contests."""
    file = bench.folder / "rules.yaml"
    # Once: verifiers that run already would read it again.
    if not file.exists():
        file.write_text(RULES)
    return ["--rules", str(file)]


@contextlib.contextmanager
def verifier(bench: Bench, kubeconfig: Path, *flags: str, core: int | None = None) -> Iterator[Verifier]:
    """``keywright verifier``, ready; held on one core if asked for."""
    listen, admin = free_address(), free_address()
    command = [str(BIN / "keywright"), "verifier", "--listen", listen, "--admin-listen", admin, *flags]
    started_at = time.monotonic()
    log = bench.folder / f"verifier-{time.monotonic_ns()}.log"
    with start(command if core is None else pinned(core, command), kubeconfig=kubeconfig, log=log) as process:
        wait_for(process, lambda: _get(admin, "/readyz")[0] == 200)
        yield Verifier(process=process, address=listen, admin=admin, ready_after=time.monotonic() - started_at)


@contextlib.contextmanager
def verifier_with(bench: Bench, keys: int, *flags: str, core: int | None = None) -> Iterator[Verifier]:
    """A verifier that has read so many keys from a stand-in API server."""
    with (
        stand_in(bench, keys) as kubeconfig,
        verifier(bench, kubeconfig, "--all-namespaces", *flags, core=core) as found,
    ):
        assert found.count("keys") == keys, f"the verifier holds {found.count('keys')} keys of {keys}"
        yield found


def _get(address: str, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    except OSError:
        return 0, ""
    finally:
        connection.close()
