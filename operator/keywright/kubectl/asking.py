"""Asking a verifier about a key, and what its answer means."""

import ipaddress
import json
from dataclasses import dataclass

import urllib3

from keywright.domain.plainkey import PlainKey
from keywright.errors import KeywrightError

__all__ = ["Answer", "ask"]

TIMEOUT = urllib3.Timeout(connect=5, read=10)
MAX_ANSWER = 65536

ALLOWED, INVALID, NOT_ALLOWED = "allowed", "invalid", "not allowed"
_MEANINGS = {
    "missing_key": (None, "it looks for keys elsewhere: name the scheme of the class with --scheme"),
    "malformed_key": (INVALID, "it does not take this for a key of a class that it accepts: see verifier --class"),
    "invalid_key": (INVALID, "it does not know the key: deleted, replaced, or of another namespace or cluster"),
    "expired_key": (INVALID, "the key has expired: make a new one with kubectl apikey create"),
    "revoked_key": (INVALID, "the key is revoked, for ever: make a new one with kubectl apikey create"),
    "suspended_key": (INVALID, "the key is suspended: kubectl apikey resume accepts it again"),
    "insufficient_scope": (NOT_ALLOWED, "the key is valid, but lacks the role or scope for this request"),
    "rate_limited": (NOT_ALLOWED, "the key is valid, but over its limit: wait, or see its rateLimits"),
    "forbidden": (None, "no rule of the verifier covers this path and method, so it says nothing about the key"),
    "invalid_request": (None, "the verifier cannot tell which request is meant: see its --request-from"),
    "unavailable": (None, "the verifier cannot tell at the moment: try again"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """``verdict`` is ALLOWED, INVALID or NOT_ALLOWED; ``text`` says it to a person."""

    verdict: str
    text: str


def ask(url: str, key: PlainKey, scheme: str) -> Answer:
    """Present the key at ``url`` with a GET. No redirect is followed, and no proxy of the environment is used.

    Raises:
        KeywrightError: if the answer says nothing about the key, or the key would travel in the clear.

    """
    _check_way(url)
    headers = {"Authorization": f"{scheme} {key.text}"}
    try:
        with urllib3.PoolManager(headers=headers, retries=False, timeout=TIMEOUT) as pool:
            response = pool.request("GET", url, redirect=False, preload_content=False)
            status, content = response.status, response.read(MAX_ANSWER)
            subject = response.headers.get("X-Auth-Key")
            response.release_conn()
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise KeywrightError(f"{url} cannot be asked ({type(error).__name__}): check the address") from None
    if status == 200 and subject:
        return Answer(ALLOWED, f"allowed: the key of {subject}")
    code = _code(content)
    if code not in _MEANINGS:
        raise KeywrightError(
            f"{url} answered {status}, which is no answer of a verifier: give its own address, /verify"
        )
    verdict, text = _MEANINGS[code]
    if verdict is None:
        raise KeywrightError(f"{status} {code}: {text}")
    return Answer(verdict, f"{status} {code}: {text}")


def _check_way(url: str) -> None:
    try:
        parsed = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        parsed = urllib3.util.Url()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise KeywrightError(f"{url} is no URL: write it as http://127.0.0.1:8080/verify")
    if parsed.scheme == "http" and not _is_loopback(parsed.host):
        raise KeywrightError(
            f"{url} would send the key in the clear: use https, or kubectl port-forward and http://127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _code(content: bytes) -> str | None:
    try:
        code = json.loads(content).get("code")
    except (ValueError, AttributeError):
        return None
    return code if isinstance(code, str) else None
