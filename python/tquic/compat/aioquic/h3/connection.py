"""HTTP/3 over a connection whose events the program passes on."""

from __future__ import annotations

import warnings
from typing import Final, NoReturn

import tquic.h3.connection
from tquic.compat.aioquic.h3.events import (
    DatagramReceived,
    DataReceived,
    H3Event,
    Headers,
    HeadersReceived,
)
from tquic.compat.aioquic.h3.exceptions import NoAvailablePushIDError
from tquic.compat.aioquic.quic.connection import QuicConnection
from tquic.compat.aioquic.quic.events import (
    DatagramFrameReceived,
    QuicEvent,
    StopSendingReceived,
    StreamDataReceived,
    StreamReset,
)
from tquic.h3 import events
from tquic.h3.errors import ErrorCode, H3Error
from tquic.h3.settings import Settings

__all__ = ["H3_ALPN", "ErrorCode", "H3Connection"]

H3_ALPN: Final = ["h3"]
"""The protocol's name in ALPN."""


class H3Connection:
    """HTTP/3 on a connection; give it every event of that.

    Args:
        quic: the connection.
        enable_webtransport: there is no WebTransport here (a warning): clients are not offered it.
    """

    def __init__(self, quic: QuicConnection, enable_webtransport: bool = False) -> None:
        if enable_webtransport:
            warnings.warn("tquic.compat.aioquic.h3 has no WebTransport", UserWarning, stacklevel=2)
        self._quic = quic
        self._is_client = quic.configuration.is_client
        self._datagrams = bool(quic.configuration.max_datagram_frame_size)
        self._h3 = tquic.h3.connection.Connection(
            is_client=self._is_client,
            settings=Settings(
                enable_connect_protocol=not self._is_client, h3_datagram=self._datagrams
            ),
        )
        # Whose head was sent: what follows are trailers.
        self._begun: set[int] = set()
        first = quic.get_next_available_stream_id(is_unidirectional=True)
        self._h3.start(first, first + 4, first + 8)
        self._flush()

    @property
    def received_settings(self) -> dict[int, int] | None:
        """What the peer has announced, once that has come."""
        settings = self._h3.peer_settings
        return None if settings is None else settings.values

    @property
    def sent_settings(self) -> dict[int, int] | None:
        """What this end has announced."""
        return dict(self._h3.settings.pairs())

    def handle_event(self, event: QuicEvent) -> list[H3Event]:
        """Takes an event of the connection; answers what it means for HTTP.

        A peer that breaks the rules has its connection closed, or its stream reset.
        """
        try:
            if isinstance(event, StreamDataReceived):
                found = self._h3.receive(event.stream_id, event.data, event.end_stream)
            elif isinstance(event, StreamReset):
                found = self._h3.receive_reset(event.stream_id, event.error_code)
            elif isinstance(event, StopSendingReceived):
                found = self._h3.receive_stop(event.stream_id, event.error_code)
            elif isinstance(event, DatagramFrameReceived):
                found = self._h3.receive_datagram(event.data)
            else:
                found = []
        except H3Error as error:
            self._quic.close(error_code=error.code, reason_phrase=error.reason)
            return []
        told: list[H3Event] = []
        for one in found:
            self._translate(one, told)
        self._flush()
        return told

    def send_headers(self, stream_id: int, headers: Headers, end_stream: bool = False) -> None:
        """Sends a header section, or, behind content, trailers.

        Raises:
            LocalProtocolError: the message would be malformed.
        """
        h3 = self._h3
        ended = end_stream
        if stream_id in self._begun:
            data, ended = h3.send_trailers(stream_id, headers), True
        elif self._is_client:
            data = h3.send_request(stream_id, headers, end=end_stream)
            self._begun.add(stream_id)
        elif headers and headers[0][1].startswith(b"1"):
            data, ended = h3.send_informational(stream_id, headers), False
        else:
            data = h3.send_response(stream_id, headers, end=end_stream)
            self._begun.add(stream_id)
        self._flush()
        self._send(stream_id, data, ended)

    def send_data(self, stream_id: int, data: bytes, end_stream: bool) -> None:
        """Sends content.

        Raises:
            LocalProtocolError: there was no header section, or it said another size.
        """
        header = self._h3.send_data(stream_id, len(data), end=end_stream)
        self._send(stream_id, header + data, end_stream)

    def send_datagram(self, stream_id: int, data: bytes) -> None:
        """Sends an HTTP datagram that belongs to a request.

        Raises:
            LocalProtocolError: the peer takes none.
        """
        self._quic.send_datagram_frame(self._h3.encode_datagram(stream_id, data))

    def send_push_promise(self, stream_id: int, headers: Headers) -> NoReturn:
        """There are no pushes.

        Raises:
            NoAvailablePushIDError: always.
        """
        raise NoAvailablePushIDError

    # ---- Inside ----

    def _send(self, stream_id: int, data: bytes, end: bool) -> None:
        self._quic.send_stream_data(stream_id, data, end)
        if end:
            self._begun.discard(stream_id)

    def _flush(self) -> None:
        for stream_id, data in self._h3.take_output():
            self._quic.send_stream_data(stream_id, data)

    def _translate(self, event: events.Event, told: list[H3Event]) -> None:
        match event:
            case events.Request(stream_id, fields=fields):
                told.append(HeadersReceived(_pseudo(event) + fields, stream_id, False))
            case events.Response(stream_id, status, fields):
                head = [(b":status", b"%d" % status), *fields]
                told.append(HeadersReceived(head, stream_id, False))
            case events.Informational(stream_id, status, fields):
                head = [(b":status", b"%d" % status), *fields]
                told.append(HeadersReceived(head, stream_id, False))
            case events.Trailers(stream_id, fields):
                told.append(HeadersReceived(fields, stream_id, False))
            case events.Data(stream_id, data):
                told.append(DataReceived(bytes(data), stream_id, False))
            case events.EndOfMessage(stream_id):
                last = told[-1] if told else None
                if isinstance(last, HeadersReceived | DataReceived) and (
                    last.stream_id == stream_id
                ):
                    last.stream_ended = True
                else:
                    told.append(DataReceived(b"", stream_id, True))
            case events.Datagram(stream_id, data):
                told.append(DatagramReceived(data, stream_id))
            case events.StreamFailed(stream_id, code):
                self._give_up(stream_id, code)
            case _:
                pass

    def _give_up(self, stream_id: int, code: int) -> None:
        """A stream error."""
        self._begun.discard(stream_id)
        self._quic.stop_stream(stream_id, code)
        if not stream_id & 2:
            self._quic.reset_stream(stream_id, code)
        self._h3.abandon(stream_id)


def _pseudo(request: events.Request) -> Headers:
    """The pseudo-fields of a request."""
    host = any(name == b"host" for name, _ in request.fields)
    pairs = [
        (b":method", request.method),
        (b":scheme", request.scheme),
        # It may be that of Host, which is there still.
        (b":authority", None if host else request.authority),
        (b":path", request.path),
        (b":protocol", request.protocol),
    ]
    return [(name, value) for name, value in pairs if value is not None]
