"""What a class lets an ApiKey do, and where: role, scopes, owner, rate limits, namespaces, grants.

Two questions are answered apart. What stands in the way (:func:`bar`, :func:`object_to`) is for people and decides
whether a key is issued. What can be granted of what is asked (:func:`allow`) is for verifiers: it is recorded as a
whole while nothing stands in the way, and narrows what was recorded before (:func:`narrow`) while something does. So a
refused change never widens a key, and what the class takes away is gone at once.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from fnmatch import fnmatchcase

from keywright.domain.apikey import Effective, KeySpec, Owner, RateLimit
from keywright.domain.keyclass import Authorization, Grant, KeyClass
from keywright.domain.reasons import Reason
from keywright.domain.scopes import closure, common, is_covered, is_known
from keywright.domain.selectors import Selector, selects
from keywright.domain.times import format_duration

__all__ = ["Denial", "Labels", "allow", "bar", "narrow", "needs_labels", "object_to"]

Labels = Mapping[str, str] | None
"""Those of the ApiKey's namespace; ``None`` while they are not known, which selects nothing."""


@dataclass(frozen=True, slots=True)
class Denial:
    """One thing that the class does not let an ApiKey have; ``message`` names the field and the remedy."""

    reason: Reason
    message: str


def needs_labels(key_class: KeyClass) -> bool:
    """Whether the class cannot be applied without knowing the labels of the namespace."""
    return key_class.allowed_namespaces is not None or key_class.grants is not None


def bar(owner: Owner | None, key_class: KeyClass, labels: Labels, recorded: Effective | None) -> Denial | None:
    """Why no key of this ApiKey may work at all, however little it may do; ``None`` if nothing bars it."""

    def deny(message: str) -> Denial:
        return Denial(Reason.CLASS_NOT_ALLOWED, message)

    allowed = key_class.allowed_namespaces
    if allowed is not None and not (labels is not None and selects(allowed, labels)):
        return deny(
            f"class {key_class.name} does not allow this namespace: give the namespace the labels that "
            "spec.allowedNamespaces of the class selects, or make a new ApiKey with another spec.className"
        )
    if recorded is not None and not _is_same(recorded.owner, owner):
        # The schema forbids it; verifiers refuse the key as well.
        return deny(
            "spec.owner is not the owner that this key was issued for, and it cannot change: put it back, or make a "
            "new ApiKey"
        )
    if owner is None:
        if key_class.authorization is not Authorization.OWNER:
            return None
        return deny(
            f"keys of class {key_class.name} act with the rights of their owner, and spec.owner is not set: make a "
            "new ApiKey that states it"
        )
    grant = _granted(key_class, labels)
    if grant is None:
        return None
    if not _covers(grant.owners, owner.user):
        return deny(
            f"spec.owner.user is not among the owners that class {key_class.name} grants to this namespace (who "
            "makes a key without naming one may have been filled in): make a new ApiKey with another owner, or have "
            "spec.grants of the class extended"
        )
    beyond = next((each for each in owner.groups if not _covers(grant.groups, each)), None)
    if beyond is None:
        return None
    return deny(
        f"spec.owner.groups: class {key_class.name} does not grant the group {beyond} to this namespace: make a new "
        "ApiKey without it, or have groups in spec.grants of the class extended"
    )


def object_to(spec: KeySpec, key_class: KeyClass, labels: Labels) -> Denial | None:
    """The first thing that the class denies of role, scopes and rate limits."""
    grant = _granted(key_class, labels)
    denials = (_deny_role(spec, key_class, grant), *(_deny_scope(each, key_class, grant) for each in spec.scopes))
    return next((each for each in denials if each is not None), None) or _deny_limit(spec, key_class)


def allow(spec: KeySpec, key_class: KeyClass, labels: Labels) -> Effective:
    """All that can be granted of what is asked: the whole of it exactly if :func:`object_to` has nothing to say."""
    grant = _granted(key_class, labels)
    role = spec.role if _deny_role(spec, key_class, grant) is None else None
    of_role = key_class.roles[role] if role is not None else ()
    of_spec = tuple(each for each in spec.scopes if _deny_scope(each, key_class, grant) is None)
    asked = {each.name: each for each in spec.rate_limits}
    return Effective(
        role=role,
        # What the class does not know grants nothing, so it need not be recorded; that also bounds the list.
        scopes=tuple(
            each for each in closure((*of_role, *of_spec), key_class.scopes) if is_known(each, key_class.scopes)
        ),
        owner=spec.owner,
        rate_limits=tuple(_tighter(each, asked.get(each.name)) for each in key_class.rate_limits),
        authorization=Authorization.OWNER if key_class.authorization is Authorization.OWNER else None,
    )


