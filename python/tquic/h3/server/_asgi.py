"""Answers requests with an ASGI 3 application."""

from __future__ import annotations

import asyncio
import base64
import importlib
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable, MutableMapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast
from urllib.parse import unquote_to_bytes

from tquic.errors import ConfigError
from tquic.h3._webtransport import PROTOCOLS
from tquic.h3.fields import joined_cookies
from tquic.h3.server._answer import Line, date_line
from tquic.h3.server._exchange import Exchange
from tquic.h3.server._sessions import SessionRequest, run
from tquic.h3.server._websocket import WebSocketExchange

if TYPE_CHECKING:
    from tquic.h3.server._connection import ServerConnection

__all__ = ["AsgiResponder", "load"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_logger = logging.getLogger("tquic.h3.server")

# Versions of the specification that messages follow.
_ASGI: Final = {"version": "3.0", "spec_version": "2.5"}
_LIFESPAN: Final = {"version": "3.0", "spec_version": "2.0"}

# Numbers of the cipher suites (RFC 8446 appendix B.4), for the TLS extension.
_SUITES: Final = {
    "TLS_AES_128_GCM_SHA256": 0x1301,
    "TLS_AES_256_GCM_SHA384": 0x1302,
    "TLS_CHACHA20_POLY1305_SHA256": 0x1303,
}
_TLS_1_3: Final = 0x0304


def load(name: str) -> App:
    """The application that ``module:attribute`` names; the current folder is looked in, too.

    Raises:
        ConfigError: there is none.
    """
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name and not module_name.startswith(f"{error.name}."):
            raise
        raise ConfigError(f"there is no module {module_name}") from None
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"the module {module_name} has no {attribute}")
        found = getattr(found, part)
    if not callable(found):
        raise ConfigError(f"{name} cannot be called: an ASGI application can")
    return cast("App", found)


class AsgiResponder:
    """Has an ASGI application answer.

    Args:
        app: the application.
        root_path: under which path it is mounted. Default none.
    """

    # Applications are told by a message.
    cancels = False

    def __init__(self, app: App, *, root_path: str = "") -> None:
        self._app = app
        self.protocols = frozenset({b"websocket"})
        self._root_path = root_path
        self._state: dict[str, Any] = {}
        self._lifespan = _Lifespan(app, self._state)

    def take_sessions(self) -> None:
        """The application is given WebTransport sessions as well."""
        self.protocols |= PROTOCOLS

    async def start(self) -> None:
        """The application starts.

        Raises:
            ConfigError: it says that it cannot.
        """
        await self._lifespan.start()

    async def stop(self) -> None:
        """The application ends."""
        await self._lifespan.stop()

    def respond(self, exchange: Exchange) -> Coroutine[Any, Any, None]:
        if exchange.request.protocol is not None:
            return self._tunnel(exchange)
        return _Http(exchange).run(self._app, self._scope(exchange))

    def _scope(self, exchange: Exchange) -> Scope:
        """RFC 3986 paths and raw bytes as the specification wants them."""
        request = exchange.request
        raw_path, _, query = (request.path or b"/").partition(b"?")
        connection = exchange.connection
        path = raw_path.decode("latin-1")
        if "%" in path or not path.isascii():
            path = unquote_to_bytes(raw_path).decode("utf-8", "replace")
        headers = joined_cookies(request.fields)
        if request.authority is not None:
            # RFC 9114 section 4.3.1: the pseudo-field stands for it.
            host = (b"host", request.authority)
            headers = [host, *(line for line in headers if line[0] != b"host")]
        return {
            "type": "http",
            "asgi": _ASGI,
            "http_version": "3",
            "method": request.method.decode("latin-1").upper(),
            "scheme": (request.scheme or b"https").decode("latin-1"),
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": self._root_path,
            "headers": headers,
            "client": connection.remote_address,
            "server": connection.local_address,
            "state": self._state.copy(),
            "extensions": _extensions(connection),
        }

    async def _tunnel(self, exchange: Exchange) -> None:
        """Extended CONNECT (RFC 9220)."""
        scope = self._scope(exchange)
        del scope["method"]
        tls = scope["extensions"]["tls"]
        if exchange.request.protocol in PROTOCOLS:
            # Nothing is agreed on among servers: the name says whose this is.
            scope["type"] = "webtransport"

            async def call(request: SessionRequest) -> None:
                scope["extensions"] = {"tquic.webtransport": {"request": request}, "tls": tls}
                await self._app(scope, _nothing_comes, _nothing_goes)

            await run(exchange, call)
            return
        scope["type"] = "websocket"
        scope["scheme"] = "wss"
        scope["extensions"] = {"websocket.http.response": {}, "tls": tls}
        await WebSocketExchange(exchange).run(self._app, scope)


