"""Render the CRDs from the models. ``crds/`` holds the output; ``make check`` compares.

The API server wants structural schemas: no references, no unions with null, no titles. Rules that hold an old
object against a new one stand at the root and ask ``has()`` on both sides first, so that removing a field or
its whole parent does not get round them.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import JsonValue

from keywright.api import GROUP, VERSION
from keywright.api.apikey import ENTRY_PATTERN, ApiKey
from keywright.api.fields import (
    NAME_PATTERN,
    PRINTABLE_PATTERN,
    SCOPE_PATTERN,
    SECRET_NAME_PATTERN,
    ResourceModel,
    cel,
    compare_spans,
)
from keywright.api.keyclass import SCOPE_NAME_PATTERN, TOKEN_PATTERN, ApiKeyClass
from keywright.api.usage import ApiKeyUsage
from keywright.domain.plainkey import PREFIX_PATTERN
from keywright.domain.times import DURATION_PATTERN

__all__ = ["FILES", "render_all"]

_DROPPED = ("title", "default")
# The API server says of a value that does not match its pattern that it should match it. A rule beside it has words.
_REMEDIES = {
    DURATION_PATTERN: "write days, hours, minutes and seconds in this order, in whole numbers: as in 90d, 12h or 1h30m",
    NAME_PATTERN: "write small letters, digits and -, with a letter or digit at both ends: as in read-only",
    SECRET_NAME_PATTERN: "write small letters, digits, - and ., with a letter or digit at both ends: as in ci-deploy",
    SCOPE_PATTERN: "write a word or resource:action in small letters, with * on either side for all: as in agents:read",
    SCOPE_NAME_PATTERN: "write a word or resource:action in small letters, without *: as in agents:read",
    PRINTABLE_PATTERN: "write printable ASCII without spaces at its ends, which a header can carry",
    ENTRY_PATTERN: "write letters, digits, -, _ and .: as in api-key",
    PREFIX_PATTERN: "write small letters and digits with _ between words, beginning with a letter: as in kw_live",
    TOKEN_PATTERN: "write letters, digits and -, beginning with a letter: as in X-API-Key",
}


def _same(path: str, *, remedy: str) -> list[dict[str, JsonValue]]:
    """Rules that hold an optional field as it was, its absence and that of its parents included."""
    parts = path.split(".")
    trails = [".".join(parts[: end + 1]) for end in range(1, len(parts))]
    is_set = {side: " && ".join(f"has({side}.{trail})" for trail in trails) for side in ("self", "oldSelf")}
    presence = f"({is_set['self']}) == ({is_set['oldSelf']})"
    equality = f"!({is_set['self']}) || !({is_set['oldSelf']}) || self.{path} == oldSelf.{path}"
    message = f"{path} is immutable: {remedy}"
    return [cel(presence, message), cel(equality, message)]


_KEY_OF = "has({side}.spec.secret) && has({side}.spec.secret.key) ? {side}.spec.secret.key : 'api-key'"
_APIKEY_RULES = [
    cel(
        "!(has(oldSelf.spec.revoked) && oldSelf.spec.revoked) || (has(self.spec.revoked) && self.spec.revoked)",
        "a revoked key stays revoked: make a new ApiKey instead",
    ),
    *_same("spec.className", remedy="make a new ApiKey of the other class"),
    *_same("spec.secret.name", remedy="make a new ApiKey that delivers elsewhere"),
    *_same("spec.owner", remedy="make a new ApiKey for the other owner"),
    cel(
        f"({_KEY_OF.format(side='self')}) == ({_KEY_OF.format(side='oldSelf')})",
        "spec.secret.key is immutable: make a new ApiKey that delivers elsewhere",
    ),
    cel(
        "!(has(self.spec.expiresAt) && has(self.spec.ttl))",
        "expiresAt and ttl exclude each other: remove one of them",
    ),
    cel(
        "!has(self.spec.owner) || !self.spec.owner.user.startsWith('apikey:')",
        "spec.owner.user does not start with apikey: which is how keys without an owner are called",
    ),
    cel(
        "!has(self.spec.owner) || !has(self.spec.owner.groups) || !('system:masters' in self.spec.owner.groups)",
        "no key acts for system:masters: name the groups that hold the roles it needs",
    ),
    cel("size(self.metadata.name) <= 63", "the name of an ApiKey has at most 63 characters"),
    # Asked of a grace period that is new: nothing else that anybody changes about an ApiKey meets it.
    cel(
        "!has(self.spec.ttl) || !has(self.spec.rotation) || !has(self.spec.rotation.gracePeriod)"
        " || oldSelf.hasValue() && has(oldSelf.value().spec.rotation)"
        " && has(oldSelf.value().spec.rotation.gracePeriod)"
        " && oldSelf.value().spec.rotation.gracePeriod == self.spec.rotation.gracePeriod"
        f" || {compare_spans('self.spec.rotation.gracePeriod', '<', 'self.spec.ttl')}",
        "spec.rotation.gracePeriod is not shorter than spec.ttl: shorten it, or set a longer ttl",
    )
    | {"optionalOldSelf": True},
]
_CLASS_RULES = [
    *_same("spec.prefix", remedy="make a new class"),
    cel(
        "size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')",
        "the name of an ApiKeyClass has at most 63 characters and no dot",
    ),
]
_USAGE_RULES = _same("spec.verifier", remedy="each verifier process writes objects of its own")
_INITIAL_STATUS = {
    "phase": "Pending",
    "conditions": [
        {
            "type": "Ready",
            "status": "Unknown",
            "reason": "Pending",
            "message": "the operator has not seen this ApiKey yet",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
            "observedGeneration": 0,
        }
    ],
}
_COLUMNS = [
    {"name": "Status", "type": "string", "jsonPath": ".status.phase"},
    {"name": "Expires", "type": "string", "jsonPath": ".status.expiresAt"},
    {"name": "Last used", "type": "string", "jsonPath": ".status.lastUsedAt"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Class", "type": "string", "jsonPath": ".status.className", "priority": 1},
    {"name": "Role", "type": "string", "jsonPath": ".status.effective.role", "priority": 1},
    {"name": "Owner", "type": "string", "jsonPath": ".status.effective.owner.user", "priority": 1},
    {"name": "Secret", "type": "string", "jsonPath": ".status.secretName", "priority": 1},
    {"name": "Key ID", "type": "string", "jsonPath": ".status.currentKeyId", "priority": 1},
]
_CLASS_COLUMNS = [
    {"name": "Default", "type": "string", "jsonPath": r".metadata.annotations.keywright\.dev/is-default-class"},
    {"name": "Prefix", "type": "string", "jsonPath": ".spec.prefix"},
    {"name": "Hashing", "type": "string", "jsonPath": ".spec.hashing.algorithm"},
    {"name": "Max lifetime", "type": "string", "jsonPath": ".spec.lifetime.max"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]

_USAGE_COLUMNS = [
    {"name": "Verifier", "type": "string", "jsonPath": ".spec.verifier"},
    {"name": "Renewed", "type": "string", "jsonPath": ".spec.renewedAt"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
]
_PLURALS = {"ApiKey": "apikeys", "ApiKeyClass": "apikeyclasses", "ApiKeyUsage": "apikeyusages"}


def _apikey() -> dict[str, Any]:
    schema = _schema(ApiKey, _APIKEY_RULES)
    schema["properties"]["status"]["default"] = _INITIAL_STATUS
    return _definition(
        schema,
        kind="ApiKey",
        scope="Namespaced",
        names={"shortNames": ["ak"], "categories": ["keywright"]},
        version={
            "subresources": {"status": {}},
            "additionalPrinterColumns": _COLUMNS,
            "selectableFields": [
                {"jsonPath": ".spec.owner.user"},
                {"jsonPath": ".status.className"},
                {"jsonPath": ".status.phase"},
            ],
        },
    )


def _class() -> dict[str, Any]:
    return _definition(
        _schema(ApiKeyClass, _CLASS_RULES),
        kind="ApiKeyClass",
        scope="Cluster",
        names={"shortNames": ["akc"], "categories": ["keywright"]},
        version={"additionalPrinterColumns": _CLASS_COLUMNS},
    )


def _usage() -> dict[str, Any]:
    return _definition(
        _schema(ApiKeyUsage, _USAGE_RULES),
        kind="ApiKeyUsage",
        scope="Namespaced",
        names={"shortNames": ["aku"], "categories": ["keywright"]},
        version={"additionalPrinterColumns": _USAGE_COLUMNS},
    )


FILES = {"apikeys.yaml": _apikey, "apikeyclasses.yaml": _class, "apikeyusages.yaml": _usage}
"""File name in ``crds/`` and what renders it."""


def render_all() -> str:
    """All CRDs as one YAML stream, for ``keywright crds | kubectl apply -f -``."""
    return "---\n".join(render(name) for name in FILES)


def render(file_name: str) -> str:
    """One CRD as YAML, stable from run to run."""
    return yaml.safe_dump(FILES[file_name](), sort_keys=False, width=110, allow_unicode=True)


def write(directory: Path) -> None:
    """Write every CRD into ``directory``."""
    for name in FILES:
        (directory / name).write_text(render(name), encoding="utf-8")


def _definition(
    schema: dict[str, Any], *, kind: str, scope: str, names: dict[str, Any], version: dict[str, Any]
) -> dict[str, Any]:
    singular = kind.lower()
    plural = _PLURALS[kind]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": scope,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "singular": singular,
                **names,
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                    **version,
                }
            ],
        },
    }


def _schema(model: type[ResourceModel], rules: list[dict[str, JsonValue]]) -> dict[str, Any]:
    generated = model.model_json_schema(by_alias=True, mode="validation")
    schema: dict[str, Any] = _structural(generated, generated.get("$defs", {}))
    properties = schema["properties"]
    for name in ("apiVersion", "kind"):
        properties[name] = {"type": "string"}
    properties["metadata"] = {"type": "object"}
    schema["required"] = ["spec"]
    schema["x-kubernetes-validations"] = rules
    return schema


def _structural(node: Any, definitions: dict[str, Any]) -> Any:
    """Inline references, fold ``X or null`` into ``X``, and drop what the API server does not take."""
    if not isinstance(node, dict):
        return [_structural(each, definitions) for each in node] if isinstance(node, list) else node
    own = {key: value for key, value in node.items() if key not in {"$ref", "anyOf", "$defs", "const"}}
    if "$ref" in node:
        own = {**definitions[node["$ref"].rsplit("/", 1)[1]], **own}
        return _structural(own, definitions)
    if "anyOf" in node:
        variants = [each for each in node["anyOf"] if each != {"type": "null"}]
        return _structural({**variants[0], **own}, definitions)
    out: dict[str, Any] = {"x-kubernetes-list-type": "atomic"} if own.get("type") == "array" else {}
    for key, value in own.items():
        if key == "properties":
            out[key] = {name: _structural(each, definitions) for name, each in value.items()}
        elif key == "default" and isinstance(value, str | bool | int):
            out[key] = value
        elif key == "description":
            out[key] = re.sub(r"\s+", " ", value)
        elif key not in _DROPPED:
            out[key] = _structural(value, definitions)
    if (pattern := out.get("pattern")) in _REMEDIES:
        said = cel(f"self.matches(r'{pattern}')", _REMEDIES[pattern])
        out["x-kubernetes-validations"] = [said, *out.get("x-kubernetes-validations", ())]
    return out
