"""Who asks? One answer for each request: the caller, or the problem that he has."""

import base64
import json
import logging
import re
from dataclasses import dataclass

from starlette.requests import Request

from keywright.console.callers.caller import MANAGE, Caller
from keywright.console.callers.keys import Keys
from keywright.console.callers.origins import SAFE_METHODS, check_origin
from keywright.console.callers.people import person
from keywright.console.callers.proxy import FrontProxy
from keywright.console.callers.rates import Rates
from keywright.console.callers.sessions import Sessions
from keywright.console.callers.tokens import Tokens
from keywright.console.problems import ProblemError
from keywright.verifier.keys.credentials import Field

__all__ = ["Callers", "Visitor"]

logger = logging.getLogger(__name__)

AUTHORIZATION = b"authorization"
_BEARER = b"bearer"
_LIKE_A_JWT = re.compile(rb"eyJ[\w-]*\.[\w-]+\.[\w-]+", re.ASCII)
# Mistyped or cut off as it may be, a key never goes to the API server as a token would: some write down what they
# review.
_A_WHOLE_KEY = re.compile(rb"_[0-9A-Za-z]{12}_[0-9A-Za-z]{48}")
_LIKE_A_KEY = re.compile(rb"\A\s*[a-z][a-z0-9]*(?:_[A-Za-z0-9]*)+\s*\Z|_[0-9A-Za-z]{12}_[0-9A-Za-z]{8}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Somebody at a page. ``session_id`` is what the tokens of his forms are bound to; ``expires_at`` is when he will
    have to sign in again, in seconds since the epoch, ``None`` for who comes through a front proxy.
    """

    caller: Caller
    session_id: str
    expires_at: int | None = None


class Callers:
    """Tells who asks. ``keys`` or ``tokens`` is ``None`` where they are not taken."""

    def __init__(
        self, *, keys: Keys | None, tokens: Tokens | None, proxy: FrontProxy, rates: Rates, sessions: Sessions
    ) -> None:
        self._keys = keys
        self._tokens = tokens
        self._proxy = proxy
        self._rates = rates
        self.sessions = sessions

    async def identify(self, request: Request) -> Caller:
        """Who sends this request: by a key, by a token, or as the front proxy says. Cookies prove nobody here.

        Raises:
            ProblemError: 400 for two at once, 401 for none, and whatever the one that there is gives cause for.

        """
        proxied, token, fields = self._read(request)
        if (proxied is not None) + (token is not None) + bool(fields) > 1:
            raise ProblemError(
                400, "invalid_request", "Two callers are named: a key, a token, or a front proxy. Send one."
            )
        if proxied is not None:
            check_origin(request)
            caller = proxied
        elif token is not None:
            caller = await self._of_token(token)
        elif fields and self._keys is not None:
            caller = await self._keys.identify(fields)
        else:
            raise self._nobody()
        return self._admit(request, caller)

    async def visitor(self, request: Request) -> Visitor:
        """Who is at a page: as the front proxy says, or by the session of his sign-in.

        Raises:
            ProblemError: 401 for nobody, 403 for a form that another site has sent, and as for :meth:`identify`.

        """
        check_origin(request)
        proxied = self._proxy.identify(_peer(request), request.scope["headers"])
        if proxied is not None:
            return Visitor(caller=self._admit(request, proxied), session_id=f"proxy:{proxied.user}")
        session = self.sessions.read(request.cookies.get(self.sessions.cookie))
        if session is None:
            raise ProblemError(401, "missing_key", "You are not signed in, or were not seen for too long. Sign in.")
        if session.key is None or session.key_id is None:
            caller = person(session.user, session.groups)
        elif self._keys is not None:
            caller = await self._keys.identify_again(session.key, session.key_id, session.user)
        else:
            raise self._nobody()
        return Visitor(
            caller=self._admit(request, caller, is_page=True), session_id=session.id, expires_at=session.expires_at
        )

    async def sign_in(self, credential: str) -> tuple[Caller, str]:
        """The caller whose key or token somebody has pasted into a form, and the cookie value of his session.

        Raises:
            ProblemError: as for :meth:`identify`.

        """
        text = credential.strip().encode("utf-8", "replace")
        if not text:
            raise self._nobody()
        if self._keys is not None and (self._tokens is None or _is_like_a_key(text)):
            caller, until = await self._keys.identify_pasted(text), None
        else:
            caller, until = await self._of_token(text), _ends_at(text)
        self._rates.charge(caller)
        logger.info("%s: signed in", caller)
        return caller, self.sessions.issue(caller, until)

    def _read(self, request: Request) -> tuple[Caller | None, bytes | None, list[Field]]:
        """What the front proxy says, the token, and the fields that present a key."""
        fields: list[Field] = request.scope["headers"]
        proxied = self._proxy.identify(_peer(request), fields)
        authorizations = [value for name, value in fields if name == AUTHORIZATION]
        if len(authorizations) > 1:
            raise ProblemError(400, "invalid_request", "Authorization was sent more than once. Send it once.")
        scheme, _, text = authorizations[0].partition(b" ") if authorizations else (b"", b"", b"")
        token = text.strip() if self._is_token(scheme.lower(), text) else None
        if self._keys is None:
            return proxied, token, []
        # Of an Authorization that is no key's the front proxy may be the owner.
        may_carry = set(self._keys.carriers - {AUTHORIZATION})
        may_carry |= {AUTHORIZATION} if token is None and scheme.lower() in self._keys.schemes else set()
        return proxied, token, [each for each in fields if each[0] in may_carry and each[1]]

    def _is_token(self, scheme: bytes, text: bytes) -> bool:
        if self._tokens is None or scheme != _BEARER or not text.strip():
            return False
        return self._keys is None or not _is_like_a_key(text)

    async def _of_token(self, text: bytes) -> Caller:
        # Where no keys are taken, opaque tokens may look like the beginning of one, but not like the whole.
        if self._tokens is None or (_LIKE_A_JWT.fullmatch(text) is None and _A_WHOLE_KEY.search(text) is not None):
            raise self._nobody()
        return await self._tokens.identify(text.decode("latin-1"))

    def _admit(self, request: Request, caller: Caller, *, is_page: bool = False) -> Caller:
        request.state.caller = caller
        self._rates.charge(caller)
        changes = request.method not in SAFE_METHODS
        if changes and not is_page and self._keys is not None and caller.bounds and not caller.bounds.may_manage:
            raise self._keys.insufficient(MANAGE)
        return caller

    def _nobody(self) -> ProblemError:
        challenges = self._keys.challenges if self._keys is not None else 'Bearer realm="keywright"'
        return ProblemError(
            401,
            "missing_key",
            "Nobody is asking: send a Kubernetes token or a Keywright key in Authorization.",
            {"WWW-Authenticate": challenges},
        )


def _is_like_a_key(text: bytes) -> bool:
    return _LIKE_A_JWT.fullmatch(text) is None and _LIKE_A_KEY.search(text) is not None


def _peer(request: Request) -> str | None:
    """The other end of the connection, whatever any header says."""
    return request.client.host if request.client is not None else None


def _ends_at(token: bytes) -> float | None:
    """When a JWT ends, as it says itself: the API server has proven it, and a session does not outlive it."""
    parts = token.split(b".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + b"=" * (-len(parts[1]) % 4)))
        return float(claims["exp"])
    except (ValueError, TypeError, KeyError, IndexError):
        return None
