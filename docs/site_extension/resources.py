"""The custom resources, field by field, from the CRDs that the models render."""

from collections.abc import Iterator, Mapping
from typing import Any

from keywright.api import crd
from site_extension.markdown import code, plain, table

__all__ = ["render"]

Schema = Mapping[str, Any]

# Kubernetes' own, told by Kubernetes' own reference.
STANDARD = {"apiVersion", "kind", "metadata"}


def render(file_name: str) -> str:
    """One section per object of the schema, with a table of its fields. ``file_name`` is that in ``crds/``."""
    definition = crd.FILES[file_name]()["spec"]
    (version,) = definition["versions"]
    schema = version["schema"]["openAPIV3Schema"]
    columns = table(
        ["column of `kubectl get`", "from", ""],
        (
            [each["name"], code(each["jsonPath"]), "with `-o wide`" if each.get("priority") else ""]
            for each in version["additionalPrinterColumns"]
        ),
    )
    sections = "".join(_section(path, each) for path, each in _objects("", schema))
    # All of it in sections: what stands in none would come after them.
    return f"## The resource\n\n{_names(definition)}\n\n{columns}{_rules(schema)}{sections}"


def _names(definition: Schema) -> str:
    names = definition["names"]
    selectable = [code(each["jsonPath"][1:]) for each in definition["versions"][0].get("selectableFields", [])]
    return (
        f"{definition['scope']}; `kubectl get {names['plural']}.{definition['group']}`, short "
        f"{', '.join(map(code, names['shortNames']))}, with others of the category "
        f"{', '.join(map(code, names['categories']))}."
        + (f" Field selectors: {', '.join(selectable)}." if selectable else "")
    )


def _objects(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Every object that has fields of its own, with its path: ``spec.rotation``, ``status.keys[]``."""
    if schema.get("properties"):
        if path:
            yield path, schema
        for name, field in schema["properties"].items():
            if path or name not in STANDARD:
                yield from _objects(f"{path}.{name}".lstrip("."), field)
    elif isinstance(schema.get("items"), dict):
        yield from _objects(f"{path}[]", schema["items"])


def _section(path: str, schema: Schema) -> str:
    required = schema.get("required", [])
    rows = (
        [
            code(name) + (" (required)" if name in required else ""),
            _type(field),
            " ".join((plain(field.get("description", "")), *_bounds(field))),
        ]
        for name, field in schema["properties"].items()
    )
    fields = table(["field", "type", "meaning"], rows)
    return f"## {path}\n\n{plain(schema.get('description', ''))}\n\n{fields}{_rules(schema)}"


def _type(field: Schema) -> str:
    match field["type"]:
        case "array":
            return f"list of {_type(field['items'])}"
        case "object" if "additionalProperties" in field:
            return f"map of {_type(field['additionalProperties'])}"
        case "string" if "enum" in field:
            return " or ".join(map(code, field["enum"]))
        case other:
            return str(field.get("format", other))


def _bounds(field: Schema) -> Iterator[str]:
    """What the API server holds a value against, a sentence each; of what is in a list or map, too."""
    match field.get("default"):
        case bool(flag):
            yield f"Default: {code(str(flag).lower())}."
        case str(value) | int(value):
            yield f"Default: {code(str(value))}."
    for least, most, what in (
        ("minItems", "maxItems", " items"),
        ("minProperties", "maxProperties", " entries"),
        ("minimum", "maximum", ""),
        ("minLength", "maxLength", " characters"),
    ):
        low, high = field.get(least), field.get(most)
        if low and high:
            yield f"{low} to {high}{what}."
        elif low or high:
            yield f"At most {high}{what}." if high else f"At least {low}{what}."
    if "pattern" in field:
        yield f"Pattern: {code(field['pattern'])}."
    inner = field.get("items") or field.get("additionalProperties")
    # What holds for an object stands in its own section.
    if inner is not None and "properties" not in inner:
        rules = (f"{plain(each['message'])}." for each in inner.get("x-kubernetes-validations", []))
        if bounds := [*_bounds(inner), *rules]:
            yield " ".join(("Each:", *bounds))


def _rules(schema: Schema) -> str:
    """What CEL rules refuse, in their own words."""
    messages = dict.fromkeys(each["message"] for each in schema.get("x-kubernetes-validations", []))
    if not messages:
        return ""
    return "What the API server refuses besides:\n\n" + "".join(f"- {plain(each)}\n" for each in messages) + "\n"
