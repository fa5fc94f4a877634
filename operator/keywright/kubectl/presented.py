"""What is wrong with a string that should be a plain key. Pure, and no message holds a byte of it.

:func:`keywright.domain.plainkey.parse` judges; this tells people, who have the string before them, where to look.
"""

import re
import string

from keywright.domain.plainkey import CHECKSUM_LENGTH, ID_LENGTH, PREFIX_PATTERN, SECRET_LENGTH, PlainKey, parse

__all__ = ["find_fault"]

TAIL_LENGTH = SECRET_LENGTH + CHECKSUM_LENGTH
_KEY_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9-]*:? +\S+")


def find_fault(text: str, prefix: str | None = None) -> PlainKey | str:
    """The key; or what is wrong with it, and what to do. ``prefix`` is the one that it should have."""
    found = parse(text)
    if isinstance(found, PlainKey):
        if prefix is not None and found.prefix != prefix:
            return f"another class: this key begins {found.prefix}_, not {prefix}_: take the key of the right class"
        return found
    if not text.strip():
        return "empty: there is no key"
    if text != text.strip():
        return "white space: there are blanks, tabs or line ends around the key: send the key alone"
    if _SCHEME.fullmatch(text):
        return "not only a key: there is a word in front of it, as in a header: give the key alone"
    if text.endswith("_…"):
        return "masked: this is how lists show the key, not the key: have it with kubectl apikey reveal"
    for place, each in enumerate(text, start=1):
        if each not in _KEY_CHARACTERS:
            return f"wrong alphabet: character {place} is neither letter, digit nor underscore: copy it again, whole"
    return _find_misfit(text)


def _find_misfit(text: str) -> str:
    parts = text.rsplit("_", 2)
    if len(parts) < 3 or len(parts[0]) > 20 or not re.fullmatch(PREFIX_PATTERN, parts[0]):
        return "not a key: it is not PREFIX_ID_SECRET as keys of Keywright are: see whether it is of another system"
    _, key_id, tail = parts
    if len(key_id) != ID_LENGTH:
        return f"wrong length: its id has {len(key_id)} characters, not {ID_LENGTH}: copy it again, whole"
    if len(tail) != TAIL_LENGTH:
        what = "too short" if len(tail) < TAIL_LENGTH else "too long"
        return f"wrong length: {what} by {abs(len(tail) - TAIL_LENGTH)} at the end: copy it again, whole"
    return "mistyped: its checksum does not fit, so some character is wrong: copy it, do not type it"
