"""The pages as people use them: in Debian's Chromium, on the real API server, with operator and verifier at work."""

import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, expect

from keywright.console.callers.caller import Caller
from keywright.console.callers.sessions import Sessions
from keywright_local import ControlPlane
from keywright_local.certificates import CertificateAuthority
from tests.integration.conftest import Namespaces
from tests.support.browser import Scheme, Visit, assert_accessible, browse, keep, visiting
from tests.support.console import Console, console, console_account, make_account, serve
from tests.support.kube import Kube, eventually
from tests.support.people import allowed, bind, bind_cluster
from tests.support.processes import Process, get, verifier

PLAIN = re.compile(r"kw_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}")
HOSTILE = "<script>document.title='x'</script>\"'><img src=//evil.example/x>\u202egnp.exe " + "w" * 60
WIDE, NARROW = 1100, 320


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody with a token, and the namespace where he may edit."""

    token: str
    user: str
    namespace: str


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browse() as browser:
        yield browser


@pytest.fixture(scope="module")
def session_key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("session") / "key"
    path.write_bytes(secrets.token_bytes(32))
    return path


@pytest.fixture(scope="module")
def service(
    plane: ControlPlane,
    admin: Kube,
    shared_operator: Process,
    session_key: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Console]:
    """One key service for all namespaces. This machine is its front proxy, too."""
    account = console_account(plane, admin, everywhere=True)
    flags = ("--session-key-file", str(session_key), "--rate-limit", "1000", "--proxy-from", "127.0.0.1/32")
    headers = ("--proxy-user-header", "X-Front-User", "--proxy-groups-header", "X-Front-Groups")
    log = tmp_path_factory.mktemp("console") / "log"
    with console(account, log, *flags, *headers, "--class", "standard") as started:
        yield started


@pytest.fixture
def person(admin: Kube, namespace: str) -> Person:
    """A service account that may edit the test's namespace, which the key service serves."""
    serve(admin, namespace)
    token = make_account(admin, namespace, "alice", "edit")
    return Person(token=token, user=f"system:serviceaccount:{namespace}:alice", namespace=namespace)


@pytest.fixture
def visit(chromium: Browser, service: Console) -> Iterator[Visit]:
    with visiting(chromium, service.url) as visit:
        yield visit


def generate(page: Page, namespace: str, name: str, **choices: str) -> str:
    """Fill in the form and send it; the plain key that the answer shows."""
    page.goto(page.url.split("/", 3)[0] + "//" + page.url.split("/", 3)[2] + f"/keys/{namespace}/new")
    page.get_by_label("Name", exact=True).fill(name)
    for label, text in choices.items():
        page.get_by_label(label.replace("_", " "), exact=False).fill(text)
    page.get_by_role("button", name="Generate key").click()
    expect(page.get_by_role("heading", name="How to use it")).to_be_visible()
    shown = page.locator("#plain").inner_text()
    assert PLAIN.fullmatch(shown)
    return shown


def accepted(verifying: str, plain: str) -> bool:
    return get(verifying, Authorization=f"Bearer {plain}")[0] == 200


def test_a_token_signs_in_and_out(visit: Visit, person: Person) -> None:
    """Whoever is not signed in is asked to, comes to the page that he wanted, and is nobody again after signing out."""
    wanted = f"/?namespace={person.namespace}"
    page = visit.open(wanted)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_label("Kubernetes token or Keywright key").fill("nonsense.of.dots")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("nobody")
    page.get_by_label("Kubernetes token or Keywright key").fill(person.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text(f"Signed in as {person.user}")).to_be_visible()
    assert page.url == visit.origin + wanted
    (cookie,) = visit.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    assert person.token not in visit.remembered()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    visit.open(wanted)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_a_session_ends_by_itself(visit: Visit, person: Person, session_key: Path) -> None:
    """After its minutes nothing is shown and nothing done any more: one signs in again, and is told so."""
    minutes, left = 15, 8

    def nearly_over() -> float:
        return time.time() - minutes * 60 + left

    sessions = Sessions(session_key.read_bytes(), minutes=minutes, is_secure=False, clock=nearly_over)
    value = sessions.issue(Caller(user=person.user))
    visit.context.add_cookies([{"name": sessions.cookie, "value": value, "url": visit.origin}])
    page = visit.open(f"/keys/{person.namespace}/new")
    page.get_by_label("Name", exact=True).fill("too late")
    other = visit.context.new_page()

    def is_over() -> bool:
        other.goto(f"{visit.origin}/users")
        return other.get_by_role("heading", name="Sign in").count() == 1

    eventually(is_over, within=30)
    page.get_by_role("button", name="Generate key").click()
    expect(page.get_by_text("Your session has ended. Nothing was done")).to_be_visible()


