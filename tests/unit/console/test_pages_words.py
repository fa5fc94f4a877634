"""What pages say of times, lives, ends and refusals. Pure: values in, words out."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keywright.api.standing import Tone
from keywright.console.callers.caller import Caller
from keywright.console.pages import actions, addresses, distances, expiries, forms, lifebar, listing, words
from keywright.console.problems import ProblemError
from keywright.console.service.views import ClassView, ConditionView, EventView, KeyView, RoleView
from keywright.domain.apikey import Delivery, Phase
from keywright.domain.keyclass import Authorization, Delegation
from keywright.domain.reasons import Reason

NOW = datetime(2027, 1, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ALICE = Caller(user="alice@example.com")


def key(**fields: Any) -> KeyView:
    """A live key of ten days, with five to go."""
    usual: dict[str, Any] = {
        "namespace": "payments",
        "name": "ci",
        "uid": "u-1",
        "display_name": "CI",
        "description": "",
        "class_name": "standard",
        "role": None,
        "scopes": (),
        "owner": None,
        "created_at": NOW - 5 * DAY,
        "issued_at": NOW - 5 * DAY,
        "last_used_at": None,
        "expires_at": NOW + 5 * DAY,
        "rotate_at": None,
        "revoked_at": None,
        "status": "Active",
        "phase": Phase.ACTIVE,
        "tone": Tone.PLAIN,
        "is_over": False,
        "suspended": False,
        "revoked": False,
        "current_key_id": None,
        "masked_key": None,
        "delivery": Delivery.ONCE,
        "keys": (),
        "conditions": (),
        "version": "1",
    }
    return KeyView(**usual | fields)


def key_class(**fields: Any) -> ClassView:
    usual: dict[str, Any] = {
        "name": "standard",
        "is_default": True,
        "roles": (),
        "scopes": (),
        "default_lifetime": None,
        "max_lifetime": None,
        "requires": (),
        "schemes": ("Bearer", "ApiKey"),
        "headers": ("X-API-Key",),
        "authorization": Authorization.SCOPES,
        "delegation": Delegation.REFUSED,
    }
    return ClassView(**usual | fields)


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(days=90), "90 days"),
        (timedelta(hours=25), "25 hours"),
        (timedelta(minutes=3, seconds=31), "4 minutes"),
        (timedelta(seconds=1), "1 second"),
        (timedelta(), "0 seconds"),
    ],
)
def test_a_span_is_said_in_its_largest_unit(span: timedelta, words: str) -> None:
    """To the nearest, and in whole words: screen readers read them."""
    assert distances.say_span(span) == words


def test_the_life_of_a_key_is_drawn_to_scale() -> None:
    """Half its life is half the bar, and whoever does not see it is told the same."""
    bar = lifebar.draw(key(last_used_at=NOW - DAY), NOW)
    assert bar.spent == lifebar.WIDTH / 2
    places = {each.kind: each.x for each in bar.marks}
    assert places == {"begin": 0, "used": lifebar.WIDTH * 0.4, "now": lifebar.WIDTH / 2, "end": lifebar.WIDTH}
    assert "last used 24 hours ago (2026-12-31 12:00 UTC)" in bar.summary
    assert "ends in 5 days" in bar.summary


@given(
    st.datetimes(timezones=st.just(UTC)),
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.timedeltas(-20_000 * DAY, 20_000 * DAY).map(lambda each: NOW + each),
)
def test_no_life_is_drawn_beyond_its_bar(
    issued: datetime, used: datetime | None, end: datetime | None, now: datetime
) -> None:
    """Whatever clocks say: a key from the future, an end before the issue, no end at all."""
    bar = lifebar.draw(key(issued_at=issued, last_used_at=used, expires_at=end), now)
    assert all(0 <= each.x <= lifebar.WIDTH for each in bar.marks)
    assert 0 <= bar.spent <= lifebar.WIDTH


@pytest.mark.parametrize(
    ("fields", "ended"),
    [
        ({"revoked_at": NOW - DAY}, NOW - DAY),
        ({"revoked_at": NOW - DAY, "expires_at": NOW - 2 * DAY}, NOW - 2 * DAY),
        ({"expires_at": NOW - DAY}, NOW - DAY),
        ({"expires_at": None}, None),
        ({}, None),
    ],
)
def test_a_key_has_ended_when_the_first_thing_ended_it(fields: dict[str, Any], ended: datetime | None) -> None:
    """By its revocation or its end; an end that is still to come is none that it has had."""
    assert lifebar.ended_at(key(is_over=True, **fields), NOW) == ended


@pytest.mark.parametrize(
    ("fields", "values"),
    [
        ({}, ["90d", "30d", "7d", "date", "open"]),
        ({"max_lifetime": "45d"}, ["30d", "7d", "date", "open"]),
        ({"max_lifetime": "1h"}, ["date", "open"]),
        ({"requires": ("expiresAt",)}, ["90d", "30d", "7d", "date"]),
        ({"default_lifetime": "90d", "max_lifetime": "365d"}, ["open", "30d", "7d", "date"]),
        ({"default_lifetime": "30d"}, ["90d", "open", "7d", "date"]),
        ({"max_lifetime": "30d"}, ["open", "7d", "date"]),
        ({"default_lifetime": "90d", "requires": ("expiresAt",)}, ["90d", "30d", "7d", "date"]),
    ],
)
def test_ends_that_the_class_does_not_allow_are_not_offered(fields: dict[str, Any], values: list[str]) -> None:
    """Nor the same end twice: presets are within its longest life, and what leaving it open means takes the place of one."""
    assert [each.value for each in expiries.choices(key_class(**fields))] == values


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({}, "No end"),
        ({"max_lifetime": "365d"}, "The longest that the class allows: 365 days"),
        ({"default_lifetime": "90d", "max_lifetime": "365d"}, "As the class has it: 90 days"),
    ],
)
def test_leaving_the_end_open_says_what_it_means(fields: dict[str, Any], label: str) -> None:
    """Which is not the same in every class."""
    assert [each.label for each in expiries.choices(key_class(**fields)) if each.value == "open"] == [label]


def test_a_chosen_day_is_usable_to_its_end() -> None:
    """And the last one that is offered is within the limit."""
    assert expiries.end_of("2027-02-03") == datetime(2027, 2, 3, 23, 59, 59, tzinfo=UTC)
    last = expiries.last_date(key_class(max_lifetime="7d"), NOW)
    assert last == date(2027, 1, 7)
    assert expiries.end_of(str(last)) <= NOW + 7 * DAY
    assert expiries.last_date(key_class(), NOW) is None
    assert expiries.last_date(key_class(max_lifetime="9999d"), datetime(9990, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_plain_words(reason: Reason) -> None:
    """An event says what happened to a key, not the name of a constant."""
    event = EventView(reason=reason, message="", is_warning=False, at=NOW, count=1)
    assert reason is Reason.PENDING or " " in words.tell(event)


@pytest.mark.parametrize("status", ["True", "False"])
@pytest.mark.parametrize("condition_type", ["Ready", "Active", "Expiring", "Stalled", "SecretDelivered"])
def test_every_condition_has_a_sentence(condition_type: str, status: str) -> None:
    """Of its own; one that an operator of tomorrow may set is shown as it came."""
    condition = ConditionView(type=condition_type, status=status, reason="x", message="", last_transition_at=NOW)
    assert words.explain(condition) != f"{condition_type}: {status}."
    unknown = condition.model_copy(update={"type": "Tomorrow"})
    assert words.explain(unknown) == f"Tomorrow: {status}."


def test_a_key_that_was_handed_out_misses_no_secret() -> None:
    """Its Secret is gone on purpose, which reads as no fault."""
    fields = {"type": "SecretDelivered", "status": "False", "message": "", "last_transition_at": NOW}
    assert "handed out once" in words.explain(ConditionView(**fields | {"reason": "SecretWithdrawn"}))


@pytest.mark.parametrize(
    ("detail", "is_told"),
    [
        ("You may not list apikeys here. Ask an administrator for the ClusterRole keywright-view.", False),
        ("Ends after: choose a date, or one of the others.", False),
        ("The key service acts for people and service accounts only.", True),
        ("Scopes: Asking too much.", True),
    ],
)
def test_one_next_step_is_told(detail: str, is_told: bool) -> None:
    """That of the refusal itself, or else a general one: two that differ leave people to choose."""
    assert bool(words.next_step("forbidden", detail)) == is_told


def test_only_what_makes_sense_can_be_done() -> None:
    """Nothing brings back a revoked key, and a suspended one is resumed rather than suspended."""
    verbs = {
        name: [each.verb.value for each in actions.actions_for(key(**fields))]
        for name, fields in {"live": {}, "paused": {"suspended": True}, "gone": {"revoked": True}}.items()
    }
    assert verbs == {
        "live": ["rotate", "suspend", "revoke", "delete"],
        "paused": ["rotate", "resume", "revoke", "delete"],
        "gone": ["delete"],
    }
    assert actions.notice_of("nonsense") == ""


@pytest.mark.parametrize(
    "wanted", ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "", "/a\nb", "/\t/evil.example"]
)
def test_no_address_of_another_site_is_led_to(wanted: str) -> None:
    """The first page takes its place."""
    assert addresses.local_address(wanted) == "/"


def test_a_key_with_a_misleading_name_has_an_address() -> None:
    """Which is not that of the form for new keys, nor another's; and an owner's slash stays in his name."""
    assert addresses.address(key(name="new")) == "/keys/payments/u-1"
    # Of a key with this UID it would be the address, too.
    assert addresses.address(key(name="3f0c2a4e-9d55-4c5e-8f0b-2b1f6f0f7a11")) == "/keys/payments/u-1"
    assert addresses.owner_address("https://id.example/1 ?") == "/users/https%3A%2F%2Fid.example%2F1%20%3F"


def filled(**fields: Any) -> forms.Filled:
    return forms.Filled(**{"display_name": "CI", "ends": "30d"} | fields)


def test_a_form_becomes_the_key_that_it_asks_for() -> None:
    """An end by preset counts from each issue; whoever signed in as an account owns what he makes."""
    new = forms.to_new_key(filled(role="readonly", scopes=("a:read",)), "standard", ALICE)
    assert (new.ttl, new.expires_at, new.owner) == (timedelta(days=30), None, None)
    account = Caller(user="system:serviceaccount:payments:ci")
    owned = forms.to_new_key(filled(ends="date", day="2027-02-03"), "standard", account)
    assert owned.expires_at == expiries.end_of("2027-02-03")
    assert owned.owner is not None
    assert owned.owner.user == account.user
    assert forms.to_new_key(filled(ends="open"), "standard", ALICE).ttl is None


@pytest.mark.parametrize(
    ("fields", "label"),
    [
        ({"name": "Not so"}, "Name in Kubernetes"),
        ({"display_name": "x" * 129}, "Name"),
        ({"ends": "soon"}, "Ends after"),
        ({"ends": "date", "day": "soon"}, "Ends after"),
        ({"scopes": ("NO",)}, "Scopes"),
        ({"scopes": tuple(f"s{number}" for number in range(17))}, "Scopes"),
    ],
)
def test_what_is_wrong_is_named_as_people_know_it(fields: dict[str, Any], label: str) -> None:
    """By the label of the field, and without what was written there."""
    with pytest.raises(ProblemError) as caught:
        forms.to_new_key(filled(**fields), "standard", ALICE)
    assert caught.value.detail.startswith(f"{label}: ")
    assert not any(each in caught.value.detail for each in ("Not so", "^", "Value error"))


def test_a_blank_form_proposes_an_end_and_no_right() -> None:
    """An end that the class allows; also where there has to be a role, nobody gets one that he has not chosen."""
    roles = (
        RoleView(name="readonly", scopes=(), description=""),
        RoleView(name="superuser", scopes=("*",), description=""),
    )
    assert forms.blank(key_class(roles=roles, requires=("role",), max_lifetime="40d")) == forms.Filled(ends="30d")


@pytest.mark.parametrize("page", ["0", "-1", "x", "²", "1_0", "9" * 5000, "000001" + "9" * 5000, ""])
def test_a_page_that_cannot_be_is_the_first(page: str) -> None:
    """Whatever stands in the address."""
    assert listing.read_asked({"page": page, "status": "nonsense"}) == listing.Asked()


@pytest.mark.parametrize(
    ("fields", "carrier"),
    [
        ({}, "Authorization: Bearer"),
        ({"schemes": ("ApiKey",), "headers": ()}, "Authorization: ApiKey"),
        ({"schemes": (), "headers": ("X-Orders-Key",)}, "X-Orders-Key:"),
        ({"name": "another", "schemes": ("ApiKey",)}, "Authorization: Bearer"),
    ],
)
def test_how_to_use_a_key_is_what_its_class_accepts(fields: dict[str, Any], carrier: str) -> None:
    """Of several carriers the first; where the class has gone meanwhile, what it would be by default."""
    assert words.carrier_of([key_class(**fields)], "standard") == carrier
