"""Where a shared rate limit store is: a ``redis://`` or ``rediss://`` URL, whose password nothing may print."""

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from keywright.addresses import Tcp

__all__ = ["StoreAddress", "parse_store"]

DEFAULT_PORT = 6379


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAddress:
    """A Redis or Valkey server. ``str()`` is host and port alone."""

    tcp: Tcp
    is_tls: bool = False
    user: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)
    database: int = 0

    def __str__(self) -> str:
        return str(self.tcp)


def parse_store(text: str) -> StoreAddress:
    """Read ``redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]``.

    Raises:
        ValueError: if it is not of that form. The text says nothing of what was given.

    """
    wrong = ValueError("not redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE], or rediss:// for TLS")
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    database = parts.path.removeprefix("/") or "0"
    if parts.scheme not in ("redis", "rediss") or not host or parts.query or parts.fragment:
        raise wrong
    if not (database.isascii() and database.isdigit() and len(database) <= 5):
        raise wrong
    return StoreAddress(
        tcp=Tcp(host, DEFAULT_PORT if port is None else port),
        is_tls=parts.scheme == "rediss",
        user=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        database=int(database),
    )
