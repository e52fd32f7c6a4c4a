"""A client's connection to one server, and requests on it."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, Self, TypeAlias, TypeVar, cast
from urllib.parse import urljoin, urlsplit

import tquic.connection
from tquic import _engine
from tquic._hub import Hub
from tquic._opening import Opening
from tquic._wait import Home
from tquic.client import plan
from tquic.config import Config
from tquic.engine import Engine
from tquic.errors import StreamStopped
from tquic.h3._methods import Methods
from tquic.h3._session_client import (
    begin,
    check_server,
    client_settings,
    session_fields,
    session_token,
)
from tquic.h3._sessions import Session
from tquic.h3._wire import ALPN, Exchange, Wire
from tquic.h3.errors import ErrorCode, LocalProtocolError, RequestFailed
from tquic.h3.events import Response as ResponseHead
from tquic.h3.fields import Field
from tquic.h3.headers import Headers, HeadersLike, as_fields
from tquic.h3.priority import Priority
from tquic.h3.settings import PeerSettings, Settings
from tquic.tls import TlsContext, settled

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, StrPath

__all__ = ["ClientConnection", "Content", "Origin", "RequestStream", "Response", "connect"]

Piece: TypeAlias = bytes | bytearray | memoryview
Content: TypeAlias = Piece | str | os.PathLike[str] | Iterable[Piece] | AsyncIterable[Piece] | None
"""What a request carries: bytes, text (UTF-8), a file by its path, or pieces as they are made."""

# RFC 9110 section 9.2.1: what may be sent as early data (RFC 8470), and again.
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
# RFC 9110 section 8.6: a method that expects content says that there is none.
_WITH_CONTENT: Final = frozenset({"POST", "PUT", "PATCH"})
# RFC 8470 section 5.2
_TOO_EARLY: Final = 425
_USER_AGENT: Final = f"tquic/{_engine.__version__}".encode()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where requests of one kind go (RFC 9110 section 4.3.1)."""

    host: str
    port: int = 443

    @classmethod
    def of(cls, url: str) -> Origin:
        """That of a URL. Only https is spoken (RFC 9114 sections 3.1.2 and 3.2).

        Raises:
            ValueError: it is no https URL.
        """
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError(f"{url!r} is no https URL with a host")
        return cls(parts.hostname, parts.port or 443)

    @property
    def authority(self) -> str:
        """Host and port, as in :authority."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == 443 else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Its root."""
        return f"https://{self.authority}/"


class Response:
    """The response to a request: its header section has come, its content is read from it.

    Read it to its end, or `close` it; leaving ``async with`` does that, too. Content that nobody
    reads waits at the server, as far as flow control holds it there.
    """

    def __init__(self, exchange: Exchange, head: ResponseHead, method: str, url: str) -> None:
        self._exchange = exchange
        self.status: Final = head.status
        """The status code."""
        self.headers: Final = Headers(head.fields)
        """Its fields."""
        self.content_length: Final = head.content_length
        """What Content-Length says; `None` if it is not there."""
        self.informational: Final = tuple(exchange.informational)
        """Interim responses that came before it: each has ``status`` and ``fields``."""
        self.method: Final = method
        """The request's method."""
        self.url: Final = url
        """The request's URL."""

    def __repr__(self) -> str:
        return f"<Response {self.status} of {self.method} {self.url}>"

    @property
    def stream_id(self) -> int:
        """Its stream."""
        return self._exchange.id

    @property
    def received(self) -> int:
        """Bytes of content that were read."""
        return self._exchange._in.position

    @property
    def trailers(self) -> Headers | None:
        """The trailer section, once the content was read to its end, if there is one."""
        fields = self._exchange.trailers
        return Headers(fields) if fields is not None and self._exchange.at_eof() else None

    async def read(self, n: int = -1) -> bytes:
        """Reads up to `n` bytes of content, at least one; all if `n` is negative. ``b""``: the end.

        Raises:
            RequestFailed: the server gave it up, or the response is malformed.
            ConnectionClosed: the connection ended before it.
        """
        return await self._exchange.read(n)

    async def read_chunk(self, n: int = -1) -> bytes | memoryview:
        """Reads a piece as it came, not copied; see `tquic.Stream.read_chunk`."""
        return await self._exchange.read_chunk(n)

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        """The pieces of the content up to its end."""
        return self._exchange.__aiter__()

    async def recv_to_file(self, path: StrPath, *, offset: int = 0) -> int:
        """Writes the content to a file, from `offset` on; answers how many bytes.

        The file is made if it is not there; what it holds from `offset` on is replaced.

        Raises:
            OSError: the file cannot be written.
            RequestFailed: the server gave it up, or the response is malformed.
            ConnectionClosed: the connection ended before it.
        """
        return await self._exchange.recv_to_file(path, offset=offset)

    def close(self) -> None:
        """Gives the rest up, if there is one; returns at once."""
        if not self._exchange._over:
            self._exchange.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()


