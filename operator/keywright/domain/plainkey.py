"""The plain key: how it is built, read and shown (DESIGN section 4).

``<prefix>_<key id: 12 base62>_<secret: 43 base62><checksum: 6 base62>``. The key id is public. 43 characters
of base62 hold 256.03 bits. The checksum is the CRC-32 (IEEE 802.3, as in zlib) of everything before it and
serves people and secret scanners; it proves nothing.
"""

import base64
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from random import Random

__all__ = [
    "ID_LENGTH",
    "MAX_LENGTH",
    "PREFIX_PATTERN",
    "Malformed",
    "MalformedCause",
    "PlainKey",
    "escape",
    "find_in",
    "generate",
    "mask",
    "parse",
    "redact",
]

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIX_PATTERN = r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$"
ID_LENGTH = 12
SECRET_LENGTH = 43
CHECKSUM_LENGTH = 6
MAX_LENGTH = 20 + 1 + ID_LENGTH + 1 + SECRET_LENGTH + CHECKSUM_LENGTH

# The tail is of fixed width and holds no underscore, so matching from the right is one anchored pattern
# even though a prefix may hold underscores itself.
_SHAPE = re.compile(r"([a-z][a-z0-9]*(?:_[a-z0-9]+)*)_([0-9A-Za-z]{12})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})", re.ASCII)

_ANYWHERE = re.compile(r"(_[0-9A-Za-z]{12}_)[0-9A-Za-z]{49}")


@dataclass(frozen=True, slots=True)
class PlainKey:
    """A well-formed plain key. ``repr`` and ``str`` are masked; only :attr:`text` holds the secret."""

    prefix: str
    key_id: str
    text: str

    def __repr__(self) -> str:
        return f"PlainKey({mask(self.prefix, self.key_id)})"

    __str__ = __repr__


class MalformedCause(StrEnum):
    """What is wrong with a string that should have been a plain key; the value is safe to show."""

    WHITE_SPACE = "surrounding white space"
    MISTYPED = "truncated or mistyped"


@dataclass(frozen=True, slots=True)
class Malformed:
    """Not a plain key, and why."""

    cause: MalformedCause


def generate(prefix: str, rng: Random) -> PlainKey:
    """Mint a plain key. ``rng`` must be the operating system's generator (``random.SystemRandom``)."""
    key_id = "".join(rng.choice(ALPHABET) for _ in range(ID_LENGTH))
    secret = "".join(rng.choice(ALPHABET) for _ in range(SECRET_LENGTH))
    body = f"{prefix}_{key_id}_{secret}"
    return PlainKey(prefix, key_id, body + checksum(body))


def checksum(body: str) -> str:
    """CRC-32 of ``body`` as six base62 digits, most significant first, padded with zeros."""
    value = zlib.crc32(body.encode("ascii"))
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        value, digit = divmod(value, 62)
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))


def parse(text: str) -> PlainKey | Malformed:
    """Read a presented string. Never raises; a refusal says which of the usual accidents happened."""
    match = _SHAPE.fullmatch(text)
    if match is None or len(match[1]) > 20:
        stripped = text.strip()
        if stripped != text and isinstance(parse(stripped), PlainKey):
            return Malformed(MalformedCause.WHITE_SPACE)
        return Malformed(MalformedCause.MISTYPED)
    if checksum(text[:-CHECKSUM_LENGTH]) != match[4]:
        return Malformed(MalformedCause.MISTYPED)
    return PlainKey(match[1], match[2], text)


def find_in(data: Mapping[str, str] | None, entry: str) -> PlainKey | None:
    """The plain key in that entry of a Secret's ``data``, if there is a well-formed one."""
    try:
        text = base64.b64decode((data or {})[entry], validate=True).decode("ascii")
    except (KeyError, ValueError):
        return None
    plain = parse(text)
    return plain if isinstance(plain, PlainKey) else None


def mask(prefix: str, key_id: str) -> str:
    """The public face of a plain key, for people: ``kw_live_4hJk29sLmQ0z_…``."""
    return f"{prefix}_{key_id}_…"


def redact(text: str) -> str:
    """The text with the secret cut out of whatever in it is shaped like a plain key: the last line of defence of what
    is logged or said to people.
    """
    return _ANYWHERE.sub(r"\1[redacted]", text)


def escape(text: str) -> str:
    """The text with escapes in place of what is not printable: a terminal gets to see it, but does not obey it, and
    one line stays one line.
    """
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
