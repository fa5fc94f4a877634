"""What a front proxy says, and whether it is one."""

import ipaddress

import pytest

from keywright.console.callers.caller import Caller
from keywright.console.callers.proxy import FrontProxy, is_within
from keywright.console.problems import ProblemError
from keywright.console.settings import ConsoleSettings

PEER = "10.1.2.3"


def proxy(groups: str | None = "x-groups") -> FrontProxy:
    networks = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
    return FrontProxy(ConsoleSettings(proxy_from=networks, proxy_user_header="x-user", proxy_groups_header=groups))


def test_user_and_groups() -> None:
    """Groups in one header, comma-separated, or in several."""
    fields = [(b"x-user", b"alice"), (b"x-groups", b"a, b"), (b"x-groups", b"c,,")]
    assert proxy().identify(PEER, fields) == Caller(user="alice", groups=("a", "b", "c"))
    assert proxy(None).identify(PEER, fields) == Caller(user="alice")


@pytest.mark.parametrize("peer", ["192.168.0.1", "::1", "", None, "unix", "11.0.0.0"])
def test_another_peer(peer: str | None) -> None:
    """What it sends are headers like any others."""
    assert proxy().identify(peer, [(b"x-user", b"alice")]) is None


@pytest.mark.parametrize("fields", [[], [(b"x-user", b"")], [(b"x-groups", b"dev")]])
def test_a_proxy_that_names_nobody(fields: list[tuple[bytes, bytes]]) -> None:
    """Groups alone are nobody."""
    assert proxy().identify(PEER, fields) is None


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([(b"x-user", b"alice"), (b"x-user", b"bob")], 400),
        ([(b"x-user", b"alice"), (b"x-user", b"alice")], 400),
        ([(b"x-user", b"\xff")], 400),
        ([(b"x-user", b"system:admin")], 403),
        ([(b"x-user", b"system:serviceaccount:a:b")], 403),
        ([(b"x-user", b"alice"), (b"x-groups", b"a,system:masters")], 403),
        ([(b"x-user", b"alice"), (b"x-groups", b" system:authenticated")], 403),
        ([(b"x-user", b"apikey:a/b")], 403),
    ],
)
def test_what_it_cannot_say(fields: list[tuple[bytes, bytes]], status: int) -> None:
    """Two users, no text, and anybody of the cluster itself."""
    with pytest.raises(ProblemError) as refused:
        proxy().identify(PEER, fields)
    assert refused.value.status == status


@pytest.mark.parametrize("peer", ["::ffff:10.1.2.3", "10.255.255.255", "fd12::1"])
def test_addresses_that_are_within(peer: str) -> None:
    """An IPv4 address that a dual-stack socket writes as IPv6 is the same address."""
    assert is_within(peer, (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")))
