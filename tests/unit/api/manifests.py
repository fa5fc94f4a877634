"""ApiKeys as the API server returns them."""

from datetime import datetime
from typing import Any

from keywright.api.status import write_status
from keywright.domain.apikey import Status
from keywright.domain.times import format_instant
from tests.unit.domain.examples import NOW

__all__ = ["manifest"]


def manifest(status: Status | None = None, /, *, made_at: datetime = NOW, **spec: Any) -> dict[str, Any]:
    """The ApiKey payments/ci with this status and spec."""
    return {
        "apiVersion": "keywright.dev/v1alpha1",
        "kind": "ApiKey",
        "metadata": {
            "name": "ci",
            "namespace": "payments",
            "uid": "uid-of-ci",
            "generation": 1,
            "creationTimestamp": format_instant(made_at),
        },
        "spec": spec,
        "status": write_status(status) if status is not None else {},
    }
