"""One-way hashes of plain keys and the fingerprint that goes with them (DESIGN section 5).

Every call that costs an argon2 run is in this module, and so is every exception of the argon2 library: what
leaves it is a value. A stored hash carries its own cost parameters, so they are bounded before they are used.
"""

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum

from argon2 import PasswordHasher, Type, extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError

__all__ = [
    "MAX_ITERATIONS",
    "MAX_MEMORY_KIB",
    "MAX_PARALLELISM",
    "Algorithm",
    "Hashing",
    "fingerprint",
    "hash_key",
    "is_argon2",
    "is_trustworthy",
    "verify",
]

# Upper bounds of the class schema; a stored hash beyond them was not written by an operator.
MAX_MEMORY_KIB = 65536
MAX_ITERATIONS = 10
MAX_PARALLELISM = 4
SALT_BYTES = 16

_SHA256 = "sha256:"
_HASHER = PasswordHasher(type=Type.ID)


class Algorithm(StrEnum):
    """How a class stores its keys."""

    ARGON2ID = "argon2id"
    SHA256 = "sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hashing:
    """Hashing of a class. The defaults are the OWASP minimum for argon2id (Password Storage Cheat Sheet).

    Memory is in KiB; the argon2 fields do not matter to ``sha256``.
    """

    algorithm: Algorithm = Algorithm.ARGON2ID
    memory_kib: int = 19456
    iterations: int = 2
    parallelism: int = 1


def hash_key(plain: str, hashing: Hashing, salt: bytes) -> str:
    """Hash a whole plain key. ``salt`` is 16 bytes from the operating system (unused by sha256)."""
    if hashing.algorithm is Algorithm.SHA256:
        return _SHA256 + hashlib.sha256(plain.encode()).hexdigest()
    hasher = PasswordHasher(
        time_cost=hashing.iterations,
        memory_cost=hashing.memory_kib,
        parallelism=hashing.parallelism,
        type=Type.ID,
    )
    return hasher.hash(plain, salt=salt)


def is_argon2(stored: str) -> bool:
    """Whether verifying against ``stored`` costs an argon2 run."""
    return stored.startswith("$argon2")


def is_trustworthy(stored: str) -> bool:
    """Whether ``stored`` is a hash of ours whose cost is within bounds; anything else is tampering."""
    if stored.startswith(_SHA256):
        digest = stored[len(_SHA256) :]
        return len(digest) == 64 and all(c in "0123456789abcdef" for c in digest)
    try:
        found = extract_parameters(stored)
    except (InvalidHashError, ValueError):
        return False
    return (
        found.type is Type.ID
        and 1 <= found.parallelism <= MAX_PARALLELISM
        and 1 <= found.time_cost <= MAX_ITERATIONS
        and 8 * found.parallelism <= found.memory_cost <= MAX_MEMORY_KIB
    )


def verify(stored: str, plain: str) -> bool:
    """Whether ``plain`` is the key behind ``stored``. Untrustworthy hashes match nothing and cost nothing.

    Raises:
        MemoryError: if argon2 could not run; that says nothing about the key.

    """
    if not is_trustworthy(stored):
        return False
    if stored.startswith(_SHA256):
        actual = hashlib.sha256(plain.encode()).hexdigest()
        return hmac.compare_digest(stored[len(_SHA256) :], actual)
    try:
        return _HASHER.verify(stored, plain)
    except (Argon2Error, InvalidHashError, ValueError) as error:
        # The library has one exception for a hash that cannot be read and for memory that is not to be had.
        if "memory" in str(error).lower():
            raise MemoryError("argon2 could not run") from None
        return False


def fingerprint(plain: str) -> str:
    """16 hex digits that let a wrong secret be refused without argon2. Only for generated keys: 256 random
    bits cannot be searched, a key that a person chose could be.
    """
    return hashlib.sha256(b"keywright fingerprint v1\0" + plain.encode()).digest()[:8].hex()
