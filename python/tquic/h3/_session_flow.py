"""Flow control of WebTransport sessions without sockets: how many streams and how much data each
end may send in one session (section numbers: draft-ietf-webtrans-http3-16).

The transport limits each stream, and all of them together; these limits share that out, so that one
session cannot take what others need (section 8).
"""

from __future__ import annotations

from typing import Final

from tquic.h3._codec import MAX_VARINT, decode_varint, encode_varint
from tquic.h3.capsules import encode_capsule
from tquic.h3.errors import ErrorCode, FlowControlError, H3Error
from tquic.h3.settings import MAX_STREAMS, SessionLimits

__all__ = ["FLOW_CAPSULES", "PROHIBITED", "SessionFlow", "StreamAccount"]

# Section 9.6: of streams, the bidirectional ones' comes first.
_MAX_DATA: Final = 0x190B4D3D
_MAX_STREAMS: Final = (0x190B4D3F, 0x190B4D40)
_DATA_BLOCKED: Final = 0x190B4D41
_STREAMS_BLOCKED: Final = (0x190B4D43, 0x190B4D44)

FLOW_CAPSULES: Final = frozenset({_MAX_DATA, *_MAX_STREAMS, _DATA_BLOCKED, *_STREAMS_BLOCKED})
"""Types of capsules that `SessionFlow.receive` takes."""

PROHIBITED: Final = frozenset({0x190B4D3E, 0x190B4D42})
"""WT_MAX_STREAM_DATA and WT_STREAM_DATA_BLOCKED, which only WebTransport over HTTP/2 has: streams
have limits of their own here (section 5.4)."""


class Credit:
    """What the peer allows, and how much of it is used.

    Args:
        limit: what it allows at first.
        most: what it can allow at all.
    """

    __slots__ = ("_blocked", "_most", "_told", "limit", "used")

    def __init__(self, limit: int, most: int = MAX_VARINT) -> None:
        self.limit = limit
        self.used = 0
        self._most = most
        self._blocked = False
        # The limit of which the peer knows that it is in the way.
        self._told = -1

    @property
    def left(self) -> int:
        """What may still be used."""
        return self.limit - self.used

    def use(self, n: int) -> None:
        """Uses some of what is left; or gives it back, if negative."""
        self.used += n

    def want(self) -> None:
        """Notes that there would be a use for more than is left."""
        self._blocked = True

    def raise_to(self, limit: int, what: str) -> None:
        """The peer allows more.

        Raises:
            FlowControlError: it is not more, or too much.
        """
        self.check(limit, what)
        if limit <= self.limit:
            # Sections 5.6.2 and 5.6.4: capsules come in order, so no other has overtaken this one.
            raise FlowControlError(f"the limit of {what} goes from {self.limit} to {limit}")
        self.limit = limit
        self._blocked = False

    def check(self, limit: int, what: str) -> None:
        """Whether there can be such a limit.

        Raises:
            FlowControlError: there cannot.
        """
        # Sections 5.6.2 and 5.6.3
        if limit > self._most:
            raise FlowControlError(f"a limit of {limit} {what} is too large")

    def take_blocked(self) -> int | None:
        """The limit that is in the way, once for each."""
        if not self._blocked or self._told == self.limit:
            return None
        self._told = self.limit
        return self.limit


