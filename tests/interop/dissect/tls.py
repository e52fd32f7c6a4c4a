"""The TLS 1.3 handshake messages inside CRYPTO frames (RFC 8446 section 4)."""

from __future__ import annotations

from dataclasses import dataclass, field

from .frames import MalformedError, Reader

CLIENT_HELLO, SERVER_HELLO, ENCRYPTED_EXTENSIONS, CERTIFICATE = 1, 2, 8, 11
PRE_SHARED_KEY, EARLY_DATA, QUIC_TRANSPORT_PARAMETERS = 41, 42, 57

INITIAL_MAX_STREAMS_BIDI = 0x08
PREFERRED_ADDRESS = 0x0D


class CryptoStream:
    """Puts CRYPTO frames in order and cuts them into messages."""

    def __init__(self) -> None:
        self._pieces: dict[int, bytes] = {}
        self._ready = bytearray()
        self._taken = 0
        self.highest = 0

    def add(self, offset: int, data: bytes) -> list[tuple[int, bytes]]:
        """Messages (type, body) that this piece completes."""
        self.highest = max(self.highest, offset + len(data))
        if len(data) > len(self._pieces.get(offset, b"")):
            self._pieces[offset] = data
        self._join()
        messages = []
        while len(self._ready) >= self._taken + 4:
            head = self._taken
            length = int.from_bytes(self._ready[head + 1 : head + 4])
            if len(self._ready) < head + 4 + length:
                break
            messages.append((self._ready[head], bytes(self._ready[head + 4 : head + 4 + length])))
            self._taken = head + 4 + length
        return messages

    def _join(self) -> None:
        moved = True
        while moved:
            moved = False
            for offset in sorted(self._pieces):
                if offset > len(self._ready):
                    break
                piece = self._pieces.pop(offset)
                self._ready += piece[len(self._ready) - offset :]
                moved = True


@dataclass
class PreferredAddress:
    """The server's preferred address (RFC 9000 section 18.2)."""

    ipv4: tuple[str, int]
    cid: bytes


@dataclass
class Handshake:
    """What the TLS handshake of one connection showed."""

    client_random: bytes | None = None
    # More than one when the client changed its ClientHello after Retry, against RFC 9000 section
    # 17.2.5.3.
    client_randoms: set[bytes] = field(default_factory=set)
    offered_suites: list[int] = field(default_factory=list)
    suite: int | None = None
    resumed: bool = False
    early_data_accepted: bool = False
    certificates: int = 0
    client_parameters: dict[int, bytes] = field(default_factory=dict)
    server_parameters: dict[int, bytes] = field(default_factory=dict)

    def learn(self, kind: int, body: bytes) -> None:
        """Takes one message into account; other kinds say nothing a judge wants."""
        reader = Reader(body)
        if kind == CLIENT_HELLO:
            reader.take(2)
            self.client_random = reader.take(32)
            self.client_randoms.add(self.client_random)
            reader.opaque(1)
            suites = Reader(reader.opaque(2))
            self.offered_suites = [suites.uint(2) for _ in range(suites.left // 2)]
            reader.opaque(1)
            extensions = _extensions(reader)
            self.client_parameters = _parameters(extensions)
        elif kind == SERVER_HELLO:
            reader.take(34)
            reader.opaque(1)
            self.suite = reader.uint(2)
            reader.take(1)
            self.resumed = PRE_SHARED_KEY in _extensions(reader)
        elif kind == ENCRYPTED_EXTENSIONS:
            extensions = _extensions(reader)
            self.early_data_accepted = EARLY_DATA in extensions
            self.server_parameters = _parameters(extensions)
        elif kind == CERTIFICATE:
            self.certificates += 1

    def server_limit(self, parameter: int) -> int:
        """An integer transport parameter of the server; 0 where it sent none."""
        value = self.server_parameters.get(parameter)
        return Reader(value).varint() if value else 0

    @property
    def preferred_address(self) -> PreferredAddress | None:
        """Where the server would rather be reached."""
        value = self.server_parameters.get(PREFERRED_ADDRESS)
        if not value:
            return None
        reader = Reader(value)
        host = ".".join(str(byte) for byte in reader.take(4))
        port = reader.uint(2)
        reader.take(18)
        return PreferredAddress((host, port), reader.opaque(1))


def _extensions(reader: Reader) -> dict[int, bytes]:
    if not reader.left:
        return {}
    inner = Reader(reader.opaque(2))
    found = {}
    while inner.left:
        kind = inner.uint(2)
        found[kind] = inner.opaque(2)
    return found


def _parameters(extensions: dict[int, bytes]) -> dict[int, bytes]:
    reader = Reader(extensions.get(QUIC_TRANSPORT_PARAMETERS, b""))
    found = {}
    while reader.left:
        name = reader.varint()
        if name in found:
            raise MalformedError(f"transport parameter {name:#x} sent twice")
        found[name] = reader.take(reader.varint())
    return found
