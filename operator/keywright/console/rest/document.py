"""The OpenAPI document: made from the routes and models that requests are read by, served and committed."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
from fastapi.openapi.utils import get_openapi

from keywright.console.rest.answers import Problem
from keywright.console.rest.endpoints import router as endpoints

__all__ = ["FILE", "document", "router", "write"]

FILE = Path("docs/reference/openapi.json")

_SUMMARY = "API keys as Kubernetes resources, for programs."
_DESCRIPTION = (
    "Everything is done as the one who asks: by a Kubernetes token, or by a Keywright key with the scope keys:read or "
    "keys:manage, which acts as its owner. What he may do with kubectl he may do here; a key never hands out more than "
    "it has itself. Every refusal is a problem document (RFC 9457) with a code for programs and a detail for people."
)

router = APIRouter()


@cache
def document() -> dict[str, Any]:
    """The whole document."""
    made = get_openapi(
        title="Keywright key service",
        version="v1",
        openapi_version="3.1.0",
        summary=_SUMMARY,
        description=_DESCRIPTION,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        routes=endpoints.routes,
        separate_input_output_schemas=False,
    )
    parts = made["components"]
    parts["schemas"]["Problem"] = Problem.model_json_schema(by_alias=True)
    parts["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "A Keywright key or a Kubernetes token."},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "A Keywright key."},
    }
    made["security"] = [{"bearer": []}, {"header": []}]
    return made


def write(path: Path) -> None:
    """Write it as it is committed."""
    path.write_text(json.dumps(document(), indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


@router.get("/openapi.json", include_in_schema=False)
async def get_document() -> Response:
    """What this is read by and answers, for programs that make clients and tests from it. It needs no credential."""
    return Response(json.dumps(document()), media_type="application/json")
