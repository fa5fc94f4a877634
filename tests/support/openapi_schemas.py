"""What an API server says about its kinds (OpenAPI v3), as the JSON schemas that kubeconform reads."""

import json
from pathlib import Path
from typing import Any

from tests.support.kube import Kube

__all__ = ["LOCATION", "write_schemas"]

#: For ``kubeconform -schema-location``, below the folder that was written.
LOCATION = "{{.ResourceKind}}-{{.Group}}-{{.ResourceAPIVersion}}.json"


def write_schemas(kube: Kube, folder: Path) -> None:
    """One file for each kind that the server knows."""
    for path in kube.request("GET", "/openapi/v3")["paths"]:
        if path.startswith(("api/", "apis/")) and path.count("/") == (1 if path.startswith("api/") else 2):
            document = kube.request("GET", f"/openapi/v3/{path}")
            schemas = document.get("components", {}).get("schemas", {})
            for schema in schemas.values():
                _forbid_unknown_fields(schema)
            for name, schema in schemas.items():
                for kind in schema.get("x-kubernetes-group-version-kind", ()):
                    file = f"{kind['kind'].lower()}-{kind['group'] or kind['version']}-{kind['version']}.json"
                    text = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}}
                    (folder / file).write_text(json.dumps(text))


def _forbid_unknown_fields(schema: Any) -> None:
    """As kubectl does with --validate=strict. A schema of several parts is closed by none of them."""
    if isinstance(schema, list):
        for each in schema:
            _forbid_unknown_fields(each)
    elif isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            if not schema.get("x-kubernetes-preserve-unknown-fields"):
                schema.setdefault("additionalProperties", False)
            _forbid_unknown_fields(list(schema["properties"].values()))
        _forbid_unknown_fields([schema[part] for part in ("items", "additionalProperties") if part in schema])
