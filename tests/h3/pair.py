"""Two ends of an HTTP/3 connection, joined without a network."""

from __future__ import annotations

from collections.abc import Callable

from tquic.h3 import Connection, ErrorCode, H3Error, Settings
from tquic.h3._codec import encode_frame_header, encode_varint
from tquic.h3.events import Event
from tquic.h3.qpack import encode_static

Field = tuple[bytes, bytes]

GET: list[Field] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"example.com"),
    (b":path", b"/"),
]
POST: list[Field] = [(b":method", b"POST"), *GET[1:]]
OK: list[Field] = [(b":status", b"200")]

DATA, HEADERS, CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID = 0, 1, 3, 4, 5, 7, 13
PRIORITY_UPDATE = 0xF0700


def frame(kind: int, payload: bytes = b"") -> bytes:
    return encode_frame_header(kind, len(payload)) + payload


def headers(fields: list[Field]) -> bytes:
    return frame(HEADERS, encode_static(fields))


def settings(*pairs: tuple[int, int]) -> bytes:
    payload = b"".join(encode_varint(number) + encode_varint(value) for number, value in pairs)
    return frame(SETTINGS, payload)


def control(content: bytes) -> bytes:
    """The bytes of a control stream."""
    return b"\x00" + content


class Ends:
    """A client and a server that have each other's SETTINGS."""

    def __init__(
        self, client: Settings | None = None, server: Settings | None = None, *, meet: bool = True
    ) -> None:
        self.client = Connection(is_client=True, settings=client)
        self.server = Connection(is_client=False, settings=server)
        self.client.start(2, 6, 10)
        self.server.start(3, 7, 11)
        if meet:
            self.exchange()

    def exchange(self) -> list[Event]:
        """Carries everything that is on the critical streams; what both ends tell."""
        events: list[Event] = []
        while True:
            there, back = self.client.take_output(), self.server.take_output()
            if not there and not back:
                return events
            for stream_id, data in there:
                events += self.server.receive(stream_id, data)
            for stream_id, data in back:
                events += self.client.receive(stream_id, data)

    def request(self, fields: list[Field] = GET, *, stream_id: int = 0, end: bool = True) -> None:
        """A request that the server has received."""
        data = self.client.send_request(stream_id, fields, end=end)
        self.exchange()
        self.server.receive(stream_id, data, end)


class Attacked:
    """One end, whose peer is written by hand."""

    def __init__(self, *, is_client: bool, settings: Settings | None = None) -> None:
        self.connection = Connection(is_client=is_client, settings=settings, grease=False)
        own = 2 if is_client else 3
        self.connection.start(own, own + 4, own + 8)
        self.is_client = is_client
        # The first of the peer's unidirectional streams.
        self.uni = 3 if is_client else 2

    def begun(self) -> Attacked:
        """The same, with the peer's control stream and a request under way."""
        self.connection.receive(self.uni, control(settings()))
        if self.is_client:
            self.connection.send_request(0, POST)
        return self

    @property
    def head(self) -> bytes:
        """A message's header section that the peer may send."""
        return headers(OK if self.is_client else POST)


def code_of(act: Callable[[], object]) -> ErrorCode:
    """Of the connection error that something must raise."""
    try:
        act()
    except H3Error as error:
        assert error.reason
        return error.code
    raise AssertionError("nothing was raised")
