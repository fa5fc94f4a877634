"""The parts of one verifier, connected by its settings; no socket is open yet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from keywright.errors import KeywrightError
from keywright.verifier.audit.audit import Audit
from keywright.verifier.audit.sink import AuditSink
from keywright.verifier.freshness import Freshness, Watched
from keywright.verifier.http.admin import AdminEndpoint
from keywright.verifier.http.answers import Answers
from keywright.verifier.http.audited import AuditedEndpoint
from keywright.verifier.http.hub import Hub
from keywright.verifier.http.introspection import Introspection
from keywright.verifier.http.request import Limits
from keywright.verifier.http.responses import Dater
from keywright.verifier.http.timed import TimedHandler
from keywright.verifier.http.verify_endpoint import VerifyEndpoint
from keywright.verifier.judgement import Judge
from keywright.verifier.keys.acceptance import Acceptance
from keywright.verifier.keys.classes import Classes
from keywright.verifier.keys.engine import Engine
from keywright.verifier.keys.index import Index
from keywright.verifier.keys.prover import Prover
from keywright.verifier.limits.limiter import Limiter, OnFailure, SharedStore
from keywright.verifier.limits.store_address import StoreAddress, parse_store
from keywright.verifier.metrics import Metrics
from keywright.verifier.owners.owners import Owners
from keywright.verifier.rules.file import RulesFile
from keywright.verifier.rules.gate import Gate
from keywright.verifier.settings import VerifierSettings
from keywright.verifier.usage import Used

__all__ = ["Verifier", "assemble"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """The parts of one verifier, connected, without sockets."""

    index: Index
    classes: Classes
    prover: Prover
    limiter: Limiter
    owners: Owners
    metrics: Metrics
    rules: RulesFile | None
    judge: Judge[bytes]
    gate: Gate | None
    verify_hub: Hub
    admin_hub: Hub
    used: Used | None
    audit: Audit | None


def assemble(settings: VerifierSettings, watches: Sequence[Watched]) -> Verifier:
    """Connect the parts. ``watches`` may be filled until the first request, and :class:`Owners` given its client.

    Raises:
        KeywrightError: if the audit log or the rate limit store that was asked for cannot be used as things are.

    """
    metrics, dater, index = Metrics(), Dater(), Index(with_agents=settings.audit is not None)
    prover = Prover(index.entries, workers=settings.argon2_workers, capacity=settings.argon2_queue, metrics=metrics)
    freshness = Freshness(watches, settings.max_staleness)
    rules = RulesFile(settings.rules, metrics) if settings.rules is not None else None
    gate = Gate(settings.request_from, rules) if rules is not None else None
    limiter = Limiter(_shared_store(settings, metrics), settings.rate_limit_on_failure, metrics)
    used: Used | None = {} if settings.usage else None
    owners = Owners(metrics, keep=settings.owner_cache)
    engine = Engine(index, prover, metrics)
    judge = Judge(engine, limiter, owners, freshness, metrics, lambda each: Answers(each, dater), used=used)
    audit = _audit(settings, index)
    watched = AuditedEndpoint.headers(settings.request_from, rules) if audit is not None else ()
    endpoint = VerifyEndpoint(judge, gate, dater, also_watched=watched)
    introspection = None
    if settings.introspect is not None:
        introspection = Introspection(
            engine,
            freshness,
            metrics,
            dater,
            scope=settings.introspect,
            callers=settings.introspect_callers,
            used=used,
        )

    def publish(acceptance: Acceptance) -> None:
        endpoint.publish(acceptance)
        if introspection is not None:
            introspection.publish(acceptance)

    classes = Classes(settings.classes, publish)
    handler = AuditedEndpoint(endpoint, audit, settings.request_from, rules) if audit is not None else endpoint
    timed = TimedHandler(handler, metrics.answer_seconds)
    verify_hub = Hub(timed, Limits(connections=settings.max_connections), metrics, dater)
    admin = AdminEndpoint(
        freshness=freshness,
        index=index,
        prover=prover,
        limiter=limiter,
        metrics=metrics,
        dater=dater,
        verify_hub=verify_hub,
        rules=rules,
        introspection=introspection,
        audit=audit,
    )
    return Verifier(
        index=index,
        classes=classes,
        prover=prover,
        limiter=limiter,
        owners=owners,
        metrics=metrics,
        rules=rules,
        judge=judge,
        gate=gate,
        verify_hub=verify_hub,
        # Its traffic is nobody's business but its own, so it has counters that nobody reads.
        admin_hub=Hub(admin, Limits(connections=64), Metrics(), dater),
        used=used,
        audit=audit,
    )


def _audit(settings: VerifierSettings, index: Index) -> Audit | None:
    if settings.audit is None:
        return None
    return Audit(AuditSink(settings.audit), index.entries, allowed=settings.audit_allowed)


_MEANWHILE = {
    OnFailure.LOCAL: "each verifier counts for itself",
    OnFailure.OPEN: "nothing is limited",
    OnFailure.CLOSED: "keys with limits are answered 503",
}


def _shared_store(settings: VerifierSettings, metrics: Metrics) -> SharedStore | None:
    address, file = settings.rate_limit_store, settings.rate_limit_store_file
    if address is None and file is None:
        return None
    try:
        # Here and not above: only who shares limits pays for it.
        from keywright.verifier.limits.redis_store import RedisStore  # noqa: PLC0415
    except ImportError:
        raise KeywrightError(
            "a rate limit store needs one more package: pip install '.[redis]' in the checkout"
        ) from None

    def locate() -> StoreAddress:
        return address if address is not None else _read_store_file(cast(Path, file))

    locate()
    return RedisStore(locate, metrics, meanwhile=_MEANWHILE[settings.rate_limit_on_failure])


def _read_store_file(path: Path) -> StoreAddress:
    try:
        return parse_store(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not text"
        raise KeywrightError(f"cannot read {path}: {why}: check --rate-limit-store-file") from None
    except ValueError as error:
        raise KeywrightError(f"{path} is {error}: check --rate-limit-store-file") from None
