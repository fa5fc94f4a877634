"""How people get to the pages: by a token, by a key, through a front proxy; and how they are out again."""

import re
import time
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser, expect

from keywright.console.callers.caller import Caller
from keywright.console.callers.sessions import Sessions
from keywright_local import ControlPlane
from keywright_local.certificates import CertificateAuthority
from tests.support.browser import Visit, visiting
from tests.support.console import Console, console, console_account, serve
from tests.support.console_visits import Person, generate, may_look
from tests.support.kube import Kube, eventually
from tests.support.people import allowed, bind
from tests.support.processes import Process, get

pytest_plugins = ["tests.support.console_stage"]


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
    expect(page.get_by_text(f"Signed in as {person.user} until ")).to_have_text(re.compile(r"\d\d:\d\d UTC$"))
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
    minutes = 15

    def is_asked_what_to_make(left: float) -> bool:
        """Whether the form still came, to somebody whose session is over in so many seconds."""
        sessions = Sessions(
            session_key.read_bytes(), minutes=minutes, is_secure=False, clock=lambda: time.time() - minutes * 60 + left
        )
        value = sessions.issue(Caller(user=person.user))
        visit.context.add_cookies([{"name": sessions.cookie, "value": value, "url": visit.origin}])
        return visit.open(f"/keys/{person.namespace}/new").get_by_role("button", name="Generate key").count() == 1

    assert any(map(is_asked_what_to_make, (6, 60)))
    page = visit.page
    page.get_by_label("Name", exact=True).fill("too late")
    other = visit.context.new_page()

    def is_over() -> bool:
        other.goto(f"{visit.origin}/users")
        return other.get_by_role("heading", name="Sign in").count() == 1

    eventually(is_over, within=90)
    page.get_by_role("button", name="Generate key").click()
    expect(page.get_by_text("Your session has ended. Nothing was done")).to_be_visible()


def test_a_key_signs_in_within_its_bounds(
    visit: Visit, service: Console, shared_operator: Process, admin: Kube, namespace: str, person: Person
) -> None:
    """A key with keys:read shows its owner's keys and no others, and changes nothing; revoked, it ends the session."""
    owner = {"user": "dora@example.com"}
    bind(admin, namespace, "dora@example.com", "edit")
    admin.apikey(namespace, "reader", className="standard", owner=owner, scopes=["keys:read"])
    admin.apikey(namespace, "foreign", className="standard")
    admin.wait(namespace, "reader", Active="True")
    plain = admin.plain_key(namespace, "reader")
    may_look(service, namespace, plain)
    page = visit.sign_in(plain)
    expect(page.get_by_text(f"Signed in as dora@example.com, by key {namespace}/reader")).to_be_visible()
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
        expect(page.get_by_text(" until ")).to_have_count(0)
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
