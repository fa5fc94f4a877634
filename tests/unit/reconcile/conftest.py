"""Nothing here waits for real."""

import pytest

from keywright.reconcile import handover


@pytest.fixture(autouse=True)
def _without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A delivery is tried again at once; what limits it is the clock of the test."""
    monkeypatch.setattr(handover, "RETRY_DELIVERY", 0.0)
