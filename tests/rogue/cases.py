"""What a case is: how a rule is broken, and what must come back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from .arena import Arena, against_client, against_server
from .encode import CONTROL, GET, headers, settings, varint
from .peer import Plan, Rogue
from .tls import HANDSHAKE, Identity

Act = Callable[[Rogue], None]

# Transport error codes (RFC 9000 section 20.1); alerts of TLS are added to CRYPTO_ERROR.
FLOW_CONTROL_ERROR, STREAM_LIMIT_ERROR, STREAM_STATE_ERROR, FINAL_SIZE_ERROR = 3, 4, 5, 6
FRAME_ENCODING_ERROR, TRANSPORT_PARAMETER_ERROR, CONNECTION_ID_LIMIT_ERROR = 7, 8, 9
PROTOCOL_VIOLATION, CRYPTO_BUFFER_EXCEEDED, CRYPTO_ERROR = 0x0A, 0x0D, 0x100
HANDSHAKE_FAILURE, ILLEGAL_PARAMETER = CRYPTO_ERROR + 40, CRYPTO_ERROR + 47
DECRYPT_ERROR, PROTOCOL_VERSION = CRYPTO_ERROR + 51, CRYPTO_ERROR + 70
UNEXPECTED_MESSAGE, MISSING_EXTENSION = CRYPTO_ERROR + 10, CRYPTO_ERROR + 109
UNSUPPORTED_EXTENSION, NO_APPLICATION_PROTOCOL = CRYPTO_ERROR + 110, CRYPTO_ERROR + 120

# RFC 9114 section 8.1 and RFC 9204 section 6.
H3_STREAM_CREATION_ERROR, H3_CLOSED_CRITICAL_STREAM, H3_FRAME_UNEXPECTED = 0x103, 0x104, 0x105
H3_FRAME_ERROR, H3_EXCESSIVE_LOAD, H3_ID_ERROR, H3_SETTINGS_ERROR = 0x106, 0x107, 0x108, 0x109
H3_DATAGRAM_ERROR = 0x33  # RFC 9297 section 5.2
H3_MISSING_SETTINGS, H3_REQUEST_INCOMPLETE, H3_MESSAGE_ERROR = 0x10A, 0x10D, 0x10E
QPACK_DECOMPRESSION_FAILED, QPACK_ENCODER_STREAM_ERROR = 0x200, 0x201
QPACK_DECODER_STREAM_ERROR = 0x202

SERVER, CLIENT = "server", "client"


@dataclass(frozen=True)
class Case:
    """One way to break a rule. `roles` are those of the end under attack."""

    name: str
    code: int
    act: Act = field(default=lambda rogue: None)
    roles: tuple[str, ...] = (SERVER, CLIENT)
    # Where it is not the usual one, the handshake fails by itself.
    plan: Callable[[], Plan] = Plan
    # Broken with Handshake packets, while the rest of the handshake is held back.
    early: bool = False
    # HTTP/3: CONNECTION_CLOSE is of type 0x1d.
    http: bool = False
    # Whether the rogue's control stream has begun as it should.
    begun: bool = True
    # Ends one stream only.
    stream: bool = False


def parametrized(cases: list[Case]) -> Any:
    """Each case against each of its roles."""
    return pytest.mark.parametrize(
        ("role", "case"),
        [
            pytest.param(role, case, id=f"{case.name}-{role}")
            for case in cases
            for role in case.roles
        ],
    )


def parameters(**changes: Any) -> Callable[[], Plan]:
    """A plan with other transport parameters, `_15=...` by their numbers."""
    values = {int(name[1:]): value for name, value in changes.items()}
    return lambda: Plan(parameters=dict(values))


def begin_http(rogue: Rogue) -> None:
    """What every HTTP/3 connection begins with; a client asks for something as well."""
    rogue.write(rogue.own(uni=True), varint(CONTROL) + settings())


async def run(case: Case, role: str, identity: Identity, ca: bytes) -> None:
    """Breaks the rule, and looks at what comes back."""
    plan, spoilt = case.plan(), case.plan is not Plan
    if case.early:
        plan.silent = frozenset({HANDSHAKE})
    against = (
        against_server(plan, identity) if role == SERVER else against_client(plan, identity, ca)
    )
    async with against as arena:
        if case.early:
            await arena.until(lambda rogue: rogue.has_keys(HANDSHAKE))
        elif not spoilt:
            await arena.until(lambda rogue: rogue.ready)
            if role == CLIENT:
                await arena.until(lambda rogue: 0 in rogue.ended)
        if case.http and case.begun:
            arena.act(begin_http)
            # A stream that is reset at once may be forgotten with its bytes.
            await arena.settle()
        if not spoilt:
            arena.act(case.act)
        if case.stream:
            await _stream_ends(arena, case.code, role)
            return
        await arena.until(lambda rogue: rogue.closed)
        closed = arena.rogue.closed
        assert closed is not None
        told = (hex(closed.code), closed.application)
        assert told == (hex(case.code), case.http), closed.reason


async def _stream_ends(arena: Arena, code: int, role: str) -> None:
    def ended(rogue: Rogue) -> Iterator[int]:
        for name in ("RESET_STREAM", "STOP_SENDING"):
            for _, frame in rogue.heard(name):
                assert frame["id"] == 0
                yield frame["error"]

    await arena.until(lambda rogue: rogue.closed or set(ended(rogue)))
    assert arena.rogue.closed is None
    assert {hex(found) for found in ended(arena.rogue)} == {hex(code)}
    if role == CLIENT:
        assert arena.failed is not None
        assert arena.failed.code == code
        return
    # The connection goes on.
    arena.act(lambda rogue: rogue.write(4, headers(GET), end=True))
    await arena.until(lambda rogue: bytes(rogue.streams[4]).endswith(b"hello"))
