"""Heads that differ in nothing but the key: read once, and looked up from then on.

A proxy asks the same of the same path over and over, for one key or for many. All that such a head says is in the bytes
before its key and in those behind it, as long as what stands between them is made of letters, digits and underscores
only: then it is a value of the same field, whatever it is. So those bytes, compared as they are, stand for the reading.
Whether the text is a key, and what that may do, is judged on every request.

No key stays behind: it is cut out, and a head in which there may be another is not kept, nor one with a field or a
query that may hold a secret.
"""

import re
from dataclasses import dataclass

from keywright.verifier.keys.credentials import Field
from keywright.verifier.rules.gate import Ruled
from keywright.verifier.rules.originals import Head

__all__ = ["LONGEST", "Shape", "Shapes"]

LONGEST = 1024
"""No head of more bytes than this has a shape."""

# A client may ask for any number of paths: when there are so many shapes, all are forgotten.
_KEPT = 1024
# One in so many heads that are not known is learnt: a prime, so that none of a few in turns is always passed over.
_ONE_IN = 31
# A look-up in vain costs half of what another saves. Where most are in vain, so many heads are read without one.
_FEW = _KEPT * _ONE_IN
_REST = 500_000
# A key after a scheme or alone, and whatever else may be one.
_CARRIED = re.compile(rb"((?:[!-~]+ )?)([0-9A-Za-z_]{64,83})")
_KEYS = re.compile(rb"[0-9A-Za-z_]{64,}")
# What clients and proxies say of themselves and of the connection. Any other field may be a secret, for all we know.
_OPEN = frozenset(
    b"""accept accept-encoding accept-language cache-control connection content-length content-type host
    proxy-connection user-agent x-envoy-expected-rq-timeout-ms x-envoy-internal x-forwarded-for x-forwarded-host
    x-forwarded-method x-forwarded-port x-forwarded-proto x-forwarded-uri x-original-method x-original-uri
    x-real-ip""".split()
)


@dataclass(slots=True, eq=False, kw_only=True)
class Shape:
    """What a head says, but for its key: that is in the field ``carrier``, behind ``lead``.

    ``ruled`` is what the gate made of it.
    """

    method: bytes
    target: bytes
    host: bytes
    told: list[Field]
    carrier: bytes
    lead: bytes
    ruled: Ruled | None = None


class Shapes:
    """Shapes by the bytes before the key and those behind it. Good for as long as the same headers are watched.

    ``opening`` is what stood before the key in the line of the last head that was learnt, to find the next one by.
    ``recalled`` counts the heads that were known since the shapes were last forgotten.
    """

    __slots__ = ("_unlearnt", "known", "opening", "recalled")

    def __init__(self) -> None:
        self.known: dict[tuple[bytes, bytes], Shape] = {}
        self.recalled = 0
        self.opening = b"uthorization: Bearer "
        self._unlearnt = 0

    def forget(self) -> None:
        """Heads are read in another way from now on."""
        self.known.clear()
        self.recalled = 0

    def learn(self, head: bytes, said: Head, credential: Field) -> None:
        """Keep what a head says that has one credential and leaves the connection as it is."""
        if self._unlearnt:
            self._unlearnt -= 1
            return
        self._unlearnt = _ONE_IN - 1
        name, value = credential
        found = _CARRIED.fullmatch(value)
        if found is None or len(head) > LONGEST or _KEYS.findall(head) != [found[2]]:
            return
        # A query may hold a secret, and what is encoded may be the key once more.
        if b"?" in head or b"%" in head or name in dict(said.told):
            return
        names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:-2]}
        if name in _OPEN or not names - {name} <= _OPEN:
            return
        if len(self.known) >= _KEPT:
            if self.recalled < _FEW:
                self._unlearnt = _REST
            self.forget()
            return
        start = head.find(found[2])
        before, behind = head[:start], head[start + len(found[2]) :]
        self.known[before, behind] = Shape(
            method=said.method, target=said.target, host=said.host, told=list(said.told), carrier=name, lead=found[1]
        )
        # Without the first letter, which some write as a capital.
        self.opening = before[before.rfind(b"\r\n") + 3 :]
