"""The pages for everybody: by keyboard, without script, in both schemes, on a telephone, with a screen reader."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from keywright_local import ControlPlane
from tests.integration.conftest import Namespaces
from tests.support.browser import Scheme, Visit, assert_accessible, keep, visiting
from tests.support.console import Console, serve
from tests.support.console_visits import Person, accepted, generate
from tests.support.kube import Kube, eventually
from tests.support.people import allowed, bind, bind_cluster

pytest_plugins = ["tests.support.console_stage"]

WIDE, NARROW = 1100, 320
LEAST_BAR = 8
ALICE = {"user": "alice@example.com"}


@pytest.fixture
def pictures() -> Path | None:
    """Where pictures for the guide go, if somebody asks for them: KEYWRIGHT_PICTURES=docs/images."""
    named = os.environ.get("KEYWRIGHT_PICTURES")
    return Path(named) if named else None


@pytest.fixture
def stage(plane: ControlPlane, admin: Kube, make_namespace: Namespaces, pictures: Path | None) -> Iterator[str]:
    """A namespace that Alice may edit, called as in the guide where pictures are taken."""
    if pictures is None:
        name = make_namespace(admin)
    else:
        name = "payments"
        admin.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    serve(admin, name)
    bind(admin, name, ALICE["user"], "edit")
    alice = Kube(plane.kubeconfig_for(ALICE["user"]))
    allowed(lambda: alice.list(name))
    alice.close()
    yield name
    if pictures is not None:
        admin.request("DELETE", f"/api/v1/namespaces/{name}")


def test_every_page_is_accessible(
    plane: ControlPlane, chromium: Browser, service: Console, admin: Kube, stage: str, pictures: Path | None
) -> None:
    """No violation of WCAG A and AA on any page, light and dark, wide and as narrow as a telephone."""
    rule = {"apiGroups": ["keywright.dev"], "resources": ["apikeys"], "verbs": ["list", "patch", "update"]}
    bind_cluster(admin, ALICE["user"], rule)
    make = partial(admin.apikey, stage, className="standard")
    make("nightly-backup", displayName="Nightly backup", ttl="5h", role="readonly", owner=ALICE)
    make("old-laptop", displayName="Old laptop", revoked=True, owner=ALICE)
    make("partner-import", displayName="Partner's import", owner={"user": "zoe@example.com"})
    admin.wait(stage, "nightly-backup", Active="True")
    admin.wait(stage, "partner-import", Active="True")

    def check(visit: Visit, picture: str = "") -> None:
        looks: list[tuple[Scheme, int]] = [("dark", NARROW), ("light", WIDE)]
        for scheme, width in looks:
            visit.page.emulate_media(color_scheme=scheme)
            visit.page.set_viewport_size({"width": width, "height": 900})
            assert_accessible(visit.page)
            bars = visit.page.locator(".life .track, .mini .track")
            heights = bars.evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().height)")
            assert all(each >= LEAST_BAR for each in heights), heights
            if pictures is not None and picture:
                visit.page.set_viewport_size({"width": WIDE, "height": 900})
                keep(visit.page, pictures / f"console-{picture}-{scheme}.png")

    with visiting(chromium, service.url) as visit:
        visit.open("/sign-in")
        check(visit)
    with visiting(chromium, service.url, extra_http_headers={"X-Front-User": ALICE["user"]}) as visit:
        page = visit.open(f"/keys/{stage}/new")
        check(visit, "new")
        generate(page, stage, "Payments CI deploy")
        check(visit, "made")
        page.get_by_role("link", name="show the key's page").click()
        expect(page.get_by_role("heading", name="Payments CI deploy")).to_be_visible()
        address = page.url.removeprefix(visit.origin)
        visit.open(f"{address}/rotate")
        check(visit)
        page.get_by_role("button", name="Rotate").click()
        expect(page.get_by_role("heading", name="How to use it")).to_be_visible()
        check(visit)
        visit.open(address)
        check(visit, "key")
        visit.open(f"/?namespace={stage}")
        check(visit, "keys")
        for path in (
            f"/keys/{stage}/old-laptop",
            f"{address}/revoke",
            "/users",
            "/users/nobody",
            f"/keys/{stage}/there-is-none",
        ):
            visit.open(path)
            check(visit)
        visit.open(f"/users/{ALICE['user']}")
        check(visit)
        visit.open(f"/users/{ALICE['user']}?confirm=revoke")
        check(visit, "revoke-all")
        page.get_by_role("button", name="Revoke all").click()
        expect(page.get_by_role("heading", name="Keys of")).to_be_visible()
        check(visit)


def test_a_key_is_made_with_the_keyboard_alone(visit: Visit, person: Person) -> None:
    """From the skip link to the copy button; the focus is always to be seen."""
    page = visit.sign_in(person.token, f"/?namespace={person.namespace}")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Generate new key")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Generate new key")).to_be_visible()
    tab_to(page, "display-name")
    page.keyboard.type("by keyboard")
    tab_to(page, "ends-90d")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_label("30 days")).to_be_checked()
    tab_to(page, "name")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="How to use it")).to_be_visible()
    tab_to(page, "", name="Copy the key")
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


def test_everything_works_without_script(chromium: Browser, service: Console, person: Person, verifying: str) -> None:
    """Signing in, making a key, sending the form again by a reload, looking, revoking: no script is needed."""
    with visiting(chromium, service.url, script=False) as visit:
        page = visit.sign_in(person.token)
        plain = generate(page, person.namespace, "no script")
        eventually(lambda: accepted(verifying, plain))
        expect(page.get_by_role("button", name="Copy the key")).to_have_count(0)

        page.reload()
        expect(page.get_by_role("heading", name="The key was shown once")).to_be_visible()
        assert plain not in page.content()
        page.get_by_role("link", name="Show the key's page").click()
        expect(page.get_by_role("heading", name="no script")).to_be_visible()

        visit.open(f"/?namespace={person.namespace}&q=no+scr")
        page.get_by_role("link", name="no script").click()
        page.get_by_role("link", name="Revoke").click()
        page.get_by_label("Reason").fill("laptop lost")
        page.get_by_role("button", name="Revoke").click()
        expect(page.get_by_text("The key is revoked: services refuse it for ever.")).to_be_visible()
        eventually(lambda: not accepted(verifying, plain))


def test_the_key_is_copied(visit: Visit, person: Person) -> None:
    """The button puts the key into the clipboard and says so where a screen reader hears it."""
    visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = visit.sign_in(person.token)
    plain = generate(page, person.namespace, "copied")
    page.get_by_role("button", name="Copy the key").click()
    expect(page.get_by_role("status").filter(has_text="Copied.")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == plain


def test_copying_that_is_forbidden_selects_the_key(chromium: Browser, service: Console, person: Person) -> None:
    """Where a page may not write to the clipboard the key is selected, and the person told what to press."""
    with visiting(chromium, service.url, permissions=[]) as visit:
        page = visit.sign_in(person.token)
        page.add_init_script("navigator.clipboard.writeText = () => Promise.reject(new Error('no'))")
        plain = generate(page, person.namespace, "copied by hand")
        page.get_by_role("button", name="Copy the key").click()
        expect(page.get_by_role("status").filter(has_text="Ctrl+C")).to_be_visible()
        assert page.evaluate("getSelection().toString()").replace("\n", "") == plain


def tab_to(page: Page, identity: str, *, name: str = "") -> None:
    """Press Tab until the element has the focus, at most as often as there are elements."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == identity and name in page.evaluate(
            "document.activeElement.textContent"
        ):
            return
    raise AssertionError(f"the keyboard does not reach {identity or name}")