class RequestStream:
    """A request whose content is being written; made by `ClientConnection.open`.

    Leaving ``async with`` gives up what has not ended.
    """

    def __init__(self, exchange: Exchange, method: str, url: str) -> None:
        self._exchange = exchange
        self._method = method
        self._url = url

    @property
    def stream_id(self) -> int:
        """Its stream."""
        return self._exchange.id

    async def write(self, data: ReadableBuffer) -> None:
        """Sends content; waits until the engine has taken it.

        Raises:
            LocalProtocolError: it is more than Content-Length says, or the request has ended.
            StreamStopped: the server wants no more of it; there may be a `response` already.
            ConnectionClosed: the connection is over.
        """
        await self._exchange.send_content(data)

    async def finish(self, trailers: HeadersLike | None = None) -> None:
        """Ends the request, with trailers if there are any."""
        if trailers is None:
            self._exchange.send_end()
        else:
            await self._exchange.send_trailers(as_fields(trailers))

    async def response(self) -> Response:
        """Waits for the response, which may come before the request has ended.

        Raises:
            RequestFailed: the server gave the request up, or the response is malformed.
            ConnectionClosed: the connection ended before.
        """
        head = await self._exchange.wait_head()
        return Response(self._exchange, cast(ResponseHead, head), self._method, self._url)

    def cancel(self) -> None:
        """Gives the request up; returns at once."""
        self._exchange.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self._exchange._over:
            self._exchange.cancel()


