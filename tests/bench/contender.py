"""A server in a contest, as the load sees it."""

from dataclasses import dataclass

__all__ = ["RULES", "TARGET", "Contender"]

TARGET = "/api/agents/7"
"""What every request is about."""

RULES = """\
rules:
- {path: /healthz, allow: anonymous}
- {path: /api/agents/*, methods: [GET, HEAD], scopes: ["agents:read"]}
- {path: /api/admin/*, roles: [admin]}
"""
"""The rules file of every verifier that is timed: the second rule matches, and asks for a scope that all keys have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A running server. ``judges``: it refuses a wrong key with 401. ``shows`` is the header of its answers that names
    the key, ``None`` where no header does. ``status`` is that of an allowed answer. ``is_argon2``: it is asked with the
    one key that has a real argon2id hash.
    """

    name: str
    address: str
    target: str = TARGET
    status: int = 200
    judges: bool = True
    shows: str | None = "X-Auth-Key-Id"
    is_argon2: bool = False