def narrow(recorded: Effective | None, allowed: Effective) -> Effective | None:
    """What is left of what was recorded, while what is asked is refused. Nothing in it is wider than either."""
    if recorded is None:
        return None
    before = {each.name: each for each in recorded.rate_limits}
    return Effective(
        role=recorded.role if recorded.role == allowed.role else None,
        scopes=common(recorded.scopes, allowed.scopes),
        owner=recorded.owner,
        rate_limits=tuple(_tighter(each, before.get(each.name)) for each in allowed.rate_limits),
        authorization=recorded.authorization or allowed.authorization,
    )


def _granted(key_class: KeyClass, labels: Labels) -> Grant | None:
    """What the class grants to the namespace, in one; ``None``: whatever is asked for."""
    if key_class.grants is None:
        return None
    chosen = [each for each in key_class.grants if labels is not None and selects(each.namespaces, labels)]
    return Grant(
        namespaces=Selector(),
        roles=tuple(role for each in chosen for role in each.roles),
        # Who may have a scope may have what it includes.
        scopes=closure((scope for each in chosen for scope in each.scopes), key_class.scopes),
        owners=tuple(owner for each in chosen for owner in each.owners),
        groups=tuple(group for each in chosen for group in each.groups),
    )


def _deny_role(spec: KeySpec, key_class: KeyClass, grant: Grant | None) -> Denial | None:
    if spec.role is None:
        return None
    if spec.role not in key_class.roles:
        remedy = f"choose one of {', '.join(sorted(key_class.roles))}" if key_class.roles else "remove it"
        return Denial(
            Reason.ROLE_NOT_FOUND,
            f"spec.role: class {key_class.name} has no role {spec.role}: {remedy}, or have it added",
        )
    if grant is None or not {"*", spec.role}.isdisjoint(grant.roles):
        return None
    return Denial(
        Reason.SCOPE_NOT_ALLOWED,
        f"spec.role: class {key_class.name} does not grant the role {spec.role} to this namespace: choose another, or "
        "have spec.grants of the class extended",
    )


def _deny_scope(scope: str, key_class: KeyClass, grant: Grant | None) -> Denial | None:
    if not is_known(scope, key_class.scopes):
        return Denial(
            Reason.SCOPE_NOT_ALLOWED,
            f"spec.scopes: {scope} is not in the catalogue of class {key_class.name} and covers nothing in it: "
            "remove it, or have it added to spec.scopes of the class",
        )
    if grant is None or is_covered(scope, grant.scopes):
        return None
    return Denial(
        Reason.SCOPE_NOT_ALLOWED,
        f"spec.scopes: class {key_class.name} does not grant {scope} to this namespace: remove it, or have "
        "spec.grants of the class extended",
    )


def _deny_limit(spec: KeySpec, key_class: KeyClass) -> Denial | None:
    bounds = {each.name: each for each in key_class.rate_limits}
    for limit in spec.rate_limits:
        bound = bounds.get(limit.name)
        if bound is None:
            return Denial(
                Reason.INVALID_SPEC,
                f"spec.rateLimits: class {key_class.name} has no rate limit {limit.name} that could be tightened: "
                + (f"name one of {', '.join(bounds)}" if bounds else "remove it"),
            )
        if _tighter(bound, limit) != replace(limit, window=limit.window or bound.window):
            return Denial(
                Reason.INVALID_SPEC,
                f"spec.rateLimits: {limit.name} is looser than in class {key_class.name}, which has {_say(bound)}: ask "
                "for no more requests, in no shorter window",
            )
    return None


def _tighter(limit: RateLimit, other: RateLimit | None) -> RateLimit:
    """The fewer requests of both in the longer window of both."""
    if other is None:
        return limit
    windows = [each for each in (limit.window, other.window) if each is not None]
    return replace(limit, requests=min(limit.requests, other.requests), window=max(windows, default=None))


def _say(limit: RateLimit) -> str:
    return f"{limit.requests} in {format_duration(limit.window or timedelta())}"


def _is_same(owner: Owner | None, other: Owner | None) -> bool:
    """Groups are a set: the schema lets their order change."""
    if owner is None or other is None:
        return owner is other
    return owner.user == other.user and set(owner.groups) == set(other.groups)


def _covers(patterns: Iterable[str], name: str) -> bool:
    """Whether one of the patterns, in which only ``*`` is special, covers the name of a user or group."""
    return any(fnmatchcase(name, re.sub(r"[?[]", r"[\g<0>]", each)) for each in patterns)