class ClientConnection(Methods):
    """An HTTP/3 connection to one server: made by `connect`. Any number of requests may run on it.

    URLs may be relative to the one that was given to `connect`. Leaving ``async with`` closes it.
    """

    _wire_type: ClassVar[type[Wire]] = Wire

    def __init__(self, wire: Wire, url: str) -> None:
        self._wire = wire
        self._url = url
        self._origin = Origin.of(url)

    @property
    def quic(self) -> tquic.connection.Connection:
        """The QUIC connection: for its facts, statistics, `ping` and migration. Its streams are in
        use already."""
        return self._wire

    @property
    def peer_settings(self) -> PeerSettings | None:
        """The server's SETTINGS, once they have come."""
        return self._wire.h3.peer_settings

    @property
    def available(self) -> bool:
        """Whether it takes requests: it is not over, and no GOAWAY has come."""
        return not self._wire.closed and self._wire.h3.goaway_received is None

    @property
    def requests(self) -> int:
        """Requests that run: their responses have not come whole."""
        return self._wire.h3.streams

    def __repr__(self) -> str:
        return f"<HTTP/3 {self._wire!r}>"

    # ---- Requests ----

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: HeadersLike | None = None,
        content: Content = None,
        trailers: HeadersLike | None = None,
        priority: Priority | None = None,
    ) -> Response:
        """Sends a request, and waits for the header section of its response.

        Redirects are not followed. If it is cancelled, the request is given up.

        Args:
            method: such as ``"GET"``.
            url: absolute, or relative to that of the connection.
            headers: fields. User-Agent, Accept and Content-Length are there by themselves.
            content: bytes, text, a path (sent without Python), or an iterable of pieces.
            trailers: fields behind the content.
            priority: how urgent the response is (RFC 9218).

        Raises:
            RequestFailed: the server gave the request up, or the response is malformed.
            LocalProtocolError: the request is malformed.
            ConnectionClosed: the connection is over.
            OSError: the file cannot be read.
        """
        while True:
            await self._ready_for(method)
            response = await self._request(method, url, headers, content, trailers, priority)
            early = response.status == _TOO_EARLY and response._exchange.early
            if not early or not is_repeatable(content):
                return response
            response.close()
            await self._wire.wait_connected()

    async def open(
        self,
        method: str,
        url: str,
        *,
        headers: HeadersLike | None = None,
        protocol: str | None = None,
        priority: Priority | None = None,
    ) -> RequestStream:
        """Begins a request whose content follows piece by piece, while the response is read.

        Args:
            method: such as ``"POST"``.
            url: see `request`.
            headers: see `request`; without Content-Length the content has any size.
            protocol: makes an extended CONNECT for it (RFC 9220); the server must announce that.
            priority: see `request`.
        """
        await self._ready_for(method)
        if protocol is not None:
            await self._wait_settings()
        url = urljoin(self._url, url)
        fields = _request_fields(method, url, headers, priority, protocol)
        return RequestStream(self._begin(fields, end=False), method, url)

    async def webtransport(
        self,
        url: str,
        *,
        protocols: Sequence[str] = (),
        headers: HeadersLike | None = None,
        priority: Priority | None = None,
    ) -> Session:
        """Makes a WebTransport session; experimental, see `tquic.h3.webtransport`.

        Any number of sessions and requests may run on the connection, as far as the server takes
        them. It is used with ``async with``, or closed.

        Args:
            url: absolute, or relative to that of the connection.
            protocols: names of application protocols, best first; `Session.protocol` is the
                server's choice.
            headers: more fields, such as Origin.
            priority: see `request`.

        Raises:
            SessionRefused: the server makes none there.
            LocalProtocolError: the server takes no sessions, or one of the ends no datagrams.
            RequestFailed: the server gave the request up; it may have as many sessions as it takes.
            ConnectionClosed: the connection is over.
        """
        await self._ready_for("CONNECT")
        await self._wait_settings()
        check_server(self._wire)
        more = [*as_fields(headers), *session_fields(self._wire, protocols)]
        url = urljoin(self._url, url)
        fields = _request_fields("CONNECT", url, more, priority, session_token(self._wire))
        return await begin(self._begin(fields, end=False), protocols)

    # ---- The end ----

    def close(self) -> None:
        """Closes the connection, and returns at once; requests that run fail."""
        self._wire.close()

    async def wait_closed(self) -> None:
        """Waits until the connection is over."""
        await self._wire.wait_closed()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        await self.wait_closed()

    # ---- Inside ----

    async def _ready_for(self, method: str) -> None:
        """Only what may be sent twice is sent as early data (RFC 8470 section 4)."""
        if not self._wire.connected and method not in SAFE:
            await self._wire.wait_connected()
        if self._wire.h3.goaway_received is not None:
            reason = "the server takes no more requests here: GOAWAY"
            raise RequestFailed(ErrorCode.H3_REQUEST_REJECTED, reason, by="peer")

    async def _wait_settings(self) -> None:
        while self._wire.h3.peer_settings is None:
            self._wire._check_open()
            await self._wire._news.wait()

    async def _request(
        self,
        method: str,
        url: str,
        headers: HeadersLike | None,
        content: Content,
        trailers: HeadersLike | None,
        priority: Priority | None,
    ) -> Response:
        url = urljoin(self._url, url)
        fields = _request_fields(method, url, headers, priority, None)
        size = _size_of(content, method)
        if size is not None and not any(name == b"content-length" for name, _ in fields):
            fields.append((b"content-length", b"%d" % size))
        end = not size and trailers is None and (size == 0 or content is None)
        exchange = self._begin(fields, end=end)
        try:
            if not end:
                # The server may have said all that it wants to without it.
                with contextlib.suppress(StreamStopped):
                    await _send(exchange, content, trailers)
            head = await exchange.wait_head()
        except BaseException:
            exchange.cancel()
            raise
        return Response(exchange, cast(ResponseHead, head), method, url)

    def _begin(self, fields: list[Field], *, end: bool) -> Exchange:
        exchange = self._wire.open_exchange()
        try:
            exchange.send_request(fields, end=end)
        except LocalProtocolError:
            exchange.cancel()
            raise
        return exchange


async def _send(exchange: Exchange, content: Content, trailers: HeadersLike | None) -> None:
    """Sends content and the end of a request."""
    end = trailers is None
    if isinstance(content, str):
        await exchange.send_content(content.encode(), end=end)
    elif isinstance(content, bytes | bytearray | memoryview):
        await exchange.send_content(content, end=end)
    elif isinstance(content, os.PathLike):
        if not end:
            raise LocalProtocolError("trailers cannot follow a file")
        await exchange.send_content_file(content)
    else:
        if isinstance(content, AsyncIterable):
            async for piece in content:
                await exchange.send_content(piece)
        elif content is not None:
            for piece in content:
                await exchange.send_content(piece)
        if end:
            exchange.send_end()
    if trailers is not None:
        await exchange.send_trailers(as_fields(trailers))


def is_repeatable(content: Content) -> bool:
    """Whether it can be sent again."""
    return content is None or isinstance(
        content, bytes | bytearray | memoryview | str | os.PathLike | tuple | list
    )


def _size_of(content: Content, method: str) -> int | None:
    """Its size in bytes; `None` if it is not known, or there is none to be told."""
    if content is None:
        return 0 if method in _WITH_CONTENT else None
    if isinstance(content, str):
        return len(content.encode())
    if isinstance(content, bytes | bytearray):
        return len(content)
    if isinstance(content, memoryview):
        return content.nbytes
    if isinstance(content, os.PathLike):
        return os.stat(content).st_size  # noqa: PTH116 - a path of any kind
    return None


