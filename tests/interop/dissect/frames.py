"""Frames of RFC 9000 section 19 and of extensions, as far as a judge needs them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class MalformedError(Exception):
    """The bytes are not what they should be."""


class Reader:
    """Takes integers and bytes off the front of a buffer."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self.data) - self.position

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        if count > self.left:
            raise MalformedError(f"{count} bytes wanted, {self.left} left")
        self.position += count
        return self.data[self.position - count : self.position]

    def uint(self, count: int) -> int:
        """A big-endian integer of `count` bytes."""
        return int.from_bytes(self.take(count))

    def varint(self) -> int:
        """A variable-length integer (RFC 9000 section 16)."""
        first = self.uint(1)
        length = 1 << (first >> 6)
        return (first & 0x3F) << (8 * (length - 1)) | self.uint(length - 1)

    def opaque(self, count: int) -> bytes:
        """Bytes behind a length of `count` bytes."""
        return self.take(self.uint(count))


@dataclass(slots=True)
class Frame:
    """One frame: its name and the fields that were kept."""

    name: str
    # Integers, and bytes under "data", "cid", "token" and "reason".
    fields: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, key: str) -> Any:
        return self.fields[key]


# Frames made of variable-length integers only.
INTEGER_FRAMES = {
    0x04: ("RESET_STREAM", ("id", "error", "final_size")),
    0x05: ("STOP_SENDING", ("id", "error")),
    0x10: ("MAX_DATA", ("limit",)),
    0x11: ("MAX_STREAM_DATA", ("id", "limit")),
    0x12: ("MAX_STREAMS", ("limit",)),
    0x13: ("MAX_STREAMS", ("limit",)),
    0x14: ("DATA_BLOCKED", ("limit",)),
    0x15: ("STREAM_DATA_BLOCKED", ("id", "limit")),
    0x16: ("STREAMS_BLOCKED", ("limit",)),
    0x17: ("STREAMS_BLOCKED", ("limit",)),
    0x19: ("RETIRE_CONNECTION_ID", ("sequence",)),
    0x24: ("RESET_STREAM_AT", ("id", "error", "final_size", "reliable_size")),
    0xAF: ("ACK_FREQUENCY", ("sequence", "threshold", "max_delay", "reordering")),
    # draft-ietf-quic-multipath-21 section 4.
    0x3E75: ("PATH_ABANDON", ("path", "error")),
    0x3E76: ("PATH_STATUS_BACKUP", ("path", "sequence")),
    0x3E77: ("PATH_STATUS_AVAILABLE", ("path", "sequence")),
    0x3E79: ("PATH_RETIRE_CONNECTION_ID", ("path", "sequence")),
    0x3E7A: ("MAX_PATH_ID", ("limit",)),
    0x3E7B: ("PATHS_BLOCKED", ("limit",)),
    0x3E7C: ("PATH_CIDS_BLOCKED", ("path", "next_sequence")),
}
ACK_FRAMES = {0x02: "ACK", 0x03: "ACK_ECN", 0x3E: "PATH_ACK", 0x3F: "PATH_ACK_ECN"}
EMPTY_FRAMES = {0x01: "PING", 0x1E: "HANDSHAKE_DONE", 0x1F: "IMMEDIATE_ACK"}


def parse_frames(payload: bytes) -> tuple[list[Frame], int]:
    """All frames of a packet but PADDING, and the bytes of padding.

    A frame nobody knows ends the list as UNKNOWN.
    """
    reader = Reader(payload)
    frames = []
    padding = 0
    while reader.left:
        kind = reader.varint()
        if kind == 0x00:
            padding += 1
            continue
        frames.append(_frame(kind, reader))
        if frames[-1].name == "UNKNOWN":
            break
    return frames, padding


def _frame(kind: int, reader: Reader) -> Frame:
    if kind in INTEGER_FRAMES:
        name, names = INTEGER_FRAMES[kind]
        return Frame(name, {field: reader.varint() for field in names})
    if kind in EMPTY_FRAMES:
        return Frame(EMPTY_FRAMES[kind])
    if kind in ACK_FRAMES:
        return _ack(kind, reader)
    if 0x08 <= kind <= 0x0F:
        return _stream(kind, reader)
    match kind:
        case 0x06:
            offset = reader.varint()
            return Frame("CRYPTO", {"offset": offset, "data": reader.take(reader.varint())})
        case 0x07:
            return Frame("NEW_TOKEN", {"token": reader.take(reader.varint())})
        case 0x18 | 0x3E78:
            fields: dict[str, Any] = {"path": reader.varint()} if kind != 0x18 else {}
            fields["sequence"] = reader.varint()
            fields["retire_prior_to"] = reader.varint()
            fields["cid"] = reader.opaque(1)
            reader.take(16)
            return Frame("NEW_CONNECTION_ID" if kind == 0x18 else "PATH_NEW_CONNECTION_ID", fields)
        case 0x1A | 0x1B:
            return Frame(
                "PATH_CHALLENGE" if kind == 0x1A else "PATH_RESPONSE", {"data": reader.take(8)}
            )
        case 0x1C | 0x1D:
            fields = {"error": reader.varint()}
            if kind == 0x1C:
                fields["frame"] = reader.varint()
            return Frame("CONNECTION_CLOSE", fields | {"reason": reader.take(reader.varint())})
        case 0x30 | 0x31:
            return Frame(
                "DATAGRAM", {"data": reader.take(reader.varint() if kind == 0x31 else reader.left)}
            )
    return Frame("UNKNOWN", {"type": kind})


def _ack(kind: int, reader: Reader) -> Frame:
    name = ACK_FRAMES[kind]
    fields = {"path": reader.varint()} if name.startswith("PATH") else {}
    fields |= {"largest": reader.varint(), "delay": reader.varint()}
    count = reader.varint()
    reader.varint()
    for _ in range(count):
        reader.varint()
        reader.varint()
    if name.endswith("ECN"):
        fields |= {"ect0": reader.varint(), "ect1": reader.varint(), "ce": reader.varint()}
    return Frame(name, fields)


def _stream(kind: int, reader: Reader) -> Frame:
    stream = reader.varint()
    offset = reader.varint() if kind & 0x04 else 0
    length = reader.varint() if kind & 0x02 else reader.left
    data = reader.take(length)
    fields = {"id": stream, "offset": offset, "length": length, "fin": kind & 0x01, "data": data}
    return Frame("STREAM", fields)
