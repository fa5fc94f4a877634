"""ApiKeys by number, as an API server lists them after an operator has issued them.

Number ``i`` always gives the same key, so the stand-in server and the load know the same ones without talking.
Some keys are stored as sha256 and can be presented; the others carry a well-formed argon2id hash that nobody
knows the key of, because a hundred thousand real ones would take an hour. Key 1 has a real argon2id hash at the
OWASP minimum.
"""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from keywright.domain import hashing, plainkey
from keywright.domain.hashing import Algorithm, Hashing
from keywright.domain.plainkey import PlainKey
from keywright.domain.times import format_instant

__all__ = [
    "ARGON2_KEY",
    "SCOPE",
    "is_presentable",
    "limited_class",
    "manifest",
    "manifest_text",
    "plain_key",
    "presentable",
    "wrong_secret",
]

PREFIX = "kw_live"
ARGON2_KEY = 1
SCOPE = "agents:read"

_BASE62 = bytes(plainkey.ALPHABET.encode()[number % 62] for number in range(256))
_SHA256 = Hashing(algorithm=Algorithm.SHA256)
_TAIL = plainkey.ID_LENGTH + plainkey.SECRET_LENGTH


def plain_key(number: int) -> PlainKey:
    """The key of that number."""
    return _key(_characters(f"key {number}"))


def is_presentable(number: int) -> bool:
    """Whether the key of that number is right and costs no argon2: most of the first ten, then every tenth."""
    return number != ARGON2_KEY and (number < 10 or number % 10 == 0)


def presentable(keys: int) -> list[PlainKey]:
    """Those of the first so many that can be presented."""
    return [plain_key(number) for number in range(keys) if is_presentable(number)]


def wrong_secret(number: int, attempt: int) -> str:
    """A well-formed key with the id of that number and another secret, a different one for each attempt."""
    key_id = plain_key(number).key_id
    return _key(key_id + _characters(f"attempt {number} {attempt}")[plainkey.ID_LENGTH :]).text


def limited_class() -> dict[str, Any]:
    """The default class with three limits, as the guide has them but so wide that no load reaches them."""
    windows = {"minute": "1m", "day": "24h", "burst": "10s"}
    limits = [{"name": name, "requests": 1_000_000_000, "window": window} for name, window in windows.items()]
    return {
        "apiVersion": "keywright.dev/v1alpha1",
        "kind": "ApiKeyClass",
        "metadata": {"name": "standard", "uid": _uuid(bytes(16)), "resourceVersion": "1"},
        "spec": {"prefix": PREFIX, "rateLimits": limits},
    }


def manifest(number: int) -> dict[str, Any]:
    """The ApiKey of that number."""
    found: dict[str, Any] = json.loads(manifest_text(number))
    return found


def manifest_text(number: int) -> str:
    """The same as JSON."""
    key = plain_key(number)
    unique = hashlib.blake2b(b"object %d" % number, digest_size=48).digest()
    text = _TEMPLATE.replace("@number@", str(number)).replace("@id@", key.key_id)
    text = text.replace("@uid@", _uuid(unique[:16])).replace("@secret@", _uuid(unique[16:32]))
    return text.replace("@hash@", _hash(number, key)).replace("@fingerprint@", hashing.fingerprint(key.text))


def _key(tail: str) -> PlainKey:
    key_id, secret = tail[: plainkey.ID_LENGTH], tail[plainkey.ID_LENGTH :]
    body = f"{PREFIX}_{key_id}_{secret}"
    return PlainKey(PREFIX, key_id, body + plainkey.checksum(body))


def _characters(seed: str) -> str:
    return hashlib.blake2b(seed.encode(), digest_size=_TAIL).digest().translate(_BASE62).decode()


def _hash(number: int, key: PlainKey) -> str:
    if is_presentable(number):
        return hashing.hash_key(key.text, _SHA256, b"")
    seed = hashlib.blake2b(b"hash %d" % number, digest_size=48).digest()
    if number == ARGON2_KEY:
        return hashing.hash_key(key.text, Hashing(), seed[:16])
    salt, digest = (base64.b64encode(part).decode().rstrip("=") for part in (seed[:16], seed[16:]))
    return f"$argon2id$v=19$m=19456,t=2,p=1${salt}${digest}"


def _uuid(raw: bytes) -> str:
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _template() -> str:
    """What the operator leaves behind, with the bookkeeping of the API server, in compact JSON."""
    issued_at = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    at, ends_at = format_instant(issued_at), format_instant(issued_at + timedelta(days=90))
    said = {"lastTransitionTime": at, "message": "key @id@ is in place", "observedGeneration": 1, "reason": "KeyIssued"}
    stated = {"Ready": "True", "Active": "True", "Expiring": "False", "Stalled": "False", "SecretDelivered": "True"}
    record = {
        "expiresAt": ends_at,
        "fingerprint": "@fingerprint@",
        "hash": "@hash@",
        "id": "@id@",
        "issuedAt": at,
        "state": "Current",
    }
    status = {
        "className": "standard",
        "conditions": [{**said, "status": status, "type": kind} for kind, status in stated.items()],
        "currentKeyId": "@id@",
        "effective": {"scopes": [SCOPE]},
        "expiresAt": ends_at,
        "issuedAt": at,
        "keys": [record],
        "maskedKey": f"{PREFIX}_@id@_…",
        "observedGeneration": 1,
        "phase": "Active",
        "secretName": "key-@number@",
        "secretUID": "@secret@",
    }
    each_condition: dict[str, Any] = {".": {}, **{f"f:{field}": {} for field in (*said, "status", "type")}}
    fields: dict[str, Any] = {f"f:{field}": {} for field in status}
    fields["f:conditions"] = {f'k:{{"type":"{kind}"}}': each_condition for kind in stated}
    fields["f:keys"] = {".": {}, 'k:{"id":"@id@"}': {".": {}, **{f"f:{field}": {} for field in record}}}
    managed = [
        _managed("kubectl-create", {"f:spec": {".": {}, "f:scopes": {}, "f:ttl": {}}}, at),
        _managed("keywright", {"f:status": fields}, at),
    ]
    metadata = {
        "creationTimestamp": at,
        "generation": 1,
        "managedFields": managed,
        "name": "key-@number@",
        "namespace": "bench",
        "resourceVersion": "1@number@",
        "uid": "@uid@",
    }
    spec = {"revoked": False, "scopes": [SCOPE], "suspended": False, "ttl": "90d"}
    whole = {
        "apiVersion": "keywright.dev/v1alpha1",
        "kind": "ApiKey",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }
    return json.dumps(whole, separators=(",", ":"))


def _managed(manager: str, fields: dict[str, Any], at: str) -> dict[str, Any]:
    return {
        "apiVersion": "keywright.dev/v1alpha1",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields,
        "manager": manager,
        "operation": "Update",
        "time": at,
    }


_TEMPLATE = _template()
