"""Requests to the API server: what is sent, and what a refusal may say."""

import traceback
from collections.abc import Iterator

import pytest
from aiohttp import ClientTimeout, web

from keywright.kube import client as client_module
from keywright.kube.credentials import Credentials
from keywright.kube.errors import (
    ApiError,
    ApiUnavailableError,
    ConflictError,
    ForbiddenError,
    GoneError,
    ImpersonationError,
    NotFoundError,
    from_response,
)
from keywright.kube.resources import APIKEYCLASSES, APIKEYS, APIKEYUSAGES, EVENTS, SECRETS, Resource
from tests.unit.kube.api_server import refusal, secret, serving

PLAIN = "kw_live_4hJk29sLmQ0z_hunter2"
PATHS = {
    "/apis/keywright.dev/v1alpha1/apikeys": (APIKEYS, None, None, None),
    "/apis/keywright.dev/v1alpha1/namespaces/payments/apikeys": (APIKEYS, "payments", None, None),
    "/apis/keywright.dev/v1alpha1/namespaces/payments/apikeys/a": (APIKEYS, "payments", "a", None),
    "/apis/keywright.dev/v1alpha1/namespaces/payments/apikeys/a/status": (APIKEYS, "payments", "a", "status"),
    "/apis/keywright.dev/v1alpha1/apikeyclasses/gold": (APIKEYCLASSES, None, "gold", None),
    "/api/v1/secrets": (SECRETS, None, None, None),
    "/api/v1/namespaces/payments/secrets/a": (SECRETS, "payments", "a", None),
    "/api/v1/namespaces/payments/events": (EVENTS, "payments", None, None),
}


@pytest.mark.parametrize(("path", "parts"), PATHS.items(), ids=PATHS)
def test_the_path_of_a_resource(path: str, parts: tuple[Resource, str | None, str | None, str | None]) -> None:
    """Of a collection, of one namespace, of an object, of a subresource; with and without a group."""
    resource, *rest = parts
    assert resource.path(*rest) == path


async def test_each_verb_is_sent_as_kubernetes_wants_it() -> None:
    """Method, path and JSON body; a deletion names the UID it means, and the version if asked to."""
    async with serving() as (server, client):
        for _ in range(7):
            server.answers.append(web.json_response({"ok": True}))
        assert await client.get(SECRETS, "payments", "a") == {"ok": True}
        await client.create(SECRETS, "payments", {"kind": "Secret"})
        await client.update(SECRETS, "payments", "a", {"kind": "Secret"})
        await client.update(APIKEYS, "payments", "a", {"kind": "ApiKey"}, "status")
        await client.delete(SECRETS, "payments", "a", uid="u1")
        await client.delete(SECRETS, "payments", "a", uid="u1", resource_version="7")
        await client.patch(APIKEYUSAGES, "payments", "a", {"spec": {"uses": {"x": None}}})
        sent = [f"{each.method} {each.path}" for each in server.requests]
        assert sent == [
            "GET /api/v1/namespaces/payments/secrets/a",
            "POST /api/v1/namespaces/payments/secrets",
            "PUT /api/v1/namespaces/payments/secrets/a",
            "PUT /apis/keywright.dev/v1alpha1/namespaces/payments/apikeys/a/status",
            "DELETE /api/v1/namespaces/payments/secrets/a",
            "DELETE /api/v1/namespaces/payments/secrets/a",
            "PATCH /apis/keywright.dev/v1alpha1/namespaces/payments/apikeyusages/a",
        ]
        assert server.bodies == [
            None,
            {"kind": "Secret"},
            {"kind": "Secret"},
            {"kind": "ApiKey"},
            {"preconditions": {"uid": "u1"}},
            {"preconditions": {"uid": "u1", "resourceVersion": "7"}},
            {"spec": {"uses": {"x": None}}},
        ]
        *others, patch = [each.headers["Content-Type"] for each in server.requests]
        assert set(others) == {"application/json"}
        assert patch == "application/merge-patch+json"


async def test_the_token_is_asked_before_every_request() -> None:
    """Kubelet rotates it while the session is open."""
    tokens: Iterator[str | None] = iter(["one", "two", None])
    async with serving(lambda: next(tokens)) as (server, client):
        for _ in range(3):
            server.answers.append(web.json_response({}))
            await client.get(SECRETS, "payments", "a")
        assert [each.headers.get("Authorization") for each in server.requests] == ["Bearer one", "Bearer two", None]


