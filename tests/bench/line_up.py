"""Who takes part in a contest, and how each is started."""

import contextlib
import shutil
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

from tests.bench import objects
from tests.bench.bench import Bench
from tests.bench.contender import Contender
from tests.bench.contest import Contest, Name
from tests.bench.fronts import SEEN, Edit, api_key_auth, backend, front, no_question
from tests.bench.machine import hold
from tests.bench.measures import SkippedError
from tests.bench.verifiers import rules, stand_in
from tests.bench.web_servers import asgi, nginx
from tests.support.processes import free_address
from tests.support.redis import redis

__all__ = ["Extent", "contest"]


class Extent(IntEnum):
    """How many take part: one of each kind; all that differ by what they do; the verifier's options as well."""

    SHORT = 0
    RIVALS = 1
    ALL = 2


@contextlib.contextmanager
def contest(bench: Bench, keys: int, extent: Extent, *, backend_core: int) -> Iterator[Contest]:
    """All servers of that extent, up, with so many keys each. The backend of the proxies has a core of its own choice.

    Raises:
        SkippedError: where nginx, Envoy or redis-server is not installed.

    """
    with contextlib.ExitStack() as stack:
        found = Contest(bench, keys, stack)
        limit = found.start(nginx(bench, core=bench.cores.server))
        found.contenders.append(Contender(name=Name.LIMIT, address=limit, status=204, judges=False, shows=None))
        kubeconfig, behind = found.start(stand_in(bench, keys)), found.start(backend(bench, core=backend_core))
        found.enter_verifier(Name.VERIFIER, kubeconfig)
        _enter_short(found, behind)
        if extent >= Extent.RIVALS:
            _enter_python(found, kubeconfig)
            _enter_nginx(found, kubeconfig, behind)
            _enter_envoy(found, kubeconfig, behind)
        if extent >= Extent.ALL:
            _enter_options(found, kubeconfig)
        yield found


def _enter_short(found: Contest, behind: str) -> None:
    """Those whose cost may grow with the number of keys."""
    _enter_app(found, Name.STARLETTE, "by_sha256", BENCH_KEYS=str(found.keys))
    own = api_key_auth([objects.plain_key(number) for number in range(found.keys)])
    _enter_front(found, Name.ENVOY_OWN, "envoy", behind, edit=own)


def _enter_python(found: Contest, kubeconfig: Path) -> None:
    _enter_app(found, Name.MIDDLEWARE, "with_middleware", kubeconfig, BENCH_RULES=rules(found.bench)[1])
    _enter_app(found, Name.ARGON2, "by_argon2")


def _enter_nginx(found: Contest, kubeconfig: Path, behind: str) -> None:
    ours = found.verifier(Name.NGINX_ASKS, kubeconfig, "--request-from", "original")
    _enter_front(found, Name.NGINX, "nginx", behind, judges=False)
    _enter_front(found, Name.NGINX_ASKS, "nginx", behind, verifier=ours.address)


def _enter_envoy(found: Contest, kubeconfig: Path, behind: str) -> None:
    listens = free_address()
    ours = found.verifier(Name.ENVOY_ASKS, kubeconfig)
    found.verifier(Name.ENVOY_ASKS_GRPC, kubeconfig, "--grpc-listen", listens)
    _enter_front(found, Name.ENVOY, "envoy", behind, edit=no_question, judges=False)
    _enter_front(found, Name.ENVOY_ASKS, "envoy", behind, verifier=ours.address)
    _enter_front(found, Name.ENVOY_ASKS_GRPC, "envoy-grpc", behind, verifier=listens)


def _enter_options(found: Contest, kubeconfig: Path) -> None:
    """The verifier with what may be switched on. Its Redis shares its core."""
    bench = found.bench
    found.enter_verifier(Name.AUDIT, kubeconfig, "--audit", str(bench.folder / "audit.jsonl"))
    limited = found.start(stand_in(bench, found.keys, limited=True))
    found.enter_verifier(Name.MEMORY_LIMITS, limited)
    if shutil.which("redis-server") is None:
        raise SkippedError("there is no redis-server: make test-deps")
    address = free_address()
    hold(found.start(redis(bench.folder / "redis.log", address)).popen.pid, bench.cores.server)
    found.enter_verifier(Name.REDIS_LIMITS, limited, "--rate-limit-store", f"redis://{address}")


def _enter_app(found: Contest, name: str, factory: str, kubeconfig: Path | None = None, **told: str) -> None:
    app = f"tests.bench.judging_apps:{factory}"
    server = asgi(found.bench, app, "--factory", core=found.bench.cores.server, kubeconfig=kubeconfig, **told)
    found.contenders.append(Contender(name=name, address=found.start(server), is_argon2=name == Name.ARGON2))


def _enter_front(
    found: Contest,
    name: str,
    proxy: str,
    behind: str,
    *,
    verifier: str | None = None,
    edit: Edit | None = None,
    judges: bool = True,
) -> None:
    address = found.start(front(found.bench, proxy, behind=behind, verifier=verifier, edit=edit))
    shows = SEEN if judges else None
    found.contenders.append(Contender(name=name, address=address, status=204, judges=judges, shows=shows))
