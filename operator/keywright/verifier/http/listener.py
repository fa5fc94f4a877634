"""Where the verifier listens: addresses, sockets and TLS. A Unix socket is put up and taken away with care."""

import asyncio
import errno
import os
import socket
import ssl
import stat
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from keywright.addresses import Tcp, parse_tcp
from keywright.errors import KeywrightError

__all__ = ["Address", "Listener", "Unix", "bind_tcp", "listen", "make_way", "parse_address", "tls_context"]

BACKLOG = 1024
HANDSHAKE_SECONDS = 5.0
# The owner and its group: the proxy beside us gets in by group, the application does not.
SOCKET_MODE = 0o660


@dataclass(frozen=True, slots=True)
class Unix:
    """A Unix domain socket."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


Address = Tcp | Unix


def parse_address(text: str) -> Address:
    """Read ``HOST:PORT``, ``[v6]:PORT`` or ``unix:PATH``.

    Raises:
        ValueError: if it is none of them.

    """
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or "\0" in path:
            raise ValueError("a path is missing")
        return Unix(Path(path))
    return parse_tcp(text)


@dataclass(frozen=True, slots=True)
class Listener:
    """An open listener. ``address`` has the port that was found for port 0."""

    server: asyncio.Server
    address: Address
    inode: int | None = None

    def close(self) -> None:
        """Stop accepting, and remove the socket file if it is still ours."""
        self.server.close()
        if isinstance(self.address, Unix):
            with suppress(OSError):
                if self.address.path.stat().st_ino == self.inode:
                    self.address.path.unlink()


async def listen(
    address: Address, factory: Callable[[], asyncio.Protocol], context: ssl.SSLContext | None = None
) -> Listener:
    """Open a listener.

    Raises:
        KeywrightError: if the address cannot be had, with what to do about it.

    """
    loop = asyncio.get_running_loop()
    seconds = HANDSHAKE_SECONDS if context is not None else None
    if isinstance(address, Unix):
        bound = _bind_unix(address.path)
        unix = await loop.create_unix_server(factory, sock=bound, ssl=context, ssl_handshake_timeout=seconds)
        return Listener(unix, address, address.path.stat().st_ino)
    bound = bind_tcp(address)
    tcp = await loop.create_server(factory, sock=bound, ssl=context, backlog=BACKLOG, ssl_handshake_timeout=seconds)
    return Listener(tcp, Tcp(address.host, bound.getsockname()[1]))


def tls_context(cert: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """TLS as servers do it (1.2 and later); with ``client_ca`` only for clients with a certificate of it.

    Raises:
        KeywrightError: if one of the files cannot be used.

    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise KeywrightError(
            f"cannot use the certificate {cert} with the key {key}: {_why(error)}: check --tls-cert and --tls-key"
        ) from None
    if client_ca is not None:
        try:
            context.load_verify_locations(client_ca)
        except (OSError, ssl.SSLError) as error:
            raise KeywrightError(f"cannot use {client_ca}: {_why(error)}: check --client-ca") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _why(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").lower().replace("_", " ")
    return error.strerror or type(error).__name__


def bind_tcp(address: Tcp) -> socket.socket:
    """An open socket, for who brings a server along.

    Raises:
        KeywrightError: if the address cannot be had.

    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        if not address.host and socket.has_dualstack_ipv6():
            return socket.create_server(
                ("", address.port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
        return socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise KeywrightError(
            f"cannot listen on {address}: {_why(error)}: choose another address, or stop what uses it"
        ) from None


def _bind_unix(path: Path) -> socket.socket:
    make_way(path)
    bound = socket.socket(socket.AF_UNIX)
    # The mode has to be right from the first moment on, so it comes from the mask and not from a chmod.
    mask = os.umask(0o777 & ~SOCKET_MODE)
    try:
        bound.bind(str(path))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        why = "the path is too long" if error.errno is None else _why(error)
        raise KeywrightError(
            f"cannot listen on unix:{path}: {why}: choose a path in a directory that exists and may be written"
        ) from None
    finally:
        os.umask(mask)
    return bound


def make_way(path: Path) -> None:
    """Remove a socket that a dead process left behind; never anything else."""
    try:
        mode = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise KeywrightError(f"{path} exists and is no socket: choose another path, or remove it")
    with closing(socket.socket(socket.AF_UNIX)) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                path.unlink(missing_ok=True)
            return
    raise KeywrightError(f"another process listens on unix:{path}: stop it, or choose another path")
