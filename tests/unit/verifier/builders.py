"""Manifests as the API server sends them, and plain keys, for tests of the verifier."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from keywright.domain import hashing, plainkey
from keywright.domain.hashing import Algorithm, Hashing
from keywright.domain.plainkey import PlainKey
from keywright.domain.times import format_instant

NOW = datetime.now(UTC).replace(microsecond=0)
CHEAP = Hashing(memory_kib=8, iterations=1, parallelism=1)
SHA256 = Hashing(algorithm=Algorithm.SHA256)

_SALT = b"0123456789abcdef"


def mint(seed: int = 1, prefix: str = "kw_live") -> PlainKey:
    """A plain key; the same seed gives the same one."""
    return plainkey.generate(prefix, Random(seed))


def with_other_secret(key: PlainKey) -> str:
    """A well-formed key with the id of ``key`` and another secret."""
    body = f"{key.prefix}_{key.key_id}_{'Z' * 43}"
    return body + plainkey.checksum(body)


def at(seconds: float) -> str:
    """RFC 3339 for ``seconds`` from now."""
    return format_instant(NOW + timedelta(seconds=seconds))


def record(key: PlainKey, *, hashed: Hashing = SHA256, **overrides: Any) -> dict[str, Any]:
    """One entry of ``status.keys``. An override of ``None`` removes a field."""
    fields = {
        "id": key.key_id,
        "state": "Current",
        "hash": hashing.hash_key(key.text, hashed, _SALT),
        "fingerprint": hashing.fingerprint(key.text),
        "issuedAt": at(-60),
    } | overrides
    return {name: value for name, value in fields.items() if value is not None}


def api_key(
    *records: dict[str, Any],
    name: str = "ci-deploy",
    namespace: str = "payments",
    uid: str = "uid-1",
    created_at: str | None = None,
    class_name: str = "standard",
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """An ApiKey with these records."""
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid,
            "creationTimestamp": created_at or at(-3600),
            "resourceVersion": "1",
        }
        | (metadata or {}),
        "spec": spec or {},
        "status": {"className": class_name, "keys": list(records)} | (status or {}),
    }


def api_key_class(
    name: str, *, uid: str | None = None, is_default: bool = False, created_at: str | None = None, **spec: Any
) -> dict[str, Any]:
    """An ApiKeyClass."""
    annotations = {"keywright.dev/is-default-class": "true"} if is_default else {}
    return {
        "metadata": {
            "name": name,
            "uid": uid or f"class-{name}",
            "creationTimestamp": created_at or at(-3600),
            "resourceVersion": "1",
            "annotations": annotations,
        },
        "spec": spec,
    }
