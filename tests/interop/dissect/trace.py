"""From captured datagrams to connections and their decrypted packets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from .frames import Frame, MalformedError, parse_frames
from .headers import LongHeader, is_long, parse_long
from .keys import VERSION_1, PacketKeys, Secrets, candidates, initial_keys
from .tls import CryptoStream, Handshake

Address = tuple[str, int]

SPACES = {
    "initial": "initial",
    "handshake": "handshake",
    "0rtt": "application",
    "1rtt": "application",
}
SECRET_LABELS = {
    ("handshake", True): "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    ("handshake", False): "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    ("0rtt", True): "CLIENT_EARLY_TRAFFIC_SECRET",
    ("1rtt", True): "CLIENT_TRAFFIC_SECRET_0",
    ("1rtt", False): "SERVER_TRAFFIC_SECRET_0",
}


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram as it passed the capture."""

    time: float
    source: Address
    destination: Address
    ecn: int
    data: bytes


@dataclass(slots=True)
class Packet:
    """One QUIC packet. `frames` is None while it is not decrypted."""

    datagram: Datagram
    from_client: bool
    kind: str
    version: int
    destination: bytes
    source: bytes
    token: bytes
    size: int
    number: int | None = None
    generation: int = 0
    # Bytes of frames other than PADDING.
    payload_size: int = 0
    frames: list[Frame] | None = None

    def named(self, *names: str) -> list[Frame]:
        """The frames with one of these names."""
        return [frame for frame in self.frames or () if frame.name in names]


@dataclass
class _Sealed:
    packet: Packet
    data: bytes
    number_offset: int


@dataclass
class Connection:
    """One connection attempt, known by the client's first destination connection ID."""

    original_destination: bytes
    packets: list[Packet] = field(default_factory=list)
    tls: Handshake = field(default_factory=Handshake)
    client_ids: set[bytes] = field(default_factory=set)
    server_ids: set[bytes] = field(default_factory=set)
    client_addresses: set[Address] = field(default_factory=set)
    crypto: dict[tuple[str, bool], CryptoStream] = field(
        default_factory=lambda: defaultdict(CryptoStream)
    )
    # Connection IDs of Retry packets: Initial keys come from the one the client took (RFC 9001
    # section 5.2).
    retry_sources: list[bytes] = field(default_factory=list)
    _keys: dict[tuple[str, bool, int], list[PacketKeys]] = field(default_factory=dict)
    _largest: dict[tuple[str, bool], int] = field(default_factory=dict)
    sealed: list[_Sealed] = field(default_factory=list)

    def sent(self, *, client: bool, kind: str | None = None) -> Iterator[Packet]:
        """Packets one side sent, of one kind if given."""
        for packet in self.packets:
            if packet.from_client is client and kind in (None, packet.kind):
                yield packet

    def keys(self, kind: str, version: int, *, client: bool, secrets: Secrets) -> list[PacketKeys]:
        """Key generations known so far, oldest first; candidates while the suite is open."""
        slot = (kind, client, version)
        if slot not in self._keys:
            if kind == "initial":
                destinations = [*reversed(self.retry_sources), self.original_destination]
                return [initial_keys(cid, version, client=client) for cid in destinations]
            known = secrets.get(self.tls.client_random or b"", {})
            secret = known.get(SECRET_LABELS.get((kind, client), ""))
            return [] if secret is None else list(candidates(secret, version))
        return self._keys[slot]

    def settle(self, packet: Packet, key: PacketKeys, generation: int) -> None:
        """Remembers the key that opened a packet."""
        if packet.kind != "initial":
            known = self._keys.setdefault((packet.kind, packet.from_client, packet.version), [])
            if generation >= len(known):
                known.append(key)
        slot = (SPACES[packet.kind], packet.from_client)
        self._largest[slot] = max(self._largest.get(slot, -1), packet.number or 0)

    def settled(self, packet: Packet) -> bool:
        """Whether the cipher suite of this packet's keys is known."""
        return (packet.kind, packet.from_client, packet.version) in self._keys

    def full_number(self, packet: Packet, truncated: int, length: int) -> int:
        """Packet number decoding (RFC 9000 appendix A.3)."""
        expected = self._largest.get((SPACES[packet.kind], packet.from_client), -1) + 1
        window = 1 << (8 * length)
        candidate = (expected & ~(window - 1)) | truncated
        if candidate <= expected - window // 2 and candidate < (1 << 62) - window:
            return candidate + window
        if candidate > expected + window // 2 and candidate >= window:
            return candidate - window
        return candidate


