"""Small YAML files, read strictly: lists, fields and text, each field once, nothing else."""

from typing import TypeAlias

import yaml

__all__ = ["Document", "OddDocumentError", "read_document"]

Document: TypeAlias = "str | list[Document] | dict[str, Document] | None"

LONGEST = 256 * 1024
_DEEPEST = 8
_TEXT = "tag:yaml.org,2002:str"
_NULL = "tag:yaml.org,2002:null"


class OddDocumentError(Exception):
    """A file that is none of ours. Its text is one line that says what to do."""


def read_document(text: bytes) -> Document:
    """Read one YAML document. Numbers, dates and the like are refused: they would be read as something else.

    Raises:
        OddDocumentError: for what is no YAML, or more than lists, fields and text.

    """
    if len(text) > LONGEST:
        raise OddDocumentError(f"the file is too long: {LONGEST // 1024} KiB are allowed")
    try:
        # The loader in C where there is one: it does not hold up requests.
        loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
        node = yaml.compose(text, Loader=loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise OddDocumentError(f"{where}this is not YAML: correct it") from None
    return _read(node, _DEEPEST)


def _read(node: yaml.Node | None, depth: int) -> Document:
    if node is None or node.tag == _NULL:
        return None
    line = f"line {node.start_mark.line + 1}"
    if not depth:
        raise OddDocumentError(f"{line}: this is nested too deeply: write it flat, without aliases")
    if isinstance(node, yaml.SequenceNode):
        return [_read(each, depth - 1) for each in node.value]
    if isinstance(node, yaml.MappingNode):
        fields: dict[str, Document] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if not name or key.tag != _TEXT or name in fields:
                problem = "a field that stands twice" if name in fields else "the name of a field is not text"
                raise OddDocumentError(f"line {key.start_mark.line + 1}: {problem}: correct it")
            fields[name] = _read(value, depth - 1)
        return fields
    if node.tag != _TEXT:
        raise OddDocumentError(f"{line}: this is read as something else than text: put it in quotes")
    return str(node.value)
