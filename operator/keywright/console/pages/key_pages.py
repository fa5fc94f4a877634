"""The page of a key, and what is done to it: asked first, then done."""

from fastapi import APIRouter, Request
from fastapi.responses import RedirectResponse, Response

from keywright.console.pages.actions import GRACES, Action, Verb, action_of, actions_for, notice_of
from keywright.console.pages.addresses import address, keys_address
from keywright.console.pages.forms import Form
from keywright.console.pages.refusals import PageRoute, Refusal
from keywright.console.pages.rendering import render
from keywright.console.pages.viewers import receive, service_for, view
from keywright.console.pages.words import carrier_of
from keywright.console.problems import ProblemError
from keywright.console.service.addressed import KeyReference, Namespace
from keywright.console.service.keys import KeyService, Rotated
from keywright.console.service.views import KeyView
from keywright.domain.times import parse_duration

__all__ = ["router"]

router = APIRouter(route_class=PageRoute)


@router.get("/keys/{namespace}/{name}")
async def show_key(request: Request, namespace: Namespace, name: KeyReference) -> Response:
    """All there is to say about a key, but for the key."""
    viewer = await view(request)
    service = service_for(request, viewer)
    key = await service.get(namespace, name)
    return render(
        request,
        "key.html",
        key=key,
        events=await service.events(key),
        actions=actions_for(key),
        notice=notice_of(request.query_params.get("done", "")),
    )


@router.get("/keys/{namespace}/{name}/{verb}")
async def confirm(request: Request, namespace: Namespace, name: KeyReference, verb: Verb) -> Response:
    """Asks whether it shall be done. Looking at it does nothing."""
    viewer = await view(request)
    key = await service_for(request, viewer).get(namespace, name)
    return _confirmation(request, key, action_of(verb))


@router.post("/keys/{namespace}/{name}/{verb}")
async def act(request: Request, namespace: Namespace, name: KeyReference, verb: Verb) -> Response:
    """Done, and a page about it; or asked again with the refusal."""
    viewer, form = await receive(request)
    service = service_for(request, viewer)
    # Before the key is rotated: nothing may fail between that and the page that shows it.
    classes = await service.classes() if verb is Verb.ROTATE else ()
    try:
        rotated = await _do(service, namespace, name, verb, form)
    except ProblemError as problem:
        refused = problem
    else:
        if rotated is not None and rotated.plain is not None:
            carrier = carrier_of(classes, rotated.key.class_name)
            plain = rotated.plain.text
            return render(request, "made.html", key=rotated.key, plain=plain, carrier=carrier, is_rotated=True)
        key = rotated.key if rotated is not None else None
        if verb is Verb.DELETE:
            return RedirectResponse(keys_address(namespace, verb), 303)
        key = key or await service.get(namespace, name)
        return RedirectResponse(f"{address(key)}?done={verb}", 303)
    if refused.status not in (403, 409, 412, 422):
        raise refused
    key = await service.get(namespace, name)
    return _confirmation(request, key, action_of(verb), refused, form["reason"], form["grace"])


async def _do(service: KeyService, namespace: str, name: str, verb: Verb, form: Form) -> Rotated | None:
    # What hands out a key, or cannot be undone in order, is done to the key as it was looked at. What stops a key is
    # done whatever has changed.
    version = form["version"] or None
    match verb:
        case Verb.ROTATE:
            grace = parse_duration(form["grace"]) if form["grace"] in dict(GRACES) and form["grace"] else None
            return await service.rotate(namespace, name, grace=grace, version=version)
        case Verb.SUSPEND:
            await service.suspend(namespace, name)
        case Verb.RESUME:
            await service.resume(namespace, name, version=version)
        case Verb.REVOKE:
            await service.revoke(namespace, name, reason=form["reason"].strip()[:512] or None)
        case Verb.DELETE:
            await service.delete(namespace, name)
    return None


def _confirmation(
    request: Request,
    key: KeyView,
    action: Action,
    refused: ProblemError | None = None,
    reason: str = "",
    grace: str = "",
) -> Response:
    return render(
        request,
        "confirm.html",
        status=200 if refused is None else refused.status,
        key=key,
        action=action,
        graces=GRACES,
        grace=grace,
        reason=reason,
        problem=Refusal.of(refused) if refused is not None else None,
    )