def _request_fields(
    method: str,
    url: str,
    headers: HeadersLike | None,
    priority: Priority | None,
    protocol: str | None,
) -> list[Field]:
    """The header section of a request, pseudo-fields first."""
    parts = urlsplit(url)
    fields = as_fields(headers)
    host = next((value for name, value in fields if name == b"host"), None)
    if host is None:
        host = Origin.of(url).authority.encode("idna" if not url.isascii() else "ascii")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines: list[Field] = [(b":method", method.encode())]
    if method == "CONNECT" and protocol is None:
        lines.append((b":authority", host))
    else:
        lines += [
            (b":scheme", b"https"),
            (b":authority", host),
            (b":path", path.encode("ascii")),
        ]
    if protocol is not None:
        lines.append((b":protocol", protocol.encode()))
    lines += [(name, value) for name, value in fields if name != b"host"]
    names = {name for name, _ in fields}
    if b"user-agent" not in names:
        lines.append((b"user-agent", _USER_AGENT))
    if b"accept" not in names:
        lines.append((b"accept", b"*/*"))
    if priority is not None and (value := priority.encode()):
        lines.append((b"priority", value))
    return lines


ClientConnectionT = TypeVar("ClientConnectionT", bound=ClientConnection)


@dataclass(frozen=True)
class Establishing:
    """What to connect to, and how; for a home of any kind."""

    url: str
    config: Config
    settings: Settings
    address: tuple[str, int] | None = None
    local: str | tuple[str, int] | None = None
    interface: str | None = None

    async def connect(self, home: Home, kind: type[ClientConnectionT]) -> ClientConnectionT:
        """Makes a connection of a kind that lives at `home`."""
        origin = Origin.of(self.url)
        config = self.config.replace(
            alpn=(ALPN,), server_name=self.config.server_name or origin.host
        )
        host, port = self.address or (origin.host, origin.port)
        # With early data, the first request need not wait for the handshake.
        wait = not (config.early_data and config.session_store is not None)
        how = plan(host, port, config, self.local, self.interface, wait)
        make = functools.partial(kind._wire_type, settings=self.settings)
        return kind(await how.connect(home, make), self.url)


def establishing(
    url: str,
    config: Config | None,
    tls: TlsContext | None,
    settings: Settings | None,
    address: tuple[str, int] | None,
    local: str | tuple[str, int] | None,
    interface: str | None,
) -> Establishing:
    """What the arguments of a `connect` mean, whatever the home.

    Raises:
        ValueError: it is no https URL.
        ConfigError: a setting cannot be used.
    """
    Origin.of(url)
    config = settled(config, tls, server_side=False)
    announced = client_settings(config, settings)
    return Establishing(url, config, announced, address, local, interface)


class Connecting(Opening[ClientConnection]):
    """What `connect` answers: ``await`` it, or use it with ``async with``."""

    def __init__(self, establishing: Establishing, engine: Engine | None) -> None:
        self._establishing = establishing
        self._engine = engine

    async def _open(self) -> ClientConnection:
        return await self._establishing.connect(Hub.current(self._engine), ClientConnection)


def connect(
    url: str,
    *,
    config: Config | None = None,
    tls: TlsContext | None = None,
    settings: Settings | None = None,
    engine: Engine | None = None,
    address: tuple[str, int] | None = None,
    local: str | tuple[str, int] | None = None,
    interface: str | None = None,
) -> Connecting:
    """Connects to the server of a URL::

        async with tquic.h3.connect("https://example.com/") as c:
            response = await c.get("/index.html")
            print(response.status, await response.read())

    ``c = await tquic.h3.connect(...)`` works as well; then close it with `ClientConnection.close`.

    Args:
        url: its scheme is https; requests may be relative to it.
        config: settings; `Config.alpn` is ``("h3",)`` here whatever it says. With
            `Config.early_data` and a `Config.session_store`, safe requests are sent as early data.
        tls: TLS settings, which come before those in `config`.
        settings: what the server is told of this client (SETTINGS), such as
            `Settings.session_limits`. Default: WebTransport with `SessionLimits()`, where `config`
            has what it needs.
        engine: threads to use. Default: those of the process.
        address: host and port to connect to instead of those of the URL.
        local: numeric address (and port) to send from.
        interface: network interface to send through; only together with `local`.

    Raises:
        ValueError: it is no https URL.
        ConnectionClosed: the handshake failed; the subclass says how.
        ConfigError: a setting cannot be used.
        OSError: the name is not known, or the local address is not ours.
    """
    how = establishing(url, config, tls, settings, address, local, interface)
    return Connecting(how, engine)