class Trace:
    """All connections among captured datagrams; `server_ports` tell the server's side."""

    def __init__(self, datagrams: list[Datagram], server_ports: set[int], secrets: Secrets) -> None:
        self.datagrams = [
            d for d in datagrams if d.destination[1] in server_ports or d.source[1] in server_ports
        ]
        self.connections: list[Connection] = []
        self.strays = 0
        self._early: dict[bytes, list[tuple[Datagram, LongHeader]]] = defaultdict(list)
        self._server_ports = server_ports
        self._secrets = secrets
        for datagram in self.datagrams:
            self._datagram(datagram)
        for connection in self.connections:
            self._retry_sealed(connection)

    def packets(self, *, client: bool, kind: str | None = None) -> Iterator[Packet]:
        """Packets one side sent over all connections."""
        for connection in self.connections:
            yield from connection.sent(client=client, kind=kind)

    def from_client(self, datagram: Datagram) -> bool:
        """Whether a datagram goes towards the server."""
        return datagram.destination[1] in self._server_ports

    def _datagram(self, datagram: Datagram) -> None:
        rest = datagram.data
        connection = None
        while rest:
            try:
                if is_long(rest):
                    header, rest = parse_long(rest)
                    connection = self._long(datagram, header)
                else:
                    self._short(datagram, rest, connection)
                    return
            except MalformedError:
                self.strays += 1
                return

    def _long(self, datagram: Datagram, header: LongHeader) -> Connection | None:
        client = self.from_client(datagram)
        connection = self._find(datagram, header.destination, client=client)
        if connection is None and client:
            connection = self._begin(datagram, header)
        if connection is None:
            self.strays += 1
            return None
        self._add_long(connection, datagram, header)
        for early in self._early.pop(header.destination, ()):
            self._add_long(connection, *early)
        return connection

    def _begin(self, datagram: Datagram, header: LongHeader) -> Connection | None:
        """A new connection for an Initial that opens; damaged connection IDs make none."""
        if header.kind == "0rtt":
            self._early[header.destination].append((datagram, header))
            return None
        connection = Connection(header.destination)
        packet = Packet(
            datagram, True, header.kind, header.version, header.destination, b"", b"", 0
        )
        if (
            header.kind != "initial"
            or self._decrypt(connection, _Sealed(packet, header.packet, header.number_offset))
            is None
        ):
            return None
        connection.server_ids.add(header.destination)
        self.connections.append(connection)
        return connection

    def _add_long(self, connection: Connection, datagram: Datagram, header: LongHeader) -> None:
        client = self.from_client(datagram)
        (connection.client_ids if client else connection.server_ids).add(header.source)
        if client:
            connection.client_addresses.add(datagram.source)
        packet = Packet(
            datagram,
            client,
            header.kind,
            header.version,
            header.destination,
            header.source,
            header.token,
            len(header.packet),
        )
        connection.packets.append(packet)
        if header.kind == "retry":
            # A ClientHello of two datagrams may be answered twice; clients take the first answer
            # (RFC 9000 section 17.2.5.2).
            if not any(p.destination in connection.retry_sources for p in connection.packets):
                # It asks for the same ClientHello again, which not every client sends.
                connection.crypto.pop(("initial", True), None)
            connection.retry_sources.append(header.source)
        elif header.kind != "version_negotiation":
            self._open(connection, _Sealed(packet, header.packet, header.number_offset))

    def _short(self, datagram: Datagram, data: bytes, coalesced: Connection | None) -> None:
        client = self.from_client(datagram)
        found = self._find_short(datagram, data, client=client)
        if found is None:
            self.strays += 1
            return
        connection, destination = found
        if coalesced is not None and coalesced is not connection:
            self.strays += 1
            return
        if client:
            connection.client_addresses.add(datagram.source)
        version = self._version(connection)
        packet = Packet(datagram, client, "1rtt", version, destination, b"", b"", len(data))
        connection.packets.append(packet)
        self._open(connection, _Sealed(packet, data, 1 + len(destination)))

    def _version(self, connection: Connection) -> int:
        """The version in use: that of the server's newest long header."""
        for packet in reversed(connection.packets):
            if not packet.from_client and packet.kind in ("initial", "handshake"):
                return packet.version
        return VERSION_1

    def _find(self, datagram: Datagram, destination: bytes, *, client: bool) -> Connection | None:
        for connection in reversed(self.connections):
            if client and destination in connection.server_ids:
                return connection
            if (
                not client
                and destination in connection.client_ids
                and (destination or datagram.destination in connection.client_addresses)
            ):
                return connection
        return None

    def _find_short(
        self, datagram: Datagram, data: bytes, *, client: bool
    ) -> tuple[Connection, bytes] | None:
        for connection in reversed(self.connections):
            known = connection.server_ids if client else connection.client_ids
            for cid in known:
                address = datagram.source if client else datagram.destination
                if data.startswith(cid, 1) and (cid or address in connection.client_addresses):
                    return connection, cid
        return None

    def _open(self, connection: Connection, sealed: _Sealed) -> None:
        packet = sealed.packet
        plain = self._decrypt(connection, sealed)
        if plain is None:
            connection.sealed.append(sealed)
            return
        packet.frames, padding = parse_frames(plain)
        packet.payload_size = len(plain) - padding
        before = connection.tls.client_random
        self._learn(connection, packet)
        if before != connection.tls.client_random:
            self._retry_sealed(connection)

    def _retry_sealed(self, connection: Connection) -> None:
        waiting, connection.sealed = connection.sealed, []
        for sealed in waiting:
            self._open(connection, sealed)

    def _decrypt(self, connection: Connection, sealed: _Sealed) -> bytes | None:
        packet, data, offset = sealed.packet, sealed.data, sealed.number_offset
        if len(data) < offset + 20:
            return None
        known = connection.keys(
            packet.kind, packet.version, client=packet.from_client, secrets=self._secrets
        )
        if not known:
            return None
        if not connection.settled(packet):
            for key in known:
                plain = self._unprotect(connection, packet, data, offset, key)
                if plain is not None:
                    connection.settle(packet, key, 0)
                    return plain
            return None
        for generation in (len(known) - 1, len(known), len(known) - 2):
            if generation < 0 or (generation == len(known) and packet.kind != "1rtt"):
                continue
            key = known[generation] if generation < len(known) else known[-1].updated()
            plain = self._unprotect(connection, packet, data, offset, key, generation)
            if plain is not None:
                packet.generation = generation
                connection.settle(packet, key, generation)
                return plain
        return None

    def _unprotect(
        self,
        connection: Connection,
        packet: Packet,
        data: bytes,
        offset: int,
        key: PacketKeys,
        generation: int = 0,
    ) -> bytes | None:
        mask = key.mask(data[offset + 4 : offset + 20])
        first = data[0] ^ (mask[0] & (0x0F if data[0] & 0x80 else 0x1F))
        if packet.kind == "1rtt" and first >> 2 & 1 != generation & 1:
            return None
        length = (first & 0x03) + 1
        number_bytes = bytes(
            a ^ b for a, b in zip(data[offset : offset + length], mask[1:], strict=False)
        )
        number = connection.full_number(packet, int.from_bytes(number_bytes), length)
        header = bytes([first]) + data[1:offset] + number_bytes
        plain = key.open(header, number, data[offset + length :])
        if plain is not None:
            packet.number = number
        return plain

    def _learn(self, connection: Connection, packet: Packet) -> None:
        client = packet.from_client
        for frame in packet.named("NEW_CONNECTION_ID"):
            (connection.client_ids if client else connection.server_ids).add(frame["cid"])
        for frame in packet.named("CRYPTO"):
            stream = connection.crypto[packet.kind, client]
            for kind, body in stream.add(frame["offset"], frame["data"]):
                if packet.kind != "1rtt":
                    connection.tls.learn(kind, body)
        if connection.tls.preferred_address:
            connection.server_ids.add(connection.tls.preferred_address.cid)
