"""What three key systems do, row by row, and which test proves that Keywright can do it (examples/README.md)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

__all__ = ["ROWS", "Row", "proofs", "proves"]

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "proves_row"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One documented behaviour."""

    system: str
    behaviour: str


_TABLE: dict[str, Sequence[str]] = {
    "kubiya": (
        "a key has a descriptive name and an optional expiry; it is shown once; a lost key is revoked and replaced",
        "list shows Name, Created, Last used, Expires, Status (Active or Revoked)",
        "revoked keys stop at once; applications get authentication errors",
        (
            "`Authorization: Bearer <key>` and `Authorization: UserKey <key>`; clients read it from the environment "
            "(`KUBIYA_API_KEY`) or a flag"
        ),
        "permissions of the creating user; limited ones through service accounts",
        (
            "scopes: agents:read/write, tasks:read/execute, workflows:read/manage, knowledge:read/write, "
            "runners:read/manage, integrations:read/write, webhooks:manage, admin (everything)"
        ),
        "a key can be made programmatically with an existing key",
        "distinct errors: missing key, invalid key, insufficient permissions, rate limited, invalid format",
        '"invalid key" has four causes to tell apart: extra spaces, revoked, expired, another control plane',
        "100 a minute and 5,000 a day per key, bursts of at most 20 in 10 s; `Retry-After`",
        "rotate every 90 days; watch usage for what looks suspicious",
    ),
    "kupe": (
        "`displayName` required, `role` required (admin or readonly), `expiresAt` optional RFC 3339",
        "raw key starts `kupe_`; only a hash is stored; shown once",
        "list returns metadata only, find a key by its display name, delete by id `ak-…`",
        "revocation is immediate, no grace period",
        "rotation without downtime: a second key with the suffix `-new`, verify, revoke the old",
        "create, list and revoke need the admin role; a readonly member or key cannot manage keys",
        "used from GitHub Actions, GitLab CI, curl through an environment variable",
    ),
    "kubevision": (
        "`Authorization: ApiKey kv_live_…`",
        "SHA-256 stored, plaintext never persisted",
        "permissions identical to the owner's RBAC and cluster assignments",
        "expiry optional; keys without one are valid until revoked",
        "the same rate limit as the owner's other sessions",
        "audit: requests logged under the owner's name with the key's name as the agent",
        "revocation immediate, requests in flight included",
        "amber badge near expiry; expiry used to enforce rotation",
        "an admin sees and revokes any user's keys (leaver, compromise)",
        "a profile page with one's own keys; an admin's page with any user's",
    ),
}
ROWS = tuple(Row(system=system, behaviour=behaviour) for system, rows in _TABLE.items() for behaviour in rows)


def proves(system: str, behaviour: str) -> Callable[[F], F]:
    """Mark a test as the one that proves a row, quoted as the table has it. Raises ValueError for any other text."""
    found = [row for row in ROWS if (row.system, row.behaviour) == (system, behaviour)]
    if not found:
        raise ValueError(f"no row of {system} says: {behaviour}")

    def mark(test: F) -> F:
        setattr(test, _MARK, found[0])
        return test

    return mark


def proofs(*modules: ModuleType) -> list[tuple[Row, str]]:
    """Each marked test of these modules: its row and its name. Only what pytest would collect counts."""
    return [
        (getattr(each, _MARK), f"{module.__name__.rpartition('.')[2]}.py::{name}")
        for module in modules
        for name, each in vars(module).items()
        if name.startswith("test_") and hasattr(each, _MARK)
    ]
