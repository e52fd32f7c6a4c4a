"""Attacks before there is a connection: Initial packets, tokens, spoofed addresses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ...interop.dissect.keys import VERSION_1, initial_keys
from ...rogue import encode
from ...rogue.encode import varint
from ...rogue.peer import NUMBER, Keys, Plan, Rogue
from ...rogue.tls import HANDSHAKE, INITIAL
from ..field import Field
from ..peer import is_retry
from ..ports import Port, loopback
from ..row import row

# Datagrams between two looks at what came back, and at the server's counters.
TURN: Final = 64
LOOK: Final = 5_000
# RFC 9000 section 14.1.
PADDED: Final = 1200


class Initials:
    """First packets of clients, made quickly: all of them say the same ClientHello, each under
    connection IDs of its own."""

    def __init__(self) -> None:
        model = Rogue(Plan(), b"original")
        self.scid = model.scid
        self.hello = model.tls.out[INITIAL]

    def make(self, dcid: bytes, *, token: bytes = b"", payload: bytes | None = None) -> bytes:
        """One; `payload` are the frames, the ClientHello if there are none."""
        found = initial_keys(dcid, VERSION_1, client=True)
        keys = Keys(found.secret, found.suite, VERSION_1)
        header = bytes([0xC0 | NUMBER - 1]) + VERSION_1.to_bytes(4)
        header += bytes([len(dcid)]) + dcid + bytes([len(self.scid)]) + self.scid
        header += varint(len(token)) + token
        frames = encode.crypto(0, self.hello) if payload is None else payload
        frames = frames.ljust(PADDED - len(header) - 2 - NUMBER - 16, b"\0")
        header += (0x4000 | NUMBER + len(frames) + 16).to_bytes(2)
        return keys.seal(header + bytes(NUMBER), 0, frames)


def flood(field: Field, port: Port, datagrams: Iterator[bytes]) -> int:
    """Sends each from an address of its own, as fast as it goes. Watches how many more connections
    the server has meanwhile; answers how many of the answers were Retry packets."""
    before = field.server.counters()["connections"]
    held = retries = 0
    for number, datagram in enumerate(datagrams):
        port.send(datagram, loopback(number))
        if number % TURN == 0:
            retries += sum(is_retry(answer) for answer, _ in port.receive())
        if number % LOOK == 0:
            held = max(held, field.server.counters()["connections"])
    while answers := list(port.receive(0.3)):
        retries += sum(is_retry(answer) for answer, _ in answers)
    held = max(held, field.server.counters()["connections"])
    field.note("connections", held - before)
    return retries


@row("initial-garbage", full=100_000, fast=3_000)
def initial_garbage(field: Field, size: int) -> str:
    """Initial packets that do not authenticate, with foreign packets behind them. First of the
    floods: after one, a server that is asking for proofs answers everything with a Retry."""
    maker = Initials()
    whole = [maker.make(field.random.randbytes(8)) for _ in range(64)]

    def broken() -> Iterator[bytes]:
        for number in range(size):
            datagram = bytearray(whole[number % len(whole)])
            if number % 3 == 0:
                # Coalesced: the second half claims to be a packet for somebody else.
                datagram[600:] = bytes([0xC0]) + datagram[1:6] + field.random.randbytes(594)
            datagram[6:14] = field.random.randbytes(8)
            datagram[-1] ^= 1
            yield bytes(datagram)

    field.prepared()
    flood(field, field.port(), broken())
    field.note("answers", field.ledger.answers)
    return f"{size} Initial packets that do not authenticate, each for another connection"


@row("initial-flood", full=100_000, fast=3_000)
def initial_flood(field: Field, size: int) -> str:
    """Whole ClientHellos, each from another address, and nothing after them."""
    maker = Initials()
    prepared = [maker.make(field.random.randbytes(8)) for _ in range(size)]
    field.prepared()
    retries = flood(field, field.port(), iter(prepared))
    field.note("retries_share", retries / size)
    field.note("worst_address", field.ledger.worst)
    return f"{size} Initial packets with a ClientHello from {size} addresses"


@row("initial-split", full=20_000, fast=1_000)
def initial_split(field: Field, size: int) -> str:
    """The first bytes of a ClientHello, whose rest never comes."""
    maker = Initials()
    part = encode.crypto(0, maker.hello[:40])
    prepared = [maker.make(field.random.randbytes(8), payload=part) for _ in range(size)]
    field.prepared()
    flood(field, field.port(), iter(prepared))
    field.note("worst_address", field.ledger.worst)
    return (
        f"{size} Initial packets with the first 40 bytes of a ClientHello, from as many addresses"
    )


@row("crypto-fragments", full=100, fast=4)
def crypto_fragments(field: Field, size: int) -> str:
    """Handshake bytes with a gap after each, as many as the server takes, in every connection."""
    refused = 0
    for _ in range(size):
        peer = field.begin(Plan(silent=frozenset({HANDSHAKE})))
        peer.greet()
        for first in range(1, 200_000, 2_000):
            pieces = b"".join(encode.crypto(first + 4 * step, b"x") for step in range(200))
            peer.rogue.send(HANDSHAKE, pieces)
            peer.flush()
            peer.take()
            if peer.closed:
                break
        peer.until(lambda rogue: rogue.closed, 1.0)
        refused += peer.closed is not None and peer.closed.code == 0x0D
    field.note("refused_share", refused / size)
    return f"{size} connections with Handshake bytes of which every fourth comes, up to 200 kB"


@row("colliding-ids", full=10_000, fast=1_000)
def colliding_ids(field: Field, size: int) -> str:
    """Connection IDs that an unkeyed hash puts into one bucket; beside as many that are random."""
    maker = Initials()
    # Differences in the high bits alone, which multiplicative hashes lose, and IDs whose two
    # halves cancel out where they are combined by exclusive or.
    alike = [
        (number << 48).to_bytes(8) if number % 2 else number.to_bytes(4) * 2
        for number in range(1, size + 1)
    ]
    random = [field.random.randbytes(8) for _ in range(size)]
    costs = []
    for ids in (random, alike):
        datagrams = [maker.make(one) for one in ids]
        before = field.server.cpu()
        flood(field, field.port(), iter(datagrams))
        costs.append(field.server.cpu() - before)
    field.note("cost_ratio", costs[1] / max(costs[0], 0.01))
    return f"{size} Initial packets with connection IDs that are alike, after {size} random ones"


@row("tokens", full=20_000, fast=1_000)
def tokens(field: Field, size: int) -> str:
    """Tokens of Retry and NEW_TOKEN that are made up, of others, cut or used before."""
    peer = field.connect()
    peer.until(lambda rogue: any(True for _ in rogue.heard("NEW_TOKEN")))
    (_, heard), *_ = peer.rogue.heard("NEW_TOKEN")
    true = heard["token"]
    maker = Initials()
    kinds = (
        lambda: field.random.randbytes(len(true)),
        lambda: true,
        lambda: true[: field.random.randrange(1, len(true))],
        lambda: bytes([true[0] ^ 1]) + true[1:],
        lambda: true + true,
    )
    prepared = [
        maker.make(field.random.randbytes(8), token=kinds[number % len(kinds)]())
        for number in range(size)
    ]
    field.prepared()
    flood(field, field.port(), iter(prepared))
    field.note("worst_address", field.ledger.worst)
    return f"{size} Initial packets with tokens that are made up, cut, of another address or used"


@row("spoofed-amplification", full=2_000, fast=100)
def spoofed_amplification(field: Field, size: int) -> str:
    """One Initial each, then only what keeps the server talking: repetitions and PINGs."""
    port, maker = field.port(), Initials()
    field.prepared()
    for number in range(size):
        dcid = field.random.randbytes(8)
        first = maker.make(dcid)
        port.send(first, loopback(number))
        if number % 2:
            # The same once more: it pays for itself, and no more.
            port.send(first, loopback(number))
        else:
            # Too short for a first packet, and not from the same place.
            port.send(first[:600], loopback(number + size))
        list(port.receive())
    # Probe timeouts go on for a while.
    for _ in range(30):
        list(port.receive(0.1))
    field.note("worst_address", field.ledger.worst)
    return f"{size} addresses that never answer, the server's probes awaited for 3 s"
