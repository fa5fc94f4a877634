"""A key's life is judged by the verifier's own clock, on every request, from the newest manifest."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keywright.domain.times import format_instant, parse_instant
from keywright.verifier.keys.records import read_api_key
from keywright.verifier.keys.rights import RightsPool
from tests.unit.verifier.builders import NOW, api_key, at, mint, record
from tests.unit.verifier.wire import Served

KEY = mint()


def ends_at(manifest: dict[str, Any]) -> float:
    (entry,) = read_api_key(manifest, RightsPool())
    return entry.ends_at - NOW.timestamp()


@pytest.mark.parametrize(
    ("spec", "expires_at", "end"),
    [
        ({}, None, math.inf),
        ({}, 500, 500),
        ({"expiresAt": at(100)}, 500, 100),
        ({"expiresAt": at(900)}, 500, 500),
        ({"expiresAt": at(100)}, None, 100),
        ({"ttl": "2m"}, 500, 60),
        ({"ttl": "2m"}, None, 60),
        ({"ttl": "90d"}, 500, 500),
    ],
)
def test_the_first_end_counts(spec: dict[str, Any], expires_at: float | None, end: float) -> None:
    """What the operator accepted, what the spec says now, and issue plus ttl: whichever comes first."""
    accepted = at(expires_at) if expires_at is not None else None
    assert ends_at(api_key(record(KEY, expiresAt=accepted), spec=spec)) == end


@pytest.mark.parametrize(
    ("spec", "status", "code"),
    [
        ({"revoked": True}, {}, "revoked_key"),
        ({}, {"revokedAt": at(-1)}, "revoked_key"),
        ({"revoked": False}, {"revokedAt": at(-1)}, "revoked_key"),
        ({"suspended": True}, {}, "suspended_key"),
        ({}, {"suspendedAt": at(-1)}, "suspended_key"),
        ({"suspended": True, "revoked": True}, {}, "revoked_key"),
        ({"suspended": True, "expiresAt": at(-1)}, {}, "expired_key"),
        ({"revoked": True, "expiresAt": at(-1)}, {}, "revoked_key"),
        ({"expiresAt": at(3600)}, {"phase": "Expired", "currentKeyId": KEY.key_id}, "expired_key"),
    ],
)
async def test_what_restricts_acts_from_spec_and_status(
    served: Served, spec: dict[str, Any], status: dict[str, Any], code: str
) -> None:
    """Spec restricts at once; status goes on restricting until the operator has enacted the widening."""
    served.verifier.index.put(api_key(record(KEY), spec=spec, status=status))
    assert (await served.present(KEY.text)).code == code


async def test_a_change_acts_on_the_next_request(served: Served) -> None:
    """Suspend, resume, revoke, delete: each acts on a proven key at once."""
    index = served.verifier.index
    index.put(api_key(record(KEY)))
    assert (await served.present(KEY.text)).status == 200
    index.put(api_key(record(KEY), spec={"suspended": True}))
    assert (await served.present(KEY.text)).code == "suspended_key"
    index.put(api_key(record(KEY)))
    assert (await served.present(KEY.text)).status == 200
    index.put(api_key(record(KEY), spec={"revoked": True}))
    assert (await served.present(KEY.text)).code == "revoked_key"
    index.remove("uid-1")
    assert (await served.present(KEY.text)).code == "invalid_key"


async def test_a_key_ends_by_itself(served: Served) -> None:
    """No event and no operator is needed for a key to expire."""
    soon = format_instant(datetime.now(UTC) + timedelta(seconds=3))
    served.verifier.index.put(api_key(record(KEY, expiresAt=soon)))
    assert (await served.present(KEY.text)).status == 200
    async with asyncio.timeout(10):
        while (reply := await served.present(KEY.text)).status == 200:
            await asyncio.sleep(0.05)
    assert reply.code == "expired_key"


async def test_an_object_that_is_being_deleted_is_gone(served: Served) -> None:
    """Foreground deletion keeps an object around; its key stops at once."""
    served.verifier.index.put(api_key(record(KEY)))
    served.verifier.index.put(api_key(record(KEY), metadata={"deletionTimestamp": at(0)}))
    assert (await served.present(KEY.text)).code == "invalid_key"


@pytest.mark.parametrize("state", ["Pending", "Current", "Retiring"])
async def test_every_state_is_accepted_until_its_end(served: Served, state: str) -> None:
    """A key that has been delivered works before the operator has got round to saying so."""
    served.verifier.index.put(api_key(record(KEY, state=state, expiresAt=at(3600))))
    assert (await served.present(KEY.text)).status == 200


async def test_every_record_of_an_api_key_is_accepted(served: Served) -> None:
    """Each record is a key of its own, with its own end."""
    other, ended = mint(2), mint(3)
    served.verifier.index.put(api_key(record(KEY), record(other), record(ended, expiresAt=at(-1))))
    assert [(await served.present(each.text)).status for each in (KEY, other, ended)] == [200, 200, 401]


async def test_the_end_is_announced_within_warn_before(served: Served) -> None:
    """X-Auth-Key-Expires appears when the end is near, and only then."""
    other, soon = mint(2), at(86400 * 13)
    served.verifier.index.put(api_key(record(KEY, expiresAt=soon), record(other, expiresAt=at(86400 * 15))))
    announced = (await served.present(KEY.text)).one("X-Auth-Key-Expires")
    assert parse_instant(announced) == parse_instant(soon)
    assert announced.endswith("Z")
    assert (await served.present(other.text)).all("X-Auth-Key-Expires") == []
