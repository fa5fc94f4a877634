"""The classes that there are. They are policy and no secret, so the key service reads them as itself."""

from dataclasses import dataclass

from keywright.api.keyclass import ApiKeyClassSpec, read_class
from keywright.console.problems import ProblemError
from keywright.console.service.acting import Acting
from keywright.console.service.viewing import view_class
from keywright.console.service.views import ClassView
from keywright.domain.keyclass import BUILT_IN, KeyClass, resolve
from keywright.kube.resources import APIKEYCLASSES

__all__ = ["Classes"]


@dataclass(frozen=True, slots=True)
class _Known:
    key_class: KeyClass
    spec: ApiKeyClassSpec


class Classes:
    """Reads classes, each time anew."""

    def __init__(self, own: Acting) -> None:
        self._own = own

    async def get(self, name: str) -> KeyClass:
        """One class.

        Raises:
            ProblemError: if there is none of that name.

        """
        manifest = await self._own.find(APIKEYCLASSES, None, name)
        found = read_class(manifest) if manifest is not None else BUILT_IN if name == BUILT_IN.name else None
        if found is None:
            raise ProblemError(422, "invalid_request", "className: there is no such class.")
        return found

    async def views(self) -> list[ClassView]:
        """All of them, the built-in one too where nothing takes its place; by name."""
        known: dict[str, _Known] = {BUILT_IN.name: _Known(BUILT_IN, ApiKeyClassSpec.model_validate({}))}
        async for each in self._own.all(APIKEYCLASSES, None):
            read = read_class(each)
            if read is not None:
                known[read.name] = _Known(read, ApiKeyClassSpec.model_validate(each["spec"]))
        default = resolve(None, (each.key_class for each in known.values()), BUILT_IN)
        return [
            view_class(each.key_class, each.spec, is_default=default is not None and name == default.name)
            for name, each in sorted(known.items())
        ]
