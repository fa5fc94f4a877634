"""TCP addresses to listen on, as the flags of both processes name them."""

from dataclasses import dataclass

__all__ = ["Tcp", "parse_tcp"]


@dataclass(frozen=True, slots=True)
class Tcp:
    """A TCP address; an empty host means all interfaces, port 0 any free port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_tcp(text: str) -> Tcp:
    """Read ``HOST:PORT`` or ``[v6]:PORT``.

    Raises:
        ValueError: if it is neither.

    """
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("an IPv6 address stands in brackets")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("a port is missing")
    return Tcp(host, int(port))
