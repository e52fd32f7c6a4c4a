"""The blocking twin of the client of `tquic.h3`: the same names without ``await``::

    with tquic.sync.h3.connect("https://example.com/", timeout=10) as c:
        response = c.get("/index.html")
        print(response.status, response.read())

What waits does so for `timeout` seconds at most and raises `TimeoutError` then. Threads may share a
connection or a client.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import tquic.h3.client
import tquic.h3.pool
from tquic.config import Config
from tquic.engine import Engine
from tquic.h3.client import Content, establishing
from tquic.h3.events import Informational
from tquic.h3.headers import Headers, HeadersLike
from tquic.h3.priority import Priority
from tquic.h3.settings import PeerSettings, Settings
from tquic.sync._home import Threads
from tquic.sync.stream import _checked
from tquic.sync.webtransport import Session
from tquic.tls import TlsContext

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, StrPath

__all__ = ["Client", "ClientConnection", "RequestStream", "Response", "connect"]

T = TypeVar("T")


class _Waiting:
    """Something that runs coroutines in the calling thread."""

    def __init__(self, home: Threads, timeout: float | None) -> None:
        self._home = home
        self._timeout = timeout

    def settimeout(self, timeout: float | None) -> None:
        """Sets for how long its methods wait, in seconds; `None` is for ever."""
        self._timeout = _checked(timeout)

    def gettimeout(self) -> float | None:
        """For how long its methods wait; see `settimeout`."""
        return self._timeout

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._home.run(work, self._timeout)

    def _call(self, call: Callable[[], None]) -> None:
        with self._home.lock:
            call()


class Response(_Waiting):
    """The response to a request; see `tquic.h3.Response`."""

    def __init__(
        self, home: Threads, inner: tquic.h3.client.Response, timeout: float | None
    ) -> None:
        super().__init__(home, timeout)
        self._inner = inner

    @property
    def status(self) -> int:
        """The status code."""
        return self._inner.status

    @property
    def headers(self) -> Headers:
        """Its fields."""
        return self._inner.headers

    @property
    def content_length(self) -> int | None:
        """What Content-Length says; `None` if it is not there."""
        return self._inner.content_length

    @property
    def informational(self) -> tuple[Informational, ...]:
        """Interim responses that came before it."""
        return self._inner.informational

    @property
    def method(self) -> str:
        """The request's method."""
        return self._inner.method

    @property
    def url(self) -> str:
        """The request's URL."""
        return self._inner.url

    @property
    def stream_id(self) -> int:
        """Its stream."""
        return self._inner.stream_id

    @property
    def trailers(self) -> Headers | None:
        """The trailer section, once the content was read to its end, if there is one."""
        return self._inner.trailers

    def __repr__(self) -> str:
        return repr(self._inner)

    def read(self, n: int = -1) -> bytes:
        """Reads up to `n` bytes of content, at least one; all if `n` is negative. ``b""``: the end.

        Raises:
            TimeoutError: nothing came (or not the end). Nothing is lost.
            RequestFailed: the server gave it up, or the response is malformed.
            ConnectionClosed: the connection ended before it.
        """
        return self._run(self._inner.read(n))

    def read_chunk(self, n: int = -1) -> bytes | memoryview:
        """Reads a piece as it came, not copied; see `tquic.Stream.read_chunk`."""
        return self._run(self._inner.read_chunk(n))

    def __iter__(self) -> Iterator[bytes | memoryview]:
        """The pieces of the content up to its end."""
        while chunk := self.read_chunk():
            yield chunk

    def recv_to_file(self, path: StrPath, *, offset: int = 0) -> int:
        """Writes the content to a file; see `tquic.h3.Response.recv_to_file`."""
        return self._run(self._inner.recv_to_file(path, offset=offset))

    def close(self) -> None:
        """Gives the rest up, if there is one; returns at once."""
        self._call(self._inner.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RequestStream(_Waiting):
    """A request whose content is being written; see `tquic.h3.RequestStream`."""

    def __init__(
        self, home: Threads, inner: tquic.h3.client.RequestStream, timeout: float | None
    ) -> None:
        super().__init__(home, timeout)
        self._inner = inner

    @property
    def stream_id(self) -> int:
        """Its stream."""
        return self._inner.stream_id

    def write(self, data: ReadableBuffer) -> None:
        """Sends content; waits until the engine has taken it.

        Raises:
            TimeoutError: the engine has not taken all of it; the rest stays queued.
            StreamStopped: the server wants no more of it; there may be a `response` already.
            ConnectionClosed: the connection is over.
        """
        self._run(self._inner.write(data))

    def finish(self, trailers: HeadersLike | None = None) -> None:
        """Ends the request, with trailers if there are any."""
        self._run(self._inner.finish(trailers))

    def response(self) -> Response:
        """Waits for the response, which may come before the request has ended."""
        return Response(self._home, self._run(self._inner.response()), self._timeout)

    def cancel(self) -> None:
        """Gives the request up; returns at once."""
        self._call(self._inner.cancel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._run(self._inner.__aexit__())


class _Requests(_Waiting):
    """What a connection and a client have in common."""

    def __init__(
        self,
        home: Threads,
        requests: tquic.h3.client.ClientConnection | tquic.h3.pool.Client,
        timeout: float | None,
    ) -> None:
        super().__init__(home, timeout)
        self._requests = requests

    def request(
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

        See `tquic.h3.ClientConnection.request`; ``content`` cannot be an async iterable.

        Raises:
            TimeoutError: it took too long; the request was given up.
            RequestFailed: the server gave the request up, or the response is malformed.
            LocalProtocolError: the request is malformed.
            ConnectionClosed: the connection is over.
            OSError: the file cannot be read.
        """
        work = self._requests.request(
            method, url, headers=headers, content=content, trailers=trailers, priority=priority
        )
        return Response(self._home, self._run(work), self._timeout)

    def get(
        self, url: str, *, headers: HeadersLike | None = None, priority: Priority | None = None
    ) -> Response:
        """GET; see `request`."""
        return self.request("GET", url, headers=headers, priority=priority)

    def head(self, url: str, *, headers: HeadersLike | None = None) -> Response:
        """HEAD; see `request`."""
        return self.request("HEAD", url, headers=headers)

    def post(
        self, url: str, content: Content = None, *, headers: HeadersLike | None = None
    ) -> Response:
        """POST; see `request`."""
        return self.request("POST", url, headers=headers, content=content)

    def put(
        self, url: str, content: Content = None, *, headers: HeadersLike | None = None
    ) -> Response:
        """PUT; see `request`."""
        return self.request("PUT", url, headers=headers, content=content)

    def delete(self, url: str, *, headers: HeadersLike | None = None) -> Response:
        """DELETE; see `request`."""
        return self.request("DELETE", url, headers=headers)


class ClientConnection(_Requests):
    """An HTTP/3 connection to one server: made by `connect`; see `tquic.h3.ClientConnection`."""

    def __init__(
        self, home: Threads, inner: tquic.h3.client.ClientConnection, timeout: float | None
    ) -> None:
        super().__init__(home, inner, timeout)
        self._inner = inner

    @property
    def available(self) -> bool:
        """Whether it takes requests: it is not over, and no GOAWAY has come."""
        return self._inner.available

    @property
    def peer_settings(self) -> PeerSettings | None:
        """The server's SETTINGS, once they have come."""
        return self._inner.peer_settings

    def __repr__(self) -> str:
        return repr(self._inner)

    def open(
        self,
        method: str,
        url: str,
        *,
        headers: HeadersLike | None = None,
        protocol: str | None = None,
        priority: Priority | None = None,
    ) -> RequestStream:
        """Begins a request whose content follows; see `tquic.h3.ClientConnection.open`."""
        work = self._inner.open(method, url, headers=headers, protocol=protocol, priority=priority)
        return RequestStream(self._home, self._run(work), self._timeout)

    def webtransport(
        self,
        url: str,
        *,
        protocols: Sequence[str] = (),
        headers: HeadersLike | None = None,
        priority: Priority | None = None,
    ) -> Session:
        """Makes a WebTransport session; see `tquic.h3.ClientConnection.webtransport`.

        Raises:
            TimeoutError: there was no answer; the request was given up.
        """
        work = self._inner.webtransport(
            url, protocols=protocols, headers=headers, priority=priority
        )
        return Session(self._home, self._run(work), self._timeout)

    def close(self) -> None:
        """Closes the connection, and returns at once; requests that run fail."""
        self._call(self._inner.close)

    def wait_closed(self) -> None:
        """Waits until the connection is over."""
        self._run(self._inner.wait_closed())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        self.wait_closed()


class _Pool(tquic.h3.pool.Client):
    """The client itself, at home with threads."""

    def __init__(
        self,
        home: Threads,
        config: Config | None,
        tls: TlsContext | None,
        settings: Settings | None,
        max_connections: int,
    ) -> None:
        super().__init__(config=config, tls=tls, settings=settings, max_connections=max_connections)
        self._home = home


class Client(_Requests):
    """Sends requests to any server; see `tquic.h3.Client`::

        with tquic.sync.h3.Client(timeout=10) as client:
            print(client.get("https://example.com/").read())

    Args:
        config: settings.
        tls: TLS settings, which come before those in `config`.
        settings: what servers are told of this client; see `tquic.h3.connect`.
        engine: threads to use. Default: those of the process.
        max_connections: connections that are kept. Default 100.
        timeout: seconds that it waits at most. Default for ever.
    """

    def __init__(
        self,
        *,
        config: Config | None = None,
        tls: TlsContext | None = None,
        settings: Settings | None = None,
        engine: Engine | None = None,
        max_connections: int = 100,
        timeout: float | None = None,
    ) -> None:
        home = Threads(engine)
        inner = _Pool(home, config, tls, settings, max_connections)
        super().__init__(home, inner, _checked(timeout))
        self._inner = inner

    def close(self) -> None:
        """Closes all connections; requests that run fail."""
        self._run(self._inner.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


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
    timeout: float | None = None,
) -> ClientConnection:
    """Connects to the server of a URL; see `tquic.h3.connect`.

    Args:
        url: its scheme is https; requests may be relative to it.
        config: settings.
        tls: TLS settings, which come before those in `config`.
        settings: what the server is told of this client; see `tquic.h3.connect`.
        engine: threads to use. Default: those of the process.
        address: host and port to connect to instead of those of the URL.
        local: numeric address (and port) to send from.
        interface: network interface to send through; only together with `local`.
        timeout: seconds that this, and everything on the connection, waits at most. Default for
            ever.

    Raises:
        TimeoutError: the timeout, or that of the handshake, has passed.
        ValueError: it is no https URL.
        ConnectionClosed: the handshake failed; the subclass says how.
        ConfigError: a setting cannot be used.
        OSError: the name is not known, or the local address is not ours.
    """
    how = establishing(url, config, tls, settings, address, local, interface)
    home = Threads(engine)
    patience = _checked(timeout)
    inner = home.run(how.connect(home, tquic.h3.client.ClientConnection), patience)
    return ClientConnection(home, inner, patience)
