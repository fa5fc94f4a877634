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
        OddDocumentError: for what is no YAML, or holds more than lists, fields and text.

    """
    if len(text) > LONGEST:
        raise OddDocumentError(f"the file is too long: {LONGEST // 1024} KiB are allowed")
    # The loader in C where there is one: it does not hold up requests. It gives events, because what composes them
    # runs out of stack (and of the process) on a file of brackets.
    loader = yaml.CSafeLoader(text) if yaml.__with_libyaml__ else yaml.SafeLoader(text)
    try:
        return _Reader(loader).document()
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: " if mark is not None else ""
        raise OddDocumentError(f"{where}this is not YAML: correct it") from None
    finally:
        loader.dispose()


class _Reader:
    """Builds a document from the events of a loader."""

    def __init__(self, loader: "yaml.CSafeLoader | yaml.SafeLoader") -> None:
        self._loader = loader

    def document(self) -> Document:
        self._next()
        if isinstance(self._next(), yaml.StreamEndEvent):
            return None
        found = self._value(self._next(), _DEEPEST)
        self._next()
        if not isinstance(end := self._next(), yaml.StreamEndEvent):
            raise _odd(end, "a second document begins: write one")
        return found

    def _next(self) -> yaml.Event:
        event = self._loader.get_event()
        if event is None:
            raise yaml.YAMLError("it ends in the middle")
        return event

    def _value(self, event: yaml.Event, depth: int) -> Document:
        if not depth:
            raise _odd(event, "this is nested too deeply: write it flat")
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(item := self._next(), yaml.SequenceEndEvent):
                items.append(self._value(item, depth - 1))
            return items
        if isinstance(event, yaml.MappingStartEvent):
            return self._fields(depth)
        if not isinstance(event, yaml.ScalarEvent):
            raise _odd(event, "aliases are not possible: write it out")
        tag = event.tag or self._loader.resolve(yaml.ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]
        if tag == _NULL:
            return None
        if tag != _TEXT:
            raise _odd(event, "this is read as something else than text: put it in quotes")
        return str(event.value)

    def _fields(self, depth: int) -> Document:
        fields: dict[str, Document] = {}
        while not isinstance(key := self._next(), yaml.MappingEndEvent):
            name = self._value(key, 1) if isinstance(key, yaml.ScalarEvent) else None
            if not isinstance(name, str):
                raise _odd(key, "the name of a field is not text: correct it")
            if name in fields:
                raise _odd(key, "a field that stands twice: take one of them out")
            fields[name] = self._value(self._next(), depth - 1)
        return fields


def _odd(event: yaml.Event, problem: str) -> OddDocumentError:
    where = f"line {event.start_mark.line + 1}: " if event.start_mark is not None else ""
    return OddDocumentError(f"{where}{problem}")
