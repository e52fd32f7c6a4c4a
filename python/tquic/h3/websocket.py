"""WebSocket over HTTP/3 (RFC 9220), for clients. Experimental: names may change.

::

    async with await websocket.open(connection, "/chat") as ws:
        await ws.send("hello")
        print(await ws.receive())
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, Self

from tquic.errors import QuicError, StreamStopped
from tquic.h3._websocket import (
    Close,
    CloseCode,
    FrameReader,
    Ping,
    Pong,
    WebSocketError,
    encode_close,
    encode_message,
    encode_ping,
    encode_pong,
)
from tquic.h3.client import ClientConnection, RequestStream, Response
from tquic.h3.errors import ErrorCode
from tquic.h3.headers import HeadersLike, as_fields

__all__ = ["CloseCode", "WebSocket", "WebSocketClosed", "WebSocketRefused", "open"]

_ORDINARY: Final = frozenset({CloseCode.NORMAL, CloseCode.GOING_AWAY, CloseCode.NO_STATUS})


class WebSocketClosed(QuicError):
    """The other end has closed a WebSocket, or broken its rules.

    Attributes:
        code: see `CloseCode`.
        reason: why, for people.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the WebSocket is closed: {code} {reason}".rstrip())
        self.code = code
        self.reason = reason
        self.by = "peer"


class WebSocketRefused(QuicError):
    """The server does not make a WebSocket there; `status` is its answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the server makes no WebSocket there: status {status}")
        self.status = status
        self.by = "peer"


class WebSocket:
    """Messages both ways: made by `open`. Leaving ``async with`` closes it."""

    def __init__(self, stream: RequestStream, response: Response, max_message: int) -> None:
        self._stream = stream
        self._response = response
        self._frames = FrameReader(masked=False, max_message=max_message)
        self._messages: deque[str | bytes] = deque()
        self._ending: WebSocketClosed | None = None
        self._closing = False

    @property
    def subprotocol(self) -> str | None:
        """What the server has chosen of the subprotocols."""
        return self._response.headers.get("sec-websocket-protocol")

    @property
    def response(self) -> Response:
        """The response that began it: for its fields."""
        return self._response

    async def send(self, message: str | bytes) -> None:
        """Sends a message: text, or bytes.

        Raises:
            WebSocketClosed: it is closed.
            RequestFailed: the server gave it up.
            ConnectionClosed: the connection is over.
        """
        if self._ending is not None:
            raise self._ending
        await self._stream.write(encode_message(message, masked=True))

    async def ping(self, payload: bytes = b"") -> None:
        """Sends a ping of 125 bytes at most; what comes back is not told of."""
        await self._stream.write(encode_ping(payload, masked=True))

    async def receive(self) -> str | bytes:
        """Waits for a message. Pings are answered meanwhile.

        Raises:
            WebSocketClosed: no more will come.
            RequestFailed: the server gave it up.
            ConnectionClosed: the connection is over.
        """
        while not self._messages:
            if self._ending is not None:
                raise self._ending
            await self._read()
        return self._messages.popleft()

    def __aiter__(self) -> Self:
        """The messages until it is closed.

        Raises:
            WebSocketClosed: with a code that is no ordinary end.
        """
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except WebSocketClosed as error:
            if error.code in _ORDINARY:
                raise StopAsyncIteration from None
            raise

    async def close(self, code: int = CloseCode.NORMAL, reason: str = "") -> None:
        """Closes it, and waits until the other end has, too; messages that come are dropped."""
        await self._say_close(code, reason)
        while self._ending is None:
            self._messages.clear()
            await self._read()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._ending is None:
            await self.close()
        else:
            self._response.close()

    async def _read(self) -> None:
        """Takes what comes next."""
        data = await self._response.read_chunk()
        if not data:
            # RFC 6455 section 7.1.5: without a closing frame.
            self._end(CloseCode.ABNORMAL, "it ended without a closing frame")
            return
        try:
            events = self._frames.feed(data)
        except WebSocketError as error:
            await self._say_close(error.code, str(error))
            self._end(error.code, str(error))
            return
        for event in events:
            if isinstance(event, Ping):
                await self._stream.write(encode_pong(event.payload, masked=True))
            elif isinstance(event, Close):
                # RFC 6455 section 5.5.1: answered with the same code, if there is one.
                await self._say_close(event.code, "")
                self._end(event.code, event.reason)
            elif not isinstance(event, Pong):
                self._messages.append(event)

    async def _say_close(self, code: int, reason: str) -> None:
        if self._closing:
            return
        if code == CloseCode.NO_STATUS:
            code = CloseCode.NORMAL
        frame = encode_close(code, reason, masked=True)
        self._closing = True
        try:
            await self._stream.write(frame)
            await self._stream.finish()
        except StreamStopped as error:
            # The server does not want to know.
            if error.code != ErrorCode.H3_NO_ERROR:
                raise

    def _end(self, code: int, reason: str) -> None:
        self._ending = WebSocketClosed(code, reason)


async def open(
    connection: ClientConnection,
    url: str,
    *,
    subprotocols: Sequence[str] = (),
    headers: HeadersLike | None = None,
    max_message: int = 16 << 20,
) -> WebSocket:
    """Makes a WebSocket on a connection.

    Args:
        connection: any number of WebSockets and requests may run on it.
        url: an https URL, or relative to that of the connection.
        subprotocols: names, best first; `WebSocket.subprotocol` is the server's choice.
        headers: more fields, such as Origin.
        max_message: bytes of the largest message that is taken. Default 16 MiB.

    Raises:
        WebSocketRefused: the server makes none there.
        LocalProtocolError: it does not announce extended CONNECT (RFC 9220 section 3).
        RequestFailed: the server gave it up.
        ConnectionClosed: the connection is over.
    """
    fields = [*as_fields(headers), (b"sec-websocket-version", b"13")]
    if subprotocols:
        fields.append((b"sec-websocket-protocol", ", ".join(subprotocols).encode()))
    stream = await connection.open("CONNECT", url, headers=fields, protocol="websocket")
    try:
        response = await stream.response()
    except BaseException:
        stream.cancel()
        raise
    if not 200 <= response.status < 300:
        response.close()
        raise WebSocketRefused(response.status)
    return WebSocket(stream, response, max_message)
