"""Envoy's question over gRPC (``envoy.service.auth.v3.Authorization/Check``): the same judge, another envelope.

Loaded only by a verifier that was asked for it: the packages cost 10 MiB.
"""

import os
import time
from collections.abc import Awaitable, Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio

from keywright.errors import KeywrightError
from keywright.verifier import verdicts
from keywright.verifier.audit.audit import Audit
from keywright.verifier.audit.cases import TRACEPARENT, describe, write
from keywright.verifier.envoy import envoy_auth_pb2 as wire
from keywright.verifier.http.listener import SOCKET_MODE, Address, Unix, make_way
from keywright.verifier.http.responses import take_apart
from keywright.verifier.judgement import Judge
from keywright.verifier.keys.credentials import Field
from keywright.verifier.rules.gate import Gate, RulesHolder
from keywright.verifier.rules.needs import ANY_KEY
from keywright.verifier.rules.originals import Original
from keywright.verifier.rules.queries import PLAIN
from keywright.verifier.verdicts import Refusal

__all__ = ["serve"]

_SERVICE = "envoy.service.auth.v3.Authorization"
# What a head may hold over HTTP, and what describes it. Whoever sends bodies along is not answered.
_LONGEST = 128 * 1024
_AT_A_TIME = 1024
_OVERWRITE_IF_EXISTS_OR_ADD = 2
_PERMISSION_DENIED = 7
_FOR_BACKEND = b"x-auth-"
_FOR_CLIENT = (b"ratelimit", b"x-auth-key-expires")
# Envoy counts the bytes of a body itself.
_OF_THE_ENVELOPE = (b"content-length",)


async def serve(
    address: Address, judge: Judge[bytes], gate: Gate | None, audit: Audit | None, holder: RulesHolder | None
) -> Callable[[float], Awaitable[None]]:
    """Answer from now on, by the rules of ``gate``, which ``holder`` holds, and with a line in ``audit``.

    What is returned stops that, after so many seconds of grace at the most.

    Raises:
        KeywrightError: if the address cannot be used.

    """

    async def check(question: Any, context: Any) -> Any:
        http = question.attributes.request.http
        answer = _judge(http, judge, gate)
        if not isinstance(answer, bytes):
            answer = await answer
        # Nothing else has run since the judge decided.
        if audit is not None and audit.wants(judge.decided, peer := _peer(context.peer())):
            fields = _fields(http, judge.carriers | {TRACEPARENT})
            write(audit, judge.decided, describe(peer, _original(http), fields, holder), fields)
        return _say(answer, judge.carriers)

    server = grpc.aio.server(
        maximum_concurrent_rpcs=_AT_A_TIME,
        options=(("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", _LONGEST)),
    )
    method = grpc.unary_unary_rpc_method_handler(
        check,
        request_deserializer=wire.CheckRequest.FromString,
        response_serializer=wire.CheckResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, {"Check": method}),))
    if isinstance(address, Unix):
        make_way(address.path)
    mask = os.umask(0o777 & ~SOCKET_MODE)
    try:
        server.add_insecure_port(str(address))
    except RuntimeError:
        raise KeywrightError(
            f"cannot listen on {address}: choose another address for --grpc-listen, or stop what uses it"
        ) from None
    finally:
        os.umask(mask)
    await server.start()
    stop: Callable[[float], Awaitable[None]] = server.stop
    return stop


def _judge(http: Any, judge: Judge[bytes], gate: Gate | None) -> bytes | Awaitable[bytes]:
    now, need = time.time(), ANY_KEY
    # Without encode_raw_headers Envoy joins what was sent twice, and drops what is no UTF-8: no key could be told.
    if not http.HasField("header_map"):
        return judge.refuse(verdicts.NO_ORIGINAL, PLAIN, now)
    if gate is not None:
        found = gate.decide(_original(http))
        if isinstance(found, Refusal):
            return judge.refuse(found, PLAIN, now)
        need = found
    return judge.judge(_fields(http, judge.carriers), need, PLAIN, now)


def _original(http: Any) -> Original:
    return http.method.encode(), http.path.encode(), http.host.encode()


def _fields(http: Any, names: AbstractSet[bytes]) -> list[Field]:
    headers = ((each.key.lower().encode(), each.raw_value) for each in http.header_map.headers)
    return [each for each in headers if each[0] in names]


def _peer(said: str) -> str:
    """``ipv4:127.0.0.1:4711``, ``ipv6:%5B::1%5D:4711`` or ``unix:…`` as the audit of the HTTP listener has it."""
    kind, _, place = said.partition(":")
    return unquote(place.rpartition(":")[0]).strip("[]") if kind.startswith("ip") else "unix"


def _say(answer: bytes, carriers: Iterable[bytes]) -> Any:
    """An answer of the HTTP listener in Envoy's words: what goes to whom, and what the backend is not to see."""
    status, fields, body = take_apart(answer)
    if status != 200:
        kept = [each for each in fields if each[0] not in _OF_THE_ENVELOPE]
        denied = wire.DeniedHttpResponse(
            status=wire.HttpStatus(code=status), headers=map(_option, kept), body=body.decode()
        )
        return wire.CheckResponse(status=wire.Status(code=_PERMISSION_DENIED), denied_response=denied)
    allowed = wire.OkHttpResponse(
        headers=[_option(each) for each in fields if each[0].startswith(_FOR_BACKEND)],
        headers_to_remove=sorted(each.decode() for each in carriers),
        response_headers_to_add=[_option(each) for each in fields if each[0].startswith(_FOR_CLIENT)],
    )
    return wire.CheckResponse(status=wire.Status(), ok_response=allowed)


def _option(field: Field) -> Any:
    header = wire.HeaderValue(key=field[0].decode(), value=field[1].decode())
    return wire.HeaderValueOption(header=header, append_action=_OVERWRITE_IF_EXISTS_OR_ADD)
