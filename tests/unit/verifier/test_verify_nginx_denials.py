"""``?deny=nginx`` turns what auth_request cannot carry into 403."""

import pytest

from tests.unit.verifier.builders import api_key, mint, record
from tests.unit.verifier.wire import Served


async def test_refusals_nginx_cannot_carry_become_403(served: Served) -> None:
    """400 and 503 become 403 with the true status beside it and the same code; challenges stay."""
    one, other = mint(1), mint(2)
    both = (("Authorization", f"Bearer {one.text}"), ("X-API-Key", other.text))
    bad = await served.ask(*both, target="/verify?deny=nginx")
    assert (bad.status, bad.one("X-Auth-Status"), bad.code) == (403, "400", "invalid_request")
    assert len(bad.all("WWW-Authenticate")) == 2


async def test_unavailable_becomes_403_too(served: Served) -> None:
    """503 keeps its code and its Retry-After."""
    served.watch.synced.clear()
    away = await served.ask(target="/verify?deny=nginx")
    assert (away.status, away.one("X-Auth-Status"), away.code) == (403, "503", "unavailable")
    assert away.one("Retry-After") == "5"


async def test_what_nginx_carries_stays(served: Served) -> None:
    """200 and 401 are as ever."""
    key = mint()
    served.verifier.index.put(api_key(record(key)))
    assert (await served.present(key.text, target="/verify?deny=nginx")).status == 200
    missing = await served.ask(target="/verify?deny=nginx")
    assert (missing.status, missing.all("X-Auth-Status")) == (401, [])


@pytest.mark.parametrize("target", ["/verify/?deny=nginx", "/verify/a?deny=nginx", "/verify?deny=envoy", "/verify"])
async def test_only_the_proxys_own_url_counts(served: Served, target: str) -> None:
    """Below /verify the client writes the query, so it has no say there."""
    one, other = mint(1), mint(2)
    reply = await served.ask(("Authorization", f"Bearer {one.text}"), ("X-API-Key", other.text), target=target)
    assert (reply.status, reply.all("X-Auth-Status")) == (400, [])


async def test_it_may_stand_among_other_parameters(served: Served) -> None:
    """The parameter counts wherever it stands in the query."""
    served.watch.synced.clear()
    assert (await served.ask(target="/verify?a=b&deny=nginx")).status == 403
