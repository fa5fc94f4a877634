"""Stored hashes: any argon2 library can check them, and one that costs too much is never run."""

import argon2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.domain import hashing
from keywright.domain.hashing import Algorithm, Hashing
from tests.unit.domain.examples import CHEAP, SALT, key

SHA256 = Hashing(algorithm=Algorithm.SHA256)
PLAIN = "kw_live_4hJk29sLmQ0z_secret"
GOOD = hashing.hash_key(PLAIN, CHEAP, SALT)


def _phc(kind: str = "argon2id", version: str = "v=19", cost: str = "m=8,t=1,p=1") -> str:
    """``GOOD`` with its parameters rewritten."""
    return "$".join(["", kind, version, cost, *GOOD.split("$")[4:]])


UNTRUSTWORTHY = {
    "nothing": "",
    "not a hash": "garbage",
    "a plain key": key().text,
    "bcrypt": "$2b$12$abcdefghijklmnopqrstuv",
    "argon2i": _phc("argon2i"),
    "argon2d": _phc("argon2d"),
    "an argon2 that does not exist": _phc("argon2x"),
    "a parameter missing": _phc(cost="m=8,t=1"),
    "a parameter that is no number": _phc(cost="m=8,t=1,p=x"),
    "an unknown parameter": _phc(cost="m=8,t=1,p=1,q=1"),
    "too much memory": _phc(cost=f"m={hashing.MAX_MEMORY_KIB + 1},t=1,p=1"),
    "so much memory that it overflows": _phc(cost="m=99999999999999999999,t=1,p=1"),
    "too many passes": _phc(cost=f"m=8,t={hashing.MAX_ITERATIONS + 1},p=1"),
    "too many lanes": _phc(cost=f"m=64,t=1,p={hashing.MAX_PARALLELISM + 1}"),
    "a truncated PHC string": GOOD.rsplit("$", 1)[0],
    "something before the PHC string": "x" + GOOD,
    "sha256 without a digest": "sha256:",
    "sha256 with half a digest": "sha256:" + "a" * 32,
    "sha256 in upper case": "sha256:" + "A" * 64,
    "sha256 with other characters": "sha256:" + "g" * 64,
}


def test_an_argon2id_hash_is_a_phc_string_that_plain_argon2_verifies() -> None:
    """No Keywright is needed to check a key against its hash (DESIGN section 5)."""
    stored = hashing.hash_key(PLAIN, CHEAP, SALT)
    assert stored.startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert argon2.PasswordHasher().verify(stored, PLAIN)


def test_plain_argon2_can_write_what_is_verified_here() -> None:
    """The other direction: a hash of the same kind from the bare library is accepted."""
    stored = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PLAIN)
    assert hashing.is_trustworthy(stored)
    assert hashing.verify(stored, PLAIN)


def test_the_cost_of_the_class_is_what_is_used() -> None:
    """Memory in KiB, passes and lanes end up in the stored hash."""
    stored = hashing.hash_key(PLAIN, Hashing(memory_kib=24, iterations=3, parallelism=2), SALT)
    assert "$m=24,t=3,p=2$" in stored


def test_the_default_cost_is_the_owasp_minimum() -> None:
    """19 MiB, two passes, one lane (OWASP Password Storage Cheat Sheet)."""
    assert Hashing() == Hashing(algorithm=Algorithm.ARGON2ID, memory_kib=19456, iterations=2, parallelism=1)


def test_sha256_is_the_plain_digest() -> None:
    """``sha256:<hex>`` of the whole plain key, as ``sha256sum`` prints it."""
    expected = "sha256:2216f32edc471a5248946efb662e36b4dcf9736e24b8f2795fb07df7b5eb7dfc"
    assert hashing.hash_key(PLAIN, SHA256, SALT) == expected


@pytest.mark.parametrize("kind", [CHEAP, SHA256], ids=["argon2id", "sha256"])
@given(plain=st.text(min_size=1), other=st.text())
def test_only_the_same_key_matches(kind: Hashing, plain: str, other: str) -> None:
    """Any other text is refused, one that differs in a single character included."""
    plain, other = (each.encode("utf-8", "replace").decode() for each in (plain, other))
    stored = hashing.hash_key(plain, kind, SALT)
    assert hashing.is_trustworthy(stored)
    assert hashing.verify(stored, plain)
    assert hashing.verify(stored, other) is (other == plain)
    assert not hashing.verify(stored, plain + "0")


@pytest.mark.parametrize("stored", UNTRUSTWORTHY.values(), ids=UNTRUSTWORTHY)
def test_an_untrustworthy_hash_matches_nothing_and_is_not_run(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write status cannot make a verifier spend its memory, nor let a key of theirs in."""

    class Forbidden:
        def verify(self, *_: object) -> bool:
            raise AssertionError("argon2 was run")

    monkeypatch.setattr(hashing, "_HASHER", Forbidden())
    assert not hashing.is_trustworthy(stored)
    assert hashing.verify(stored, PLAIN) is False


AT_THE_BOUNDS = {
    "memory": f"m={hashing.MAX_MEMORY_KIB},t=1,p=1",
    "passes": f"m=8,t={hashing.MAX_ITERATIONS},p=1",
    "lanes": f"m=64,t=1,p={hashing.MAX_PARALLELISM}",
}


@pytest.mark.parametrize("cost", AT_THE_BOUNDS.values(), ids=AT_THE_BOUNDS)
def test_the_largest_cost_of_the_schema_is_trusted(cost: str) -> None:
    """What a class may ask for must not look like tampering afterwards."""
    assert hashing.is_trustworthy(_phc(cost=cost))


CORRUPT = {
    "a damaged salt": GOOD.replace("$m=8,t=1,p=1$", "$m=8,t=1,p=1$!!"),
    "a damaged hash": GOOD[:-4] + "!!!!",
    "letters outside of ASCII": GOOD[:-1] + "é",
    "a lone surrogate": GOOD[:-1] + "\ud800",
    "another hash": hashing.hash_key("another", CHEAP, SALT),
}


@pytest.mark.parametrize("stored", CORRUPT.values(), ids=CORRUPT)
def test_a_corrupt_hash_matches_nothing(stored: str) -> None:
    """It is a verdict, never an exception."""
    assert hashing.verify(stored, PLAIN) is False


@pytest.mark.parametrize("cost", ["m=-8,t=1,p=1", "m=8,t=0,p=1", "m=8,t=1,p=0", "m=0,t=0,p=0"])
def test_parameters_below_what_argon2_knows_are_not_ours(cost: str) -> None:
    """No operator writes them, so they are tampering like the oversized ones."""
    assert not hashing.is_trustworthy(_phc(cost=cost))


@pytest.mark.parametrize(("stored", "costs"), [(GOOD, True), ("$argon2i$x", True), ("sha256:00", False), ("", False)])
def test_it_is_known_beforehand_whether_verifying_costs_an_argon2_run(stored: str, costs: bool) -> None:
    """The pool of the verifier is entered for argon2 only."""
    assert hashing.is_argon2(stored) is costs


def test_the_fingerprint_is_the_documented_digest() -> None:
    """First 8 bytes of SHA-256 of the label, a NUL and the key; this value came from ``sha256sum``."""
    assert hashing.fingerprint(PLAIN) == "b1823a4e1288a4dd"
