"""One request stream: what may come on it when, and what may be sent (RFC 9114 section 4)."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum, auto
from typing import TYPE_CHECKING, ClassVar, Final

from tquic.h3 import _frames
from tquic.h3._codec import Data as DataFrame
from tquic.h3._codec import Frame, FrameDecoder
from tquic.h3._message import check_trailers, parse_request, parse_response
from tquic.h3._qpack_decoder import Blocked, Decoder
from tquic.h3.errors import ErrorCode, H3Error, LocalProtocolError
from tquic.h3.events import (
    Data,
    EndOfMessage,
    Event,
    Informational,
    Request,
    Response,
    StreamFailed,
    Trailers,
    Unblocked,
)
from tquic.h3.fields import Field
from tquic.h3.priority import Priority
from tquic.h3.settings import Settings

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from tquic.h3.prepared import Prepared

__all__ = ["Act", "Receiving", "RequestStream", "Sending", "ServedStream", "WantedStream"]


class Receiving(IntEnum):
    """What comes next on a request stream."""

    HEAD = auto()
    """A header section: the request's, an interim response's or the final one's."""
    CONTENT = auto()
    TRAILED = auto()
    """The end: the trailers have come."""
    TUNNEL = auto()
    """Bytes both ways, behind CONNECT (RFC 9114 section 4.4)."""
    ENDED = auto()
    FAILED = auto()
    """Nothing that is looked at."""


class Sending(IntEnum):
    """What was sent on a request stream."""

    IDLE = auto()
    CONTENT = auto()
    TUNNEL = auto()
    ENDED = auto()


class Act(IntEnum):
    """What this side may want to send."""

    INFORMATIONAL = auto()
    HEAD = auto()
    DATA = auto()
    TRAILERS = auto()
    END = auto()


# RFC 9114 section 4.1: the frames that may come. Those of unknown types may come at any time.
_EXPECTED: Final[dict[Receiving, frozenset[int]]] = {
    Receiving.HEAD: frozenset({_frames.HEADERS}),
    Receiving.CONTENT: frozenset({_frames.DATA, _frames.HEADERS}),
    Receiving.TRAILED: frozenset(),
    Receiving.TUNNEL: frozenset({_frames.DATA}),
}

# The same for this side: what may be sent, and where that leads. A head may lead to a tunnel.
_SENDING: Final[dict[tuple[Sending, Act], Sending]] = {
    (Sending.IDLE, Act.INFORMATIONAL): Sending.IDLE,
    (Sending.IDLE, Act.HEAD): Sending.CONTENT,
    (Sending.CONTENT, Act.DATA): Sending.CONTENT,
    (Sending.CONTENT, Act.TRAILERS): Sending.ENDED,
    (Sending.CONTENT, Act.END): Sending.ENDED,
    (Sending.TUNNEL, Act.DATA): Sending.TUNNEL,
    (Sending.TUNNEL, Act.END): Sending.ENDED,
}

# Errors that concern the message and nothing else: RFC 9114 sections 4.1.2, 4.2.2, 4.1.
_OF_THE_STREAM: Final = frozenset(
    {
        ErrorCode.H3_MESSAGE_ERROR,
        ErrorCode.H3_EXCESSIVE_LOAD,
        ErrorCode.H3_REQUEST_INCOMPLETE,
    }
)

# For people.
_WHERE: Final = {
    Receiving.HEAD: "before HEADERS",
    Receiving.CONTENT: "behind HEADERS",
    Receiving.TRAILED: "behind the trailers",
    Receiving.TUNNEL: "behind CONNECT",
}
_ACTS: Final = {
    Act.INFORMATIONAL: "an interim response",
    Act.HEAD: "a header section",
    Act.DATA: "content",
    Act.TRAILERS: "trailers",
    Act.END: "the end of the message",
}
_BEHIND: Final = {
    Sending.IDLE: "before a header section",
    Sending.CONTENT: "behind the header section",
    Sending.TUNNEL: "in a tunnel",
    Sending.ENDED: "any more: the message has ended",
}

_TOO_LARGE: Final = 431
_DEFAULT_PRIORITY: Final = Priority()
_CONTENT: Final = frozenset({Receiving.CONTENT, Receiving.TUNNEL})
_DEAF: Final = frozenset({Receiving.ENDED, Receiving.FAILED})


