"""HTTP/3 without sockets: bytes of streams to events, and actions to bytes (RFC 9114)."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final, TypeVar

from tquic.h3 import _frames
from tquic.h3._codec import decode_varint, encode_frame_header, encode_varint
from tquic.h3._critical import (
    ControlStream,
    Ignored,
    InstructionStream,
    Reader,
    SessionHeader,
    SignalledStream,
    TypedStream,
    closed_critical,
)
from tquic.h3._message import check_trailers, parse_request, parse_response
from tquic.h3._qpack_decoder import Decoder
from tquic.h3._qpack_encoder import Encoder
from tquic.h3._request import (
    Act,
    Receiving,
    RequestStream,
    Sending,
    ServedStream,
    WantedStream,
)
from tquic.h3.errors import ErrorCode, H3Error, LocalProtocolError
from tquic.h3.events import (
    Datagram,
    Event,
    GoAwayReceived,
    PriorityUpdated,
    SessionStream,
    SettingsReceived,
    StreamFailed,
    StreamReset,
    StreamStopped,
)
from tquic.h3.fields import Field
from tquic.h3.prepared import Prepared
from tquic.h3.priority import Priority
from tquic.h3.settings import PeerSettings, Settings, reserved

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Connection"]

T = TypeVar("T")

# What our encoder uses of the table and the patience that the peer offers.
_TABLE_CAPACITY: Final = 16384
_BLOCKED_STREAMS: Final = 100
# Priorities that came before their requests; the oldest make room (RFC 9218 section 7).
_EARLY_PRIORITIES: Final = 64
# The largest ID of a request stream.
_LAST_REQUEST: Final = (1 << 62) - 4
# RFC 9114 section 4.2.2
_FIELD_OVERHEAD: Final = 32
_NO_DEFAULT_PRIORITY: Final = b"u=3"


class Connection:
    """The state of one HTTP/3 connection, for either end; it knows no socket, clock or thread.

    What comes in goes to `receive` and its relatives, which answer with events in their order. They
    raise `H3Error` for what ends the connection: close it with that code. What concerns one stream
    only is the event `StreamFailed`.

    What goes out is answered by the methods that begin with ``send``, as bytes for that request
    stream; they raise `LocalProtocolError` where a rule would be broken, and then nothing has
    changed. After calls of either kind, `take_output` has what goes to other streams.

    The state of a request is dropped when both of its directions have ended.

    Args:
        is_client: which end this is.
        settings: what to announce.
        grease: send reserved values as well, so that peers stay tolerant of new ones.
    """

    def __init__(
        self, *, is_client: bool, settings: Settings | None = None, grease: bool = True
    ) -> None:
        self._is_client = is_client
        self._settings = settings or Settings()
        self._grease = grease
        self._decoder = Decoder(
            self._settings.qpack_max_table_capacity,
            self._settings.qpack_blocked_streams,
            self._settings.max_field_section_size,
        )
        # Uses no table before the peer has offered one.
        self._encoder = Encoder()
        self._requests: dict[int, RequestStream] = {}
        self._readers: dict[int, Reader] = {}
        self._control = ControlStream(is_client)
        # The peer's critical streams that have not come, by type; ours, by ID.
        self._awaited: dict[int, Reader] = {
            _frames.CONTROL_STREAM: self._control,
            _frames.ENCODER_STREAM: InstructionStream("QPACK encoder", self._on_instructions),
            _frames.DECODER_STREAM: InstructionStream("QPACK decoder", self._on_answers),
        }
        self._ours: dict[int, str] = {}
        self._output: list[tuple[int, bytes]] = []
        self._control_id = self._encoder_id = self._decoder_id = -1
        self._priorities: OrderedDict[int, Priority] = OrderedDict()
        self._last_request = -4
        self.goaway_sent: int | None = None
        """The ID in the last GOAWAY that was sent."""
        self.requests = 0
        """Requests that have come, so far."""
        self.resets = 0
        """Requests that the client has given up, so far: a server may set a limit to their rate."""

    # ---- What it is ----

    @property
    def is_client(self) -> bool:
        """Which end this is."""
        return self._is_client

    @property
    def settings(self) -> Settings:
        """What this side announces."""
        return self._settings

    @property
    def peer_settings(self) -> PeerSettings | None:
        """What the peer has announced; `None` until it has."""
        return self._control.settings

    @property
    def session_version(self) -> int:
        """The version of draft-ietf-webtrans-http3 that WebTransport sessions have here: 16, 7 or
        2; 0 if there can be none, or the peer's settings have not come."""
        return self._settings.session_version(self.peer_settings)

    @property
    def goaway_received(self) -> int | None:
        """The ID in the last GOAWAY that came."""
        return self._control.goaway

    @property
    def streams(self) -> int:
        """Requests that have not ended in both directions."""
        return len(self._requests)

    # ---- The other streams ----

    def start(self, control: int, encoder: int, decoder: int) -> None:
        """Begins: these are the IDs of three unidirectional streams that this side has opened."""
        self._control_id, self._encoder_id, self._decoder_id = control, encoder, decoder
        self._ours = {control: "control", encoder: "QPACK encoder", decoder: "QPACK decoder"}
        settings = _frames.encode_frame(
            _frames.SETTINGS, self._settings.payload(grease=self._grease)
        )
        if self._grease:
            # RFC 9114 section 7.2.8
            settings += _frames.encode_frame(reserved(control), b"grease")
        self._output += [
            (control, encode_varint(_frames.CONTROL_STREAM) + settings),
            (encoder, encode_varint(_frames.ENCODER_STREAM)),
            (decoder, encode_varint(_frames.DECODER_STREAM)),
        ]

    def take_output(self) -> list[tuple[int, bytes]]:
        """What is to be written now to the streams of `start`, as (stream ID, bytes)."""
        answers = self._decoder.take_decoder_stream()
        if answers:
            self._output.append((self._decoder_id, answers))
        output = self._output
        if output:
            self._output = []
        return output

    # ---- Receiving ----

    def receive(self, stream_id: int, data: ReadableBuffer, end: bool = False) -> list[Event]:
        """Takes the next bytes of a stream, and whether it ends behind them.

        `Data` events are views of ``data``, which must not change.

        Raises:
            H3Error: the peer broke a rule of the connection.
        """
        events: list[Event] = []
        request = self._requests.get(stream_id)
        if request is not None:
            request.receive(data, end, events)
            if end and request.over:
                del self._requests[stream_id]
            return events
        reader = self._readers.get(stream_id)
        if reader is None:
            if stream_id & 3 == 0:
                if self._is_client:
                    return events
                if not self._settings.webtransport or _begins_with_frame(data):
                    self._on_request(stream_id, events).receive(data, end, events)
                    return events
            reader = self._readers[stream_id] = self._on_stream(stream_id)
        reader.receive(data, end, events)
        if end:
            self._readers.pop(stream_id, None)
        return self._routed(events) if events else events

    def receive_raw(self, stream_id: int, size: int, remaining: int = 0) -> list[Event]:
        """Says that content was read by another way, past `receive`.

        From `place` on, the rest of a DATA frame, and perhaps more DATA frames, were read
        elsewhere. What was read of another frame's header is to be given to `receive` now.

        Args:
            stream_id: the stream.
            size: bytes of content, without the headers of frames.
            remaining: bytes of a DATA frame that still follow, 0 if a new frame does.
        """
        events: list[Event] = []
        request = self._requests.get(stream_id)
        if request is not None:
            request.receive_raw(size, remaining, events)
        return events

    def place(self, stream_id: int) -> tuple[int, bytes] | None:
        """Where the content of a message stands that may be read by another way.

        Bytes to the end of the open DATA frame, and what has come of a frame's header; one of both
        is empty. `None` where no content can follow at once. See `receive_raw`.
        """
        request = self._requests.get(stream_id)
        return None if request is None else request.place

    def receive_reset(self, stream_id: int, code: int) -> list[Event]:
        """The peer gave up sending: RESET_STREAM.

        Raises:
            H3Error: it must not, on this stream.
        """
        reader = self._readers.pop(stream_id, None)
        if reader is not None and stream_id & 3:
            reader.reset()
            return []
        events: list[Event] = []
        request = self._requests.get(stream_id)
        if request is None and not self._is_client and stream_id & 3 == 0:
            request = self._on_request(stream_id, events)
        if request is None:
            return events
        self.resets += 1
        if request.receiving is not Receiving.FAILED:
            # RFC 9204 section 2.2.2.2
            self._decoder.cancel(stream_id)
            events.append(StreamReset(stream_id, code))
        request.receiving = Receiving.ENDED
        self._drop_if_over(request)
        return events

    def receive_stop(self, stream_id: int, code: int) -> list[Event]:
        """The peer wants no more of what this side sends: STOP_SENDING.

        Raises:
            H3Error: it must not, on this stream.
        """
        if stream_id in self._ours:
            raise closed_critical(self._ours[stream_id])
        request = self._requests.get(stream_id)
        if request is None or request.sending is Sending.ENDED:
            return []
        request.sending = Sending.ENDED
        self._drop_if_over(request)
        return [StreamStopped(stream_id, code)]

    def receive_datagram(self, data: bytes) -> list[Event]:
        """Takes a QUIC datagram.

        Those for requests that are not there are dropped, but with `Settings.webtransport`: they
        may be earlier than their sessions.

        Raises:
            H3Error: it belongs to no possible request.
        """
        found = decode_varint(data)
        # RFC 9297 section 2.1
        if found is None or found[0] > _LAST_REQUEST >> 2:
            raise H3Error(ErrorCode.H3_DATAGRAM_ERROR, "a datagram belongs to no possible request")
        quarter, size = found
        stream_id = quarter << 2
        if not self._settings.h3_datagram:
            return []
        if stream_id not in self._requests and not self._settings.webtransport:
            return []
        return [Datagram(stream_id, data[size:])]

    def abandon(self, stream_id: int) -> None:
        """Forgets a request stream that this side has reset and stopped."""
        self._readers.pop(stream_id, None)
        request = self._requests.pop(stream_id, None)
        if request is not None and request.receiving is not Receiving.ENDED:
            self.decline(stream_id)

    def has_begun(self, stream_id: int) -> bool:
        """Whether anything has come of a bidirectional stream that is not over."""
        return stream_id in self._requests or stream_id in self._readers

    def decline(self, stream_id: int) -> None:
        """A request stream was answered without being read: the peer's encoder is told that its
        field section never will be (RFC 9204 section 2.2.2.2)."""
        # An error of the decoder has ended the connection, as `receive` told: nobody listens.
        with contextlib.suppress(H3Error):
            self._decoder.cancel(stream_id)

    def held(self, stream_id: int) -> int:
        """Bytes of a request stream that wait for QPACK, and must not be credited yet."""
        request = self._requests.get(stream_id)
        return 0 if request is None else request.held

    # ---- Sending ----

    def send_request(self, stream_id: int, fields: Iterable[Field], *, end: bool = False) -> bytes:
        """Begins a request on a bidirectional stream that this side has opened.

        Args:
            stream_id: the stream.
            fields: the header section, pseudo-fields first.
            end: nothing follows; finish the stream behind the bytes.

        Raises:
            LocalProtocolError: the request is malformed, or the server takes none any more.
        """
        lines = _lines(fields)
        method, _, _, _, protocol, _, length, _ = _checked(parse_request, lines, True)
        if protocol is not None and not (
            self.peer_settings is not None and self.peer_settings.enable_connect_protocol
        ):
            # RFC 9220 section 3
            raise LocalProtocolError("the server does not take extended CONNECT")
        request = self._new_request(stream_id)
        self._check_size(lines)
        request.act_request(method, length, end=end)
        self._requests[stream_id] = request
        return self._headers(stream_id, lines)

    def send_informational(self, stream_id: int, fields: Iterable[Field]) -> bytes:
        """An interim response: 1xx. ``fields`` begins with ``:status``."""
        lines = _lines(fields)
        status, _, _ = _checked(parse_response, lines)
        request = self._request(stream_id)
        if status >= 200:
            raise LocalProtocolError(f"{status} is no interim status")
        self._check_size(lines)
        request.act(Act.INFORMATIONAL)
        return self._headers(stream_id, lines)

    def send_response(self, stream_id: int, fields: Iterable[Field], *, end: bool = False) -> bytes:
        """The header section of the final response. ``fields`` begins with ``:status``."""
        lines = _lines(fields)
        status, _, length = _checked(parse_response, lines)
        request = self._served(stream_id)
        if status < 200:
            raise LocalProtocolError(f"{status} is an interim status")
        self._check_size(lines)
        request.act_response(status, length, end=end)
        if end:
            self._drop_if_over(request)
        return self._headers(stream_id, lines)

    def send_prepared(self, stream_id: int, prepared: Prepared) -> bytes:
        """A message that was encoded before; finish the stream if `Prepared.ends`."""
        if self._is_client:
            wanted = self._new_request(stream_id)
            wanted.act_prepared(prepared)
            self._requests[stream_id] = wanted
            return prepared.data
        request = self._served(stream_id)
        request.act_prepared(prepared)
        if prepared.ends:
            self._drop_if_over(request)
        return prepared.head if request.method == b"HEAD" else prepared.data

    def send_data(self, stream_id: int, size: int, *, end: bool = False) -> bytes:
        """The header of a DATA frame: ``size`` bytes of content are to be written behind it.

        They may be written in any way. Without content there is no frame: the answer is ``b""``.

        Args:
            stream_id: the stream.
            size: bytes of content.
            end: the message ends behind them; finish the stream then.
        """
        request = self._request(stream_id)
        request.act_data(size, end=end)
        if end:
            self._drop_if_over(request)
        return encode_frame_header(_frames.DATA, size) if size else b""

    def send_trailers(self, stream_id: int, fields: Iterable[Field]) -> bytes:
        """The trailer section, which ends the message: finish the stream behind it."""
        lines = _lines(fields)
        _checked(check_trailers, lines)
        request = self._request(stream_id)
        self._check_size(lines)
        request.act(Act.TRAILERS)
        self._drop_if_over(request)
        return self._headers(stream_id, lines)

    def send_end(self, stream_id: int) -> None:
        """Ends the message: finish the stream."""
        request = self._request(stream_id)
        request.act(Act.END)
        self._drop_if_over(request)

    def send_goaway(self, *, final: bool = True) -> int:
        """Tells the peer that this connection comes to its end (RFC 9114 section 5.2).

        A server first says so without ``final``, then, about a round trip later, with it. Requests
        that come behind are answered with `StreamFailed` and H3_REQUEST_REJECTED. Answers the ID.
        """
        identifier = self._last_request + 4 if final else _LAST_REQUEST
        if self._is_client:
            # A push, of which there are none.
            identifier = 0
        if self.goaway_sent is not None:
            # RFC 9114 section 5.2: it must not grow.
            identifier = min(identifier, self.goaway_sent)
        self.goaway_sent = identifier
        frame = _frames.encode_frame(_frames.GOAWAY, encode_varint(identifier))
        self._output.append((self._control_id, frame))
        return identifier

    def send_priority_update(self, stream_id: int, priority: Priority) -> None:
        """Client: changes its mind on a request (RFC 9218 section 7)."""
        if not self._is_client:
            raise LocalProtocolError("only clients update priorities")
        payload = encode_varint(stream_id) + (priority.encode() or _NO_DEFAULT_PRIORITY)
        frame = _frames.encode_frame(_frames.PRIORITY_UPDATE_REQUEST, payload)
        self._output.append((self._control_id, frame))

    def encode_datagram(self, stream_id: int, data: bytes) -> bytes:
        """The content of a QUIC datagram that belongs to a request (RFC 9297 section 2.1).

        Raises:
            LocalProtocolError: the peer takes none, or the request is not there.
        """
        peer = self.peer_settings
        if peer is None or not peer.h3_datagram:
            raise LocalProtocolError("the peer takes no HTTP datagrams")
        if stream_id not in self._requests:
            raise LocalProtocolError(f"there is no request on stream {stream_id}")
        return encode_varint(stream_id >> 2) + data

    # ---- Inside ----

    def _on_request(self, stream_id: int, events: list[Event]) -> RequestStream:
        """A client begins a request."""
        self.requests += 1
        request = ServedStream(stream_id, self._decoder, self._settings, self._early_priority)
        self._requests[stream_id] = request
        if self.goaway_sent is not None and stream_id >= self.goaway_sent:
            # RFC 9114 section 5.2
            self._reject(request, "the connection comes to its end", events)
        elif stream_id > self._last_request:
            self._last_request = stream_id
        return request

    def _reject(self, request: RequestStream, reason: str, events: list[Event]) -> None:
        request.receiving = Receiving.FAILED
        events.append(StreamFailed(request.id, ErrorCode.H3_REQUEST_REJECTED, reason))

    def _early_priority(self, stream_id: int) -> Priority | None:
        return self._priorities.pop(stream_id, None) if self._priorities else None

    def _on_stream(self, stream_id: int) -> Reader:
        """The peer has opened a stream that carries no request, or may carry none."""
        if stream_id & 2:
            return TypedStream(lambda *found: self._identify(stream_id, *found))
        if stream_id & 1 and not self._settings.webtransport:
            raise _opened_by_server(stream_id)
        return SignalledStream(stream_id, lambda *rest: self._on_no_session(stream_id, *rest))

    def _on_no_session(self, stream_id: int, data: bytes, end: bool, events: list[Event]) -> None:
        """A bidirectional stream belongs to no WebTransport session."""
        if stream_id & 1:
            raise _opened_by_server(stream_id)
        del self._readers[stream_id]
        self._on_request(stream_id, events).receive(data, end, events)

    def _identify(self, stream_id: int, kind: int, size: int, events: list[Event]) -> Reader:
        """The type of a unidirectional stream has come."""
        if kind == _frames.PUSH_STREAM:
            # RFC 9114 sections 4.6 and 6.2.2
            if self._is_client:
                raise H3Error(ErrorCode.H3_ID_ERROR, "a push stream, and no push was allowed")
            raise H3Error(ErrorCode.H3_STREAM_CREATION_ERROR, "a client opened a push stream")
        reader = self._awaited.pop(kind, None)
        if reader is not None:
            return reader
        if kind == _frames.SESSION_STREAM and self._settings.webtransport:
            return SessionHeader(stream_id, size)
        if kind in _CRITICAL:
            # RFC 9114 section 6.2.1, RFC 9204 section 4.2
            reason = f"there is a second stream of type {kind:#x}"
            raise H3Error(ErrorCode.H3_STREAM_CREATION_ERROR, reason)
        # RFC 9114 section 6.2: it is to be given up, or read to nowhere.
        reason = f"streams of type {kind:#x} are of no use here"
        events.append(StreamFailed(stream_id, ErrorCode.H3_STREAM_CREATION_ERROR, reason))
        return Ignored()

    def _on_instructions(self, data: ReadableBuffer, events: list[Event]) -> None:
        """The encoder stream brings entries of the table that streams may wait for."""
        for stream_id in self._decoder.feed_encoder(data):
            request = self._requests.get(stream_id)
            if request is not None:
                request.unblock(events)
                self._drop_if_over(request)

    def _on_answers(self, data: ReadableBuffer, _: list[Event]) -> None:
        self._encoder.feed_decoder(data)

    def _routed(self, events: list[Event]) -> list[Event]:
        """What the control stream says to others than the user."""
        routed: list[Event] = []
        for event in events:
            if type(event) is PriorityUpdated and event.stream_id not in self._requests:
                self._priorities[event.stream_id] = event.priority
                self._priorities.move_to_end(event.stream_id)
                if len(self._priorities) > _EARLY_PRIORITIES:
                    self._priorities.popitem(last=False)
                continue
            routed.append(event)
            if type(event) is SettingsReceived:
                self._use(event.settings)
            elif type(event) is SessionStream:
                self._readers.pop(event.stream_id, None)
            elif type(event) is GoAwayReceived and self._is_client:
                for request in self._requests.values():
                    if request.id >= event.id and request.receiving is not Receiving.FAILED:
                        self._reject(request, "the server has not processed it: GOAWAY", routed)
        return routed

    def _use(self, settings: PeerSettings) -> None:
        """The peer has said what our encoder may do."""
        capacity = min(settings.qpack_max_table_capacity, _TABLE_CAPACITY)
        if capacity:
            blocked = min(settings.qpack_blocked_streams, _BLOCKED_STREAMS)
            self._encoder = Encoder(settings.qpack_max_table_capacity, blocked)
            self._output.append((self._encoder_id, self._encoder.set_capacity(capacity)))

    def _new_request(self, stream_id: int) -> WantedStream:
        if not self._is_client or stream_id & 3:
            raise LocalProtocolError(f"no request can be sent on stream {stream_id}")
        if stream_id in self._requests:
            raise LocalProtocolError(f"there is a request on stream {stream_id} already")
        if self.goaway_received is not None:
            # RFC 9114 section 5.2
            raise LocalProtocolError("the server takes no more requests: GOAWAY")
        return WantedStream(stream_id, self._decoder, self._settings)

    def _request(self, stream_id: int) -> RequestStream:
        request = self._requests.get(stream_id)
        if request is None:
            raise LocalProtocolError(f"there is no request on stream {stream_id}, or it is over")
        return request

    def _served(self, stream_id: int) -> ServedStream:
        request = self._request(stream_id)
        if not isinstance(request, ServedStream):
            raise LocalProtocolError("clients send no responses")
        return request

    def _headers(self, stream_id: int, lines: list[Field]) -> bytes:
        instructions, block = self._encoder.encode(stream_id, lines)
        if instructions:
            self._output.append((self._encoder_id, instructions))
        return _frames.encode_frame(_frames.HEADERS, block)

    def _check_size(self, lines: list[Field]) -> None:
        settings = self._control.settings
        if settings is None or settings.max_field_section_size is None:
            return
        size = sum(len(name) + len(value) + _FIELD_OVERHEAD for name, value in lines)
        if size > settings.max_field_section_size:
            # RFC 9114 section 4.2.2
            limit = settings.max_field_section_size
            raise LocalProtocolError(f"the section has {size} bytes, the peer takes {limit}")

    def _drop_if_over(self, request: RequestStream) -> None:
        if request.over:
            self._requests.pop(request.id, None)


_CRITICAL: Final = frozenset(
    {_frames.CONTROL_STREAM, _frames.ENCODER_STREAM, _frames.DECODER_STREAM}
)


def _begins_with_frame(data: ReadableBuffer) -> bool:
    """Whether a request stream begins with one of the frames of RFC 9114, as nearly all do: their
    types have one byte, and WT_STREAM has two at least."""
    view = memoryview(data)
    return view.nbytes > 0 and view[0] < 0x40


def _opened_by_server(stream_id: int) -> H3Error:
    # RFC 9114 section 6.1
    reason = f"the server opened bidirectional stream {stream_id}"
    return H3Error(ErrorCode.H3_STREAM_CREATION_ERROR, reason)


def _lines(fields: Iterable[Field]) -> list[Field]:
    return fields if type(fields) is list else list(fields)


def _checked(check: Callable[..., T], *arguments: object) -> T:
    """What is to be sent obeys the rules for what is received."""
    try:
        return check(*arguments)
    except H3Error as error:
        raise LocalProtocolError(error.reason) from None