async def test_a_list_is_read_page_by_page() -> None:
    """With the limit, selector and form that were asked for, following the token of the API server."""
    async with serving() as (server, client):
        server.lists[0] = [[secret("a"), secret("b")], [secret("c")], []]
        pages = [
            page
            async for page in client.list_pages(
                SECRETS,
                "payments",
                label_selector="app=x",
                field_selector="metadata.name=y",
                metadata_only=True,
                page=2,
            )
        ]
        assert [[each["metadata"]["name"] for each in page["items"] or ()] for page in pages] == [["a", "b"], ["c"], []]
        assert [dict(each.query) for each in server.requests] == [
            {"limit": "2", "labelSelector": "app=x", "fieldSelector": "metadata.name=y"},
            {"limit": "2", "labelSelector": "app=x", "fieldSelector": "metadata.name=y", "continue": "1"},
            {"limit": "2", "labelSelector": "app=x", "fieldSelector": "metadata.name=y", "continue": "2"},
        ]
        assert all("PartialObjectMetadataList" in each.headers["Accept"] for each in server.requests)


KINDS = {
    400: ApiError,
    401: ForbiddenError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    422: ApiError,
    429: ApiUnavailableError,
    500: ApiUnavailableError,
    503: ApiUnavailableError,
}


@pytest.mark.parametrize(("status", "kind"), KINDS.items(), ids=str)
async def test_a_refusal_becomes_an_error_without_the_body(status: int, kind: type[ApiError]) -> None:
    """Verb, path, status and Kubernetes' own word. A body may quote what was sent, and that may be a Secret."""
    async with serving() as (server, client):
        server.answers.append(refusal(status, "Invalid", message=f"data: {PLAIN}", details={"causes": [PLAIN]}))
        with pytest.raises(ApiError) as caught:
            await client.create(SECRETS, "payments", {"kind": "Secret", "data": {"api-key": PLAIN}})
    error = caught.value
    assert type(error) is kind
    assert (error.status, error.reason) == (status, "Invalid")
    assert str(error) == f"POST /api/v1/namespaces/payments/secrets: the API server answered {status} Invalid"
    assert error.__cause__ is None
    assert error.__context__ is None
    said = "".join(traceback.format_exception(error)) + repr(error.__dict__)
    assert "hunter2" not in said


REASONS = {
    "a sentence instead of a word": refusal(422, f"quoting {PLAIN}"),
    "no word": web.json_response({"message": PLAIN}, status=422),
    "a number": web.json_response({"reason": 7}, status=422),
    "a list": web.json_response([PLAIN], status=422),
    "not JSON": web.Response(text=PLAIN, status=422),
    "broken JSON": web.Response(text="{" + PLAIN, status=422, content_type="application/json"),
    "nothing": web.Response(status=422),
}


@pytest.mark.parametrize("name", REASONS)
async def test_a_reason_that_is_no_word_is_replaced_by_the_phrase_of_http(name: str) -> None:
    """Proxies and webhooks answer with anything."""
    async with serving() as (server, client):
        server.answers.append(REASONS[name])
        with pytest.raises(ApiError) as caught:
            await client.get(SECRETS, "payments", "a")
    assert "hunter2" not in str(caught.value)
    assert caught.value.reason == "Unprocessable Entity"


async def test_an_api_server_that_is_not_there_is_unavailable() -> None:
    """Refused connections, with no request in the exception."""
    credentials = Credentials(server="http://127.0.0.1:1", namespace="x", context="x")
    async with client_module.connect(credentials) as client:
        with pytest.raises(ApiUnavailableError) as caught:
            await client.create(SECRETS, "payments", {"data": PLAIN})
    assert caught.value.status == 0
    assert caught.value.__context__ is None
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


async def test_an_answer_that_is_not_json_is_no_answer() -> None:
    """As of a proxy in between."""
    async with serving() as (server, client):
        for text, kind in (("<html>", "text/html"), ("{", "application/json")):
            server.answers.append(web.Response(text=text, content_type=kind))
            with pytest.raises(ApiUnavailableError):
                await client.get(SECRETS, "payments", "a")


async def test_an_api_server_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    """No request hangs for ever."""
    monkeypatch.setattr(client_module, "REQUEST_TIMEOUT", ClientTimeout(total=0.05))
    async with serving() as (server, client):

        async def hang(page: int) -> None:
            await server.stay_open()

        server.before_page = hang
        with pytest.raises(ApiUnavailableError) as caught:
            await client.get(SECRETS, "payments", "a")
        server.close()
    assert "Timeout" in caught.value.reason


