"""``/v1``: what can be asked for, and how it is answered. What it means is decided in the service."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.routing import APIRoute

from keywright.console.problems import CONTENT_TYPE
from keywright.console.rest import answers
from keywright.console.rest.answers import Classes, IssuedKey, Keys, Revocations, RotatedKey
from keywright.console.rest.reading import (
    Idempotency,
    Limit,
    StrictRoute,
    service_of,
    version_of,
)
from keywright.console.service.addressed import KeyReference, Namespace, OwnerName
from keywright.console.service.keys import LIMIT, KeyService
from keywright.console.service.views import KeyView, Page
from keywright.console.service.wanted import NewKey, Revoke, Rotate
from keywright.domain.apikey import Phase

__all__ = ["router"]

_PROBLEM = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_MEANINGS = {
    400: "Two credentials, or one that cannot be read.",
    401: "No credential, or none that is accepted.",
    403: "You may not do that: detail says what it takes.",
    404: "There is no such key, or none that you may know of.",
    408: "The body came too slowly.",
    409: "The key is in the way, as it is: of that name already, changed meanwhile, ended, or shown before.",
    412: "The key is not as If-Match says.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "Something that was sent cannot be: detail names the field.",
    429: "Too many requests: wait as Retry-After says.",
    503: "The key service or the API server cannot answer now.",
    504: "The operator did not do its part in time. Of a new key nothing is left behind.",
}
_ALWAYS = (400, 401, 403, 404, 422, 429, 503)
_CHANGE = (*_ALWAYS, 408, 409, 412, 413, 415)


def _problems(*numbers: int) -> dict[int | str, dict[str, Any]]:
    return {each: {"description": _MEANINGS[each], "content": _PROBLEM} for each in sorted(set(numbers))}


def _operation_id(route: APIRoute) -> str:
    return route.name


router = APIRouter(
    prefix="/v1",
    route_class=StrictRoute,
    responses=_problems(*_ALWAYS),
    generate_unique_id_function=_operation_id,
)

Service = Annotated[KeyService, Depends(service_of)]
Version = Annotated[str | None, Depends(version_of)]
_KEYS = "/namespaces/{namespace}/keys"
_KEY = _KEYS + "/{key}"
# An owner's name may hold slashes, as that of an OIDC issuer does.
_OWNER = "/owners/{owner:path}"


@router.post(_KEYS, status_code=201, response_model=IssuedKey, responses=_problems(*_CHANGE, 504))
async def create_key(
    request: Request, service: Service, namespace: Namespace, new: NewKey, idempotency_key: Idempotency = None
) -> Response:
    """Make a key and show it, once."""
    issued = await service.create(namespace, new, idempotency_key=idempotency_key)
    if await request.is_disconnected():
        # Nobody is there to have it any more.
        await service.discard(issued)
        request.state.is_taken_back = True
    return answers.issued(issued)


@router.get(_KEYS)
async def list_keys(
    service: Service,
    namespace: Namespace,
    display_name: Annotated[str | None, Query(alias="displayName", max_length=128)] = None,
    status: Phase | None = None,
    owner: Annotated[str | None, Query(max_length=253)] = None,
    limit: Limit = LIMIT,
    cursor: Annotated[str | None, Query(max_length=2048)] = None,
) -> Page:
    """List keys by name. There are more while ``next`` is not null, even if a page is short."""
    return await service.list(
        namespace, display_name=display_name, status=status, owner=owner, limit=limit, cursor=cursor
    )


@router.get(_KEY, response_model=KeyView)
async def get_key(service: Service, namespace: Namespace, key: KeyReference) -> Response:
    """One key."""
    return answers.single(await service.get(namespace, key))


@router.delete(_KEY, status_code=204, responses=_problems(*_CHANGE))
async def delete_key(service: Service, namespace: Namespace, key: KeyReference, version: Version) -> Response:
    """Delete a key. It is refused from then on."""
    await service.delete(namespace, key, version=version)
    return Response(status_code=204)


@router.post(_KEY + "/rotate", response_model=RotatedKey, responses=_problems(*_CHANGE, 504))
async def rotate_key(
    service: Service, namespace: Namespace, key: KeyReference, version: Version, how: Rotate | None = None
) -> Response:
    """Put a new key beside the old one, which works on for a while. Where it is delivered once, it is shown here."""
    done = await service.rotate(namespace, key, grace=how.grace if how is not None else None, version=version)
    return answers.rotated(done)


@router.post(_KEY + "/suspend", response_model=KeyView, responses=_problems(*_CHANGE))
async def suspend_key(service: Service, namespace: Namespace, key: KeyReference, version: Version) -> Response:
    """Refuse a key until it is resumed. Acts at once."""
    return answers.single(await service.suspend(namespace, key, version=version))


@router.post(_KEY + "/resume", response_model=KeyView, responses=_problems(*_CHANGE))
async def resume_key(service: Service, namespace: Namespace, key: KeyReference, version: Version) -> Response:
    """Accept a suspended key again."""
    return answers.single(await service.resume(namespace, key, version=version))


@router.post(_KEY + "/revoke", response_model=KeyView, responses=_problems(*_CHANGE))
async def revoke_key(
    service: Service, namespace: Namespace, key: KeyReference, version: Version, why: Revoke | None = None
) -> Response:
    """Refuse a key for ever. Acts at once; nothing brings it back."""
    reason = why.reason if why is not None else None
    return answers.single(await service.revoke(namespace, key, reason=reason, version=version))


@router.get(_OWNER + "/keys")
async def list_keys_of_owner(service: Service, owner: OwnerName) -> Keys:
    """The keys of an owner, wherever you may list keys."""
    return Keys(items=await service.keys_of(owner))


@router.post(_OWNER + "/revoke", responses=_problems(*_CHANGE))
async def revoke_keys_of_owner(service: Service, owner: OwnerName, why: Revoke | None = None) -> Revocations:
    """Revoke all keys of an owner, for whoever may list keys everywhere; what became of each."""
    return answers.revocations(await service.revoke_all_of(owner, why.reason if why is not None else None))


@router.get("/classes")
async def list_classes(service: Service) -> Classes:
    """The classes that keys can be of."""
    return Classes(items=await service.classes())
