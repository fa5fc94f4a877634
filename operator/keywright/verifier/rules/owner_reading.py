"""Reads ``authorize:`` of a rule: as strictly as the rest of the file, with a line for each mistake."""

import re
from collections.abc import Callable, Mapping

from keywright.domain.names import NAMESPACE
from keywright.verifier.owners.rights import NAME, SEGMENT, Authorize, Right
from keywright.verifier.rules.documents import Document
from keywright.verifier.rules.targets import AMBIGUOUS

__all__ = ["Complain", "read_authorize"]

Complain = Callable[[str, str], None]
"""Takes the name of a field, and what is wrong with it."""

_RESOURCE_FIELDS = ("group", "resource", "subresource", "namespace", "name", "verb")
_FIELDS = (*_RESOURCE_FIELDS, "nonResource")
_PATH_FIELDS = ("path", "verb")
_GROUP = re.compile(r"(?=.{0,253}\Z)(?:[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?)?", re.ASCII)
_WORD = re.compile(r"[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_METHOD = re.compile(r"[A-Z][-A-Z0-9]{0,31}", re.ASCII)
_FORMS = {
    "group": (_GROUP, 'the API group, as in apps, or "" for the core one'),
    "resource": (_WORD, "one resource in the plural, as in deployments"),
    "subresource": (_WORD, "one subresource, as in status"),
    "namespace": (NAMESPACE, "one namespace, or as in $3 a segment of the path"),
    "name": (NAME, "one name, or as in $3 a segment of the path"),
}
_REQUIRED = ("group", "resource")
_FROM_PATH = ("namespace", "name")
# What the API server has itself. Much of it is open to everybody whom it knows (system:discovery), some to everybody.
_OPEN = frozenset({"api", "apis", "healthz", "livez", "metrics", "openapi", "openid", "readyz", "swagger", "version"})
_TAKEN = _OPEN | {"configz", "debug", "flagz", "logs", "statusz"}


def read_authorize(
    value: Document, path: str, methods: frozenset[bytes] | None, named: frozenset[bytes] | None, complain: Complain
) -> Authorize | None:
    """Read it, in a rule for ``path`` and ``methods``, or for those that are ``named`` by its scopes. What is wrong is
    complained about; then the outcome counts for nothing.
    """
    if not isinstance(value, dict):
        complain("authorize", "write a right of the owner, as in {group: apps, resource: deployments, verb: get}")
        return None
    if _has_others(value, _FIELDS, "authorize", complain):
        return None
    if "nonResource" not in value:
        resource = _read_resource(value, path, complain)
        return _with_verbs(resource, value.get("verb"), methods, named, "authorize.verb", complain)
    inner = value["nonResource"]
    if len(value) > 1:
        complain("authorize.nonResource", "it goes with no other field: ask for a resource, or for a path that is none")
        return None
    if not isinstance(inner, dict):
        complain("authorize.nonResource", "write {path: /…, verb: get}")
        return None
    if _has_others(inner, _PATH_FIELDS, "authorize.nonResource", complain):
        return None
    right = _read_path(inner.get("path"), complain)
    return _with_verbs(right, inner.get("verb"), methods, named, "authorize.nonResource.verb", complain)


def _has_others(document: Mapping[str, Document], fields: tuple[str, ...], where: str, complain: Complain) -> bool:
    others = [name for name in document if name not in fields]
    for name in others:
        complain(f"{where}.{name}", f"there is no such field: use {', '.join(fields)}")
    return bool(others)


def _read_resource(value: Mapping[str, Document], path: str, complain: Complain) -> Right:
    texts: dict[str, str] = {}
    for name, (form, advice) in _FORMS.items():
        if name not in value and name not in _REQUIRED:
            continue
        text = value.get(name)
        found = SEGMENT.fullmatch(text) if isinstance(text, str) and name in _FROM_PATH else None
        if found is not None and not (path.endswith("/*") and int(found[1]) >= path.count("/")):
            complain(f"authorize.{name}", f"{text} is none of the segments that the * of this rule stands for")
        elif not isinstance(text, str) or not (found or form.fullmatch(text)):
            complain(f"authorize.{name}", f"write {advice}")
        else:
            texts[name] = text
    return Right(verb="", **texts)


def _read_path(path: Document, complain: Complain) -> Right | None:
    where = "authorize.nonResource.path"
    if not isinstance(path, str) or not path.startswith("/") or "*" in path or not path.isprintable():
        complain(where, "write one path without *, as in /kubevision/clusters")
    elif AMBIGUOUS.search(path) or path == "/":
        complain(where, "write it plainly: no //, dot segments, \\, ;, #, ? or %")
    elif path.split("/")[1].lower() in _TAKEN or path.startswith("/."):
        complain(where, "the API server has such paths itself and opens many to everybody: use a prefix of your own")
    else:
        return Right(verb="", path=path)
    return None


def _with_verbs(
    right: Right | None,
    verb: Document,
    methods: frozenset[bytes] | None,
    named: frozenset[bytes] | None,
    where: str,
    complain: Complain,
) -> Authorize | None:
    verbs: dict[bytes, str] = {}
    if isinstance(verb, dict) and verb:
        if methods is not None:
            complain("methods", f"they stand in {where} already: take them out here")
        for method, each in verb.items():
            if not _METHOD.fullmatch(method) or method == "CONNECT":
                complain(f"{where}.{method}", "use methods in capitals, as in GET, but not CONNECT")
            elif not isinstance(each, str) or not _WORD.fullmatch(each):
                complain(f"{where}.{method}", "write one verb, as in get")
            else:
                verbs[method.encode("ascii")] = each
    elif not isinstance(verb, str) or not _WORD.fullmatch(verb):
        complain(where, "write one verb, as in get, or one for each method, as in {GET: get, POST: create}")
    elif methods is None and named is None:
        complain("methods", f"name those that {where} stands for: with all of them, who may {verb} could do anything")
    else:
        verbs = dict.fromkeys(methods or named or (), verb)
    return Authorize(right=right, verbs=verbs) if right is not None else None
