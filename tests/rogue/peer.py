"""The peer itself, without sockets: handshakes that work, and whatever packets a test wants."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ..interop.dissect.frames import Frame, parse_frames
from ..interop.dissect.headers import LONG_TYPES, LongHeader, is_long, parse_long
from ..interop.dissect.keys import AES_128_GCM_SHA256, VERSION_1, PacketKeys, initial_keys
from ..interop.dissect.tls import CryptoStream
from . import encode
from .encode import varint
from .tls import EARLY, HANDSHAKE, INITIAL, ONE_RTT, Identity, Script, Session

# Bytes of CRYPTO data in one packet.
CHUNK: Final = 1000
# Packet numbers are sent in four bytes, so that any payload is long enough for a sample.
NUMBER: Final = 4

# Transport parameters (RFC 9000 section 18.2).
ORIGINAL_DESTINATION, IDLE_TIMEOUT, RESET_TOKEN, UDP_PAYLOAD = 0x00, 0x01, 0x02, 0x03
MAX_DATA, DATA_BIDI_LOCAL, DATA_BIDI_REMOTE, DATA_UNI = 0x04, 0x05, 0x06, 0x07
STREAMS_BIDI, STREAMS_UNI, ACK_DELAY_EXPONENT, MAX_ACK_DELAY = 0x08, 0x09, 0x0A, 0x0B
PREFERRED_ADDRESS, CID_LIMIT, INITIAL_SOURCE, RETRY_SOURCE = 0x0D, 0x0E, 0x0F, 0x10

ACKS: Final = ("ACK", "ACK_ECN", "PATH_ACK", "PATH_ACK_ECN")

Parameters = dict[int, bytes | int]


class Keys(PacketKeys):
    """Keys that seal as well."""

    def seal(self, header: bytes, number: int, payload: bytes) -> bytes:
        """A packet whose header ends with its packet number, protected."""
        nonce = (int.from_bytes(self._iv) ^ number).to_bytes(12)
        sealed = self._aead.encrypt(nonce, payload, header)
        packet = bytearray(header + sealed)
        mask = self.mask(sealed[4 - NUMBER : 20 - NUMBER])
        packet[0] ^= mask[0] & (0x0F if header[0] & 0x80 else 0x1F)
        for at in range(NUMBER):
            packet[len(header) - NUMBER + at] ^= mask[1 + at]
        return bytes(packet)


@dataclass
class Closed:
    """The CONNECTION_CLOSE that came back; `application` is type 0x1d."""

    code: int
    application: bool
    frame: int | None
    reason: str
    level: str


@dataclass
class Plan:
    """How the peer plays its part."""

    tls: Script = field(default_factory=Script)
    # Transport parameters to change; None takes one out.
    parameters: dict[int, bytes | int | None] = field(default_factory=dict)
    # Levels at which nothing is sent of what TLS wants sent.
    silent: frozenset[str] = frozenset()


class Rogue:
    """A client, or a server for one client. `outgoing` are datagrams to send."""

    def __init__(
        self,
        plan: Plan,
        original: bytes,
        identity: Identity | None = None,
        token: bytes = b"",
    ) -> None:
        self.plan = plan
        self.is_client = identity is None
        self.scid = os.urandom(8)
        # Where packets go; until the server has chosen, what the client made up.
        self.dcid = original
        self.token = token
        self.outgoing: list[bytes] = []
        self.frames: dict[str, list[Frame]] = defaultdict(list)
        self.streams: dict[int, bytearray] = defaultdict(bytearray)
        self.ended: set[int] = set()
        # Version Negotiation packets, and the first bytes of short headers.
        self.closed: Closed | None = None
        """Why the other end closed."""
        self.acknowledged = -1
        """The highest packet number of ours that was acknowledged in a 1-RTT packet."""
        self.negotiations: list[LongHeader] = []
        self.first_bytes: list[int] = []
        # Connection IDs of ours for other paths than the first. What comes there is read, and not
        # acknowledged.
        self.paths: dict[bytes, int] = {}
        self._sent: dict[int, int] = defaultdict(int)
        self._numbers: dict[str, int] = defaultdict(int)
        self._received: dict[str, set[int]] = defaultdict(set)
        # The highest packet number by level and path.
        self._highest: dict[tuple[str, int], int] = defaultdict(lambda: -1)
        self._owes: set[str] = set()
        self._crypto: dict[str, CryptoStream] = defaultdict(CryptoStream)
        self.crypto_sent: dict[str, int] = defaultdict(int)
        self._keys: dict[tuple[str, bool], Keys] = {}
        self._confirmed = False
        for client in (True, False):
            found = initial_keys(original, VERSION_1, client=client)
            self._keys[INITIAL, client] = Keys(found.secret, found.suite, VERSION_1)
        known: Parameters = {
            IDLE_TIMEOUT: 30_000, MAX_DATA: 1 << 30, DATA_BIDI_LOCAL: 1 << 30,
            DATA_BIDI_REMOTE: 1 << 30, DATA_UNI: 1 << 30, STREAMS_BIDI: 100, STREAMS_UNI: 100,
            CID_LIMIT: 4, INITIAL_SOURCE: self.scid,
        }  # fmt: skip
        if identity is not None:
            known[ORIGINAL_DESTINATION] = original
        wanted = {**known, **plan.parameters}
        plan.tls.parameters = encode.parameters(
            {number: value for number, value in wanted.items() if value is not None}
        )
        self.tls = Session(plan.tls, identity)
        self._go_on()

    @classmethod
    def server(cls, plan: Plan, identity: Identity, first: bytes) -> Rogue:
        """For the client whose first datagram this is, not read yet."""
        header, _ = parse_long(first)
        this = cls(plan, header.destination, identity)
        this.dcid = header.source
        return this

    # ---- Stream IDs (RFC 9000 section 2.1) ----

    def own(self, index: int = 0, *, uni: bool = False) -> int:
        """A stream of the rogue's."""
        return index << 2 | uni << 1 | (not self.is_client)

    def others(self, index: int = 0, *, uni: bool = False) -> int:
        """A stream of the other end's."""
        return index << 2 | uni << 1 | self.is_client

    # ---- What came ----

    def receive(self, datagram: bytes) -> None:
        """Takes a datagram; answers lie in `outgoing`."""
        rest = datagram
        while rest:
            if is_long(rest):
                header, rest = parse_long(rest)
                self._long(header)
            else:
                self._open(ONE_RTT, rest, 1 + len(self.scid))
                rest = b""
        self._go_on()

    @property
    def ready(self) -> bool:
        """The handshake is confirmed here and there."""
        if self.is_client:
            return any(True for _ in self.heard("HANDSHAKE_DONE"))
        return self._confirmed and bool(self._received[ONE_RTT])

    @property
    def last_number(self) -> int:
        """Of the 1-RTT packet sent last."""
        return self._numbers[ONE_RTT] - 1

    def numbers(self, level: str) -> set[int]:
        """Packet numbers that were received."""
        return self._received[level]

    def has_keys(self, level: str) -> bool:
        """Whether packets of this level can be sent."""
        return (level, self.is_client) in self._keys

    def heard(self, name: str) -> Iterator[tuple[str, Frame]]:
        """Frames of this name, with their levels."""
        for level, frames in self.frames.items():
            yield from ((level, frame) for frame in frames if frame.name == name)

    def _long(self, header: LongHeader) -> None:
        if header.version == 0:
            self.negotiations.append(header)
        if header.kind not in (INITIAL, HANDSHAKE):
            return
        if self._open(header.kind, header.packet, header.number_offset) and self.is_client:
            # RFC 9000 section 7.2: the server chooses its connection ID.
            self.dcid = header.source

    def _open(self, level: str, packet: bytes, offset: int) -> bool:
        keys = self._keys.get((level, not self.is_client))
        if keys is None or len(packet) < offset + 20:
            return False
        mask = keys.mask(packet[offset + 4 : offset + 20])
        first = packet[0] ^ mask[0] & (0x0F if packet[0] & 0x80 else 0x1F)
        length = (first & 3) + 1
        number = bytes(
            a ^ b for a, b in zip(packet[offset : offset + length], mask[1:], strict=False)
        )
        header = bytes([first]) + packet[1:offset] + number
        path = self.paths.get(packet[1:offset], 0) if level == ONE_RTT else 0
        whole = _whole(int.from_bytes(number), length, self._highest[level, path] + 1)
        payload = keys.open(header, path << 64 | whole, packet[offset + length :])
        if payload is None:
            return False
        self._highest[level, path] = max(self._highest[level, path], whole)
        if not path:
            self._received[level].add(whole)
        if level == ONE_RTT:
            self.first_bytes.append(first)
        frames, _ = parse_frames(payload)
        for frame in frames:
            self._frame(level, frame)
        return True

    def _frame(self, level: str, frame: Frame) -> None:
        self.frames[level].append(frame)
        if frame.name not in (*ACKS, "CONNECTION_CLOSE"):
            self._owes.add(level)
        if frame.name in ACKS and level == ONE_RTT and not frame.fields.get("path"):
            self.acknowledged = max(self.acknowledged, frame["largest"])
        elif frame.name == "CONNECTION_CLOSE" and self.closed is None:
            application = "frame" not in frame.fields
            reason = frame["reason"].decode()
            kind = frame.fields.get("frame")
            self.closed = Closed(frame["error"], application, kind, reason, level)
        elif frame.name == "CRYPTO":
            for kind, body in self._crypto[level].add(frame["offset"], frame["data"]):
                self.tls.receive(kind, body)
        elif frame.name == "STREAM":
            content = self.streams[frame["id"]]
            # In order on a loopback; what was sent again is known.
            content += frame["data"][len(content) - frame["offset"] :]
            if frame["fin"]:
                self.ended.add(frame["id"])

    # ---- What goes ----

    def send(self, level: str, payload: bytes, **changes: Any) -> None:
        """Any payload in a packet and datagram of its own."""
        self.outgoing.append(self.seal(level, payload, **changes))

    def write(self, number: int, data: bytes, *, end: bool = False) -> None:
        """The next bytes of a stream, in a 1-RTT packet."""
        self.send(ONE_RTT, encode.stream(number, self._sent[number], data, end=end))
        self._sent[number] += len(data)

    def say(self, level: str, data: bytes) -> None:
        """The next bytes of a level's CRYPTO stream."""
        self.send(level, encode.crypto(self.crypto_sent[level], data))
        self.crypto_sent[level] += len(data)

    def skip(self, level: str, count: int) -> None:
        """Leaves out packet numbers."""
        self._numbers[self._space(level)] += count

    def seal(
        self,
        level: str,
        payload: bytes,
        *,
        first_bits: int = 0,
        dcid: bytes | None = None,
        pad: int | None = None,
    ) -> bytes:
        """A packet. `first_bits` are set in its first byte; Initial packets fill 1,200 bytes, other
        ones `pad`."""
        number = self._numbers[self._space(level)]
        self._numbers[self._space(level)] += 1
        destination = self.dcid if dcid is None else dcid
        if pad is None:
            pad = 1200 if level == INITIAL else 0
        if level == ONE_RTT:
            header = bytes([0x40 | NUMBER - 1 | first_bits]) + destination
        else:
            kind = LONG_TYPES[VERSION_1].index(level)
            header = bytes([0xC0 | kind << 4 | NUMBER - 1 | first_bits]) + VERSION_1.to_bytes(4)
            header += bytes([len(destination)]) + destination + bytes([len(self.scid)]) + self.scid
            if level == INITIAL:
                header += varint(len(self.token)) + self.token
            payload = payload.ljust(pad - len(header) - 2 - NUMBER - 16, b"\0")
            # In two bytes, whatever it is.
            header += (0x4000 | NUMBER + len(payload) + 16).to_bytes(2)
        if level == ONE_RTT:
            payload = payload.ljust(pad - len(header) - NUMBER - 16, b"\0")
        return self._keys[level, self.is_client].seal(
            header + number.to_bytes(NUMBER), number, payload
        )

    def seal_on(self, path: int, dcid: bytes, number: int, payload: bytes) -> bytes:
        """A 1-RTT packet of another path, whose ID is part of the nonce
        (draft-ietf-quic-multipath-21 section 2.4)."""
        header = bytes([0x40 | NUMBER - 1]) + dcid + number.to_bytes(NUMBER)
        return self._keys[ONE_RTT, self.is_client].seal(header, path << 64 | number, payload)

    @staticmethod
    def _space(level: str) -> str:
        return ONE_RTT if level == EARLY else level

    def _go_on(self) -> None:
        """Sends acknowledgements and what TLS has, as far as the plan allows."""
        for (level, client), secret in self.tls.secrets.items():
            if (level, client) not in self._keys:
                self._keys[level, client] = Keys(secret, AES_128_GCM_SHA256, VERSION_1)
        for level in (INITIAL, HANDSHAKE, ONE_RTT):
            if (level, self.is_client) not in self._keys or level in self.plan.silent:
                continue
            while payload := self._payload(level):
                self.outgoing.append(self.seal(level, payload))

    def _payload(self, level: str) -> bytes:
        payload = b""
        if level in self._owes:
            self._owes.discard(level)
            payload = encode.ack(_ranges(self._received[level]))
        begin = self.crypto_sent[level]
        piece = self.tls.out[level][begin : begin + CHUNK]
        if piece:
            payload += encode.crypto(begin, piece)
            self.crypto_sent[level] += len(piece)
        if level == ONE_RTT and not self.is_client and self.tls.complete and not self._confirmed:
            self._confirmed = True
            payload += b"\x1e"
        return payload


def _whole(truncated: int, length: int, expected: int) -> int:
    """The packet number that ends with these bytes and is nearest to the one that is expected (RFC
    9000 appendix A.3)."""
    window = 1 << 8 * length
    nearest = expected - expected % window + truncated
    if nearest > expected + window // 2 and nearest >= window:
        return nearest - window
    return nearest + window if nearest <= expected - window // 2 else nearest


def _ranges(numbers: set[int]) -> list[range]:
    """Packet numbers as ranges, highest first."""
    found: list[range] = []
    for number in sorted(numbers, reverse=True):
        if found and found[-1].start == number + 1:
            found[-1] = range(number, found[-1].stop)
        else:
            found.append(range(number, number + 1))
    return found
