"""Keys made, used, rotated and ended in the browser; and what others try there."""

import contextlib
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, expect

from keywright_local import ControlPlane
from tests.integration.conftest import Namespaces
from tests.support.browser import Visit, assert_accessible, markup, visiting
from tests.support.console import Console, console, console_account
from tests.support.console_visits import PLAIN, Person, accepted, generate
from tests.support.kube import Kube, eventually
from tests.support.people import bind_cluster
from tests.support.processes import get

pytest_plugins = ["tests.support.console_stage"]

HOSTILE = "<script>document.title='x'</script>\"'><img src=//evil.example/x>\u202egnp.exe " + "w" * 60


def test_a_new_key_works_at_once_and_is_shown_once(visit: Visit, person: Person, verifying: str, admin: Kube) -> None:
    """The key of the answer is accepted by a verifier. Neither a reload nor the way back shows it again, and the browser
    keeps it nowhere; its Secret is gone.
    """
    page = visit.sign_in(person.token, f"/?namespace={person.namespace}")
    page.get_by_role("link", name="Generate new key").click()
    plain = generate(page, person.namespace, "payments CI")
    eventually(lambda: accepted(verifying, plain))
    assert admin.request("GET", f"/api/v1/namespaces/{person.namespace}/secrets")["items"] == []
    assert page.content().count(plain) == 1
    assert plain not in visit.remembered()
    assert plain.rpartition("_")[2] not in visit.remembered()

    page.reload()
    expect(page.get_by_role("heading", name="payments CI")).to_be_visible()
    assert plain not in page.content()
    page.goto(f"{visit.origin}/?namespace={person.namespace}")
    expect(page.get_by_role("row", name="payments CI")).to_contain_text("you")
    page.go_back()
    expect(page.get_by_role("heading", name="payments CI")).to_be_visible()
    assert plain not in markup(page)
    page.go_forward()
    expect(page.get_by_role("row", name="payments CI")).to_be_visible()
    assert plain not in markup(page)
    assert len(admin.list(person.namespace)) == 1