class Window:
    """What the peer is allowed, and how much of it it has used.

    Args:
        size: what it may use before something is given back.
        most: what it can be allowed at all.
    """

    __slots__ = ("_given_back", "_most", "_size", "_wanted", "limit", "used")

    def __init__(self, size: int, most: int = MAX_VARINT) -> None:
        self.limit = size
        self.used = 0
        self._size = size
        self._most = most
        self._given_back = 0
        self._wanted = False

    def use(self, n: int, what: str) -> None:
        """The peer has used some.

        Raises:
            FlowControlError: more than it was allowed.
        """
        self.used += n
        if self.used > self.limit:
            # Sections 5.6.2 and 5.6.4
            raise FlowControlError(f"{self.used} {what} are more than the limit of {self.limit}")

    def give_back(self, n: int) -> None:
        """Some of it is not in use any more."""
        self._given_back += n

    def want(self, limit: int) -> None:
        """A limit is in the way of the peer. It may have used less than that as far as this end can
        see: the rest is on its way, or kept back there by the windows of QUIC."""
        self._wanted = limit >= self.limit

    def take_limit(self) -> int | None:
        """A new limit that the peer should know of.

        Section 5.6: nobody has to ask for it. A quarter of the window at a time, or there would be
        too many capsules; less if the peer has, or wants, no more before that.
        """
        limit = min(self._given_back + self._size, self._most)
        gain = limit - self.limit
        short = self._wanted or self.used >= self.limit
        if gain <= 0 or (gain < self._size // 4 and not short):
            return None
        self.limit = limit
        self._wanted = False
        return limit


class SessionFlow:
    """The limits of one session, both ways, where both ends want them (section 5.1).

    Args:
        ours: what this end has announced.
        theirs: what the peer has.
    """

    def __init__(self, ours: SessionLimits, theirs: SessionLimits) -> None:
        self.data: Final = Credit(theirs.data)
        # By whether they are unidirectional.
        self.streams: Final = (
            Credit(theirs.bidi_streams, MAX_STREAMS),
            Credit(theirs.uni_streams, MAX_STREAMS),
        )
        self._data_window = Window(ours.data)
        self._stream_windows = (
            Window(ours.bidi_streams, MAX_STREAMS),
            Window(ours.uni_streams, MAX_STREAMS),
        )

    # ---- Capsules ----

    def receive(self, kind: int, payload: bytes) -> None:
        """Takes one of `FLOW_CAPSULES`: the peer allows more now, or wants more.

        Raises:
            H3Error: it is malformed.
            FlowControlError: it breaks a rule.
        """
        found = decode_varint(payload)
        if found is None or found[1] != len(payload):
            # RFC 9297 section 3.3
            reason = f"a capsule of type {kind:#x} is not one integer"
            raise H3Error(ErrorCode.H3_MESSAGE_ERROR, reason)
        limit = found[0]
        if kind == _MAX_DATA:
            self.data.raise_to(limit, "data")
        elif kind in _MAX_STREAMS:
            self.streams[_MAX_STREAMS.index(kind)].raise_to(limit, "streams")
        elif kind in _STREAMS_BLOCKED:
            which = _STREAMS_BLOCKED.index(kind)
            self.streams[which].check(limit, "streams")
            self._stream_windows[which].want(limit)
        else:
            self._data_window.want(limit)

    def take_output(self) -> bytes:
        """Capsules for the peer: new limits, and that limits of its are in the way."""
        limits = [(_MAX_DATA, self._data_window.take_limit())]
        for kind, window in zip(_MAX_STREAMS, self._stream_windows, strict=True):
            limits.append((kind, window.take_limit()))
        limits.append((_DATA_BLOCKED, self.data.take_blocked()))
        for kind, credit in zip(_STREAMS_BLOCKED, self.streams, strict=True):
            limits.append((kind, credit.take_blocked()))
        return b"".join(
            encode_capsule(kind, encode_varint(limit))
            for kind, limit in limits
            if limit is not None
        )

    # ---- What the peer sends ----

    def stream_came(self, *, unidirectional: bool) -> None:
        """The peer has opened a stream.

        Raises:
            FlowControlError: it may not.
        """
        self._stream_windows[unidirectional].use(1, "streams")

    def stream_went(self, *, unidirectional: bool) -> None:
        """A stream of the peer is over: it may open another."""
        self._stream_windows[unidirectional].give_back(1)

    def data_came(self, n: int) -> None:
        """Content of streams has come.

        Raises:
            FlowControlError: it is too much.
        """
        self._data_window.use(n, "bytes")

    def data_went(self, n: int) -> None:
        """Content was read, or will never be."""
        self._data_window.give_back(n)


class StreamAccount:
    """What one stream takes of the limits of its session.

    Section 5.4: the header of the stream does not count, and of a stream that was given up, what
    counts is its final size.

    Args:
        flow: the limits.
        sent_header: bytes that this end sends before the content.
        received_header: bytes that the peer does.
    """

    __slots__ = ("_flow", "_received", "_received_header", "_sent", "_sent_header", "open")

    def __init__(
        self, flow: SessionFlow, *, sent_header: int = 0, received_header: int = 0
    ) -> None:
        self._flow = flow
        self._sent_header = sent_header
        self._received_header = received_header
        # Bytes from the beginning of the stream.
        self._sent = 0
        self._received = received_header
        self.open = not sent_header
        """Whether it may be sent on: not while the limit of streams keeps its header back."""

    # ---- Sending ----

    @property
    def left(self) -> int:
        """Bytes that may still be sent in the session."""
        return self._flow.data.left

    def room(self, held: int) -> int:
        """Bytes that may be sent on it now.

        What the transport was given counts, although the windows of QUIC and its limit of streams
        may keep it there. So a stream holds no more of it than it leaves to others, and one that is
        stuck does not stop them.

        Args:
            held: bytes that the transport was given, and the peer's has not.
        """
        if not self.open:
            return 0
        share = max(0, self.left + 1 - held) // 2
        return max(0, self._sent_header - self._sent) + share

    def sent(self, n: int) -> None:
        """So many bytes were given to the transport."""
        self.settle_sent(self._sent + n)

    def settle_sent(self, size: int) -> None:
        """So much of it counts: what the transport was given, or, after a reset, what it sent."""
        header = self._sent_header
        self._flow.data.use(max(size, header) - max(self._sent, header))
        self._sent = size

    # ---- Receiving ----

    def received(self, n: int) -> None:
        """More has come.

        Raises:
            FlowControlError: the session has more than it may.
        """
        self._received += n
        self._flow.data_came(n)

    def settle_received(self, size: int) -> None:
        """It was given up: the peer has sent so much, part of which nobody has seen.

        Raises:
            FlowControlError: the session has more than it may.
        """
        unseen = max(0, size - self._received)
        self.received(unseen)
        self._flow.data_went(unseen)

    def consumed(self, n: int) -> None:
        """Bytes that had come were read, or thrown away."""
        self._flow.data_went(n)
