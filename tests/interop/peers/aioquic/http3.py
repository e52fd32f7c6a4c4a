"""HTTP/3 in both roles."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import SplitResult

from aioquic.asyncio import QuicConnectionProtocol
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.events import ConnectionTerminated, QuicEvent


class Http3(QuicConnectionProtocol):
    """What both roles need: whole messages by their streams."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self._fields: dict[int, dict[bytes, bytes]] = {}
        self._content: dict[int, bytearray] = {}

    def quic_event_received(self, event: QuicEvent) -> None:
        """Passes everything to aioquic's HTTP/3."""
        if isinstance(event, ConnectionTerminated):
            self.on_end(event)
        for told in self.http.handle_event(event):
            self._on_http(told)

    def _on_http(self, event: H3Event) -> None:
        if isinstance(event, HeadersReceived):
            self._fields.setdefault(event.stream_id, dict(event.headers))
        elif isinstance(event, DataReceived):
            self._content.setdefault(event.stream_id, bytearray()).extend(event.data)
        else:
            return
        if event.stream_ended:
            content = bytes(self._content.pop(event.stream_id, b""))
            self.on_message(event.stream_id, self._fields.pop(event.stream_id), content)

    def on_message(self, stream_id: int, fields: dict[bytes, bytes], content: bytes) -> None:
        """A message has come whole."""
        raise NotImplementedError

    def on_end(self, event: ConnectionTerminated) -> None:
        """The connection is over."""


class Http3Client(Http3):
    """Fetches files."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}

    async def fetch(self, url: SplitResult) -> bytes:
        """The content of a URL."""
        stream_id = self._quic.get_next_available_stream_id()
        self._waiting[stream_id] = self._loop.create_future()
        fields = {":method": "GET", ":scheme": "https", ":authority": url.netloc, ":path": url.path}
        pairs = [(name.encode(), value.encode()) for name, value in fields.items()]
        self.http.send_headers(stream_id, pairs, end_stream=True)
        self.transmit()
        return await self._waiting[stream_id]

    def on_message(self, stream_id: int, fields: dict[bytes, bytes], content: bytes) -> None:
        """A response."""
        waiter = self._waiting.pop(stream_id)
        if fields[b":status"] == b"200":
            waiter.set_result(content)
        else:
            waiter.set_exception(ConnectionError(f"status {fields[b':status']!r}"))

    def on_end(self, event: ConnectionTerminated) -> None:
        """Nothing more comes."""
        for waiter in self._waiting.values():
            waiter.set_exception(ConnectionError(f"closed with error {event.error_code:#x}"))
        self._waiting.clear()


class Http3Server(Http3):
    """Serves the files of a folder."""

    def __init__(self, *args: object, root: Path, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._root = root

    def on_message(self, stream_id: int, fields: dict[bytes, bytes], content: bytes) -> None:
        """A request."""
        path = (self._root / fields[b":path"].decode().lstrip("/")).resolve()
        if path.parent != self._root or not path.is_file():
            self.http.send_headers(stream_id, [(b":status", b"404")], end_stream=True)
        else:
            answer = path.read_bytes()
            size = str(len(answer)).encode()
            self.http.send_headers(stream_id, [(b":status", b"200"), (b"content-length", size)])
            self.http.send_data(stream_id, answer, end_stream=True)
        self.transmit()