@pytest.mark.usefixtures("shared_operator")
def test_a_key_of_another_class_with_all_that_the_form_offers(
    chromium: Browser,
    plane: ControlPlane,
    person: Person,
    admin: Kube,
    make_class: Callable[..., str],
    tmp_path: Path,
) -> None:
    """The class is chosen, its roles and scopes say what they are for, and the end is a date: the key is as it was asked
    for. It is explained in three ways, none of which holds it; and the key service itself takes keys of that class.
    """
    scopes = [
        {"name": "orders:read", "description": "Look at orders"},
        {"name": "orders:write", "description": "Take orders and change them", "includes": ["orders:read"]},
        {"name": "keys:read", "description": "Look at API keys"},
    ]
    roles = [{"name": "clerk", "scopes": ["orders:read"], "description": "Sits at the counter"}]
    name = make_class(prefix="kw_shop", roles=roles, scopes=scopes, lifetime={"max": "100d"})
    keys = {"apiGroups": ["keywright.dev"], "verbs": ["use"], "resources": ["apikeyclasses"], "resourceNames": [name]}
    granted = {
        "apiGroups": ["keywright.dev"],
        "verbs": ["grant"],
        "resources": ["apikeyclasses/roles", "apikeyclasses/scopes"],
    }
    bind_cluster(admin, person.user, keys, granted)
    flags = ("--class", "standard", "--class", name)
    account = console_account(plane, admin, everywhere=True)
    day = (datetime.now(UTC) + timedelta(days=40)).date().isoformat()
    with console(account, tmp_path / "log", *flags) as service, visiting(chromium, service.url) as visit:
        page = visit.sign_in(person.token, f"/keys/{person.namespace}/new")
        page.get_by_role("combobox", name="Class").select_option(name)
        page.get_by_role("button", name="Use this class").click()
        expect(page.get_by_label("clerk")).to_have_accessible_description("Sits at the counter: orders:read")
        expect(page.get_by_label("orders:read")).to_have_accessible_description("Look at orders.")
        wide = "Take orders and change them. Includes orders:read."
        expect(page.get_by_label("orders:write")).to_have_accessible_description(wide)
        for said in ("Sits at the counter: orders:read", wide):
            expect(page.get_by_text(said)).to_be_visible()

        def is_made() -> bool:  # rights become known some time after they are given
            page.get_by_label("Name", exact=True).fill("counter")
            page.get_by_label("clerk").check()
            page.get_by_label("keys:read").check()
            page.get_by_label("The last day, in UTC").fill(day)
            expect(page.get_by_label("On a date")).to_be_checked()
            with page.expect_navigation():
                page.get_by_role("button", name="Generate key").click()
            return page.get_by_role("heading", name="How to use it").count() == 1

        eventually(is_made, within=60)
        plain = page.locator("#plain").inner_text()
        (made,) = admin.list(person.namespace)
        spec = made["spec"]
        assert (spec["className"], spec["role"], spec["scopes"]) == (name, "clerk", ["keys:read"])
        assert spec["expiresAt"] == f"{day}T23:59:59Z"
        ways = {
            "curl": 'curl -H "Authorization: Bearer $API_KEY" https://your-service.example/',
            "A program's environment": 'SERVICE_API_KEY="$API_KEY" ./your-program',
            "A Kubernetes Secret": (
                f'printf %s "$API_KEY" | kubectl create secret generic {made["metadata"]["name"]}-client '
                f"-n {person.namespace} --from-file=api-key=/dev/stdin"
            ),
        }
        for heading, text in ways.items():
            expect(page.locator(f'h3:text-is("{heading}") + pre')).to_have_text(text)
        assert plain not in "".join(page.locator("pre").all_inner_texts())
        eventually(lambda: service.ask("GET", "/v1/classes", token=plain).status == 200)
        (seen,) = service.ask("GET", "/v1/classes", token=plain).body["items"]
        assert seen["name"] == name


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_the_way_back_shows_no_key(chromium: Browser, service: Console, person: Person, script: bool) -> None:
    """Whoever goes on from the answer and back again sees no key, though browsers keep whole pages for the way back."""
    with visiting(chromium, service.url, script=script) as visit:
        page = visit.sign_in(person.token)
        plain = generate(page, person.namespace, "there and back")
        page.get_by_role("link", name="show the key's page").click()
        expect(page.get_by_role("heading", name="there and back")).to_be_visible()
        with contextlib.suppress(
            Error
        ):  # what was sent is not sent again unasked: the browser says so in a page of its own
            page.go_back()
        expect(page.locator("body")).not_to_contain_text(plain)
        # A page that was kept whole comes back without a load that could be waited for.
        with contextlib.suppress(Error):  # the page may have gone before it can answer
            page.evaluate("history.forward()")
        expect(page.get_by_role("heading", name="there and back")).to_be_visible()
        assert plain not in markup(page)


def test_revoking_asks_first_and_acts_at_once(visit: Visit, person: Person, verifying: str, admin: Kube) -> None:
    """Looking at the question and cancelling does nothing; confirmed, the verifier refuses the key, and the table says so
    in words.
    """
    page = visit.sign_in(person.token)
    plain = generate(page, person.namespace, "doomed")
    page.get_by_role("link", name="show the key's page").click()
    page.get_by_role("link", name="Revoke").click()
    expect(page.get_by_role("heading", name="Revoke doomed?")).to_be_visible()
    page.get_by_role("link", name="Cancel").click()
    eventually(lambda: accepted(verifying, plain))
    page.get_by_role("link", name="Revoke").click()
    page.get_by_label("Reason").fill("left the company")
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("The key is revoked: services refuse it for ever.")).to_be_visible()
    eventually(lambda: get(verifying, Authorization=f"Bearer {plain}")[0] == 401)
    (made,) = admin.list(person.namespace)
    assert made["spec"]["revocationReason"] == "left the company"
    visit.open(f"/?namespace={person.namespace}&status=Revoked")
    expect(page.get_by_role("row", name="doomed")).to_contain_text("✕ Revoked")
    expect(page.get_by_role("row", name="doomed")).to_contain_text("ended")
    expect(page.get_by_text("in 90 days")).to_have_count(0)
    visit.open(f"/keys/{person.namespace}/{made['metadata']['name']}")
    expect(page.get_by_role("link", name="Rotate")).to_have_count(0)
    eventually(lambda: page.reload() and page.get_by_text("The key was revoked").count())
    expect(page.get_by_text("not known")).to_have_count(0)
    expect(page.get_by_text("in 90 days")).to_have_count(0)
    expect(page.get_by_role("img")).to_have_count(0)


