"""Label selectors mean what they mean in Kubernetes."""

import pytest

from keywright.domain.selectors import Operator, Requirement, Selector, selects

LABELS = {"team": "payments", "stage": "live"}


@pytest.mark.parametrize(
    ("selector", "is_selected"),
    [
        (Selector(), True),
        (Selector(match_labels={"team": "payments"}), True),
        (Selector(match_labels={"team": "payments", "stage": "test"}), False),
        (Selector(match_labels={"absent": ""}), False),
        (Selector(match_expressions=(Requirement(key="team", operator=Operator.IN, values=("payments", "x")),)), True),
        (Selector(match_expressions=(Requirement(key="absent", operator=Operator.IN, values=("x",)),)), False),
        (Selector(match_expressions=(Requirement(key="team", operator=Operator.NOT_IN, values=("payments",)),)), False),
        (Selector(match_expressions=(Requirement(key="absent", operator=Operator.NOT_IN, values=("x",)),)), True),
        (Selector(match_expressions=(Requirement(key="team", operator=Operator.EXISTS),)), True),
        (Selector(match_expressions=(Requirement(key="absent", operator=Operator.EXISTS),)), False),
        (Selector(match_expressions=(Requirement(key="absent", operator=Operator.DOES_NOT_EXIST),)), True),
        (Selector(match_expressions=(Requirement(key="team", operator=Operator.DOES_NOT_EXIST),)), False),
    ],
)
def test_selecting(selector: Selector, is_selected: bool) -> None:
    """All of it must hold; an empty selector selects everything."""
    assert selects(selector, LABELS) is is_selected
