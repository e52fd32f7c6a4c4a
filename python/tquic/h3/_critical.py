"""Streams that carry no request: which is which, and what may come on the control stream (RFC 9114
section 6.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from tquic.h3 import _frames
from tquic.h3._codec import Frame, FrameDecoder, decode_varint
from tquic.h3.errors import ErrorCode, H3Error
from tquic.h3.events import (
    Event,
    GoAwayReceived,
    PriorityUpdated,
    SessionStream,
    SettingsReceived,
)
from tquic.h3.priority import Priority
from tquic.h3.settings import PeerSettings

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = [
    "ControlStream",
    "Ignored",
    "InstructionStream",
    "Reader",
    "SessionHeader",
    "SignalledStream",
    "TypedStream",
]

_MAX_VARINT_SIZE: Final = 8


class Reader(Protocol):
    """What takes the bytes of a stream."""

    def receive(self, data: ReadableBuffer, end: bool, events: list[Event]) -> None:
        """Takes the next bytes."""

    def reset(self) -> None:
        """The peer gave the stream up."""


class TypedStream:
    """A unidirectional stream whose type is not known yet."""

    __slots__ = ("_became", "_identify", "_start")

    def __init__(self, identify: Callable[[int, int, list[Event]], Reader]) -> None:
        # Is given the type, how long its encoding is, and the events.
        self._identify = identify
        self._start = b""
        self._became: Reader | None = None

    def receive(self, data: ReadableBuffer, end: bool, events: list[Event]) -> None:
        if self._became is not None:
            self._became.receive(data, end, events)
            return
        view = memoryview(data)
        taken = _MAX_VARINT_SIZE - len(self._start)
        start = self._start + bytes(view[:taken])
        found = decode_varint(start)
        if found is None:
            # RFC 9114 section 6.2: it may end before it has begun.
            self._start = start
            return
        kind, size = found
        self._became = self._identify(kind, size, events)
        self._became.receive(view[size - len(self._start) :], end, events)

    def reset(self) -> None:
        if self._became is not None:
            self._became.reset()


class SignalledStream:
    """A bidirectional stream that may belong to a WebTransport session: its first bytes tell
    (draft-ietf-webtrans-http3-16 section 4.3)."""

    __slots__ = ("_became", "_id", "_other", "_start")

    def __init__(self, stream_id: int, other: Callable[[bytes, bool, list[Event]], None]) -> None:
        self._id = stream_id
        # Is given all that has come of a stream that belongs to none.
        self._other = other
        self._start = b""
        self._became: SessionHeader | None = None

    def receive(self, data: ReadableBuffer, end: bool, events: list[Event]) -> None:
        if self._became is not None:
            self._became.receive(data, end, events)
            return
        view = memoryview(data)
        start = self._start + bytes(view[: _MAX_VARINT_SIZE - len(self._start)])
        found = decode_varint(start)
        if found is None and not end:
            self._start = start
        elif found is None or found[0] != _frames.WT_STREAM:
            self._other(self._start + bytes(view), end, events)
        else:
            size = found[1]
            self._became = SessionHeader(self._id, size)
            self._became.receive(view[size - len(self._start) :], end, events)

    def reset(self) -> None:
        pass


class SessionHeader:
    """The beginning of a stream of a WebTransport session, behind its type: which session."""

    __slots__ = ("_before", "_id", "_start")

    def __init__(self, stream_id: int, before: int) -> None:
        self._id = stream_id
        # Bytes of the stream that stand before it.
        self._before = before
        self._start = b""

    def receive(self, data: ReadableBuffer, end: bool, events: list[Event]) -> None:
        view = memoryview(data)
        start = self._start + bytes(view[: _MAX_VARINT_SIZE - len(self._start)])
        found = decode_varint(start)
        if found is None:
            # It may end before it has begun, as others may.
            self._start = start
            return
        session, size = found
        if session & 3:
            # draft-ietf-webtrans-http3-16 section 4
            raise _id_error(f"session {session} of a stream is no request stream")
        rest = view[size - len(self._start) :]
        events.append(SessionStream(self._id, session, self._before + size, rest, end))

    def reset(self) -> None:
        pass


class Ignored:
    """A stream of no interest."""

    __slots__ = ()

    def receive(self, data: ReadableBuffer, end: bool, events: list[Event]) -> None:
        pass

    def reset(self) -> None:
        pass


class InstructionStream:
    """One of the peer's QPACK streams (RFC 9204 section 4.2)."""

    __slots__ = ("_feed", "_name")

    def __init__(self, name: str, feed: Callable[[ReadableBuffer, list[Event]], None]) -> None:
        self._name = name
        self._feed = feed

    def receive(self, data: ReadableBuffer, end: bool, events: list[Event]) -> None:
        self._feed(data, events)
        if end:
            raise closed_critical(self._name)

    def reset(self) -> None:
        raise closed_critical(self._name)


