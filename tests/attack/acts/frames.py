"""Attacks of a peer with a connection, by frames."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from ...rogue import encode
from ...rogue.encode import varints
from ...rogue.peer import Plan, Rogue
from ...rogue.test_random import INTERNAL, anything
from ...rogue.tls import ONE_RTT
from ..field import Field
from ..peer import Peer
from ..row import row

CONNECTION_ID_LIMIT_ERROR, PROTOCOL_VIOLATION = 0x09, 0x0A
LARGE = [*encode.GET[:3], (b":path", b"/large.bin")]


def closed_with(peers: list[Peer], code: int) -> float:
    """The share of connections that the server closed with this code."""
    return sum(peer.closed is not None and peer.closed.code == code for peer in peers) / len(peers)


@row("cid-stuffing", full=100, fast=4)
def cid_stuffing(field: Field, size: int) -> str:
    """Connection IDs that retire all others, and no acknowledgement of the retirements."""
    peers, taken = [], 0
    for _ in range(size):
        peer = field.connect()
        peer.say_nothing()
        taken = max(taken, peer.send_all(
            encode.new_connection_id(number, number, number.to_bytes(8), bytes(16))
            for number in range(1, 2_000)
        ))  # fmt: skip
        peer.until(lambda rogue: rogue.closed)
        peers.append(peer)
    field.note("closed_share", closed_with(peers, CONNECTION_ID_LIMIT_ERROR))
    return f"{size} connections, up to 2,000 NEW_CONNECTION_ID each, retirements not acknowledged"


@row("cid-retiring", full=5000, fast=500)
def cid_retiring(field: Field, size: int) -> str:
    """Retires every connection ID of the server as it comes, so that it has to issue more."""
    peer = field.connect()
    retired, current = 0, 0
    while retired < size and not peer.closed:
        fresh = [frame for level, frame in peer.rogue.heard("NEW_CONNECTION_ID")
                 if level == ONE_RTT and frame["sequence"] > current]  # fmt: skip
        if not fresh:
            peer.take(0.05)
            continue
        newest = max(fresh, key=lambda frame: frame["sequence"])
        peer.rogue.dcid = newest["cid"]
        peer.send(b"".join(varints(0x19, one) for one in range(current, newest["sequence"])))
        retired += newest["sequence"] - current
        current = newest["sequence"]
        # What was dealt with need not be looked through again.
        del peer.rogue.frames[ONE_RTT][:-32]
        peer.take(0.05)
    field.note("goes_on", peer.closed is None and peer.served())
    return f"{retired} connection IDs retired as soon as they came"


@row("path-challenges", full=200_000, fast=20_000)
def path_challenges(field: Field, size: int) -> str:
    """Nothing but PATH_CHALLENGE, a hundred in a packet, acknowledging nothing."""
    peer = field.connect()
    peer.say_nothing()
    peer.send_all(
        b"".join(b"\x1a" + number.to_bytes(8) for number in range(first, first + 100))
        for first in range(0, size, 100)
    )
    peer.settle()
    answers = sum(1 for _ in peer.rogue.heard("PATH_RESPONSE"))
    field.note("answers_share", answers / size)
    field.note("goes_on", peer.closed is None and peer.served())
    return f"{size} PATH_CHALLENGE frames, 100 in a packet, nothing acknowledged"


@row("stream-fragments", full=100, fast=4)
def stream_fragments(field: Field, size: int) -> str:
    """The bytes that take most room: one in each page of what flow control allows."""
    peers = [field.connect() for _ in range(size)]
    for peer in peers:
        # One byte for each 4 KiB of the connection's window of 3 MiB, in two streams; the first
        # byte never comes, so that nobody can read any of it.
        for stream, reach in ((0, 2 << 20), (4, 1 << 20)):
            peer.send_all(
                b"".join(encode.stream(stream, first + at, b"x") for at in range(0, 1 << 16, 4096))
                for first in range(1, reach - (1 << 16), 1 << 16)
            )
        peer.settle()
    field.note("goes_on", all(peer.closed is None for peer in peers))
    return f"{size} connections, one byte in each 4 KiB of the whole window, the first one missing"


@row("stream-bytes", full=50_000, fast=5_000)
def stream_bytes(field: Field, size: int) -> str:
    """One-byte segments with one-byte gaps."""
    peer = field.connect()
    peer.send_all(
        b"".join(encode.stream(0, first + at, b"x") for at in range(0, 400, 2))
        for first in range(1, 2 * size, 400)
    )
    peer.settle()
    field.note("goes_on", peer.closed is None)
    return f"{size} segments of one byte with a gap after each, in one stream"


@row("ack-unsent", full=100, fast=5)
def ack_unsent(field: Field, size: int) -> str:
    """Acknowledges packets that the server never sent."""
    peers = []
    for _ in range(size):
        peer = field.connect()
        peer.send(varints(0x02, 1_000 + field.random.randrange(1 << 20), 0, 0, 0))
        peer.until(lambda rogue: rogue.closed)
        peers.append(peer)
    field.note("closed_share", closed_with(peers, PROTOCOL_VIOLATION))
    return f"{size} connections that acknowledge a packet which was never sent"


@row("ack-ahead", full=20, fast=2)
def ack_ahead(field: Field, size: int) -> str:
    """Asks for 64 MiB and acknowledges every number up to the newest that came, so also those that
    the server left out."""
    peers = []
    for _ in range(size):
        peer = field.connect()
        peer.say_nothing()
        peer.begin_http()
        peer.rogue.write(0, encode.headers(LARGE), end=True)
        peer.flush()
        while not peer.closed and 0 not in peer.rogue.ended:
            if not peer.take(5.0):
                break
            if not peer.closed:
                largest = max(peer.rogue.numbers(ONE_RTT))
                peer.send(varints(0x02, largest, 0, 0, largest))
        peers.append(peer)
    field.note("closed_share", closed_with(peers, PROTOCOL_VIOLATION))
    got = max(len(peer.rogue.streams[0]) for peer in peers)
    field.note("bytes_before", got)
    return f"{size} downloads of 64 MiB that acknowledge what they did not receive"


@row("ack-ranges", full=30_000, fast=2_000)
def ack_ranges(field: Field, size: int) -> str:
    """Packets with every second number, so that the server has as many ranges to acknowledge, and
    ACK frames of as many ranges as fit."""
    peer = field.connect()
    peer.say_nothing()
    # Two bytes for each range; the lowest of them are below zero, or the frame ends before they do.
    ranges = varints(0x02, 3, 0, 600, 0) + bytes(1100)

    def payloads() -> Iterator[bytes]:
        for _ in range(size):
            peer.rogue.skip(ONE_RTT, 1)
            yield b"\x01"

    sent = peer.send_all(payloads())
    peer.settle()
    field.note("goes_on", peer.closed is None and peer.served())
    peers = [field.connect() for _ in range(max(2, size // 5_000))]
    for one in peers:
        one.send(ranges)
        one.until(lambda rogue: rogue.closed)
    field.note("closed_share", closed_with(peers, 0x07))
    return f"{sent} packets with every second number, and ACK frames of 601 ranges below zero"


@row("key-updates", full=30_000, fast=2_000)
def key_updates(field: Field, size: int) -> str:
    """Junk that looks like the next key phase, then updates faster than they are acknowledged."""
    peer = field.connect()
    for number in range(size):
        # A real header, protected with the real key, and a payload that does not authenticate.
        datagram = bytearray(peer.rogue.seal(ONE_RTT, b"\x01", first_bits=0x04, pad=60))
        datagram[-1] ^= 1
        peer.port.send(bytes(datagram), peer.source)
        if number % 64 == 0:
            peer.take()
    served = peer.closed is None and peer.served()
    field.note("goes_on", served)
    return f"{size} packets of the other key phase that do not authenticate"


@row("empty-work", full=50_000, fast=5_000)
def empty_work(field: Field, size: int) -> str:
    """Whatever costs the sender nothing: empty datagrams, PING, PADDING, empty STREAM frames."""
    peer = field.connect()
    peer.begin_http()
    kinds = (b"", b"\x01", bytes(1000), encode.stream(0, 0, b"") * 200, b"\x01" * 1000)
    for number in range(size):
        payload = kinds[number % len(kinds)]
        if payload:
            peer.send(payload)
        else:
            peer.port.send(b"", peer.source)
        if number % 32 == 0:
            peer.take()
    peer.settle()
    field.note("goes_on", peer.closed is None and peer.served(4))
    return f"{size} datagrams: empty, or packets of PING, PADDING or empty STREAM frames"


@row("random-frames", full=300, fast=30, options=("--qlog", "{folder}/qlog"))
def random_frames(field: Field, size: int) -> str:
    """Frames drawn at random, mostly wrong, with the server's qlog on."""
    internal = 0
    for _ in range(size):
        peer = field.connect()
        peer.begin_http()
        for _ in range(field.random.randrange(1, 4)):
            frames = (anything(field.random) for _ in range(field.random.randrange(1, 5)))
            peer.send(b"".join(frames))
        peer.settle(2.0)
        closed = peer.closed
        internal += closed is not None and (closed.code, closed.application) in INTERNAL
        peer.port.close()
    field.note("internal_errors", internal)
    return f"{size} connections with frames drawn at random, the server writing qlog"


