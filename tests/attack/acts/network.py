"""Attacks from the network: forged packets, resets, addresses that change, early data again."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ...interop.dissect.headers import is_long, parse_long
from ...rogue.encode import GET, headers, stream
from ...rogue.peer import Plan, Rogue
from ...rogue.tls import EARLY, Script
from ..field import Field
from ..ports import Address, loopback
from ..relay import Extra, Relay
from ..row import row
from ..server import visiting

# RFC 9001 section 5.8.
RETRY_KEY: Final = bytes.fromhex("be0c690b9f66575a1d766b54e368c84e")
RETRY_NONCE: Final = bytes.fromhex("461599d35d632bf2239825bb")
OTHER_VERSION: Final = b"\x1a\x2a\x3a\x4a"
VERSION_1: Final = b"\0\0\0\1"
# What is written here has Linux forget what ICMP told it.
FORGET_ROUTES: Final = Path("/proc/sys/net/ipv4/route/flush")


def negotiation(destination: bytes, source: bytes, *versions: bytes) -> bytes:
    """A Version Negotiation packet (RFC 9000 section 17.2.1)."""
    ids = bytes([len(destination)]) + destination + bytes([len(source)]) + source
    return b"\xc0\0\0\0\0" + ids + b"".join(versions)


def retry(destination: bytes, original: bytes, *, right: bool) -> bytes:
    """A Retry packet, with an integrity tag that is right or not."""
    packet = b"\xf0" + VERSION_1 + bytes([len(destination)]) + destination
    packet += b"\x08another!" + b"a token that nobody gave"
    if not right:
        return packet + bytes(16)
    pseudo = bytes([len(original)]) + original + packet
    return packet + AESGCM(RETRY_KEY).encrypt(RETRY_NONCE, b"", pseudo)


@contextmanager
def between(field: Field) -> Iterator[tuple[Relay, Callable[[], list[bool]]]]:
    """Honest clients that go through a relay of ours, and whether each was served so far."""
    with (
        closing(Relay(field.server.address, field.ledger)) as relay,
        visiting(field.server.site.parent, relay.address) as results,
    ):
        yield (
            relay,
            lambda: [
                line.endswith(" 1")
                for line in results.read_text().splitlines()
                if line.startswith("end ")
            ],
        )


def nothing(_: bytes) -> tuple[list[bytes], list[bytes]]:
    """Adds nothing."""
    return [], []


@row("injection", full=300, fast=5)
def injection(field: Field, size: int) -> str:
    """Version Negotiation and Retry packets, forged by somebody who sees the connection IDs: those
    that must be ignored at once before the server has answered, the others after it."""
    first_ids: dict[bytes, bytes] = {}

    def to_server(datagram: bytes) -> tuple[list[bytes], list[bytes]]:
        if not is_long(datagram) or datagram[1:5] != VERSION_1:
            return [], []
        header, _ = parse_long(datagram)
        if header.kind != "initial" or header.source in first_ids:
            return [], []
        first_ids[header.source] = header.destination
        return [
            # The version in use stands in it.
            negotiation(header.source, header.destination, VERSION_1, OTHER_VERSION),
            negotiation(header.source, b"not this", OTHER_VERSION),
            retry(header.source, header.destination, right=False),
            retry(b"somebody", header.destination, right=True),
            b"\x40" + field.random.randbytes(60),
        ], []

    def to_client(datagram: bytes) -> tuple[list[bytes], list[bytes]]:
        if not is_long(datagram):
            return [], []
        header, _ = parse_long(datagram)
        original = first_ids.get(header.destination)
        if original is None:
            return [], []
        return [], [
            negotiation(header.destination, original, OTHER_VERSION),
            negotiation(header.destination, header.source, OTHER_VERSION),
            retry(header.destination, original, right=True),
        ]

    with between(field) as (relay, ended):
        relay.run(lambda: len(ended()) >= size, to_server, to_client)
        served = ended()
    field.note("attacked_share", sum(served) / size)
    return f"{len(served)} clients, each with forged Version Negotiation and Retry packets"


@row("icmp", full=300, fast=5)
def icmp(field: Field, size: int) -> str:
    """ICMP errors for every client and for the server: port unreachable, and packets too big for a
    link of 68 bytes, quoting the right ports and the wrong connection."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:

        def tell(sender: Address, receiver: Address) -> None:
            for code, unit in ((3, 0), (4, 68), (1, 0)):
                quoted = datagram(sender, receiver, field.random.randbytes(40))
                head = struct.pack("!BBHHH", 3, code, 0, 0, unit)
                message = struct.pack("!BBHHH", 3, code, checksum(head + quoted), 0, unit) + quoted
                raw.sendto(message, (sender[0], 0))
                field.ledger.datagrams += 1
                field.ledger.sent += len(message)

        def extra(relay: Relay) -> Extra:
            def add(_: bytes) -> tuple[list[bytes], list[bytes]]:
                for client in relay.clients()[-3:]:
                    tell(client, relay.address)
                    tell(field.server.address, client)
                return [], []

            return add

        try:
            with between(field) as (relay, ended):
                relay.run(lambda: len(ended()) >= size, extra(relay), nothing)
                served = ended()
        finally:
            # The system believes in links of 552 bytes now, for ten minutes and every program here.
            FORGET_ROUTES.write_text("1")
    field.note("attacked_share", sum(served) / size)
    return f"{field.ledger.datagrams} ICMP errors for {len(served)} clients and their server"


