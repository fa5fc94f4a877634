"""What reconciling needs from the outside world. Tests put fakes and failpoints here, nowhere else."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NamedTuple, Protocol

from keywright.domain.hashing import Hashing
from keywright.domain.keyclass import KeyClass
from keywright.domain.usage import Uses
from keywright.kube.client import Manifest
from keywright.kube.resources import Resource

__all__ = ["Api", "Classes", "Clock", "Hasher", "Namespaces", "Ref", "SecretUids", "UsesOf"]

Clock = Callable[[], datetime]


class Ref(NamedTuple):
    """An object by its coordinates. The object there may have been replaced by another of the same name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Api(Protocol):
    """The API server. Every method raises :class:`keywright.kube.errors.ApiError`."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest: ...

    async def create(self, resource: Resource, namespace: str | None, manifest: Manifest) -> Manifest: ...

    async def update(
        self, resource: Resource, namespace: str | None, name: str, manifest: Manifest, subresource: str | None = None
    ) -> Manifest: ...

    async def delete(
        self, resource: Resource, namespace: str | None, name: str, *, uid: str, resource_version: str | None = None
    ) -> None: ...


class Classes(Protocol):
    """The classes as they are now."""

    def resolve(self, name: str | None) -> KeyClass | None: ...


class Namespaces(Protocol):
    """The namespaces as they are now."""

    def labels_of(self, name: str) -> Mapping[str, str] | None:
        """``None`` for a namespace that no watch has shown yet."""


class SecretUids(Protocol):
    """The Secrets that carry our label, as of the last watch event. A hint, never a proof."""

    def uid_of(self, ref: Ref) -> str | None: ...

    def version_of(self, uid: str) -> str:
        """The newest resourceVersion that the watch has shown, or that was noted."""

    def is_right(self, uid: str) -> bool:
        """Whether that version was noted as being as it should."""

    def note(self, secret: Ref, uid: str, apikey: Ref, *, version: str, is_right: bool) -> None:
        """We have just read or written this version of a Secret: the watch will have no news in that."""

    def forget(self, uid: str) -> object:
        """We have just removed it, likewise."""


class UsesOf(Protocol):
    """What verifiers have reported, for those whose turn it is to have it written."""

    def uses_of(self, ref: Ref) -> Uses: ...


class Hasher(Protocol):
    """Argon2 somewhere off the event loop."""

    async def hash(self, plain: str, hashing: Hashing) -> str: ...

    async def verify(self, stored: str, plain: str) -> bool: ...