class ControlStream:
    """The peer's control stream (RFC 9114 section 6.2.1)."""

    __slots__ = ("_frames", "_is_client", "_max_push_id", "goaway", "settings")

    def __init__(self, is_client: bool) -> None:
        self._is_client = is_client
        self._frames = FrameDecoder()
        self._max_push_id = -1
        self.settings: PeerSettings | None = None
        self.goaway: int | None = None

    def receive(self, data: ReadableBuffer, end: bool, events: list[Event]) -> None:
        for frame in self._frames.read(data):
            if self.settings is None:
                self._first(frame, events)
            elif not isinstance(frame, Frame):
                raise _unexpected("DATA")
            elif frame.payload is not None:
                handler = _HANDLERS[self._is_client].get(frame.type)
                if handler is None:
                    raise _unexpected(_frames.NAMES[frame.type])
                handler(self, frame.payload, events)
        if end:
            raise closed_critical("control")

    def reset(self) -> None:
        raise closed_critical("control")

    def _first(self, frame: object, events: list[Event]) -> None:
        # RFC 9114 section 6.2.1
        if not isinstance(frame, Frame) or frame.type != _frames.SETTINGS:
            reason = "the control stream does not begin with SETTINGS"
            raise H3Error(ErrorCode.H3_MISSING_SETTINGS, reason)
        assert frame.payload is not None
        self.settings = PeerSettings.parse(frame.payload)
        events.append(SettingsReceived(self.settings))

    def _on_goaway(self, payload: bytes, events: list[Event]) -> None:
        identifier = _only_varint(payload, "GOAWAY")
        # RFC 9114 section 7.2.6: a request stream for clients, a push for servers.
        if self._is_client and identifier & 3:
            raise _id_error(f"GOAWAY has {identifier}, which is no request stream")
        if self.goaway is not None and identifier > self.goaway:
            raise _id_error(f"GOAWAY has {identifier} behind {self.goaway}")
        self.goaway = identifier
        events.append(GoAwayReceived(identifier))

    def _on_max_push_id(self, payload: bytes, _: list[Event]) -> None:
        limit = _only_varint(payload, "MAX_PUSH_ID")
        # RFC 9114 section 7.2.7
        if limit < self._max_push_id:
            raise _id_error(f"MAX_PUSH_ID has {limit} behind {self._max_push_id}")
        self._max_push_id = limit

    def _on_cancel_push(self, payload: bytes, _: list[Event]) -> None:
        push = _only_varint(payload, "CANCEL_PUSH")
        # RFC 9114 section 7.2.3: nothing was promised, and nothing may be.
        raise _id_error(f"CANCEL_PUSH has {push}, and there are no pushes")

    def _on_priority_update(self, payload: bytes, events: list[Event]) -> None:
        found = decode_varint(payload)
        if found is None:
            raise H3Error(ErrorCode.H3_FRAME_ERROR, "PRIORITY_UPDATE is too short")
        stream_id, size = found
        # RFC 9218 section 7.2
        if stream_id & 3:
            raise _id_error(f"PRIORITY_UPDATE has {stream_id}, which is no request stream")
        events.append(PriorityUpdated(stream_id, Priority.parse(payload[size:])))

    def _on_push_priority_update(self, payload: bytes, _: list[Event]) -> None:
        # RFC 9218 section 7.2: a push that was not promised.
        raise _id_error("PRIORITY_UPDATE is for a push, and there are none")


_Handler = Callable[[ControlStream, bytes, list[Event]], None]

# What may come behind SETTINGS, by `_is_client` (RFC 9114 sections 7.2 and 7.2.2, RFC 9218 section
# 7.2).
_HANDLERS: Final[dict[bool, dict[int, _Handler]]] = {
    True: {
        _frames.GOAWAY: ControlStream._on_goaway,
        _frames.CANCEL_PUSH: ControlStream._on_cancel_push,
    },
    False: {
        _frames.GOAWAY: ControlStream._on_goaway,
        _frames.CANCEL_PUSH: ControlStream._on_cancel_push,
        _frames.MAX_PUSH_ID: ControlStream._on_max_push_id,
        _frames.PRIORITY_UPDATE_REQUEST: ControlStream._on_priority_update,
        _frames.PRIORITY_UPDATE_PUSH: ControlStream._on_push_priority_update,
    },
}


def closed_critical(name: str) -> H3Error:
    """RFC 9114 section 6.2.1, RFC 9204 section 4.2: such a stream must not end."""
    return H3Error(ErrorCode.H3_CLOSED_CRITICAL_STREAM, f"the {name} stream has ended")


def _only_varint(payload: bytes, name: str) -> int:
    found = decode_varint(payload)
    # RFC 9114 section 7.1: too long is as wrong as too short.
    if found is None or found[1] != len(payload):
        raise H3Error(ErrorCode.H3_FRAME_ERROR, f"{name} is not one integer")
    return found[0]


def _unexpected(name: str) -> H3Error:
    return H3Error(ErrorCode.H3_FRAME_UNEXPECTED, f"{name} on the control stream")


def _id_error(reason: str) -> H3Error:
    return H3Error(ErrorCode.H3_ID_ERROR, reason)
