"""What may be named at all, and whom it means."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from keywright.console.callers.caller import Caller
from keywright.console.problems import ProblemError
from keywright.console.service.acting import Acting
from keywright.console.service.finding import Finder
from keywright.kube.client import ApiClient
from keywright.kube.errors import ForbiddenError
from keywright.kube.resources import Resource


@pytest.mark.parametrize("namespace", ["..", "../..", "a/b", "", "A", "payments%2f..", "n" * 64, "a b", "-"])
async def test_only_a_name_gets_into_an_address_of_the_api_server(namespace: str) -> None:
    """Where all namespaces are served, whatever is none of them answers as one that does not exist."""
    nobody: ApiClient = None  # type: ignore[assignment]  # who asks it fails
    finder = Finder(Acting(nobody), Caller(user="alice"), lambda _: True)
    with pytest.raises(ProblemError) as caught:
        await finder.find(namespace, "ci")
    assert caught.value.status == 404


KEY_ID = "abcdefghijk1"


class Keys:
    """An API server with two keys: the id of the one is the name of the other."""

    meant: dict[str, Any] = {  # noqa: RUF012 - it is never changed
        "metadata": {"name": "ci", "uid": "1"},
        "spec": {},
        "status": {"keys": [{"id": KEY_ID}]},
    }
    decoy: dict[str, Any] = {"metadata": {"name": KEY_ID, "uid": "2"}, "spec": {}}  # noqa: RUF012 - see above

    def __init__(self, *, may_list: bool = True) -> None:
        self._may_list = may_list

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return self.decoy

    async def list_pages(self, resource: Resource, namespace: str, **_: Any) -> AsyncIterator[dict[str, Any]]:
        if not self._may_list:
            raise ForbiddenError(403, "Forbidden", "list")
        yield {"metadata": {}, "items": [self.meant, self.decoy]}


def finder(keys: Keys) -> Finder:
    client: Any = keys
    return Finder(Acting(client), Caller(user="alice"), lambda _: True)


async def test_a_key_that_is_called_by_the_id_of_another_is_no_decoy() -> None:
    """Whoever revokes a key by its id, as the log has it, is told, instead of revoking what somebody has called so."""
    with pytest.raises(ProblemError) as caught:
        await finder(Keys()).find("payments", KEY_ID)
    assert (caught.value.status, caught.value.code) == (409, "conflict")


async def test_who_may_not_list_knows_keys_by_their_names() -> None:
    """The right to get one key is enough to get it, whatever its name looks like."""
    assert await finder(Keys(may_list=False)).find("payments", KEY_ID) == Keys.decoy
