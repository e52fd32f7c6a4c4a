"""HTTP/0.9 over QUIC, the protocol of interoperability tests: one request for each stream.

A request is a line, ``GET /path``; the answer is what the stream brings until it ends.
"""

from __future__ import annotations

from typing import Final

from tquic.compat.aioquic.h3.events import DataReceived, H3Event, Headers, HeadersReceived
from tquic.compat.aioquic.quic.connection import QuicConnection
from tquic.compat.aioquic.quic.events import QuicEvent, StreamDataReceived

__all__ = [
    "H0_ALPN",
    "DataReceived",
    "H0Connection",
    "H3Event",
    "Headers",
    "HeadersReceived",
]

H0_ALPN: Final = ["hq-interop"]
"""The protocol's name in ALPN."""

# The longest request line that is waited for, in bytes.
_LONGEST_REQUEST: Final = 65_536


class H0Connection:
    """HTTP/0.9 on a connection, either side. Turns its events into HTTP events."""

    def __init__(self, quic: QuicConnection) -> None:
        self._quic = quic
        self._is_client = quic.configuration.is_client
        # Requests that have not come to the end of their line.
        self._requests: dict[int, bytes] = {}
        # Streams whose `HeadersReceived` was told.
        self._begun: set[int] = set()

    def handle_event(self, event: QuicEvent) -> list[H3Event]:
        """What an event of the connection means for HTTP.

        Raises:
            ValueError: the request is not one of HTTP/0.9.
        """
        # Only what clients open carries requests.
        if not isinstance(event, StreamDataReceived) or event.stream_id % 4:
            return []
        number, data, events = event.stream_id, event.data, list[H3Event]()
        if number not in self._begun:
            headers: Headers = []
            if not self._is_client:
                line = self._requests.pop(number, b"") + data
                if not line.endswith(b"\r\n") and not event.end_stream:
                    if len(line) > _LONGEST_REQUEST:
                        raise ValueError("the request line is too long")
                    self._requests[number] = line
                    return []
                headers, data = _parse(line), b""
            self._begun.add(number)
            events.append(HeadersReceived(headers=headers, stream_id=number, stream_ended=False))
        events.append(DataReceived(data=data, stream_id=number, stream_ended=event.end_stream))
        if event.end_stream:
            self._begun.discard(number)
        return events

    def send_headers(self, stream_id: int, headers: Headers, end_stream: bool = False) -> None:
        """Client: sends a request from its ``:method`` and ``:path``. Server: sends nothing."""
        line = b""
        if self._is_client:
            fields = dict(headers)
            line = b"%b %b\r\n" % (fields[b":method"], fields[b":path"])
        self._quic.send_stream_data(stream_id, line, end_stream)

    def send_data(self, stream_id: int, data: bytes, end_stream: bool) -> None:
        """Sends bytes of a body."""
        self._quic.send_stream_data(stream_id, data, end_stream)


def _parse(line: bytes) -> Headers:
    method, space, path = line.rstrip().partition(b" ")
    if not space:
        raise ValueError("a request of HTTP/0.9 has a method and a path")
    return [(b":method", method), (b":path", path)]
