"""The pages as hostile clients ask for them: forged forms, odd addresses, somebody else's keys. On the real API server."""

import contextlib
import html
import http.client
import re
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from keywright_local import ControlPlane
from tests.integration.conftest import Namespaces
from tests.support.console import Console, console, console_account, make_account, serve
from tests.support.console_visits import may_look
from tests.support.kube import Kube, eventually
from tests.support.people import bind
from tests.support.processes import Process

OURS: Mapping[str, str] = {"Sec-Fetch-Site": "same-origin"}
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def service(
    plane: ControlPlane, admin: Kube, shared_operator: Process, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Console]:
    account = console_account(plane, admin, everywhere=True)
    log = tmp_path_factory.mktemp("console") / "log"
    with console(account, log, "--class", "standard") as started:
        yield started


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    status: int
    fields: Mapping[str, str]
    text: str

    @property
    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.text)
        assert found is not None, self.text
        return html.unescape(found[1])


@dataclass(slots=True, kw_only=True)
class Client:
    """What keeps a cookie and follows nothing."""

    address: str
    cookie: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> Page:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        sent = {"Cookie": self.cookie} | self.headers | {name.replace("_", "-"): each for name, each in headers.items()}
        with contextlib.closing(connection):
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            fields = {name.lower(): value for name, value in response.getheaders()}
            return Page(status=response.status, fields=fields, text=response.read().decode())

    def get(self, path: str) -> Page:
        return self.ask("GET", path)

    def post(self, path: str, form: Mapping[str, str], headers: Mapping[str, str] = OURS) -> Page:
        sent: dict[str, Any] = {"Content-Type": FORM, **headers}
        return self.ask("POST", path, urlencode(form), **sent)

    def sign_in(self, credential: str, next_page: str = "/") -> Page:
        answer = self.post("/sign-in", {"credential": credential, "next": next_page})
        self.cookie = answer.fields.get("set-cookie", "").partition(";")[0]
        return answer


@pytest.fixture
def client(service: Console) -> Client:
    return Client(address=service.address)


@pytest.fixture
def token(admin: Kube, service: Console, namespace: str) -> str:
    """Of an account that may edit the test's namespace, which is served, as is known by now."""
    serve(admin, namespace)
    token = make_account(admin, namespace, "alice", "edit")
    may_look(service, namespace, token)
    return token


@pytest.fixture
def victim(admin: Kube, namespace: str, token: str, shared_operator: Process) -> str:
    """A key in that namespace."""
    assert token
    admin.apikey(namespace, "victim", className="standard")
    admin.wait(namespace, "victim", Active="True")
    return f"/keys/{namespace}/victim"


def is_revoked(admin: Kube, namespace: str) -> bool:
    return bool(admin.get(namespace, "victim")["spec"]["revoked"])


