"""Bytes with a position, and QUIC's variable-length integers (RFC 9000 section 16)."""

from __future__ import annotations

from typing import Final

__all__ = [
    "UINT_VAR_MAX",
    "UINT_VAR_MAX_SIZE",
    "Buffer",
    "BufferReadError",
    "BufferWriteError",
    "encode_uint_var",
    "size_uint_var",
]

UINT_VAR_MAX: Final = (1 << 62) - 1
"""The largest variable-length integer (RFC 9000 section 16)."""
UINT_VAR_MAX_SIZE: Final = 8
"""Bytes of the longest encoding of one."""


class BufferReadError(ValueError):
    """There are not so many bytes to read."""


class BufferWriteError(ValueError):
    """There is no room for so many bytes."""


def size_uint_var(value: int) -> int:
    """Bytes that a variable-length integer takes: 1, 2, 4 or 8."""
    for size, bits in ((1, 6), (2, 14), (4, 30), (8, 62)):
        if value < 1 << bits:
            return size
    raise ValueError("Integer is too big for a variable-length integer")


def encode_uint_var(value: int) -> bytes:
    """A variable-length integer."""
    size = size_uint_var(value)
    prefix = (size.bit_length() - 1) << (8 * size - 2)
    return (prefix | value).to_bytes(size, "big")


class Buffer:
    """A fixed number of bytes that are read or written one after the other.

    Args:
        capacity: bytes, all 0.
        data: these bytes instead.
    """

    def __init__(self, capacity: int | None = 0, data: bytes | None = None) -> None:
        self._bytes = bytearray(data if data is not None else capacity or 0)
        self._position = 0

    @property
    def capacity(self) -> int:
        """Bytes altogether."""
        return len(self._bytes)

    @property
    def data(self) -> bytes:
        """The bytes before the position."""
        return bytes(self._bytes[: self._position])

    def data_slice(self, start: int, end: int) -> bytes:
        """The bytes from `start` to before `end`, wherever the position is."""
        if not 0 <= start <= end <= len(self._bytes):
            raise BufferReadError("Read out of bounds")
        return bytes(self._bytes[start:end])

    def eof(self) -> bool:
        """Whether the position is at the end."""
        return self._position == len(self._bytes)

    def seek(self, pos: int) -> None:
        """Moves the position."""
        if not 0 <= pos <= len(self._bytes):
            raise BufferReadError("Seek out of bounds")
        self._position = pos

    def tell(self) -> int:
        """The position."""
        return self._position

    def pull_bytes(self, length: int) -> bytes:
        """Reads so many bytes."""
        end = self._position + length
        if length < 0 or end > len(self._bytes):
            raise BufferReadError("Read out of bounds")
        start, self._position = self._position, end
        return bytes(self._bytes[start:end])

    def pull_uint8(self) -> int:
        """Reads an integer of 1 byte."""
        return int.from_bytes(self.pull_bytes(1), "big")

    def pull_uint16(self) -> int:
        """Reads an integer of 2 bytes."""
        return int.from_bytes(self.pull_bytes(2), "big")

    def pull_uint32(self) -> int:
        """Reads an integer of 4 bytes."""
        return int.from_bytes(self.pull_bytes(4), "big")

    def pull_uint64(self) -> int:
        """Reads an integer of 8 bytes."""
        return int.from_bytes(self.pull_bytes(8), "big")

    def pull_uint_var(self) -> int:
        """Reads a variable-length integer."""
        first = self.data_slice(self._position, self._position + 1)[0]
        size = 1 << (first >> 6)
        return int.from_bytes(self.pull_bytes(size), "big") & ((1 << (8 * size - 2)) - 1)

    def push_bytes(self, value: bytes) -> None:
        """Writes bytes."""
        end = self._position + len(value)
        if end > len(self._bytes):
            raise BufferWriteError("Write out of bounds")
        self._bytes[self._position : end] = value
        self._position = end

    def push_uint8(self, value: int) -> None:
        """Writes an integer of 1 byte."""
        self.push_bytes(value.to_bytes(1, "big"))

    def push_uint16(self, value: int) -> None:
        """Writes an integer of 2 bytes."""
        self.push_bytes(value.to_bytes(2, "big"))

    def push_uint32(self, v: int) -> None:
        """Writes an integer of 4 bytes."""
        self.push_bytes(v.to_bytes(4, "big"))

    def push_uint64(self, v: int) -> None:
        """Writes an integer of 8 bytes."""
        self.push_bytes(v.to_bytes(8, "big"))

    def push_uint_var(self, value: int) -> None:
        """Writes a variable-length integer."""
        self.push_bytes(encode_uint_var(value))
