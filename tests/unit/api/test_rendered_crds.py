"""The rendered CRDs: structural, described and bounded everywhere, and the same as the committed ones."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from keywright.api import crd

DEFINITIONS = {name: crd.FILES[name]() for name in crd.FILES}
COMMITTED = Path(__file__).parents[3] / "crds"


def _schema(definition: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def _fields(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property with its path, and the items of lists as ``path[]``."""
    for name, each in schema.get("properties", {}).items():
        yield f"{path}.{name}", each
        yield from _fields(each, f"{path}.{name}")
    if "items" in schema:
        yield f"{path}[]", schema["items"]
        yield from _fields(schema["items"], f"{path}[]")


FIELDS = [
    pytest.param(path, field, id=f"{name.removesuffix('.yaml')}{path}")
    for name, definition in DEFINITIONS.items()
    for path, field in _fields(_schema(definition))
    if path not in (".apiVersion", ".kind", ".metadata")
]


@pytest.mark.parametrize(("path", "field"), FIELDS)
def test_every_field_is_described(path: str, field: dict[str, Any]) -> None:
    """``kubectl explain`` says something of each, in one line that ends like a sentence."""
    if path.endswith("[]") and field["type"] != "object":
        return
    assert field["description"].endswith(".")
    assert "\n" not in field["description"]


@pytest.mark.parametrize(("path", "field"), FIELDS)
def test_every_string_and_list_is_bounded(path: str, field: dict[str, Any]) -> None:
    """Unbounded ones fill etcd and make CEL rules too expensive; an integer has its least value at least."""
    match field["type"]:
        case "string":
            assert "maxLength" in field or "enum" in field
        case "array":
            assert "maxItems" in field
            assert "x-kubernetes-list-type" in field
        case "integer":
            assert "minimum" in field
        case "object":
            assert field.get("properties") or "maxProperties" in field
        case other:
            assert other == "boolean"


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_a_schema_is_structural(definition: dict[str, Any]) -> None:
    """Nothing that the API server refuses: no references, unions, titles, or tuples of types."""

    def walk(node: Any, is_named: bool = False) -> None:
        if isinstance(node, dict):
            if not is_named:
                assert not node.keys() & {"$ref", "anyOf", "oneOf", "allOf", "title", "$defs", "const"}
                assert node.get("additionalProperties") is not False
            for key, value in node.items():
                if key != "default":
                    walk(value, is_named=key == "properties" and not is_named)
        elif isinstance(node, list):
            for each in node:
                walk(each)

    walk(_schema(definition))


@pytest.mark.parametrize("definition", DEFINITIONS.values(), ids=DEFINITIONS)
def test_a_rule_on_the_old_object_asks_whether_the_field_is_there(definition: dict[str, Any]) -> None:
    """On both sides; and every message says what to do, after a colon or as the limit itself."""
    rules = _schema(definition)["x-kubernetes-validations"]
    assert rules
    for each in rules:
        for path in re.findall(r"oldSelf((?:\.\w+)+)(?! *\))", each["rule"]):
            assert f"has(oldSelf{path})" in each["rule"] or f"has(oldSelf{path.rsplit('.', 1)[0]}" in each["rule"]
        assert each["message"]


@pytest.mark.parametrize("name", DEFINITIONS)
def test_rendering_is_stable_and_what_is_committed(name: str) -> None:
    """``make crds`` has been run; the output does not change from run to run."""
    rendered = crd.render(name)
    assert rendered == crd.render(name)
    assert yaml.safe_load(rendered) == DEFINITIONS[name]
    assert (COMMITTED / name).read_text(encoding="utf-8") == rendered


def test_the_stream_of_all_is_yaml_that_kubectl_applies() -> None:
    """One document each, named as the API server wants them."""
    documents = list(yaml.safe_load_all(crd.render_all()))
    assert [each["metadata"]["name"] for each in documents] == [
        "apikeys.keywright.dev",
        "apikeyclasses.keywright.dev",
        "apikeyusages.keywright.dev",
    ]


def test_writing_makes_one_file_each(tmp_path: Path) -> None:
    """As ``make crds-check`` does, to compare."""
    crd.write(tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(crd.FILES)


def test_status_is_a_subresource_and_spec_is_required() -> None:
    """So that editing a spec and writing a status are separate rights."""
    version = DEFINITIONS["apikeys.yaml"]["spec"]["versions"][0]
    assert version["subresources"] == {"status": {}}
    assert version["schema"]["openAPIV3Schema"]["required"] == ["spec"]


def test_dates_are_printed_as_text() -> None:
    """``type: date`` prints a date in the future as ``<invalid>``."""
    columns = {
        each["name"]: each for each in DEFINITIONS["apikeys.yaml"]["spec"]["versions"][0]["additionalPrinterColumns"]
    }
    assert columns["Expires"]["type"] == "string"
    assert [name for name, each in columns.items() if not each.get("priority")] == [
        "Status",
        "Expires",
        "Last used",
        "Age",
    ]