def test_suspending_and_resuming(visit: Visit, person: Person, verifying: str) -> None:
    """There and back, each at once at the verifier."""
    page = visit.sign_in(person.token)
    plain = generate(page, person.namespace, "paused")
    page.get_by_role("link", name="show the key's page").click()
    eventually(lambda: accepted(verifying, plain))
    page.get_by_role("link", name="Suspend").click()
    page.get_by_role("button", name="Suspend").click()
    expect(page.get_by_text("The key is suspended")).to_be_visible()
    eventually(lambda: not accepted(verifying, plain))
    page.get_by_role("link", name="Resume").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_text("The key is resumed")).to_be_visible()
    eventually(lambda: accepted(verifying, plain))


def test_deleting(visit: Visit, person: Person, verifying: str, admin: Kube) -> None:
    """The key is gone, and the table says what was done."""
    page = visit.sign_in(person.token)
    plain = generate(page, person.namespace, "deleted")
    page.get_by_role("link", name="show the key's page").click()
    page.get_by_role("link", name="Delete").click()
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("The key is deleted.")).to_be_visible()
    expect(page.get_by_text("There are no keys yet.")).to_be_visible()
    assert admin.list(person.namespace) == []
    eventually(lambda: not accepted(verifying, plain))


def test_rotating_shows_both_keys_and_when_the_old_one_ends(visit: Visit, person: Person, verifying: str) -> None:
    """The new key is shown once; the old one works on, its end counts down, and sending the form again rotates nothing."""
    page = visit.sign_in(person.token)
    old = generate(page, person.namespace, "rotated")
    page.get_by_role("link", name="show the key's page").click()
    page.get_by_role("link", name="Rotate").click()
    page.get_by_label("1 hour").check()
    page.get_by_role("button", name="Rotate").click()
    expect(page.get_by_role("heading", name="The new key of rotated")).to_be_visible()
    new = page.locator("#plain").inner_text()
    assert PLAIN.fullmatch(new)
    assert new != old
    eventually(lambda: accepted(verifying, new))
    assert accepted(verifying, old)
    assert new not in visit.remembered()

    page.reload()
    expect(page.get_by_role("heading", name="rotated")).to_be_visible()
    assert new not in page.content()
    note = page.get_by_text(f"The old key {old.split('_')[2]} still works.").locator("..")
    countdown = note.locator("[data-countdown]")
    expect(countdown).to_have_text(re.compile(r"in 59 minutes \d+ seconds?|in 58 minutes.*"))
    before = countdown.inner_text()
    expect(countdown).not_to_have_text(before)
    states = page.get_by_role("table", name="Keys issued").get_by_role("row")
    expect(states.filter(has_text=new.split("_")[2])).to_contain_text("current")
    expect(states.filter(has_text=old.split("_")[2])).to_contain_text("replaced, ending")


def test_a_rotation_sent_again_rotates_nothing(
    chromium: Browser, service: Console, person: Person, admin: Kube
) -> None:
    """Without script a reload sends the form again: it was for the key as it was before."""
    with visiting(chromium, service.url, script=False) as visit:
        page = visit.sign_in(person.token)
        generate(page, person.namespace, "rotated once")
        page.get_by_role("link", name="show the key's page").click()
        page.get_by_role("link", name="Rotate").click()
        page.get_by_role("button", name="Rotate").click()
        expect(page.get_by_role("heading", name="The new key of rotated once")).to_be_visible()
        new = page.locator("#plain").inner_text()
        page.reload()
        expect(page.get_by_role("alert")).to_contain_text("It has changed meanwhile")
        assert new not in page.content()
        (made,) = admin.list(person.namespace)
        assert len(made["status"]["keys"]) == 2