class RequestStream:
    """Both halves of one request: `ServedStream` on servers, `WantedStream` on clients."""

    __slots__ = (
        *("_announced", "_decoder", "_expected", "_frames", "_held", "_held_end", "_received"),
        *("_sent", "_sessions", "held", "id", "method", "receiving", "sending"),
    )

    # When the stream ends without a whole header section, and when something is pushed.
    _incomplete: ClassVar[ErrorCode]
    _pushed: ClassVar[ErrorCode]

    def __init__(self, stream_id: int, decoder: Decoder, settings: Settings) -> None:
        self.id = stream_id
        self.method = b""
        self.receiving = Receiving.HEAD
        self.sending = Sending.IDLE
        self._decoder = decoder
        self._frames = FrameDecoder(max_payload=settings.max_field_section_size)
        self._sessions = settings.webtransport > 0
        # Bytes of content: what was said, and what has come or gone.
        self._expected: int | None = None
        self._received = 0
        self._announced: int | None = None
        self._sent = 0
        # Frames behind a field section that QPACK cannot decode yet, that section first.
        self._held: list[Frame | DataFrame] | None = None
        self._held_end = False
        self.held = 0
        """Bytes that were received and are held back, in these frames."""

    @property
    def over(self) -> bool:
        """Whether nothing more comes and goes."""
        return self.receiving is Receiving.ENDED and self.sending is Sending.ENDED

    # ---- Receiving ----

    def receive(self, data: ReadableBuffer, end: bool, events: list[Event]) -> None:
        """Takes the next bytes."""
        if self.receiving in _DEAF:
            if end:
                self.receiving = Receiving.ENDED
            return
        try:
            frames = self._frames.read(data)
            if end:
                self._frames.finish()
            if self._held is None:
                self._take(frames, end, events)
            else:
                self._held += frames
                self.held += len(memoryview(data))
                self._held_end = end
        except H3Error as error:
            self._fail(error, events)

    def receive_raw(self, size: int, remaining: int, events: list[Event]) -> None:
        """Content came by another way."""
        if self.receiving in _DEAF:
            return
        self._frames.resume(remaining)
        try:
            self._count(size)
        except H3Error as error:
            self._fail(error, events)

    @property
    def place(self) -> tuple[int, bytes] | None:
        """Where content stands: see `FrameDecoder.place`. `None` where there is none."""
        if self.receiving not in _CONTENT or self._held is not None:
            return None
        return self._frames.place

    def unblock(self, events: list[Event]) -> None:
        """The section that was waited for can be decoded."""
        if self._held is None:
            return
        frames, self._held = self._held, None
        unblocked = Unblocked(self.id, self.held)
        self.held = 0
        events.append(unblocked)
        try:
            self._take(frames, self._held_end, events)
        except H3Error as error:
            self._fail(error, events)
        unblocked.size -= self.held

    def _take(self, frames: list[Frame | DataFrame], end: bool, events: list[Event]) -> None:
        for index, frame in enumerate(frames):
            if type(frame) is DataFrame:
                self._on_data(frame, events)
            elif frame.type == _frames.HEADERS:
                self._check(_frames.HEADERS)
                assert frame.payload is not None
                fields = self._decoder.decode(self.id, frame.payload)
                if type(fields) is Blocked:
                    self._held = frames[index:]
                    self.held = sum(map(_size, self._held))
                    self._held_end = end
                    return
                self._on_section(fields, events)
            elif frame.payload is not None:
                self._check(frame.type)
            elif frame.type == _frames.WT_STREAM and self._sessions:
                # draft-ietf-webtrans-http3-16 section 4.3: streams begin with it, or have it not.
                raise H3Error(ErrorCode.H3_FRAME_ERROR, "WT_STREAM inside of a request stream")
        if end:
            self._on_end(events)

    def _check(self, frame_type: int) -> None:
        if frame_type not in _EXPECTED[self.receiving]:
            if frame_type == _frames.PUSH_PROMISE:
                raise H3Error(self._pushed, "PUSH_PROMISE, and no push was allowed")
            raise H3Error(
                ErrorCode.H3_FRAME_UNEXPECTED,
                f"{_frames.NAMES[frame_type]} on a request stream {_WHERE[self.receiving]}",
            )

    def _on_section(self, fields: list[Field], events: list[Event]) -> None:
        if self.receiving is Receiving.HEAD:
            self._on_head(fields, events)
        else:
            check_trailers(fields)
            self.receiving = Receiving.TRAILED
            events.append(Trailers(self.id, fields))

    def _on_head(self, fields: list[Field], events: list[Event]) -> None:
        raise NotImplementedError

    def _on_data(self, frame: DataFrame, events: list[Event]) -> None:
        self._check(_frames.DATA)
        size = len(frame.payload)
        self._count(size)
        if size or frame.remaining:
            events.append(Data(self.id, frame.payload, frame.remaining))

    def _count(self, size: int) -> None:
        self._received += size
        if self._expected is not None and self._received > self._expected:
            raise H3Error(
                ErrorCode.H3_MESSAGE_ERROR,
                f"there is more content than {self._expected} bytes, which is all there may be",
            )

    def _on_end(self, events: list[Event]) -> None:
        if self.receiving is Receiving.HEAD:
            raise H3Error(self._incomplete, "the stream ended before the message had begun")
        if self._expected is not None and self._received != self._expected:
            # RFC 9114 section 4.1.2: or two messages could be made of one.
            raise H3Error(
                ErrorCode.H3_MESSAGE_ERROR,
                f"the content has {self._received} bytes, content-length says {self._expected}",
            )
        self.receiving = Receiving.ENDED
        events.append(EndOfMessage(self.id))

    def _fail(self, error: H3Error, events: list[Event]) -> None:
        """The message is malformed; other errors are the connection's."""
        if error.code not in _OF_THE_STREAM:
            raise error
        large = error.code is ErrorCode.H3_EXCESSIVE_LOAD
        status = _TOO_LARGE if large and self.receiving is Receiving.HEAD else None
        self.receiving = Receiving.FAILED
        self._held = None
        self.held = 0
        events.append(StreamFailed(self.id, error.code, error.reason, status))

    # ---- Sending ----

    def act(self, act: Act) -> None:
        """This side sends something.

        Raises:
            LocalProtocolError: it must not, now.
        """
        following = _SENDING.get((self.sending, act))
        if following is None:
            raise LocalProtocolError(f"{_ACTS[act]} cannot be sent {_BEHIND[self.sending]}")
        if following is Sending.ENDED:
            self._check_sent(self._sent, end=True)
        self.sending = following

    def act_data(self, size: int, *, end: bool) -> None:
        """The same for content, and whether it ends the message."""
        sent = self._sent + size
        self._check_sent(sent, end=end)
        self.act(Act.DATA)
        self._sent = sent
        if end:
            self.sending = Sending.ENDED

    def act_head(self, announced: int | None, *, tunnel: bool, end: bool) -> None:
        """The same for the header section, and how much content is to follow."""
        if end and announced:
            raise LocalProtocolError(f"content-length says {announced} bytes, none are to follow")
        self.act(Act.HEAD)
        if end:
            self.sending = Sending.ENDED
        elif tunnel:
            self.sending = Sending.TUNNEL
        else:
            self._announced = announced

    def _check_sent(self, sent: int, *, end: bool) -> None:
        announced = self._announced
        if announced is not None and (sent > announced or (end and sent < announced)):
            raise LocalProtocolError(f"content-length says {announced} bytes, not {sent}")