def test_a_key_signs_in_within_its_bounds(
    visit: Visit, shared_operator: Process, admin: Kube, namespace: str, person: Person
) -> None:
    """A key with keys:read shows its owner's keys and no others, and changes nothing; revoked, it ends the session."""
    owner = {"user": "dora@example.com"}
    bind(admin, namespace, "dora@example.com", "edit")
    admin.apikey(namespace, "reader", className="standard", owner=owner, scopes=["keys:read"])
    admin.apikey(namespace, "foreign", className="standard")
    admin.wait(namespace, "reader", Active="True")
    page = visit.sign_in(admin.plain_key(namespace, "reader"))
    expect(page.get_by_role("row", name="reader")).to_be_visible()
    expect(page.get_by_role("link", name="Generate new key")).to_have_count(0)
    expect(page.get_by_text("foreign")).to_have_count(0)
    visit.open(f"/keys/{namespace}/foreign")
    expect(page.get_by_role("heading", name="There is no such key")).to_be_visible()
    visit.open(f"/keys/{namespace}/reader/suspend")
    page.get_by_role("button", name="Suspend").click()
    expect(page.get_by_role("alert")).to_contain_text("keys:manage")
    admin.patch(namespace, "reader", {"spec": {"revoked": True}})

    def is_out() -> bool:
        visit.open("/")
        return page.get_by_role("heading", name="Sign in").count() == 1

    eventually(is_out)


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
    assert plain not in page.content()
    page.go_forward()
    expect(page.get_by_role("row", name="payments CI")).to_be_visible()
    assert plain not in page.content()
    assert len(admin.list(person.namespace)) == 1


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
        page.evaluate("history.forward()")
        expect(page.get_by_role("heading", name="there and back")).to_be_visible()
        assert plain not in page.content()


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
    visit.open(f"/keys/{person.namespace}/{made['metadata']['name']}")
    expect(page.get_by_role("link", name="Rotate")).to_have_count(0)
    eventually(lambda: page.reload() and page.get_by_text("The key was revoked").count())


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


def test_the_use_of_a_replaced_key_is_marked(
    plane: ControlPlane, visit: Visit, person: Person, admin: Kube, tmp_path: Path
) -> None:
    """In the table in words, and on the key's page beside its end, as soon as a verifier has told of it."""
    page = visit.sign_in(person.token)
    old = generate(page, person.namespace, "still used")
    page.get_by_role("link", name="show the key's page").click()
    page.get_by_role("link", name="Rotate").click()
    page.get_by_role("button", name="Rotate").click()
    expect(page.get_by_role("heading", name="The new key of still used")).to_be_visible()
    flags = ("--usage-interval", "1s")
    with verifier(plane.kubeconfig, tmp_path / "log", *flags, namespaces=[person.namespace]) as (_, listen, _admin):

        def is_marked() -> bool:
            accepted(listen, old)
            visit.open(f"/?namespace={person.namespace}&status=old+key+in+use")
            return page.get_by_role("row", name="⚠ Active (old key in use)").count() == 1

        eventually(is_marked, within=60)
    page.get_by_role("link", name="still used").click()
    expect(page.get_by_text(f"The old key {old.split('_')[2]} still works.").locator("..")).to_contain_text("last used")


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


def test_over_tls_the_cookie_is_bound_to_the_host(
    plane: ControlPlane, chromium: Browser, person: Person, admin: Kube, tmp_path: Path
) -> None:
    """No other host, and nothing without TLS, can set it or get it."""
    now = datetime.now(UTC)
    server = CertificateAuthority.create("console", now=now).issue_for_server(["localhost"], ["127.0.0.1"], now=now)
    (tmp_path / "crt").write_bytes(server.public)
    (tmp_path / "key").write_bytes(server.private)
    account = console_account(plane, admin, everywhere=True)
    flags = ("--tls-cert", str(tmp_path / "crt"), "--tls-key", str(tmp_path / "key"))
    with (
        console(account, tmp_path / "log", *flags) as service,
        visiting(chromium, f"https://{service.address}", ignore_https_errors=True) as visit,
    ):
        visit.sign_in(person.token)
        (cookie,) = visit.context.cookies()
        assert (cookie["name"], cookie["secure"], cookie["path"]) == ("__Host-keywright", True, "/")


