"""Before work begins: is there an API server, are the CRDs there, may we do what we have to do?

What can still come (an API server that is starting, CRDs that a GitOps tool applies a moment later, a role
binding) is waited for, with one line each time the answer changes.
"""

import asyncio
import contextlib
import logging

from keywright.kube.client import ApiClient
from keywright.kube.errors import ApiError, ApiUnavailableError, ForbiddenError, NotFoundError
from keywright.kube.resources import APIKEYCLASSES, APIKEYS, NAMESPACES, SECRETS, Resource

__all__ = ["only", "wait_until_usable"]

POLL = 2.0  # seconds

logger = logging.getLogger(__name__)


def only(namespace: str | None) -> str | None:
    """The field selector for one namespace, for which a role that names it is enough; ``None``: for all."""
    return f"metadata.name={namespace}" if namespace is not None else None


async def wait_until_usable(client: ApiClient, namespaces: tuple[str, ...], stop: asyncio.Event) -> None:
    """Return when the first lists will succeed, or when ``stop`` is set."""
    said = None
    while not stop.is_set():
        problem = await _problem(client, namespaces)
        if problem is None:
            if said is not None:
                logger.info("the cluster is usable now")
            return
        if problem != said:
            logger.warning("waiting: %s", problem)
            said = problem
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(POLL):
                await stop.wait()


async def _problem(client: ApiClient, namespaces: tuple[str, ...]) -> str | None:
    scopes: tuple[str | None, ...] = namespaces or (None,)
    needed: list[tuple[Resource, str | None, str | None]] = [(APIKEYCLASSES, None, None)]
    needed += [(NAMESPACES, None, only(namespace)) for namespace in scopes]
    needed += [(resource, namespace, None) for namespace in scopes for resource in (APIKEYS, SECRETS)]
    for resource, namespace, selector in needed:
        where = f" in namespace {namespace}" if namespace else f" with {selector}" if selector else ""
        try:
            async for _ in client.list_pages(resource, namespace, field_selector=selector, metadata_only=True, page=1):
                break
        except NotFoundError:
            return (
                f"the API server does not know {resource.plural}.{resource.group}: "
                "apply the CRDs with `keywright crds | kubectl apply -f -`"
            )
        except ForbiddenError:
            return f"this account may not list {resource.plural}{where}: bind the roles in deploy/rbac to it"
        except ApiUnavailableError as error:
            return f"the API server at {client.credentials.server} is not to be reached ({error.reason})"
        except ApiError as error:
            return str(error)
    return None