class ServedStream(RequestStream):
    """A request as a server sees it."""

    __slots__ = ("_extended", "_take_priority")

    # RFC 9114 sections 4.1 and 7.2.5
    _incomplete = ErrorCode.H3_REQUEST_INCOMPLETE
    _pushed = ErrorCode.H3_FRAME_UNEXPECTED

    def __init__(
        self,
        stream_id: int,
        decoder: Decoder,
        settings: Settings,
        take_priority: Callable[[int], Priority | None],
    ) -> None:
        super().__init__(stream_id, decoder, settings)
        self._extended = settings.enable_connect_protocol
        self._take_priority = take_priority

    def _on_head(self, fields: list[Field], events: list[Event]) -> None:
        method, scheme, authority, path, protocol, rest, length, wanted = parse_request(
            fields, self._extended
        )
        self.method = method
        if method == b"CONNECT":
            self.receiving = Receiving.TUNNEL
            length = None
        else:
            self.receiving = Receiving.CONTENT
            self._expected = length
        # RFC 9218 section 7: an update that came before counts, not the field.
        priority = self._take_priority(self.id)
        if priority is None:
            priority = _DEFAULT_PRIORITY if wanted is None else Priority.parse(wanted)
        events.append(
            Request(self.id, method, scheme, authority, path, protocol, rest, length, priority)
        )

    def act_response(self, status: int, length: int | None, *, end: bool) -> None:
        """This side sends the header section of a final response."""
        if self.receiving is Receiving.HEAD:
            raise LocalProtocolError("there is no request to respond to yet")
        self.act_head(
            0 if has_no_content(self.method, status) else length,
            tunnel=self.method == b"CONNECT" and 200 <= status < 300,
            end=end,
        )

    def act_prepared(self, prepared: Prepared) -> None:
        """This side sends a response that was encoded before."""
        length = None if prepared.ends else prepared.length
        self.act_response(prepared.status, length, end=prepared.ends)


class WantedStream(RequestStream):
    """A request as a client sees it."""

    __slots__ = ()

    # RFC 9114 sections 4.1.2 and 7.2.5: MAX_PUSH_ID is never sent here.
    _incomplete = ErrorCode.H3_MESSAGE_ERROR
    _pushed = ErrorCode.H3_ID_ERROR

    def act_request(self, method: bytes, length: int | None, *, end: bool) -> None:
        """This side sends the header section of its request."""
        self.method = method
        self.act_head(length, tunnel=method == b"CONNECT", end=end)

    def act_prepared(self, prepared: Prepared) -> None:
        """This side sends a request that was encoded before."""
        length = None if prepared.ends else prepared.length
        self.act_request(prepared.method, length, end=prepared.ends)

    def _on_head(self, fields: list[Field], events: list[Event]) -> None:
        status, rest, length = parse_response(fields)
        if status < 200:
            events.append(Informational(self.id, status, rest))
            return
        if self.method == b"CONNECT" and status < 300:
            # RFC 9110 section 8.6: a client ignores it there.
            length = None
            self.receiving = Receiving.TUNNEL
        else:
            self.receiving = Receiving.CONTENT
            self._expected = 0 if has_no_content(self.method, status) else length
        events.append(Response(self.id, status, rest, length))


def has_no_content(method: bytes, status: int) -> bool:
    """Whether a final response ends with its header section (RFC 9110 section 6.4.1)."""
    return status in (204, 304) or method == b"HEAD"


def _size(frame: Frame | DataFrame) -> int:
    return len(frame.payload) if frame.payload is not None else 0
