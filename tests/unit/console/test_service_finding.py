"""What may be named at all, before anybody is asked."""

import pytest

from keywright.console.callers.caller import Caller
from keywright.console.problems import ProblemError
from keywright.console.service.acting import Acting
from keywright.console.service.finding import Finder
from keywright.kube.client import ApiClient


@pytest.mark.parametrize("namespace", ["..", "../..", "a/b", "", "A", "payments%2f..", "n" * 64, "a b", "-"])
async def test_only_a_name_gets_into_an_address_of_the_api_server(namespace: str) -> None:
    """Where all namespaces are served, whatever is none of them answers as one that does not exist."""
    nobody: ApiClient = None  # type: ignore[assignment]  # who asks it fails
    finder = Finder(Acting(nobody), Caller(user="alice"), lambda _: True)
    with pytest.raises(ProblemError) as caught:
        await finder.find(namespace, "ci")
    assert caught.value.status == 404