def test_a_key_that_lies_in_a_secret_is_rotated_into_it(
    visit: Visit, person: Person, admin: Kube, verifying: str
) -> None:
    """What kubectl or GitOps has made is not shown: the page says where the new key is."""
    admin.apikey(person.namespace, "in-secret", className="standard")
    admin.wait(person.namespace, "in-secret", Active="True")
    page = visit.sign_in(person.token, f"/keys/{person.namespace}/in-secret/rotate")
    page.get_by_role("button", name="Rotate").click()
    expect(page.get_by_text("The new one is delivered into its Kubernetes Secret.")).to_be_visible()
    new = admin.plain_key(person.namespace, "in-secret")
    assert new not in page.content()
    eventually(lambda: accepted(verifying, new))


def test_keys_of_others_are_neither_seen_nor_revoked(
    visit: Visit, person: Person, admin: Kube, make_namespace: Namespaces, verifying: str
) -> None:
    """In a namespace where one has no rights there is nothing to be seen, and what is sent all the same is refused."""
    elsewhere = make_namespace(admin)
    admin.apikey(elsewhere, "foreign", className="standard", displayName="very secret project")
    admin.wait(elsewhere, "foreign", Active="True")
    plain = admin.plain_key(elsewhere, "foreign")
    page = visit.sign_in(person.token, f"/?namespace={elsewhere}")
    expect(page.get_by_role("alert")).to_have_text(
        "You may not list apikeys here. Ask an administrator for the ClusterRole keywright-view."
    )
    visit.open(f"/keys/{elsewhere}/foreign")
    expect(page.get_by_role("heading", name="You may not do this")).to_be_visible()
    assert "very secret project" not in page.content()

    generate(page, person.namespace, "own")
    page.get_by_role("link", name="show the key's page").click()
    page.get_by_role("link", name="Revoke").click()
    page.eval_on_selector("main form", f"form => form.action = '/keys/{elsewhere}/foreign/revoke'")
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("heading", name="You may not do this")).to_be_visible()
    assert not admin.get(elsewhere, "foreign")["spec"]["revoked"]
    eventually(lambda: accepted(verifying, plain))


def test_a_form_of_another_site_does_nothing(visit: Visit, chromium: Browser, person: Person, admin: Kube) -> None:
    """A page elsewhere that sends a form here does it without the cookie, and its origin is refused."""
    page = visit.sign_in(person.token)
    generate(page, person.namespace, "tempting")
    (made,) = admin.list(person.namespace)
    address = f"{visit.origin}/keys/{person.namespace}/{made['metadata']['name']}/revoke"
    other = visit.context.new_page()
    other.goto(
        "data:text/html,<form method=post action='" + address + "'><input name=csrf value=x><button>Win</button></form>"
    )
    visit.faults.clear()
    other.get_by_role("button", name="Win").click()
    expect(other.get_by_role("heading", name="You may not do this")).to_be_visible()
    assert not admin.get(person.namespace, made["metadata"]["name"])["spec"]["revoked"]


def test_hostile_texts_are_text(visit: Visit, person: Person, admin: Kube) -> None:
    """Names, descriptions, reasons, owners and events that hold markup, quotes and turned writing are shown as they are."""
    place = person.namespace
    spec = {
        "displayName": HOSTILE[:128],
        "description": HOSTILE,
        "owner": {"user": HOSTILE[:120].replace("\u202e", "")},
    }
    admin.apikey(place, "hostile", className="standard", revoked=True, revocationReason=HOSTILE, **spec)
    made = admin.wait(place, "hostile", Active="False")
    event = {
        "metadata": {"generateName": "hostile-", "namespace": place},
        "involvedObject": {
            "apiVersion": "keywright.dev/v1alpha1",
            "kind": "ApiKey",
            "name": "hostile",
            "namespace": place,
            "uid": made["metadata"]["uid"],
        },
        "reason": "<b>Odd</b>",
        "message": HOSTILE,
        "type": "Warning",
    }
    admin.request("POST", f"/api/v1/namespaces/{place}/events", event)
    page = visit.sign_in(person.token, f"/?namespace={place}")
    for address in (f"/?namespace={place}&q=%3Cscript%3E", f"/keys/{place}/hostile", f"/keys/{place}/hostile/delete"):
        visit.open(address)
        expect(page.get_by_text("<script>document.title").first).to_be_visible()
        assert page.title().endswith("Keywright")
        assert page.locator("main script, main img").count() == 0
    visit.open(f"/keys/{place}/hostile")
    expect(page.get_by_text("<b>Odd</b>")).to_be_visible()
    assert_accessible(page)
