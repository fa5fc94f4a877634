"""Thousands of steps of the state machine, in memory. ``HYPOTHESIS_PROFILE=long`` takes twenty times as many."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import Phase, settings

from keywright.domain import minting, policy, rotation
from keywright.domain.apikey import Effective, RecordState, Status
from keywright.domain.delivery import Ours
from keywright.reconcile import handover
from tests.unit.reconcile.machine import Keywright

TestKeywright = Keywright.TestCase
TestKeywright.settings = settings(
    max_examples=settings().max_examples, stateful_step_count=40, report_multiple_bugs=False
)


minting_propose = minting.propose


def _without_grace(records: Any, ends_at: Any) -> Any:
    return ()


def _unhandled(spec: Any, status: Status) -> Status:
    return status


def _promote_at_once(spec: Any, observed: Any, minted: Any) -> Status:
    status = minting_propose(spec, observed, minted)
    keys = tuple(dataclasses.replace(each, state=RecordState.CURRENT) for each in status.keys if each.id == minted.id)
    return dataclasses.replace(status, keys=keys, current_key_id=minted.id)


def _all_is_ours(facts: Any, **_: Any) -> Any:
    return Ours(uid=facts.uid, resource_version=facts.resource_version, holds=facts.holds)


def _accept_all(spec: Any, observed: Any, status: Status, verdict: Any, now: Any) -> Status:
    effective = Effective(role=spec.role, scopes=("*",))
    return dataclasses.replace(status, effective=effective)


@pytest.mark.parametrize(
    ("module", "name", "broken"),
    [
        pytest.param(rotation, "retire", _without_grace, id="replaced keys are dropped at once"),
        pytest.param(rotation, "handled", _unhandled, id="a request for a rotation is not remembered"),
        pytest.param(minting, "propose", _promote_at_once, id="a key is Current before it is delivered"),
        pytest.param(handover, "classify", _all_is_ours, id="every Secret is taken for ours"),
        pytest.param(policy, "enact", _accept_all, id="everything is granted"),
    ],
)
def test_a_broken_operator_is_found_out(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, broken: Callable[..., Any]
) -> None:
    """The machine would be worth nothing if it let these pass."""
    monkeypatch.setattr(module, name, broken)
    machine = Keywright.TestCase
    machine.settings = settings(
        max_examples=50, stateful_step_count=40, phases=[Phase.generate], database=None, report_multiple_bugs=False
    )
    with pytest.raises((AssertionError, ExceptionGroup)):
        machine("runTest").runTest()