async def _nothing_comes() -> Message:
    raise RuntimeError("a WebTransport session has no messages: use its request")


async def _nothing_goes(_: Message) -> None:
    await _nothing_comes()


class _Http:
    """The messages of one request."""

    __slots__ = ("_complete", "_exchange", "_head", "_taken", "_trailers")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        # The request's body was given to the application.
        self._taken = False
        # Status and fields that wait for the first piece of the body.
        self._head: tuple[int, list[Line]] | None = None
        self._trailers = False
        self._complete = False

    async def run(self, app: App, scope: Scope) -> None:
        """Calls the application, and answers for it if it does not."""
        await app(scope, self._receive, self._send)
        exchange = self._exchange
        if exchange.error is None and not exchange.ended:
            path = scope["path"]
            _logger.error("the application has not completed its response to %s", path)
            exchange.refuse(500)

    async def _receive(self) -> Message:
        exchange = self._exchange
        if self._taken or self._complete:
            await exchange.wait_end()
            return {"type": "http.disconnect"}
        try:
            chunk = await exchange.read()
        except OSError:
            return {"type": "http.disconnect"}
        self._taken = exchange.at_end()
        return {"type": "http.request", "body": bytes(chunk), "more_body": not self._taken}

    async def _send(self, message: Message) -> None:
        handler = self._messages.get(message["type"])
        if handler is None:
            raise ValueError(f"{message['type']} is no message of an HTTP response")
        if self._exchange.error is not None:
            # Since version 2.4 of the specification.
            raise self._exchange.error.with_traceback(None)
        await handler(self, message)

    async def _on_start(self, message: Message) -> None:
        if self._head is not None or self._exchange.status:
            raise RuntimeError("http.response.start was sent already")
        lines = _lines(message.get("headers", ()))
        if all(line[0] != b"date" for line in lines):
            lines.append(date_line())
        self._head = (message["status"], lines)
        self._trailers = bool(message.get("trailers", False))

    async def _on_body(self, message: Message) -> None:
        exchange = self._exchange
        body: bytes = message.get("body", b"")
        last = not message.get("more_body", False)
        ends = last and not self._trailers
        self._check_open()
        self._complete = last
        if self._head is not None:
            (status, lines), self._head = self._head, None
            exchange.send_whole(status, lines, body, end=ends)
        else:
            exchange.send_body(body, end=ends)
        if exchange.full:
            await exchange.drain()

    async def _on_path(self, message: Message) -> None:
        descriptor = os.open(message["path"], os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            await self._send_file(descriptor, 0, size, last=True)
        finally:
            os.close(descriptor)

    async def _on_zero_copy(self, message: Message) -> None:
        file = message["file"]
        descriptor = file if isinstance(file, int) else file.fileno()
        offset = message.get("offset")
        if offset is None:
            offset = os.lseek(descriptor, 0, os.SEEK_CUR)
        left = max(os.fstat(descriptor).st_size - offset, 0)
        count = message.get("count")
        size = left if count is None else min(count, left)
        await self._send_file(descriptor, offset, size, last=not message.get("more_body", False))

    async def _send_file(self, descriptor: int, offset: int, size: int, *, last: bool) -> None:
        exchange = self._exchange
        self._check_open()
        if self._head is not None:
            (status, lines), self._head = self._head, None
            exchange.send_head(status, lines)
        await exchange.drain()
        self._complete = last
        ends = last and not self._trailers
        exchange.send_parts([(descriptor, offset, size)], size, end=ends)
        await exchange.pumped()

    async def _on_trailers(self, message: Message) -> None:
        if not self._trailers or not self._complete:
            raise RuntimeError("trailers were not announced, or the body is not complete")
        self._exchange.send_trailers(_lines(message.get("headers", ())))

    async def _on_early_hint(self, message: Message) -> None:
        # RFC 8297
        self._exchange.send_informational(103, [(b"link", bytes(x)) for x in message["links"]])

    def _check_open(self) -> None:
        if self._complete:
            raise RuntimeError("the response is complete already")
        if self._head is None and not self._exchange.status:
            raise RuntimeError("http.response.start comes first")

    _messages: Final = {
        "http.response.start": _on_start,
        "http.response.body": _on_body,
        "http.response.pathsend": _on_path,
        "http.response.zerocopysend": _on_zero_copy,
        "http.response.trailers": _on_trailers,
        "http.response.early_hint": _on_early_hint,
    }


# RFC 9114 section 4.2: fields of HTTP/1.1's connections, which applications add by habit.
_CONNECTION_SPECIFIC: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)