def test_the_table_is_searched_and_filtered(visit: Visit, person: Person, admin: Kube) -> None:
    """By word as one types, by status and owner, only one's own; words and symbols say what colours say; own keys first."""
    place = person.namespace
    admin.apikey(
        place, "another", className="standard", displayName="Someone else's", owner={"user": "zoe@example.com"}
    )
    admin.apikey(place, "soon", className="standard", displayName="Ends soon", ttl="2h", owner={"user": person.user})
    admin.apikey(place, "over", className="standard", revoked=True)
    for name, condition in (("another", "True"), ("soon", "True"), ("over", "False")):
        admin.wait(place, name, Active=condition)
    page = visit.sign_in(person.token, f"/?namespace={place}")
    rows = page.get_by_role("table").get_by_role("row")
    expect(rows.nth(1)).to_contain_text("Ends soon")
    expect(rows.nth(1)).to_contain_text("⚠ Expiring")
    expect(rows.filter(has_text="over")).to_contain_text("✕ Revoked")
    expect(rows.filter(has_text="Someone else's")).to_contain_text("✓ Active")

    page.get_by_label("Search").press_sequentially("someone")
    expect(rows.filter(visible=True)).to_have_count(2)
    expect(page.get_by_text("1 of 3 shown")).to_be_visible()
    page.get_by_label("Search").press("Enter")
    expect(rows).to_have_count(2)
    page.get_by_label("Search").fill("")
    page.get_by_label("Status").select_option("Expiring")
    page.get_by_role("button", name="Show").click()
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text("Ends soon")
    page.get_by_label("Status").select_option("")
    page.get_by_label("Owner").fill("zoe@example.com")
    page.get_by_role("button", name="Show").click()
    expect(rows.nth(1)).to_contain_text("Someone else's")
    page.get_by_label("Owner").fill("")
    page.get_by_label("Only mine").check()
    page.get_by_role("button", name="Show").click()
    expect(rows).to_have_count(2)
    expect(rows.nth(1)).to_contain_text("you")
    page.get_by_label("Search").fill("nothing is called so")
    page.get_by_label("Search").press("Enter")
    expect(page.get_by_text("No key is like that.")).to_be_visible()


def test_many_keys_come_in_pages(visit: Visit, person: Person, admin: Kube) -> None:
    """Fifty at a time, each of them once."""
    for number in range(53):
        admin.apikey(person.namespace, f"key-{number:02}", className="standard", revoked=True)
    page = visit.sign_in(person.token, f"/?namespace={person.namespace}")
    expect(page.get_by_text("1 to 50 of 53")).to_be_visible()
    first = set(page.get_by_role("rowheader").all_inner_texts())
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_text("51 to 53 of 53")).to_be_visible()
    assert len(first | set(page.get_by_role("rowheader").all_inner_texts())) == 53


def test_keys_of_others_are_neither_seen_nor_revoked(
    visit: Visit, person: Person, admin: Kube, make_namespace: Namespaces, verifying: str
) -> None:
    """In a namespace where one has no rights there is nothing to be seen, and what is sent all the same is refused."""
    elsewhere = make_namespace(admin)
    admin.apikey(elsewhere, "foreign", className="standard", displayName="very secret project")
    admin.wait(elsewhere, "foreign", Active="True")
    plain = admin.plain_key(elsewhere, "foreign")
    page = visit.sign_in(person.token, f"/?namespace={elsewhere}")
    expect(page.get_by_role("alert")).to_contain_text("You may not")
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


def test_an_administrator_revokes_all_keys_of_a_leaver(
    plane: ControlPlane,
    visit: Visit,
    admin: Kube,
    namespace: str,
    make_namespace: Namespaces,
    shared_operator: Process,
    verifying: str,
) -> None:
    """His keys of all namespaces are named before; after that none works. The keys of others do."""
    places = (namespace, make_namespace(admin))
    leaver = {"user": f"bob/of {namespace}@example.com"}
    for place in places:
        admin.apikey(place, "his", className="standard", owner=leaver, displayName=f"Bob's in {place}")
        admin.apikey(place, "other", className="standard", owner={"user": "eve@example.com"})
        for name in ("his", "other"):
            admin.wait(place, name, Active="True")
    his, others = ([admin.plain_key(place, name) for place in places] for name in ("his", "other"))
    token = make_account(admin, namespace, "boss")
    rules = {"apiGroups": ["keywright.dev"], "resources": ["apikeys"], "verbs": ["get", "list", "patch", "update"]}
    bind_cluster(admin, f"system:serviceaccount:{namespace}:boss", rules)
    page = visit.sign_in(token, "/users")
    page.get_by_label("User").fill(leaver["user"])

    def is_shown() -> bool:
        visit.open("/users")
        page.get_by_label("User").fill(leaver["user"])
        page.get_by_role("button", name="Show the keys").click()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        return page.get_by_role("table").count() == 1

    eventually(is_shown, within=30)  # rights become known some time after they are given
    expect(page.get_by_role("table").get_by_role("row")).to_have_count(3)
    page.get_by_role("link", name="Revoke all 2").click()
    for place in places:
        expect(page.get_by_text(f"Bob's in {place}")).to_be_visible()
    page.get_by_label("Reason").fill("left")
    page.get_by_role("button", name="Revoke all 2").click()
    expect(page.get_by_text("2 of 2 revoked.")).to_be_visible()
    eventually(lambda: not any(accepted(verifying, each) for each in his))
    assert all(accepted(verifying, each) for each in others)


