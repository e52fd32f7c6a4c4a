"""Capsules (RFC 9297 section 3): messages inside the content of an extended CONNECT."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final, NamedTuple

from tquic.h3._codec import decode_varint, encode_varint
from tquic.h3.errors import ErrorCode, H3Error

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["DATAGRAM", "Capsule", "CapsuleDecoder", "encode_capsule"]

DATAGRAM: Final = 0x00
"""The type of a capsule that is an HTTP datagram (RFC 9297 section 3.5)."""


class Capsule(NamedTuple):
    """One capsule."""

    type: int
    payload: bytes


def encode_capsule(type: int, payload: bytes) -> bytes:
    """A whole capsule."""
    return encode_varint(type) + encode_varint(len(payload)) + payload


class CapsuleDecoder:
    """Takes content, cut anywhere, and gives its capsules.

    Args:
        max_payload: bytes of a capsule; a longer one raises `H3Error` with H3_EXCESSIVE_LOAD.
            Default 65536.
        types: those that are of interest. Others are skipped, of any size (RFC 9297 section 3.2).
            Default: all are.
    """

    def __init__(self, max_payload: int = 65536, *, types: Collection[int] | None = None) -> None:
        self._max_payload = max_payload
        self._types = types
        self._kept = bytearray()
        # Bytes to come of a capsule that is skipped.
        self._skip = 0

    def read(self, data: ReadableBuffer) -> list[Capsule]:
        """The capsules that are whole now.

        Raises:
            H3Error: one is too long.
        """
        self._kept += memoryview(data)
        capsules: list[Capsule] = []
        position = 0
        while True:
            skipped = min(self._skip, len(self._kept) - position)
            self._skip -= skipped
            position += skipped
            kind = decode_varint(self._kept, position)
            length = kind and decode_varint(self._kept, position + kind[1])
            if kind is None or length is None:
                break
            size, start = length[0], position + kind[1] + length[1]
            if self._types is not None and kind[0] not in self._types:
                self._skip = size
                position = start
                continue
            if size > self._max_payload:
                reason = f"a capsule has {size} bytes, the limit is {self._max_payload}"
                raise H3Error(ErrorCode.H3_EXCESSIVE_LOAD, reason)
            if len(self._kept) - start < size:
                break
            capsules.append(Capsule(kind[0], bytes(self._kept[start : start + size])))
            position = start + size
        del self._kept[:position]
        return capsules

    def finish(self) -> None:
        """Says that the content has ended.

        Raises:
            H3Error: in the middle of a capsule, which makes the message malformed (RFC 9297
                section 3.3).
        """
        if self._kept or self._skip:
            raise H3Error(ErrorCode.H3_MESSAGE_ERROR, "the content ends inside of a capsule")
