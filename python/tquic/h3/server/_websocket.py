"""WebSockets of ASGI applications, over extended CONNECT (RFC 9220)."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from tquic.h3._websocket import (
    Close,
    CloseCode,
    FrameReader,
    Ping,
    Pong,
    WebSocketError,
    encode_close,
    encode_message,
    encode_pong,
)
from tquic.h3.server._answer import Line, date_line
from tquic.h3.server._exchange import Disconnected, Exchange
from tquic.h3.server._fields import Fields

__all__ = ["WebSocketExchange"]

_Message = MutableMapping[str, Any]


class WebSocketExchange:
    """The messages of one WebSocket."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._reader = FrameReader(masked=True)
        self._inbox: deque[str | bytes] = deque()
        self._asked = False
        self._accepted = False
        # A response other than a WebSocket: its status and fields, until its body comes.
        self._denial: tuple[int, list[Line]] | None = None
        # Whether this side has sent its last frame, and how the peer ended.
        self._closed = False
        self._ending: tuple[int, str] | None = None

    async def run(self, app: Callable[..., Awaitable[None]], scope: _Message) -> None:
        """Calls the application; ends the WebSocket if it does not."""
        fields = Fields(self._exchange.request.fields)
        # RFC 6455 section 4.2.1, RFC 8441 section 5
        if fields.first(b"sec-websocket-version") != b"13":
            self._exchange.refuse(400, (b"sec-websocket-version", b"13"))
            return
        protocols = (fields.joined(b"sec-websocket-protocol") or b"").decode("latin-1")
        scope["subprotocols"] = [name.strip() for name in protocols.split(",") if name.strip()]
        try:
            await app(scope, self._receive, self._send)
        except Disconnected:
            raise
        except Exception:
            self._end(CloseCode.INTERNAL_ERROR)
            raise
        self._end(CloseCode.NORMAL)

    def _end(self, code: CloseCode) -> None:
        """The application has returned."""
        exchange = self._exchange
        if exchange.error is not None or exchange.ended:
            return
        if not self._accepted:
            exchange.refuse(403 if code is CloseCode.NORMAL else 500)
        elif not self._closed:
            self._close(code, "")
        else:
            exchange.finish()

    # ---- To the application ----

    async def _receive(self) -> _Message:
        if not self._asked:
            self._asked = True
            return {"type": "websocket.connect"}
        while not self._inbox:
            if self._ending is None:
                await self._read()
            if self._ending is not None and not self._inbox:
                code, reason = self._ending
                return {"type": "websocket.disconnect", "code": code, "reason": reason}
        message = self._inbox.popleft()
        kind = "text" if isinstance(message, str) else "bytes"
        return {"type": "websocket.receive", kind: message}

    async def _read(self) -> None:
        try:
            chunk = await self._exchange.read()
            if not chunk:
                # RFC 6455 section 7.1.5: the end without a closing frame.
                self._ending = (CloseCode.ABNORMAL, "")
                return
            for frame in self._reader.feed(chunk):
                self._on_frame(frame)
        except WebSocketError as error:
            self._ending = (error.code, error.reason)
            with contextlib.suppress(Disconnected):
                self._close(error.code, error.reason)
        except Disconnected:
            self._ending = (CloseCode.ABNORMAL, "")

    def _on_frame(self, frame: str | bytes | Ping | Pong | Close) -> None:
        if isinstance(frame, str | bytes):
            self._inbox.append(frame)
        elif isinstance(frame, Ping):
            if not self._closed:
                self._exchange.send_body(encode_pong(frame.payload, masked=False))
        elif isinstance(frame, Close):
            self._ending = (frame.code, frame.reason)
            if not self._closed:
                self._close(frame.code, frame.reason)

    # ---- From the application ----

    async def _send(self, message: _Message) -> None:
        handler = self._messages.get(message["type"])
        if handler is None:
            raise ValueError(f"{message['type']} is no message of a WebSocket")
        if self._exchange.error is not None:
            raise self._exchange.error.with_traceback(None)
        await handler(self, message)

    async def _on_accept(self, message: _Message) -> None:
        if self._accepted or self._exchange.status:
            raise RuntimeError("the WebSocket was accepted or refused already")
        lines: list[Line] = [date_line()]
        if subprotocol := message.get("subprotocol"):
            lines.append((b"sec-websocket-protocol", subprotocol.encode()))
        lines += [(bytes(n).lower(), bytes(v)) for n, v in message.get("headers", ())]
        self._accepted = True
        self._exchange.send_head(200, lines)

    async def _on_send(self, message: _Message) -> None:
        if not self._accepted or self._closed:
            raise RuntimeError("the WebSocket is not open")
        data = message.get("bytes")
        content: str | bytes = message["text"] if data is None else bytes(data)
        self._exchange.send_body(encode_message(content, masked=False))
        await self._exchange.drain()

    async def _on_close(self, message: _Message) -> None:
        if not self._accepted:
            self._exchange.refuse(403)
        elif not self._closed:
            code = message.get("code")
            reason = message.get("reason") or ""
            self._close(CloseCode.NORMAL if code is None else code, reason)

    async def _on_denial(self, message: _Message) -> None:
        if self._accepted or self._exchange.status or self._denial is not None:
            raise RuntimeError("the WebSocket was accepted or refused already")
        lines = [(bytes(n).lower(), bytes(v)) for n, v in message.get("headers", ())]
        self._denial = (message["status"], [date_line(), *lines])

    async def _on_denial_body(self, message: _Message) -> None:
        body: bytes = message.get("body", b"")
        ends = not message.get("more_body", False)
        if self._denial is not None:
            (status, lines), self._denial = self._denial, None
            self._exchange.send_whole(status, lines, body, end=ends)
        elif self._exchange.status and not self._accepted:
            self._exchange.send_body(body, end=ends)
        else:
            raise RuntimeError("websocket.http.response.start comes first")
        await self._exchange.drain()

    _messages: Final = {
        "websocket.accept": _on_accept,
        "websocket.send": _on_send,
        "websocket.close": _on_close,
        "websocket.http.response.start": _on_denial,
        "websocket.http.response.body": _on_denial_body,
    }

    def _close(self, code: int, reason: str) -> None:
        """Sends the last frame, and the end of the stream (RFC 9220 section 3 by way of RFC 8441
        section 5: FIN stands for the end of the TCP connection)."""
        frame = encode_close(code, reason, masked=False)
        self._closed = True
        self._exchange.send_body(frame, end=True)
