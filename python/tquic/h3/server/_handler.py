"""Answers requests with an ``async`` function."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from tquic.h3.headers import Headers, HeadersLike, as_fields
from tquic.h3.server._answer import Line, date_line
from tquic.h3.server._exchange import Exchange
from tquic.h3.server._head import RequestHead
from tquic.h3.server._media import content_type

__all__ = ["Handler", "HandlerResponder", "Request", "Response"]


class Request(RequestHead):
    """A request, as a handler sees it."""

    @property
    def method(self) -> str:
        """The method, such as ``"GET"``."""
        return self._event.method.decode("ascii")

    @property
    def scheme(self) -> str:
        """Mostly ``"https"``."""
        return (self._event.scheme or b"").decode("ascii")

    @property
    def early(self) -> bool:
        """Whether it came as early data, which an attacker may have replayed. Requests other than
        GET, HEAD and OPTIONS that do are refused with status 425."""
        return self._exchange.early

    @property
    def trailers(self) -> Headers | None:
        """Fields behind the body, once that was read to its end; `None` if there are none."""
        lines = self._exchange.trailers
        return None if lines is None else Headers(lines)

    async def read(self) -> bytes:
        """The whole body, of at most `Limits.body_size` bytes.

        Raises:
            OSError: the client gave up.
        """
        return b"".join([chunk async for chunk in self])

    async def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        """The body in pieces as they come.

        Raises:
            OSError: the client gave up.
        """
        while chunk := await self._exchange.read():
            yield chunk

    def send_informational(self, status: int, headers: HeadersLike) -> None:
        """Sends an interim response, such as 103 (Early Hints, RFC 8297).

        Raises:
            OSError: the client gave up.
        """
        self._exchange.send_informational(status, as_fields(headers))

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.target}>"


@dataclass(slots=True)
class Response:
    """What a handler answers.

    ``Content-Length``, ``Date`` and, if there is a body, ``Content-Type`` are added where they are
    missing and known.
    """

    body: bytes | str | Path | AsyncIterable[bytes] = b""
    """Text is sent as UTF-8; a path stands for a file, which the engine sends; pieces that come one
    after the other are sent as they come, with back-pressure."""
    status: int = 200
    """Status code, 200 to 599."""
    headers: HeadersLike | None = None
    """More fields."""
    trailers: HeadersLike | None = None
    """Fields behind a body that comes in pieces."""


Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
"""Answers one request. What it raises is logged and answered with status 500; it is cancelled if
the client gives up."""


class HandlerResponder:
    """Has a handler answer."""

    cancels = True
    protocols: frozenset[bytes] = frozenset()

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def respond(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        return self._respond(exchange)

    async def start(self) -> None:
        """Nothing has to be done before."""

    async def stop(self) -> None:
        """Nothing has to be done behind."""

    async def _respond(self, exchange: Exchange) -> None:
        response = await self._handler(Request(exchange))
        body = response.body
        if isinstance(body, str):
            body = body.encode()
        lines = as_fields(response.headers)
        names = {name for name, _ in lines}
        if b"date" not in names:
            lines.append(date_line())
        if isinstance(body, bytes):
            if response.status not in (204, 304) and b"content-length" not in names:
                lines.append((b"content-length", b"%d" % len(body)))
            if body and b"content-type" not in names:
                text = isinstance(response.body, str)
                lines.append((b"content-type", _TEXT if text else _BYTES))
            exchange.send_whole(response.status, lines, body, end=True)
            await exchange.drain()
        elif isinstance(body, Path):
            await _send_file(exchange, response, body, lines, names)
        else:
            await _send_pieces(exchange, response, body, lines)


_TEXT = b"text/plain; charset=utf-8"
_BYTES = b"application/octet-stream"


async def _send_file(
    exchange: Exchange, response: Response, path: Path, lines: list[Line], names: set[bytes]
) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        if b"content-length" not in names:
            lines.append((b"content-length", b"%d" % size))
        if b"content-type" not in names:
            lines.append((b"content-type", content_type(path.name)))
        exchange.send_head(response.status, lines, end=not size or exchange.head)
        if size and not exchange.head:
            exchange.send_parts([(descriptor, 0, size)], size, end=True)
    finally:
        os.close(descriptor)
    await exchange.pumped()


async def _send_pieces(
    exchange: Exchange, response: Response, body: AsyncIterable[bytes], lines: list[Line]
) -> None:
    exchange.send_head(response.status, lines, end=exchange.head)
    if exchange.head:
        return
    async for piece in body:
        exchange.send_body(piece)
        await exchange.drain()
    if response.trailers:
        exchange.send_trailers(as_fields(response.trailers))
    else:
        exchange.finish()
