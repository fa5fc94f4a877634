"""Free ports of this machine, and who is ready behind them."""

import http.client

from keywright_local.ports import pick_free_port

__all__ = ["free_address", "is_ready"]


def is_ready(address: str) -> bool:
    """Whether /readyz says so; not while nobody listens."""
    connection = http.client.HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def free_address() -> str:
    return f"127.0.0.1:{pick_free_port()}"
