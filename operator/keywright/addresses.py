"""Addresses to listen on, as flags name them."""

from typing import NamedTuple

from keywright.errors import KeywrightError

__all__ = ["Address", "parse_address"]


class Address(NamedTuple):
    """A host and a TCP port; port 0 means any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, flag: str) -> Address:
    """Read ``HOST:PORT`` (``[::1]:80`` for IPv6, ``:80`` for every interface).

    Raises:
        KeywrightError: if it is not one; the message names ``flag``.

    """
    host, colon, port = text.rpartition(":")
    if (
        not colon
        or not port.isascii()
        or not port.isdigit()
        or int(port) > 65535
        or (":" in host and not host.startswith("["))
    ):
        raise KeywrightError(f"{flag}: not an address: write HOST:PORT, as in 127.0.0.1:8080 or [::1]:8080")
    return Address(host.strip("[]") or "0.0.0.0", int(port))  # noqa: S104 - asked for by leaving the host out
