"""From a template and values to an answer. Whatever values hold is shown as text."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from keywright.console.pages import words
from keywright.console.pages.addresses import address, owner_address
from keywright.console.pages.distances import say_clock, say_date, say_distance
from keywright.console.pages.lifebar import draw, ended_at
from keywright.domain.times import format_instant

__all__ = ["Static", "render", "static_file"]

_KINDS = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
Static = Mapping[str, bytes]


def _read_static() -> dict[str, bytes]:
    folder = resources.files("keywright.console.pages") / "static"
    return {each.name: each.read_bytes() for each in folder.iterdir() if each.name[each.name.rfind(".") :] in _KINDS}


_STATIC: Static = _read_static()
_VERSIONS = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in _STATIC.items()}


def _address(name: str) -> str:
    """With the version in it, so that browsers keep a file for as long as it is the same."""
    return f"/static/{name}?v={_VERSIONS[name]}"


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("keywright.console.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"instant": format_instant, "clock": say_clock, "date": say_date, "distance": say_distance}
    made.globals |= {
        "address": address,
        "draw": draw,
        "ended_at": ended_at,
        "explain": words.explain,
        "owner_address": owner_address,
        "static": _address,
        "tell": words.tell,
    }
    return made


_ENVIRONMENT = _environment()


def render(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """The page. It knows the time, where it is, and who looks at it if the request has been judged."""
    known = {"now": datetime.now(UTC), "path": request.url.path, "viewer": getattr(request.state, "viewer", None)}
    content = _ENVIRONMENT.get_template(template).render(known | values)
    return HTMLResponse(content, status)


def static_file(name: str) -> Response | None:
    """One of the files that pages name; ``None`` for any other name."""
    content = _STATIC.get(name)
    if content is None:
        return None
    kind = _KINDS[name[name.rfind(".") :]]
    return Response(content, headers={"Content-Type": kind, "Cache-Control": "public, max-age=31536000, immutable"})
