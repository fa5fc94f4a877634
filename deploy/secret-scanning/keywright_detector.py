"""A plugin for detect-secrets: ``detect-secrets scan --plugin keywright_detector.py``.

It needs nothing of Keywright. Unlike a regular expression it checks the last six characters of a key, a CRC-32 of all
before them, so a finding is a key, or was made to look like one.
"""

import re
import zlib
from collections.abc import Generator

from detect_secrets.plugins.base import BasePlugin

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
PREFIX = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
# Key id, 43 characters of secret, 6 of checksum.
TAIL = re.compile(r"_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}(?![0-9A-Za-z])")


class KeywrightDetector(BasePlugin):
    """Finds the keys of every class."""

    secret_type = "Keywright API key"

    def analyze_string(self, string: str) -> Generator[str, None, None]:
        """Every key in the line. What stands before a key may look like a part of its prefix: each length is tried."""
        for tail in TAIL.finditer(string):
            for start in range(max(tail.start() - 20, 0), tail.start() - 1):
                key = string[start : tail.end()]
                if PREFIX.fullmatch(string, start, tail.start()) and checksum(key[:-6]) == key[-6:]:
                    yield key


def checksum(body: str) -> str:
    """CRC-32 as six base62 digits, most significant first."""
    value, digits = zlib.crc32(body.encode("ascii")), ""
    for _ in range(6):
        value, digit = divmod(value, 62)
        digits = ALPHABET[digit] + digits
    return digits