def test_somebody_without_rights_sees_nobodys_keys(visit: Visit, person: Person) -> None:
    """The administrator's view asks for the administrator's rights."""
    page = visit.sign_in(person.token, "/users/eve%40example.com")
    expect(page.get_by_role("heading", name="You may not do this")).to_be_visible()


def test_a_front_proxy_names_the_person(
    plane: ControlPlane, chromium: Browser, service: Console, admin: Kube, namespace: str, verifying: str
) -> None:
    """Behind a proxy that signs people in nobody signs in here; the new key is the person's own."""
    serve(admin, namespace)
    bind(admin, namespace, "alice@example.com", "edit")
    alice = Kube(plane.kubeconfig_for("alice@example.com"))
    allowed(lambda: alice.list(namespace))
    alice.close()
    headers = {"X-Front-User": "alice@example.com", "X-Front-Groups": "payments,on-call"}
    with visiting(chromium, service.url, extra_http_headers=headers) as visit:
        page = visit.open(f"/?namespace={namespace}")
        expect(page.get_by_text("Signed in as alice@example.com")).to_be_visible()
        expect(page.get_by_role("button", name="Sign out")).to_have_count(0)
        plain = generate(page, namespace, "alice's own")
        answer: list[dict[str, str]] = []

        def is_hers() -> bool:
            status, fields, _ = get(verifying, Authorization=f"Bearer {plain}")
            answer.append(fields)
            return status == 200

        eventually(is_hers)
        assert answer[-1]["x-auth-subject"] == "alice@example.com"
        (made,) = admin.list(namespace)
        assert made["spec"]["owner"] == {"user": "alice@example.com", "groups": ["payments", "on-call"]}


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


def tab_to(page: Page, identity: str, *, name: str = "") -> None:
    """Press Tab until the element has the focus, at most as often as there are elements."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == identity and name in page.evaluate(
            "document.activeElement.textContent"
        ):
            return
    raise AssertionError(f"the keyboard does not reach {identity or name}")


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


@pytest.fixture
def pictures() -> Path | None:
    """Where pictures for the guide go, if somebody asks for them: KEYWRIGHT_PICTURES=docs/images."""
    named = os.environ.get("KEYWRIGHT_PICTURES")
    return Path(named) if named else None


def test_every_page_is_accessible(
    chromium: Browser, service: Console, person: Person, admin: Kube, pictures: Path | None
) -> None:
    """No violation of WCAG A and AA on any page, light and dark, wide and as narrow as a telephone."""
    place, owner = person.namespace, {"user": person.user}
    admin.apikey(place, "nightly-backup", className="standard", displayName="Nightly backup", ttl="5h", owner=owner)
    admin.apikey(place, "old-laptop", className="standard", displayName="Old laptop", revoked=True, owner=owner)
    admin.apikey(
        place, "partner", className="standard", displayName="Partner's import", owner={"user": "zoe@example.com"}
    )
    admin.wait(place, "nightly-backup", Active="True")
    rule = {"apiGroups": ["keywright.dev"], "resources": ["apikeys"], "verbs": ["list", "patch", "update"]}
    bind_cluster(admin, person.user, rule)
    with visiting(chromium, service.url) as visit:
        page = visit.page

        def check(picture: str = "") -> None:
            looks: list[tuple[Scheme, int]] = [("dark", NARROW), ("dark", WIDE), ("light", WIDE)]
            for scheme, width in looks:
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size({"width": width, "height": 900})
                assert_accessible(page)
                if pictures is not None and picture and width == WIDE:
                    keep(page, pictures / f"console-{picture}-{scheme}.png")

        visit.open("/sign-in")
        check("sign-in")
        visit.sign_in(person.token)
        visit.open(f"/keys/{place}/new")
        check("new")
        generate(page, place, "payments CI deploy")
        check()
        page.get_by_role("link", name="show the key's page").click()
        address = page.url.removeprefix(visit.origin)
        visit.open(f"{address}/rotate")
        check()
        page.get_by_role("button", name="Rotate").click()
        expect(page.get_by_role("heading", name="How to use it")).to_be_visible()
        check()
        visit.open(address)
        check("key")
        visit.open(f"/?namespace={place}")
        check("keys")
        for path in (
            f"{address}/revoke",
            f"{address}/delete",
            "/users",
            "/users/nobody",
            f"/keys/{place}/there-is-none",
        ):
            visit.open(path)
            check()
        user = person.user.replace(":", "%3A")
        visit.open(f"/users/{user}")
        check("user")
        visit.open(f"/users/{user}?confirm=revoke")
        check("revoke-all")
        page.get_by_role("button", name="Revoke all").click()
        expect(page.get_by_role("heading", name="Keys of")).to_be_visible()
        check()
