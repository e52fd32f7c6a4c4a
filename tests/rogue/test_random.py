"""Frames and HTTP/3 bytes drawn at random, in any order: states that nobody thought of.

Whatever comes, nobody may call it an internal error, and others go on. `ROGUE_SEEDS` is the number
of connections of each kind (60).
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from . import encode
from .arena import against_client, against_server
from .cases import CLIENT, SERVER, begin_http
from .encode import GET, OK, varint, varints
from .peer import Plan, Rogue
from .tls import ONE_RTT, Identity

SEEDS = int(os.environ.get("ROGUE_SEEDS", "60"))
# INTERNAL_ERROR of QUIC and HTTP/3.
INTERNAL = {(1, False), (0x102, True)}
EDGES = (0, 1, 2, 63, 64, 255, 1 << 14, (1 << 30) + 1, 1 << 60, (1 << 60) + 1, (1 << 62) - 1)


def number(source: random.Random) -> int:
    """Small, or at an edge."""
    return source.choice((source.randrange(16), source.choice(EDGES)))


def anything(source: random.Random) -> bytes:
    """One frame of QUIC, often a wrong one."""
    kind = source.choice([*range(0x20), 0x24, 0x30, 0x31, 0xAF, 0x3E, 0x3E75, 0x3E78])
    if 0x08 <= kind <= 0x0F:
        data = source.randbytes(source.randrange(40))
        return encode.stream(source.randrange(16), source.randrange(64), data, end=bool(kind & 1))
    if kind == 0x18:
        # The rogue reads packets whose ID is as long as its first one.
        cid = source.randbytes(source.choice((0, 8, 8, 21)))
        return encode.new_connection_id(source.randrange(8), source.randrange(8), cid, bytes(16))
    if kind == 0x06:
        return encode.crypto(number(source), source.randbytes(source.randrange(40)))
    if kind in (0x1C, 0x1D):
        # That would be the end of it.
        return b"\1"
    fields = varints(*(number(source) for _ in range(source.randrange(7))))
    return varint(kind) + fields + source.randbytes(source.randrange(9))


def message(source: random.Random) -> bytes:
    """One piece of a request stream, often a wrong one."""
    head = source.choice((GET, OK, [(b"a", b"b")], [(b":path", b""), (b"b", b"\n")]))
    return source.choice(
        (
            encode.headers(head),
            encode.frame(encode.DATA, source.randbytes(source.randrange(300))),
            encode.frame(source.randrange(0x40), source.randbytes(source.randrange(20))),
            varints(source.choice((0, 1, 4, 0x21)), number(source)),
            encode.frame(encode.HEADERS, source.randbytes(source.randrange(60))),
        )
    )


def frames(rogue: Rogue, source: random.Random) -> None:
    for _ in range(source.randrange(1, 4)):
        rogue.send(ONE_RTT, b"".join(anything(source) for _ in range(source.randrange(1, 5))))


def messages(rogue: Rogue, source: random.Random) -> None:
    for _ in range(source.randrange(1, 8)):
        choice = source.randrange(4)
        index = source.randrange(4) if rogue.is_client else 0
        stream = rogue.own(choice, uni=True) if choice else index << 2
        data = varint(choice - 1) if choice > 1 and source.random() < 0.5 else b""
        data += source.choice((message(source), source.randbytes(source.randrange(50))))
        rogue.write(stream, data, end=source.random() < 0.2)


@pytest.mark.parametrize("role", [SERVER, CLIENT])
@pytest.mark.parametrize("act", [frames, messages])
async def test_anything(
    act: Callable[[Rogue, random.Random], None], role: str, identity: Identity, ca: bytes
) -> None:
    for seed in range(SEEDS if role == SERVER else SEEDS // 2):
        source = random.Random(seed)
        plan = Plan()
        against = (
            against_server(plan, identity) if role == SERVER else against_client(plan, identity, ca)
        )
        async with against as arena:
            await arena.until(lambda rogue: rogue.ready)
            if role == CLIENT:
                await arena.until(lambda rogue: 0 in rogue.ended)
            arena.act(begin_http)
            arena.act(lambda rogue, source=source: act(rogue, source))
            number = arena.rogue.last_number
            await arena.until(
                lambda rogue, number=number: rogue.closed or rogue.acknowledged >= number
            )
            closed = arena.rogue.closed
            assert closed is None or (closed.code, closed.application) not in INTERNAL, seed
            if role == SERVER:
                arena.again(Rogue(Plan(), b"another."))
                await arena.until(lambda rogue: rogue.ready)
                arena.act(lambda rogue: rogue.write(0, encode.headers(GET), end=True))
                await arena.until(lambda rogue: bytes(rogue.streams[0]).endswith(b"hello"))
