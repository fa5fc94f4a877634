"""Callers by a Keywright key: the verifier's own engine judges it, and whoever it acts for is the caller."""

import json
from collections.abc import Coroutine, Iterable
from typing import Any

from keywright.console.callers.caller import MANAGE, READ, Bounds, Caller
from keywright.console.callers.people import person
from keywright.console.problems import ProblemError
from keywright.verifier import verdicts
from keywright.verifier.http.identity import Denied, Identity, RefusedError, Verdict
from keywright.verifier.in_process import InProcess
from keywright.verifier.keys.credentials import Field

__all__ = ["Keys"]


class Keys:
    """Judges keys. Each request is judged anew, so a key that was revoked asks for nothing more."""

    def __init__(self, engine: InProcess) -> None:
        self._engine = engine

    @property
    def carriers(self) -> frozenset[bytes]:
        """The headers that may carry a key, in lower case."""
        return self._engine.carriers

    @property
    def schemes(self) -> frozenset[bytes]:
        """The schemes of Authorization that a key may come in, in lower case."""
        return self._engine.schemes

    @property
    def challenges(self) -> str:
        """What to say in WWW-Authenticate."""
        return _problem(self._engine.refuse(RefusedError(verdicts.MISSING))).headers["www-authenticate"]

    async def identify(self, fields: Iterable[Field]) -> Caller:
        """The owner of the key that these fields present.

        Raises:
            ProblemError: as a verifier refuses the key; 403 if it has no scope for keys, or acts for nobody.

        """
        return self._read(await _settle(self._judge(fields)))

    async def identify_pasted(self, key: bytes) -> Caller:
        """The owner of a key that came alone.

        Raises:
            ProblemError: as above.

        """
        return self._read(await self._engine.judge_alone(key))

    async def identify_again(self, key: str, key_id: str, user: str) -> Caller:
        """The owner of a key that was presented before, if it still is ``user``. ``key`` is ``namespace/name``.

        Raises:
            ProblemError: as above.

        """
        caller = self._read(await _settle(self._engine.judge_again(key, key_id)))
        if caller.user != user:
            raise ProblemError(401, "invalid_key", "The key that this session came from has another owner now.")
        return caller

    def insufficient(self, *scopes: str) -> ProblemError:
        """What a key without these scopes is told."""
        return _problem(self._engine.refuse(RefusedError(verdicts.INSUFFICIENT_SCOPE, scopes)))

    def _judge(self, fields: Iterable[Field]) -> Verdict | Coroutine[Any, Any, Verdict]:
        # There are no rules here, so it is all the same what is asked for.
        return self._engine.judge(method=b"GET", target=b"/", path="/", host=b"", fields=fields)

    def _read(self, verdict: Verdict) -> Caller:
        if isinstance(verdict, Denied) or verdict.identity is None:
            raise _problem(verdict)
        identity = verdict.identity
        if not identity.grants(READ) and not identity.grants(MANAGE):
            raise self.insufficient(READ)
        if identity.owner is None:
            raise ProblemError(
                403, "forbidden", "This key acts for nobody. Use a key with an owner, or a Kubernetes token."
            )
        return person(identity.owner, identity.groups, _bounds(identity))


async def _settle(verdict: Verdict | Coroutine[Any, Any, Verdict]) -> Verdict:
    return await verdict if isinstance(verdict, Coroutine) else verdict


def _bounds(identity: Identity) -> Bounds:
    namespace, _, name = identity.key.partition("/")
    return Bounds(
        namespace=namespace,
        name=name,
        key_id=identity.key_id,
        class_name=identity.class_name,
        scopes=identity.scopes,
        expires_at=identity.expires_at,
        may_manage=identity.grants(MANAGE),
    )


def _problem(verdict: Verdict) -> ProblemError:
    if not isinstance(verdict, Denied):
        raise TypeError("a key that may pass is no problem")
    said = json.loads(verdict.body)
    headers: dict[str, str] = {}
    for field, value in verdict.fields:
        name = field.decode("ascii")
        if name not in ("content-type", "content-length", "cache-control"):
            # One field with several challenges is as good as several fields (RFC 9110 section 5.3).
            headers[name] = f"{headers[name]}, {value.decode('ascii')}" if name in headers else value.decode("ascii")
    return ProblemError(verdict.status, said["code"], said["detail"], headers)