def test_every_error_is_one_line_for_people() -> None:
    """All of them are under Keywright's own root."""
    for status in KINDS:
        text = str(from_response(status, "Word", "GET /x"))
        assert text == f"GET /x: the API server answered {status} Word"


def test_credentials_show_neither_token_nor_key() -> None:
    """They end up in tracebacks and debuggers."""
    credentials = Credentials(server="http://x", namespace="n", context="c", private_key=PLAIN, token=lambda: PLAIN)
    assert "hunter2" not in repr(credentials)


async def test_acting_as_somebody() -> None:
    """User and groups go with every request, and with none of the client that it came from."""
    async with serving() as (server, client):
        for _ in range(2):
            server.answers.append(web.json_response({"ok": True}))
        await client.acting_as("jürgen", ("dev", "ops team")).get(APIKEYS, "payments", "a")
        await client.get(APIKEYS, "payments", "a")
        acting, own = (each.headers for each in server.requests)
        assert acting.getall("Impersonate-User") == ["jürgen"]
        assert acting.getall("Impersonate-Group") == ["dev", "ops team"]
        assert not any(name.startswith("Impersonate") for name in own)


@pytest.mark.parametrize(
    ("user", "groups"),
    [("", ()), ("a\r\nX: y", ()), (" a", ()), ("a", ("",)), ("a", ("b\n",)), ("a", ("b\x7f",)), ("a\x00", ())],
)
async def test_whom_nobody_can_act_as(user: str, groups: tuple[str, ...]) -> None:
    """A name that a header would carry as another, or as two headers."""
    async with serving() as (server, client):
        with pytest.raises(ValueError, match="cannot be impersonated"):
            client.acting_as(user, groups)
        assert not server.requests


def said(message: str, status: int = 403) -> web.Response:
    return web.json_response({"message": message, "reason": "Forbidden"}, status=status)


@pytest.mark.parametrize(
    "message",
    [
        (
            'apikeys.keywright.dev is forbidden: User "system:serviceaccount:a:b" cannot impersonate-on:user-info:list '
            'resource "apikeys" in API group "keywright.dev" in the namespace "a"'
        ),
        (
            'users "system:node:n1" is forbidden: User "x" cannot impersonate resource "users" in API group "" at the '
            "cluster scope"
        ),
        'forbidden: User "x" cannot impersonate-on:user-info:get path "/version"',
        'groups.authentication.k8s.io "a\\"b" is forbidden: User "x\\"y" cannot impersonate:user-info resource "groups"',
    ],
)
async def test_who_may_not_act(message: str) -> None:
    """As the API server words it (Kubernetes 1.36), of Secrets as of anything else."""
    async with serving() as (server, client):
        for resource in (APIKEYS, SECRETS):
            server.answers.append(said(message))
            with pytest.raises(ImpersonationError) as error:
                await client.acting_as("alice").get(resource, "payments", "a")
            assert error.value.answer is None


@pytest.mark.parametrize(
    "message",
    [
        'apikeys.keywright.dev is forbidden: User "alice" cannot list resource "apikeys" in API group "keywright.dev"',
        'apikeys.keywright.dev "a" is forbidden: User "a\\" cannot impersonate x" cannot get resource "apikeys"',
        (
            "apikeys.keywright.dev \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: "
            'User "x" cannot impersonate'
        ),
    ],
)
async def test_what_the_other_may_not(message: str) -> None:
    """He is told all that was said; whoever acts as nobody but himself is told a word of it."""
    async with serving() as (server, client):
        server.answers += [said(message), said(message), said(message)]
        with pytest.raises(ForbiddenError) as error:
            await client.acting_as("alice").get(APIKEYS, "payments", "a")
        assert not isinstance(error.value, ImpersonationError)
        assert error.value.answer == {"message": message, "reason": "Forbidden"}
        assert message not in str(error.value)
        for refused, resource in ((client, APIKEYS), (client.acting_as("alice"), SECRETS)):
            with pytest.raises(ForbiddenError) as error:
                await refused.get(resource, "payments", "a")
            assert error.value.answer is None


async def test_one_page_of_a_list() -> None:
    """So many, from where the last one ended, of those that are selected."""
    async with serving() as (server, client):
        server.answers.append(web.json_response({"metadata": {}, "items": []}))
        await client.list_page(APIKEYS, "payments", limit=7, after="t", field_selector="spec.owner.user=a")
        assert dict(server.requests[0].query) == {"limit": "7", "continue": "t", "fieldSelector": "spec.owner.user=a"}
