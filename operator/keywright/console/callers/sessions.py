"""Who a browser is signed in as: said by a signed cookie, which holds no credential and lasts minutes.

Nothing is kept here, so any replica reads what another has signed, if they share the session key. What a key may do is
no part of it: a session that came from a key names the key, which is judged anew on each request.
"""

import base64
import binascii
import hashlib
import hmac
import json
import secrets
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keywright.console.callers.caller import Caller
from keywright.console.problems import ProblemError
from keywright.errors import KeywrightError

__all__ = ["Session", "Sessions", "read_session_key"]

LEAST_KEY = 32
# A browser keeps 4096 bytes of a cookie, its name and attributes included.
LONGEST = 3800
MOST_UNPACKED = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One sign-in. ``key`` (``namespace/name``) and ``key_id`` are of the key that it came from, if it was one."""

    id: str
    user: str
    groups: tuple[str, ...]
    expires_at: int
    key: str | None = None
    key_id: str | None = None


class Sessions:
    """Issues and reads sessions, and the tokens that show that a form is one of ours."""

    def __init__(self, key: bytes, *, minutes: int, is_secure: bool, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._seconds = minutes * 60
        self._clock = clock
        self.is_secure = is_secure
        self.cookie = "__Host-keywright" if is_secure else "keywright"
        """The name of the cookie, for the path ``/``."""

    def issue(self, caller: Caller, until: float | None = None) -> str:
        """The value of the cookie of somebody who has just proven who he is; ``until`` ends it earlier.

        Raises:
            ProblemError: 422 for more groups than a cookie holds.

        """
        ends_at = self._clock() + self._seconds
        said: dict[str, Any] = {
            "id": secrets.token_urlsafe(16),
            "user": caller.user,
            "groups": caller.groups if caller.bounds is None else (),
            "expires_at": int(ends_at if until is None else min(ends_at, until)),
        }
        if caller.bounds is not None:
            said |= {"key": f"{caller.bounds.namespace}/{caller.bounds.name}", "key_id": caller.bounds.key_id}
        packed = _encode(zlib.compress(json.dumps(said).encode()))
        value = f"{packed}.{self._sign('session', packed)}"
        if len(value) > LONGEST:
            raise ProblemError(
                422,
                "invalid_request",
                "You are in more groups than a session holds. Use the REST interface or kubectl.",
            )
        return value

    def read(self, value: str | None) -> Session | None:
        """The session that a cookie says; ``None`` if it is none of ours, or over."""
        packed, _, signature = (value or "").partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", packed).encode()):
            return None
        try:
            said = json.loads(zlib.decompressobj().decompress(_decode(packed), MOST_UNPACKED))
            session = Session(**said | {"groups": tuple(said["groups"])})
        except (ValueError, TypeError, KeyError, zlib.error, binascii.Error):
            return None
        return session if self._clock() < session.expires_at else None

    def csrf_token(self, session_id: str) -> str:
        """What each form of this session carries."""
        return self._sign("csrf", session_id)

    def is_csrf_token(self, session_id: str, token: str) -> bool:
        """Whether a form was made for this session."""
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.csrf_token(session_id).encode())

    def _sign(self, purpose: str, text: str) -> str:
        return _encode(hmac.digest(self._key, f"{purpose}\0{text}".encode("utf-8", "replace"), hashlib.sha256))


def read_session_key(path: Path | None) -> bytes:
    """The key that signs sessions; a random one, good for this process, if no file holds it.

    Raises:
        KeywrightError: if the file cannot be read, or holds too little.

    """
    if path is None:
        return secrets.token_bytes(LEAST_KEY)
    try:
        key = path.read_bytes()
    except OSError as error:
        raise KeywrightError(f"cannot read {path}: {error.strerror}: check --session-key-file") from None
    if len(key) < LEAST_KEY:
        raise KeywrightError(f"{path} holds {len(key)} bytes: make 32 at least: head -c 32 /dev/urandom > {path}")
    return key


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
