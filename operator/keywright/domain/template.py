"""What a Secret carries beside the plain key: which of it is allowed, and how ``$(…)`` is filled in.

Labels and annotations make other controllers act, some of them by copying the Secret elsewhere, so their keys need the
class's permission, and those of Kubernetes, of GitOps tools and our own are out of bounds whatever a class says. Data
entries are seen by nobody but who reads the Secret; only they may hold the key.
"""

import re
from collections.abc import Iterable, Mapping

from keywright.domain.apikey import KeySpec, Template
from keywright.domain.plainkey import ID_LENGTH, MAX_LENGTH

__all__ = ["DENIED", "MAX_BYTES", "VARIABLES", "allowed", "expand", "fault_in_data", "find_fault", "may_set"]

MAX_BYTES = 128 * 1024
"""Of all data entries together. The API server takes 1 MiB; nobody's configuration file needs that."""

VARIABLES = ("key", "keyId", "name", "namespace")
# Whoever owns these reads or prunes by them; ends of the part before the slash.
DENIED = ("kubernetes.io", "k8s.io", "keywright.dev", "argoproj.io", "fluxcd.io", "helm.sh")

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_DNS = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*"
_METADATA_KEY = re.compile(rf"(?:(?=[^/]{{1,253}}/){_DNS}/)?{_NAME}", re.ASCII)
_LABEL_VALUE = re.compile(rf"(?:{_NAME})?", re.ASCII)
_ENTRY = re.compile(r"(?!\.\.?$|\.\.)[-._a-zA-Z0-9]{1,253}", re.ASCII)
_TOKEN = re.compile(rf"\$\$\(|\$\((?:({'|'.join(VARIABLES)})\))?")
_LONGEST = {"key": "k" * MAX_LENGTH, "keyId": "i" * ID_LENGTH, "name": "n" * 63, "namespace": "s" * 63}


def find_fault(spec: KeySpec, class_name: str, patterns: Iterable[str]) -> str | None:
    """What is wrong with the template, with field and remedy; ``patterns`` are the class's ``secretMetadata``."""
    return fault_in_data(spec) or _fault_in_metadata(spec.template, class_name, tuple(patterns))


def fault_in_data(spec: KeySpec) -> str | None:
    """What is wrong with the data entries alone."""
    field = "spec.secret.template.data"
    size = 0
    for entry, text in spec.template.data.items():
        if _ENTRY.fullmatch(entry) is None:
            return f"{field} has a malformed entry name: use letters, digits, -, _ and ., 253 at most"
        if entry == spec.secret_key:
            return f"{field}[{entry}] is the entry of the plain key itself: give it another name"
        if any(match[0] == "$(" for match in _TOKEN.finditer(text) if match[1] is None):
            return (
                f"{field}[{entry}] holds an unknown or unclosed $(…): "
                "use $(key), $(keyId), $(name) or $(namespace), and $$( for a plain $("
            )
        size += len(entry) + len(expand(text, _LONGEST).encode())
    if size > MAX_BYTES:
        return f"{field} may become larger than {MAX_BYTES // 1024} KiB: take something out"
    return None


def expand(text: str, values: Mapping[str, str]) -> str:
    """Fill in a text in which :func:`fault_in_data` finds no fault."""
    return _TOKEN.sub(lambda match: values[match[1]] if match[1] else "$(", text)


def may_set(key: str, patterns: Iterable[str]) -> bool:
    """Whether a template may set this label or annotation. A ``*`` at the end of a pattern stands for anything."""
    if (domain := key.partition("/")[0]) != key and domain.lower().endswith(DENIED):
        return False
    return any(key.startswith(each[:-1]) if each.endswith("*") else key == each for each in patterns)


def allowed(template: Template, patterns: tuple[str, ...]) -> Template:
    """The template with only those labels and annotations that the class allows and the API server takes."""
    return Template(
        labels={
            key: value
            for key, value in template.labels.items()
            if _is_metadata_key(key) and may_set(key, patterns) and _LABEL_VALUE.fullmatch(value)
        },
        annotations={
            key: value
            for key, value in template.annotations.items()
            if _is_metadata_key(key) and may_set(key, patterns)
        },
        data=template.data,
    )


def _is_metadata_key(key: str) -> bool:
    return _METADATA_KEY.fullmatch(key) is not None


def _fault_in_metadata(template: Template, class_name: str, patterns: tuple[str, ...]) -> str | None:
    for part, wanted in (("labels", template.labels), ("annotations", template.annotations)):
        field = f"spec.secret.template.{part}"
        for key, value in wanted.items():
            if not _is_metadata_key(key):
                return f"{field} has a malformed key: write it as example.com/name or name"
            if part == "labels" and _LABEL_VALUE.fullmatch(value) is None:
                return (
                    f"{field}[{key}] has a malformed value: use letters, digits, -, _ and ., 63 at most, "
                    "with a letter or digit at both ends"
                )
            if not may_set(key, patterns):
                return (
                    f"class {class_name} does not allow {field}[{key}]: take it out, or have secretMetadata of the "
                    "class allow it (keys of Kubernetes, Argo CD, Flux, Helm and Keywright cannot be allowed)"
                )
    return None
