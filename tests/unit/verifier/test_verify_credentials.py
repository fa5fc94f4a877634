"""Where a request may carry its key, and what is refused because it is ambiguous."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.verifier import verdicts
from keywright.verifier.keys.acceptance import accept
from keywright.verifier.keys.credentials import Presented, find_key
from keywright.verifier.settings import VerifierSettings
from keywright.verifier.verdicts import Refusal
from tests.unit.verifier.builders import api_key, api_key_class, mint, record
from tests.unit.verifier.wire import Served, serving

KEY = mint()


@pytest.fixture(autouse=True)
def _issued(served: Served) -> None:
    served.verifier.index.put(api_key(record(KEY)))


@pytest.mark.parametrize(
    "header",
    [
        ("Authorization", f"Bearer {KEY.text}"),
        ("authorization", f"bearer {KEY.text}"),
        ("AUTHORIZATION", f"APIKEY {KEY.text}"),
        ("X-API-Key", KEY.text),
        ("x-api-key", KEY.text),
        ("X-Api-Key", f"  {KEY.text} \t "),
        ("Authorization", f"Bearer {KEY.text} \t"),
    ],
)
async def test_every_carrier_of_the_class_is_taken(served: Served, header: tuple[str, str]) -> None:
    """Schemes and header names know no case; white space round a field value is not part of it."""
    assert (await served.ask(header)).status == 200


@pytest.mark.parametrize(
    "header",
    [
        ("Authorization", KEY.text),
        ("Authorization", f"Basic {KEY.text}"),
        ("Authorization", f"Token {KEY.text}"),
        ("Authorization", f"Bearer\t{KEY.text}"),
        ("Authorization", "Bearer"),
        ("Authorization", ""),
        ("Proxy-Authorization", f"Bearer {KEY.text}"),
        ("X-API-Keys", KEY.text),
        ("X_API_Key", KEY.text),
        ("X-API-Key", ""),
        ("Cookie", f"X-API-Key={KEY.text}"),
    ],
)
async def test_nothing_else_carries_a_key(served: Served, header: tuple[str, str]) -> None:
    """What no class names as a carrier presents no key."""
    reply = await served.ask(header)
    assert (reply.status, reply.code) == (401, "missing_key")


@pytest.mark.parametrize("target", ["/verify?{}", "/verify?api_key={}", "/verify/a?X-API-Key={}", "/verify/{}"])
async def test_never_from_the_url(served: Served, target: str) -> None:
    """A key in a URL ends up in logs, so it is not even looked at."""
    assert (await served.ask(target=target.format(KEY.text))).code == "missing_key"


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", f"Bearer {KEY.text}")] * 2,
        [("Authorization", f"Bearer {KEY.text}"), ("authorization", "Basic eDp5")],
        [("Authorization", "Basic eDp5")] * 2,
        [("X-API-Key", KEY.text)] * 2,
        [("X-API-Key", KEY.text), ("x-api-key", "")],
    ],
)
async def test_a_repeated_carrier_is_refused(served: Served, headers: list[tuple[str, str]]) -> None:
    """A proxy or backend might look at the other one, so not even the same key twice will do."""
    reply = await served.ask(*headers)
    assert (reply.status, reply.code) == (400, "invalid_request")
    assert reply.all("WWW-Authenticate")


async def test_the_same_key_in_two_carriers_is_one_key(served: Served) -> None:
    """There is no doubt about which key is meant."""
    reply = await served.ask(("Authorization", f"Bearer {KEY.text}"), ("X-API-Key", KEY.text))
    assert reply.status == 200


async def test_a_key_counts_only_in_carriers_of_its_own_class() -> None:
    """A header that another accepted class names does not carry this class's keys."""
    machines, people = mint(5), mint(6)
    async with serving(VerifierSettings(classes=("machines", "people"))) as served:
        classes, index = served.verifier.classes, served.verifier.index
        classes.put(api_key_class("machines", credentials={"schemes": [], "headers": ["X-Machine-Key"]}))
        classes.put(api_key_class("people", credentials={"schemes": ["Bearer"], "headers": []}))
        index.put(api_key(record(machines), uid="uid-1", class_name="machines"))
        index.put(api_key(record(people), uid="uid-2", class_name="people"))
        assert (await served.present(people.text)).status == 200
        assert (await served.ask(("X-Machine-Key", machines.text))).status == 200
        assert (await served.present(machines.text)).code == "invalid_key"
        assert (await served.ask(("X-Machine-Key", people.text))).code == "invalid_key"
        both = await served.ask(("X-Machine-Key", people.text), ("Authorization", f"Bearer {people.text}"))
        assert both.status == 200
        assert (await served.ask(("X-API-Key", people.text))).code == "missing_key"
        assert (await served.ask()).all("WWW-Authenticate") == ['Bearer realm="keywright"']


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"authorization", b"x-api-key", b"x-other"]),
            st.one_of(st.binary(max_size=40), st.builds(b"Bearer ".__add__, st.binary(max_size=40))),
        ),
        max_size=4,
    )
)
def test_any_fields_give_one_key_or_one_refusal(fields: list[tuple[bytes, bytes]]) -> None:
    """Whatever the headers hold, there is one presented key out of them, or a refusal, and never an error."""
    found = find_key(fields, accept((), ()))
    if isinstance(found, Presented):
        assert any(value.rstrip(b" \t").endswith(found.text) for _, value in fields)
        assert repr(found) == "Presented(…)"
    else:
        assert isinstance(found, Refusal)
        assert found in (verdicts.MISSING, verdicts.TWO_KEYS, verdicts.REPEATED_CREDENTIAL)