def kinds(rogue: Rogue) -> list[bytes]:
    """One of each frame that tells of a stream, with the values that fit together least."""
    return [
        encode.stream(0, 0, b"abc"),
        encode.stream(0, 3, b"", end=True),
        encode.stream(0, 100, b"x"),
        varints(0x04, 0, 7, 3),
        varints(0x04, 0, 7, 200),
        varints(0x05, 0, 7),
        varints(0x11, 0, 1 << 20),
        varints(0x15, 0, 5),
        varints(0x14, 5),
        varints(0x12, 200),
        varints(0x16, 100),
        varints(0x24, 0, 7, 3, 3),
        encode.new_connection_id(1, 0, b"another1"),
        varints(0x19, 1),
        b"\x1a" + bytes(8),
        b"\x1b" + bytes(8),
        varints(0x1D, 0, 0),
    ]


@row("frame-pairs", full=1, fast=40)
def frame_pairs(field: Field, size: int) -> str:
    """Every ordered pair of frames, in one packet and in two; `size` 1 is all of them, otherwise
    every so manieth."""
    pairs = list(itertools.product(kinds(Rogue(Plan(), b"original")), repeat=2))[::size]
    internal = 0
    for pair in pairs:
        for together in (True, False):
            peer = field.connect()
            if together:
                peer.send(pair[0] + pair[1])
            else:
                peer.send_all(pair)
            peer.settle(1.0)
            closed = peer.closed
            internal += closed is not None and (closed.code, closed.application) in INTERNAL
            peer.port.close()
    field.note("internal_errors", internal)
    return f"{len(pairs)} ordered pairs of frames, in one packet and in two"
