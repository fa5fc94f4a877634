"""The one vocabulary of reasons that conditions, events, logs and metrics share (DESIGN section 3)."""

from enum import StrEnum

__all__ = ["Reason"]


class Reason(StrEnum):
    """Why something is as it is; the value is what people read in ``kubectl describe``."""

    PENDING = "Pending"
    KEY_ISSUED = "KeyIssued"
    KEY_ROTATED = "KeyRotated"
    GRACE_PERIOD_ENDED = "GracePeriodEnded"
    OLD_KEY_STILL_USED = "OldKeyStillUsed"
    EXPIRES_SOON = "ExpiresSoon"
    KEY_EXPIRED = "KeyExpired"
    KEY_REVOKED = "KeyRevoked"
    KEY_SUSPENDED = "KeySuspended"
    KEY_RESUMED = "KeyResumed"
    SECRET_CONFLICT = "SecretConflict"
    SECRET_REFUSED = "SecretRefused"
    SECRET_MISSING = "SecretMissing"
    SECRET_WITHDRAWN = "SecretWithdrawn"
    SECRET_ADOPTED = "SecretAdopted"
    INVALID_SPEC = "InvalidSpec"
    CLASS_NOT_FOUND = "ClassNotFound"
    CLASS_NOT_ALLOWED = "ClassNotAllowed"
    LIFETIME_EXCEEDED = "LifetimeExceeded"
    SCOPE_NOT_ALLOWED = "ScopeNotAllowed"
    ROLE_NOT_FOUND = "RoleNotFound"
    STATUS_TAMPERED = "StatusTampered"
