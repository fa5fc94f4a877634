"""What is answered: the views of the service, and the two answers that hold a plain key, once."""

from typing import Annotated

from fastapi import Response
from pydantic import Field

from keywright.console.problems import render
from keywright.console.service.keys import Issued, Rotated
from keywright.console.service.owners import Outcome
from keywright.console.service.views import ClassView, KeyView, View

__all__ = [
    "Classes",
    "IssuedKey",
    "Keys",
    "Problem",
    "Revocation",
    "Revocations",
    "RotatedKey",
    "issued",
    "revocations",
    "rotated",
    "single",
]


class Problem(View):
    """What went wrong (RFC 9457), with the next step. It repeats nothing of the request but names of fields."""

    type: str
    title: str
    status: int
    code: str = Field(description="One word for programs, as in not_found.")
    detail: str


class IssuedKey(KeyView):
    """A new key, with its plain key. It is shown this once."""

    key: Annotated[str, Field(repr=False, description="The plain key. Keep it: it is not shown again.")]


class RotatedKey(KeyView):
    """A rotated key. Where it is delivered once, its new plain key is here and nowhere else."""

    key: Annotated[
        str | None, Field(repr=False, description="The new plain key; null where it lies in the Secret of the key.")
    ]


class Keys(View):
    """Keys of an owner."""

    items: tuple[KeyView, ...]


class Classes(View):
    """Classes that keys can be of."""

    items: tuple[ClassView, ...]


class Revocation(View):
    """What became of one key."""

    namespace: str
    name: str
    revoked: bool
    problem: Problem | None = Field(description="Why it is not revoked.")


class Revocations(View):
    """The keys that were not revoked before, and what became of each."""

    items: tuple[Revocation, ...]


def single(key: KeyView, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """One key, with its ETag. Written here: what fails to be an answer elsewhere is told with all that it holds."""
    fields = {"ETag": f'"{key.version}"'} | (headers or {})
    return Response(key.model_dump_json(by_alias=True), status, fields, "application/json")


def issued(new: Issued) -> Response:
    location = f"/v1/namespaces/{new.key.namespace}/keys/{new.key.name}"
    return single(IssuedKey(**_fields(new.key), key=new.plain.text), 201, {"Location": location})


def rotated(done: Rotated) -> Response:
    plain = done.plain.text if done.plain is not None else None
    return single(RotatedKey(**_fields(done.key), key=plain))


def revocations(outcomes: tuple[Outcome, ...]) -> Revocations:
    return Revocations(
        items=tuple(
            Revocation(
                namespace=each.namespace,
                name=each.name,
                revoked=each.problem is None,
                problem=Problem.model_validate_json(render(each.problem)) if each.problem is not None else None,
            )
            for each in outcomes
        )
    )


def _fields(key: KeyView) -> dict[str, object]:
    return {name: getattr(key, name) for name in KeyView.model_fields}