def _lines(headers: Iterable[Iterable[bytes]]) -> list[Line]:
    lines = []
    for name, value in headers:
        lower = bytes(name).lower()
        if lower not in _CONNECTION_SPECIFIC:
            lines.append((lower, bytes(value)))
    return lines


def _extensions(connection: ServerConnection) -> dict[str, dict[str, Any]]:
    """What of the optional parts of the specification is there; the same for all requests of a
    connection, once its handshake is complete."""
    found = connection.extensions
    if found is not None:
        return found
    found = {
        "http.response.trailers": {},
        "http.response.early_hint": {},
        "http.response.pathsend": {},
        "http.response.zerocopysend": {},
        "tls": {},
    }
    if connection.connected:
        info = connection.info
        found["tls"] = {
            "server_cert": None,
            "client_cert_chain": [_pem(der) for der in info.peer_certificates],
            "client_cert_name": None,
            "client_cert_error": None,
            "tls_version": _TLS_1_3,
            "cipher_suite": _SUITES.get(info.cipher),
        }
        connection.extensions = found
    return found


def _pem(der: bytes) -> str:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE-----\n{body}-----END CERTIFICATE-----\n"


class _Lifespan:
    """The messages with which an application is started and stopped."""

    def __init__(self, app: App, state: dict[str, Any]) -> None:
        self._app = app
        self._state = state
        self._task: asyncio.Task[None] | None = None
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._outbox: asyncio.Queue[Message] = asyncio.Queue()

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run())
        message = await self._ask("startup")
        if message is not None and message["type"] == "lifespan.startup.failed":
            await self._task
            why = message.get("message") or "it does not say why"
            raise ConfigError(f"the application cannot start: {why}")

    async def stop(self) -> None:
        if self._task is None or self._task.done():
            return
        message = await self._ask("shutdown")
        if message is not None and message["type"] == "lifespan.shutdown.failed":
            _logger.error("the application could not shut down: %s", message.get("message", ""))
        await self._task

    async def _ask(self, what: str) -> Message | None:
        """The application's answer; `None` if it knows no such messages."""
        assert self._task is not None
        self._inbox.put_nowait({"type": f"lifespan.{what}"})
        answer = asyncio.create_task(self._outbox.get())
        await asyncio.wait({answer, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        answer.cancel()
        return None

    async def _run(self) -> None:
        scope: Scope = {"type": "lifespan", "asgi": _LIFESPAN, "state": self._state}
        try:
            await self._app(scope, self._inbox.get, self._send)
        except Exception as error:
            # The specification: then it has no use for these messages.
            _logger.debug("the application does without lifespan messages", exc_info=error)

    async def _send(self, message: Message) -> None:
        self._outbox.put_nowait(message)
