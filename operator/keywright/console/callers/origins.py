"""Whether a request that changes something comes from a page of ours, where the browser proves the caller by itself.

A page of another site can make a browser send its cookies, and a front proxy vouch for it.
"""

from urllib.parse import urlsplit

from starlette.requests import Request

from keywright.console.problems import ProblemError

__all__ = ["SAFE_METHODS", "check_origin"]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def check_origin(request: Request) -> None:
    """Let pass what changes nothing, what the browser says is from here, and what comes from no browser.

    Raises:
        ProblemError: 403 for a request that another site has made a browser send.

    """
    if request.method in SAFE_METHODS:
        return
    # What the browser itself says comes first: under a policy of no-referrer the Origin of our own forms is "null".
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        is_ours = site == "same-origin"
    else:
        is_ours = origin is None or _host_of(origin) == request.headers.get("host", "")
    if not is_ours:
        raise ProblemError(403, "forbidden", "This was sent from another site. Open the page here and do it there.")


def _host_of(origin: str) -> str | None:
    """``None`` for what no browser sends."""
    try:
        return urlsplit(origin).netloc or None
    except ValueError:
        return None
