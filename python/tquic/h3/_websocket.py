"""Frames of WebSocket (RFC 6455 sections 5 to 7), which RFC 9220 carries as the content of an
extended CONNECT; without sockets, for either end."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from tquic._halves import encode_reason

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "Close",
    "CloseCode",
    "FrameReader",
    "Ping",
    "Pong",
    "WebSocketError",
    "encode_close",
    "encode_message",
    "encode_ping",
    "encode_pong",
]

_CONTINUATION: Final = 0x0
_TEXT: Final = 0x1
_BINARY: Final = 0x2
_CLOSE: Final = 0x8
_PING: Final = 0x9
_PONG: Final = 0xA

_FIN: Final = 0x80
_RESERVED: Final = 0x70
_MASKED: Final = 0x80
_MAX_CONTROL: Final = 125


class CloseCode(IntEnum):
    """Why a WebSocket ends (RFC 6455 section 7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS = 1005
    """The peer gave no code. Never sent."""
    ABNORMAL = 1006
    """There was no closing frame. Never sent."""
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    TOO_BIG = 1009
    MISSING_EXTENSION = 1010
    INTERNAL_ERROR = 1011


class WebSocketError(Exception):
    """The peer broke a rule; `code` is what to close with."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(slots=True)
class Ping:
    """To be answered with `encode_pong` of the same payload."""

    payload: bytes


@dataclass(slots=True)
class Pong:
    """The answer to a ping, or nothing."""

    payload: bytes


@dataclass(slots=True)
class Close:
    """The peer sends no more; to be answered with the same code."""

    code: int
    reason: str


class FrameReader:
    """Bytes to messages: `str`, `bytes`, `Ping`, `Pong` and `Close`.

    Args:
        masked: whether the peer's frames must be masked: those of clients (RFC 6455 section 5.1).
        max_message: bytes of a message at most.
    """

    def __init__(self, *, masked: bool, max_message: int = 16 << 20) -> None:
        self._masked = masked
        self._max_message = max_message
        self._buffer = bytearray()
        self._kind = 0
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: ReadableBuffer) -> list[str | bytes | Ping | Pong | Close]:
        """Takes the next bytes; answers what is complete.

        Raises:
            WebSocketError: the peer broke a rule.
        """
        self._buffer += data
        found: list[str | bytes | Ping | Pong | Close] = []
        while (frame := self._next()) is not None:
            message = self._take(*frame)
            if message is not None:
                found.append(message)
        return found

    def _next(self) -> tuple[int, bytes] | None:
        """The first byte and the payload of the next frame, if it is whole."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, second = buffer[0], buffer[1]
        self._check(first, second)
        size, start = second & 0x7F, 2
        if size >= 126:
            width = 2 if size == 126 else 8
            start += width
            if len(buffer) < start:
                return None
            size = int.from_bytes(buffer[2:start], "big")
            if size < (126 if width == 2 else 1 << 16) or size >> 63:
                raise WebSocketError(
                    CloseCode.PROTOCOL_ERROR, "a length is not in the shortest form"
                )
        if first & 0x8 == 0 and self._size + size > self._max_message:
            reason = f"a message has more than {self._max_message} bytes"
            raise WebSocketError(CloseCode.TOO_BIG, reason)
        mask = b""
        if self._masked:
            mask = bytes(buffer[start : start + 4])
            start += 4
        if len(buffer) < start + size:
            return None
        payload = bytes(buffer[start : start + size])
        del buffer[: start + size]
        return first, _mask(payload, mask) if mask else payload

    def _check(self, first: int, second: int) -> None:
        opcode = first & 0xF
        why = ""
        if first & _RESERVED:
            why = "reserved bits are set, and no extension was agreed on"
        elif bool(second & _MASKED) != self._masked:
            why = "a client's frame is not masked" if self._masked else "a server's frame is masked"
        elif opcode & 0x8:
            if opcode > _PONG:
                why = f"opcode {opcode:#x} is not known"
            elif not first & _FIN or second & 0x7F > _MAX_CONTROL:
                why = "a control frame is fragmented or too long"
        elif opcode > _BINARY:
            why = f"opcode {opcode:#x} is not known"
        elif (opcode == _CONTINUATION) != bool(self._kind):
            why = "a message begins within another, or goes on without a beginning"
        if why:
            raise WebSocketError(CloseCode.PROTOCOL_ERROR, why)

    def _take(self, first: int, payload: bytes) -> str | bytes | Ping | Pong | Close | None:
        opcode = first & 0xF
        if opcode == _PING:
            return Ping(payload)
        if opcode == _PONG:
            return Pong(payload)
        if opcode == _CLOSE:
            return _close(payload)
        self._kind = self._kind or opcode
        self._parts.append(payload)
        # A fragment without content costs memory, too.
        self._size += len(payload) + 64
        if not first & _FIN:
            return None
        whole = b"".join(self._parts)
        kind, self._kind, self._size = self._kind, 0, 0
        self._parts.clear()
        return _text(whole) if kind == _TEXT else whole


def _close(payload: bytes) -> Close:
    if not payload:
        return Close(CloseCode.NO_STATUS, "")
    code = int.from_bytes(payload[:2], "big")
    known = 1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999
    if len(payload) == 1 or not known:
        raise WebSocketError(CloseCode.PROTOCOL_ERROR, "a closing frame has no possible code")
    return Close(code, _text(payload[2:]))


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise WebSocketError(CloseCode.INVALID_PAYLOAD, "text is not UTF-8") from None


def _mask(payload: bytes, mask: bytes) -> bytes:
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    value = int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")
    return value.to_bytes(size, "little")


def _frame(opcode: int, payload: bytes, *, masked: bool) -> bytes:
    size = len(payload)
    flag = _MASKED if masked else 0
    if size < 126:
        head = bytes((_FIN | opcode, flag | size))
    elif size < 1 << 16:
        head = bytes((_FIN | opcode, flag | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, flag | 127)) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    # RFC 6455 section 5.3: nobody can guess it.
    mask = os.urandom(4)
    return head + mask + _mask(payload, mask)


def encode_message(message: str | bytes, *, masked: bool) -> bytes:
    """A whole message as one frame; clients mask theirs."""
    if isinstance(message, str):
        return _frame(_TEXT, message.encode(), masked=masked)
    return _frame(_BINARY, message, masked=masked)


def encode_ping(payload: bytes = b"", *, masked: bool) -> bytes:
    """A ping with at most 125 bytes."""
    return _control(_PING, payload, masked=masked)


def encode_pong(payload: bytes, *, masked: bool) -> bytes:
    """The answer to a ping."""
    return _control(_PONG, payload, masked=masked)


def encode_close(code: int, reason: str = "", *, masked: bool) -> bytes:
    """The last frame. `CloseCode.NO_STATUS` stands for none; a reason is cut to its 123 bytes."""
    if code == CloseCode.NO_STATUS:
        return _control(_CLOSE, b"", masked=masked)
    text = encode_reason(reason)[: _MAX_CONTROL - 2].decode(errors="ignore").encode()
    return _control(_CLOSE, code.to_bytes(2, "big") + text, masked=masked)


def _control(opcode: int, payload: bytes, *, masked: bool) -> bytes:
    if len(payload) > _MAX_CONTROL:
        raise ValueError("a control frame has 125 bytes at most")
    return _frame(opcode, payload, masked=masked)