def test_every_page_is_guarded_by_its_headers(client: Client, token: str, victim: str) -> None:
    """No page is kept, framed, sniffed or told to others, and runs nothing but the one script; the static files may be
    kept.
    """
    signed_out = client.get("/sign-in")
    client.sign_in(token)
    pages = [signed_out, *map(client.get, ("/", victim, f"{victim}/revoke", "/users", "/keys/x/y", "/static/nothing"))]
    for page in pages:
        policy = page.fields["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.fields["referrer-policy"] == "no-referrer"
        assert page.fields["x-content-type-options"] == "nosniff"
        assert "<script>" not in page.text
        assert " style=" not in page.text
        assert " onclick=" not in page.text
    assert all(page.fields["cache-control"] == "no-store" for page in pages[:-1])
    for name in re.findall(r'"(/static/[^"]+)"', signed_out.text):
        found = client.get(html.unescape(name))
        assert found.status == 200
        assert "immutable" in found.fields["cache-control"]


def test_the_cookie_is_for_this_site_and_no_script(client: Client, token: str) -> None:
    """And holds no credential; what is not signed by the service is nobody's."""
    fields = client.sign_in(token).fields
    attributes = {each.strip().lower() for each in fields["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= attributes
    assert token not in fields["set-cookie"]
    assert client.get("/").status == 200
    client.cookie = client.cookie[:-2] + ("AA" if not client.cookie.endswith("AA") else "BB")
    assert client.get("/").status == 303


def test_no_cookie_keeps_the_service_busy(client: Client, token: str) -> None:
    """Values full of escapes, which are slow to read, are not read: nobody has to be known to send them, and while one
    is read nobody is served. What else the browser keeps for this host does not matter either.
    """
    client.sign_in(token)
    own, escapes = client.cookie, '\\"' * 15000
    began = time.monotonic()
    for cookie, status in ((f'{own.partition("=")[0]}="{escapes}"', 303), (f'other="{escapes}"; {own}', 200)):
        client.cookie = cookie
        assert [client.get("/").status for _ in range(10)] == [status] * 10
    assert client.ask("GET", "/v1/classes").status == 401
    assert time.monotonic() - began < 10


def test_a_form_without_its_token_does_nothing(
    client: Client, token: str, victim: str, admin: Kube, namespace: str
) -> None:
    """No token, a token of another session, or none at all: 403, and the key works on."""
    client.sign_in(token)
    other = Client(address=client.address)
    other.sign_in(token)
    foreign = other.get(f"{victim}/revoke").csrf
    own = client.get(f"{victim}/revoke").csrf
    assert foreign != own
    for form in ({}, {"csrf": ""}, {"csrf": foreign}, {"csrf": own[:-1]}, {"csrf": "é"}):
        assert client.post(f"{victim}/revoke", form).status == 403
        assert client.post(f"/keys/{namespace}/new", form | {"displayName": "forged", "ends": "7d"}).status == 403
        assert client.post("/users/somebody", form).status == 403
        assert client.post("/sign-out", form).status == 403
    assert not is_revoked(admin, namespace)
    assert len(admin.list(namespace)) == 1
    assert client.post(f"{victim}/revoke", {"csrf": own}).status == 303
    assert is_revoked(admin, namespace)


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://["},
    ],
    ids=lambda each: " ".join(map(": ".join, each.items())),
)
def test_another_site_sends_nothing(
    client: Client, token: str, victim: str, admin: Kube, namespace: str, headers: dict[str, str]
) -> None:
    """Even with the right token: 403. Nor does another site sign anybody in."""
    client.sign_in(token)
    form = {"csrf": client.get(f"{victim}/revoke").csrf}
    assert client.post(f"{victim}/revoke", form, headers).status == 403
    assert not is_revoked(admin, namespace)
    refused = client.post("/sign-in", {"credential": token}, headers)
    assert (refused.status, "set-cookie" in refused.fields) == (403, False)


def test_looking_changes_nothing(client: Client, token: str, victim: str, admin: Kube, namespace: str) -> None:
    """GET of what changes things is a question; other methods are none."""
    client.sign_in(token)
    before = admin.get(namespace, "victim")["metadata"]["generation"]
    for verb in ("rotate", "suspend", "resume", "revoke", "delete"):
        assert client.get(f"{victim}/{verb}").status == 200
    assert client.get(f"{victim}/explode").status == 404
    assert client.ask("PUT", f"{victim}/revoke").status == 405
    assert client.ask("DELETE", victim).status == 405
    assert admin.get(namespace, "victim")["metadata"]["generation"] == before


def test_who_signs_in_is_led_to_pages_of_ours_only(client: Client, token: str) -> None:
    """An address that another site has put into the link is not followed."""
    for wanted in (
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "/a\r\nb: c",
        "",
    ):
        assert client.sign_in(token, wanted).fields["location"] == "/"
    assert client.sign_in(token, "/users?x=1").fields["location"] == "/users?x=1"


def test_what_proves_nobody_begins_no_session(client: Client, token: str) -> None:
    """Nonsense, cut off keys, an empty field, the wrong kind of form: a page that says so, and no cookie."""
    for credential in ("", "   ", "nonsense", token[:-3], "kw_live_4hJk29sLmQ0z_" + "a" * 49, "x" * 50_000, "é\x00\n"):
        answer = client.sign_in(credential)
        assert answer.status in (400, 401)
        assert "set-cookie" not in answer.fields
        assert not credential.strip() or credential[:5000] not in answer.text
    assert client.ask("POST", "/sign-in", '{"credential": "x"}', Content_Type="application/json").status == 415
    assert client.ask("POST", "/sign-in", "credential=" + "x" * 100_000).status in (413, 415)


def test_the_form_asks_for_what_is_taken(
    plane: ControlPlane, admin: Kube, tmp_path: Path, client: Client, token: str
) -> None:
    """Where tokens are not, nobody pastes one in vain; where a proxy signs people in, the page says so."""
    assert "Kubernetes token or Keywright key" in client.get("/sign-in").text
    account = console_account(plane, admin, everywhere=True)
    with console(account, tmp_path / "keys", "--tokens", "off") as started:
        page = Client(address=started.address).get("/sign-in")
        assert 'for="credential">Keywright key<' in page.text
        assert Client(address=started.address).sign_in(token).status == 401
    proxied = ("--proxy-from", "10.9.8.7/32", "--proxy-user-header", "X-Front-User")
    with console(account, tmp_path / "proxy", "--tokens", "off", "--keys", "off", *proxied) as started:
        stranger = Client(address=started.address, headers={"X-Front-User": "alice@example.com"})
        assert stranger.get("/").fields["location"] == "/sign-in"
        assert "through the proxy" in stranger.get("/sign-in").text


def test_odd_addresses_are_pages_that_say_so(client: Client, token: str, namespace: str) -> None:
    """Nothing of them leads elsewhere in the API server, or breaks."""
    client.sign_in(token)
    for path in (
        f"/keys/{namespace}/..",
        f"/keys/{namespace}/%2e%2e%2f%2e%2e%2fsecrets",
        f"/keys/{namespace}%2f..%2fkube-system/x",
        "/keys/%00/%00",
        f"/keys/{namespace}/{'x' * 300}",
        f"/keys/{namespace}/kw_live_4hJk29sLmQ0z_{'a' * 49}",
        "/?namespace=..%2f..&q=%00&status=%ff&owner=%5c,=&page=-1",
        f"/?namespace={namespace}&page=000001{'9' * 5000}",
        f"/?namespace={namespace}&page=99999999999999999999&status=nonsense&q={'%F0%9F%94%91' * 40}",
        f"/?namespace={namespace}&owner=a,b%3dc%5c",
        "/users/%2f%2e%2e?confirm=%00",
        "/users?owner=%0d%0aX:%20y",
        f"/keys/{namespace}/new?class=nonsense",
    ):
        page = client.get(path)
        assert page.status < 500, (path, page.text)
        assert page.status == 303 or page.fields["content-type"].startswith(("text/html", "application/problem+json"))
        assert "Traceback" not in page.text


def test_an_address_of_no_page_is_a_page_for_people(client: Client, token: str, namespace: str) -> None:
    """Who mistypes an address in a browser reads where to go on; programs get a problem. One cut short is understood."""
    client.sign_in(token)
    for path in ("/nonsense", "/keys", "/static/nothing", f"/keys/{namespace}/x/rotate/y"):
        page = client.ask("GET", path, Accept="text/html")
        assert (page.status, page.fields["content-type"]) == (404, "text/html; charset=utf-8")
        assert "There is no such page" in page.text
    for path, accept in (("/nonsense", "*/*"), ("/v1/nonsense", "text/html")):
        assert client.ask("GET", path, Accept=accept).fields["content-type"] == "application/problem+json"
    assert client.get(f"/keys/{namespace}").fields["location"] == f"/?namespace={namespace}"


def test_odd_forms_make_nothing(client: Client, token: str, admin: Kube, namespace: str) -> None:
    """A class that there is none of, a role, a scope or an end that cannot be: the form again, and what is wrong with it."""
    client.sign_in(token)
    good = {"csrf": client.get(f"/keys/{namespace}/new").csrf, "displayName": "odd", "ends": "7d", "class": "standard"}
    for change in (
        {"class": "there-is-none"},
        {"role": "there-is-none"},
        {"scopes": "NOT A SCOPE"},
        {"scopes": " ".join(f"word{number}" for number in range(40))},
        {"ends": "date", "day": "31.12.2027"},
        {"ends": "date", "day": "2001-01-01"},
        {"ends": "nonsense"},
        {"ends": "9" * 30 + "d"},
        {"name": "Not a Name"},
        {"name": "../../secrets/x"},
        {"displayName": "x" * 200},
    ):
        page = client.post(f"/keys/{namespace}/new", good | change)
        assert page.status in (400, 403, 404, 409, 422), (change, page.text)
        assert 'role="alert"' in page.text or page.status == 404
        assert "kw_live_" not in page.text
    assert [each for each in admin.list(namespace) if not each["metadata"].get("deletionTimestamp")] == []


def test_what_was_filled_in_is_there_again(client: Client, token: str, namespace: str) -> None:
    """After a refusal one corrects one field, and does not write the others anew."""
    client.sign_in(token)
    form = {"csrf": client.get(f"/keys/{namespace}/new").csrf, "class": "standard", "displayName": 'a "b" <c>'}
    form |= {"description": "why & where", "role": "readonly", "scopes": "a:b", "ends": "30d", "name": "Wrong"}
    page = client.post(f"/keys/{namespace}/new", form)
    assert page.status == 422
    assert "Name in Kubernetes" in page.text
    for kept in (
        "a &#34;b&#34; &lt;c&gt;",
        "why &amp; where",
        'value="readonly" checked',
        'value="a:b"',
        'value="30d" checked',
    ):
        assert kept in page.text


def test_a_readonly_person_changes_nothing(
    client: Client, service: Console, admin: Kube, namespace: str, victim: str
) -> None:
    """Kubernetes decides, and the page says that it was that."""
    reader = make_account(admin, namespace, "reader", "view")
    may_look(service, namespace, reader)
    client.sign_in(reader)
    page = client.get(victim)
    assert page.status == 200
    form = {"csrf": page.csrf}
    for verb in ("rotate", "suspend", "revoke", "delete"):
        refused = client.post(f"{victim}/{verb}", form)
        assert refused.status == 403, (verb, refused.text)
        assert "You may not" in refused.text
    made = client.post(f"/keys/{namespace}/new", form | {"displayName": "x", "class": "standard", "ends": "7d"})
    assert made.status == 403
    assert len(admin.list(namespace)) == 1
    assert not is_revoked(admin, namespace)


def test_a_key_of_another_owner_answers_as_none(
    client: Client, service: Console, admin: Kube, namespace: str, victim: str, make_namespace: Namespaces
) -> None:
    """To who signed in by a key, forged forms and all: 404, as for a key that does not exist."""
    bind(admin, namespace, "carol@example.com", "edit")
    admin.apikey(namespace, "mine", className="standard", owner={"user": "carol@example.com"}, scopes=["keys:manage"])
    admin.wait(namespace, "mine", Active="True")
    plain = admin.plain_key(namespace, "mine")
    may_look(service, namespace, plain)
    assert client.sign_in(plain).status == 303
    form = {"csrf": client.get(f"/keys/{namespace}/mine").csrf}
    elsewhere = make_namespace(admin)
    admin.apikey(elsewhere, "victim", className="standard", owner={"user": "carol@example.com"})
    absent = client.get(f"/keys/{namespace}/there-is-none")
    for path in (victim, f"/keys/{elsewhere}/victim"):
        seen = client.get(path)
        assert (seen.status, seen.text) == (404, absent.text)
        for verb in ("rotate", "suspend", "revoke", "delete"):
            assert client.post(f"{path}/{verb}", form).status == 404
    assert not is_revoked(admin, namespace)
    assert not is_revoked(admin, elsewhere)


def test_a_key_that_is_called_like_the_uid_of_another_is_no_trap(
    client: Client, token: str, admin: Kube, namespace: str, victim: str
) -> None:
    """The links to it lead to it, and what happened to it stands on its page; so does nothing of it on the other's."""
    name = admin.get(namespace, "victim")["metadata"]["uid"]
    admin.apikey(namespace, name, className="standard", displayName="trap")
    admin.wait(namespace, name, Active="True")
    client.sign_in(token)
    (address,) = re.findall(r'href="(/keys/[^"]+)"><bdi>trap<', client.get(f"/?namespace={namespace}").text)
    assert "<bdi>trap</bdi>" in client.get(address).text
    form = {"csrf": client.get(f"{address}/revoke").csrf}
    assert client.post(f"{address}/revoke", form).status == 303
    assert admin.get(namespace, name)["spec"]["revoked"]
    assert not is_revoked(admin, namespace)
    eventually(lambda: "The key was revoked" in client.get(address).text, what="what happened to it")
    assert "The key was revoked" not in client.get(victim).text


def test_who_closes_the_page_meanwhile_leaves_no_key_behind(
    client: Client, service: Console, token: str, admin: Kube, namespace: str
) -> None:
    """A key that nobody has seen is taken back."""
    client.sign_in(token)
    form = {
        "csrf": client.get(f"/keys/{namespace}/new").csrf,
        "displayName": "unseen",
        "ends": "7d",
        "class": "standard",
    }

    def is_there(name: str) -> bool:
        return name in [each["metadata"]["name"] for each in admin.list(namespace)]

    def is_taken_back(name: str) -> bool:
        body = urlencode(form | {"name": name})
        fields = {"Host": "x", "Cookie": client.cookie, "Content-Type": FORM, "Content-Length": str(len(body)), **OURS}
        head = "".join(f"{field}: {value}\r\n" for field, value in fields.items())
        host, _, port = service.address.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(f"POST /keys/{namespace}/new HTTP/1.1\r\n{head}\r\n{body}".encode())
            eventually(lambda: is_there(name), what="the key is being made")
        log = rf"/keys/{namespace}/{name}: .*"
        line = eventually(lambda: re.search(log, service.process.log), what="it is answered")[0]
        assert line.endswith("taken back" if not is_there(name) else ": 201")
        return not is_there(name)

    # On a busy machine an answer may have been on its way already.
    assert any(is_taken_back(f"unseen-{number}") for number in range(10))


def test_no_token_or_key_gets_into_the_log(client: Client, service: Console, token: str, namespace: str) -> None:
    """Neither what people sign in with, nor the session, nor a key that was made: its name does."""
    client.sign_in(token)
    form = {
        "csrf": client.get(f"/keys/{namespace}/new").csrf,
        "displayName": "logged",
        "ends": "7d",
        "class": "standard",
    }
    page = client.post(f"/keys/{namespace}/new", form | {"request": "once"})
    assert page.status == 201
    found = re.search(r'id="plain"[^>]*>([^<]+)<', page.text)
    assert found is not None
    eventually(lambda: f": POST {page.fields['location']}: 201" in service.process.log, what="it is logged by its name")
    for secret in (token, client.cookie.partition("=")[2], found[1], found[1].rpartition("_")[2]):
        assert secret not in service.process.log
    again = client.post(f"/keys/{namespace}/new", form | {"request": "once"})
    assert (again.status, found[1] in again.text) == (409, False)
    assert "The key was shown once" in again.text