def datagram(sender: Address, receiver: Address, payload: bytes) -> bytes:
    """An IPv4 packet with UDP, as an ICMP error quotes it."""
    udp = struct.pack("!HHHH", sender[1], receiver[1], 8 + len(payload), 0) + payload
    addresses = socket.inet_aton(sender[0]) + socket.inet_aton(receiver[0])
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + addresses
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + udp


def checksum(data: bytes) -> int:
    """That of IP and ICMP (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))
    total += data[-1] << 8 if len(data) % 2 else 0
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


@row("stateless-resets", full=100_000, fast=5_000)
def stateless_resets(field: Field, size: int) -> str:
    """Packets of connections that do not exist; then each reset is sent back as if it came from
    another endpoint that knows nothing either."""
    port, largest = field.port(), 0
    before, begun = field.server.counters()["resets_sent"], time.monotonic()
    for number in range(size):
        port.send(b"\x40" + field.random.randbytes(99), loopback(number))
        if number % 64 == 0:
            largest = max([largest, *(len(answer) for answer, _ in port.receive())])
    largest = max([largest, *(len(answer) for answer, _ in port.receive(0.3))])
    resets = field.server.counters()["resets_sent"] - before
    field.note("per_second", resets / max(time.monotonic() - begun, 1.0))
    field.note("largest", largest)
    # A bucket of resets has filled again by then.
    time.sleep(1.1)
    port.send(b"\x40" + field.random.randbytes(999), loopback(0))
    rounds = 0
    while rounds < 1_000 and (answers := list(port.receive(0.5))):
        rounds += 1
        for answer, target in answers:
            port.send(answer, target)
    field.note("rounds", rounds)
    return f"{size} short packets of no connection, and each answer sent back in a loop"


@row("moving", full=5000, fast=500)
def moving(field: Field, size: int) -> str:
    """A peer whose address is another one in every packet, none of them proved; as if somebody
    caught its packets and sent them on from elsewhere. Some come from where it is."""
    peer = field.connect()
    for number in range(size):
        peer.source = loopback(number) if number % 500 else b"\x7f\0\0\1"
        peer.send(b"\x01")
        if number % 32 == 0:
            peer.take()
    peer.source = b"\x7f\0\0\1"
    peer.settle()
    field.note("worst_address", field.ledger.worst_of_others())
    field.note("goes_on", peer.closed is None and peer.served())
    return f"{size} packets of one connection, each from another address"


@row("early-data-replay", full=2000, fast=100, options=("--access-log",))
def early_data_replay(field: Field, size: int) -> str:
    """A request in 0-RTT, caught and sent again from everywhere."""
    teacher = field.connect()
    teacher.until(lambda rogue: rogue.tls.tickets)
    path = f"/honest.bin?early={field.random.randrange(1 << 30)}"
    original = field.random.randbytes(8)
    rogue = Rogue(Plan(Script(ticket=teacher.rogue.tls.tickets[0])), original)
    request = headers([*GET[:3], (b":path", path.encode())])
    rogue.send(EARLY, stream(0, 0, request, end=True))
    caught = b"".join(rogue.outgoing)
    assert parse_long(parse_long(caught)[1])[0].kind == EARLY
    port = field.port()
    for number in range(size):
        port.send(caught, loopback(number))
        list(port.receive())
    while list(port.receive(0.3)):
        pass
    log = (field.server.site.parent / "server.log").read_text()
    field.note("served", sum(path in line for line in log.splitlines()))
    return f"one datagram with a request in 0-RTT, sent {size} times from as many addresses"
