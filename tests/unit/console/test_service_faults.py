"""What is wrong with a field, in words that a person can act by."""

from typing import Any

import pytest
from pydantic import ValidationError

from keywright.console.service.faults import say_fault
from keywright.console.service.wanted import NewKey


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ({"nam": "x"}, "there is no such field"),
        ({"name": "Not so"}, "use lower case letters"),
        ({"className": "Not so"}, "use lower case letters"),
        ({"scopes": ["NOT SO"]}, "write scopes as in orders:read"),
        ({"owner": {"user": " x"}}, "use printable ASCII"),
        ({"owner": {}}, "it is needed"),
        ({"ttl": "5"}, "a duration is days"),
        ({"ttl": 5}, "write it as text"),
        ({"expiresAt": "1799999999"}, "write an instant with its offset"),
        ({"expiresAt": "2999-01-01 00:00:00Z"}, "write an instant with its offset"),
        ({"expiresAt": "2999-01-01T00:00:00"}, "write an instant with its offset"),
        ({"display_name": "x"}, "there is no such field"),
        ({"name": "3f0c2a4e-9d55-4c5e-8f0b-2b1f6f0f7a11"}, "the form of a UID"),
        ({"displayName": "x" * 129}, "use at most 128 characters"),
        ({"description": "x" * 1025}, "use at most 1024 characters"),
        ({"scopes": [f"s{number}" for number in range(17)]}, "use at most 16 entries"),
    ],
)
def test_each_fault_says_what_to_write(sent: dict[str, Any], told: str) -> None:
    """No regular expression, no word of a library, and nothing that was sent."""
    with pytest.raises(ValidationError) as caught:
        NewKey.model_validate(sent)
    (fault,) = caught.value.errors(include_input=False, include_url=False)
    said = say_fault(fault)
    assert told in said
    assert not any(each in said.casefold() for each in ("^", "value error", "not so", "extra inputs"))
