"""Proxies with the configuration in deploy/proxies, before a backend that answers at once: with the question to the
verifier as shipped, without it, and Envoy with its own filter for API keys in its place.
"""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from keywright.domain.plainkey import PlainKey
from tests.bench.bench import Bench
from tests.bench.machine import pinned
from tests.bench.measures import SkippedError
from tests.bench.web_servers import nginx
from tests.support.proxies import KINDS, VARIANTS, VERIFIER, run

__all__ = ["SEEN", "Edit", "api_key_auth", "backend", "front", "no_question"]

SEEN = "X-Seen-Key-Id"
"""The header in which the backend says whom the proxy has named."""

_BACKEND = "add_header X-Seen-Key-Id $http_x_auth_key_id; return 204;"
_KINDS = {kind.name: kind for kind in (*KINDS, *VARIANTS)}

Filters = list[dict[str, Any]]
Edit = Callable[[Filters], Filters]


@contextlib.contextmanager
def backend(bench: Bench, *, core: int) -> Iterator[str]:
    """nginx that answers 204 and says whom the proxy has named. Yields its address."""
    with nginx(bench, core=core, answer=_BACKEND) as address:
        yield address


@contextlib.contextmanager
def front(bench: Bench, name: str, *, behind: str, verifier: str | None, edit: Edit | None = None) -> Iterator[str]:
    """A proxy on the core of the servers, with one worker and no access log. ``verifier`` is the address it asks,
    ``None`` for none; ``edit`` changes Envoy's filters. Yields its address.

    Raises:
        SkippedError: where the proxy is not installed.

    """
    kind, replaced = _KINDS[name], {}
    if kind.folder == "nginx":
        replaced = {"worker_processes auto;": "worker_processes 1;", "access_log /dev/stdout;": "access_log off;"}
        replaced |= {"auth_request /.keywright/verify;": ""} if verifier is None else {}
    if verifier is not None:
        replaced[kind.write(VERIFIER)] = kind.write(verifier)

    def command(program: Path, folder: Path) -> list[str]:
        arguments = kind.command(program, folder)
        if edit is not None:
            _rewrite(folder, edit)
            arguments[arguments.index(str(folder / "envoy.yaml"))] = str(folder / "envoy.json")
        if kind.folder == "envoy":
            arguments[arguments.index("--concurrency") + 1] = "1"
        return pinned(bench.cores.server, arguments)

    own = bench.folder / f"{name}-{time.monotonic_ns()}"
    try:
        with run(replace(kind, command=command), own, backend=behind, verifier=replaced) as (_, address):
            yield address
    except pytest.skip.Exception as why:
        raise SkippedError(str(why)) from None


def no_question(filters: Filters) -> Filters:
    """Envoy's filters without the verifier."""
    return [each for each in filters if each["name"] != "envoy.filters.http.ext_authz"]


def api_key_auth(keys: Sequence[PlainKey]) -> Edit:
    """Envoy's own filter in the place of the verifier: it holds the plain keys, names the client and takes the key off."""
    question = {
        "name": "envoy.filters.http.api_key_auth",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth",
            "credentials": [{"key": key.text, "client": key.key_id} for key in keys],
            "key_sources": [{"header": "Authorization"}],
            "forwarding": {"header": "X-Auth-Key-Id", "hide_credentials": True},
        },
    }
    return lambda filters: [question, *no_question(filters)]


def _rewrite(folder: Path, edit: Edit) -> None:
    """envoy.json beside envoy.yaml: it is read faster where there are a hundred thousand keys."""
    document = yaml.safe_load((folder / "envoy.yaml").read_text())
    (chain,) = document["static_resources"]["listeners"][0]["filter_chains"]
    connections = chain["filters"][0]["typed_config"]
    connections["http_filters"] = edit(connections["http_filters"])
    (folder / "envoy.json").write_text(json.dumps(document))
