"""HTTP/3 for httpx::

    async with httpx.AsyncClient(transport=tquic.httpx.AsyncTransport()) as client:
        print((await client.get("https://example.com/")).text)

    with httpx.Client(transport=tquic.httpx.Transport()) as client:
        print(client.get("https://example.com/").text)

Needs ``pip install tquic[httpx]``. The transports speak HTTP/3 and nothing else; httpx follows
redirects, keeps cookies and decodes content as always. `AsyncTransport` needs asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, Final

import httpx

import tquic.h3.client
import tquic.h3.pool
import tquic.sync.h3
from tquic.config import Config
from tquic.engine import Engine
from tquic.errors import QuicError
from tquic.h3.errors import LocalProtocolError, RequestFailed
from tquic.h3.fields import Field
from tquic.tls import TlsContext

__all__ = ["AsyncTransport", "Transport"]

# RFC 9114 section 4.2: they belong to HTTP/1.1, and httpx puts some of them in.
_NOT_SENT: Final = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)


class AsyncTransport(httpx.AsyncBaseTransport):
    """A transport for `httpx.AsyncClient`, in asyncio.

    The timeouts of httpx apply: ``connect`` to a new connection, ``write`` to each piece that a
    request is made of, ``read`` to what comes.

    Args:
        config: settings.
        tls: TLS settings, which come before those in `config`.
        engine: threads to use. Default: those of the process.
        max_connections: connections that are kept, one for each origin. Default 100.
    """

    def __init__(
        self,
        *,
        config: Config | None = None,
        tls: TlsContext | None = None,
        engine: Engine | None = None,
        max_connections: int = 100,
    ) -> None:
        self._client = tquic.h3.pool.Client(
            config=config, tls=tls, engine=engine, max_connections=max_connections
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request; httpx calls it."""
        limits = _limits(request)
        url = _url(request)
        with _translated(request, httpx.ConnectTimeout, httpx.ConnectError):
            async with asyncio.timeout(limits.get("connect")):
                await self._client.connection(url)
        with _translated(request, httpx.ReadTimeout, httpx.ReadError):
            async with asyncio.timeout(limits.get("read")) as patience:
                content: tquic.h3.client.Content
                if isinstance(request.stream, httpx.ByteStream):
                    content = b"".join(request.stream) or None
                else:
                    assert isinstance(request.stream, httpx.AsyncByteStream)
                    content = _written(request.stream, patience, limits)
                response = await self._client.request(
                    request.method, url, headers=_fields(request), content=content
                )
        return httpx.Response(
            response.status,
            headers=response.headers.fields,
            stream=_AsyncContent(request, response),
            extensions=_extensions(response.stream_id),
        )

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._client.close()


async def _written(
    stream: httpx.AsyncByteStream, patience: asyncio.Timeout, limits: dict[str, float | None]
) -> AsyncIterator[bytes]:
    """The pieces of a request, each with the time of its own to be taken."""
    now = asyncio.get_running_loop().time
    async for piece in stream:
        write = limits.get("write")
        patience.reschedule(None if write is None else now() + write)
        yield piece
    read = limits.get("read")
    patience.reschedule(None if read is None else now() + read)


class _AsyncContent(httpx.AsyncByteStream):
    def __init__(self, request: httpx.Request, response: tquic.h3.client.Response) -> None:
        self._request = request
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        limit = _limits(self._request).get("read")
        while True:
            with _translated(self._request, httpx.ReadTimeout, httpx.ReadError):
                async with asyncio.timeout(limit):
                    chunk = await self._response.read_chunk()
            if not chunk:
                return
            yield bytes(chunk)

    async def aclose(self) -> None:
        self._response.close()


class Transport(httpx.BaseTransport):
    """A transport for `httpx.Client`, for threads.

    The timeouts of httpx apply: ``connect`` to a new connection, ``read`` to what comes; to a
    request whose content is made piece by piece, none until the response comes.

    Args:
        config: settings.
        tls: TLS settings, which come before those in `config`.
        engine: threads to use. Default: those of the process.
        max_connections: connections that are kept, one for each origin. Default 100.
    """

    def __init__(
        self,
        *,
        config: Config | None = None,
        tls: TlsContext | None = None,
        engine: Engine | None = None,
        max_connections: int = 100,
    ) -> None:
        self._client = tquic.sync.h3.Client(
            config=config, tls=tls, engine=engine, max_connections=max_connections
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request; httpx calls it."""
        assert isinstance(request.stream, httpx.SyncByteStream)
        limits = _limits(request)
        url = _url(request)
        home, inner = self._client._home, self._client._inner
        with _translated(request, httpx.ConnectTimeout, httpx.ConnectError):
            home.run(inner.connection(url), limits.get("connect"))
        with _translated(request, httpx.ReadTimeout, httpx.ReadError):
            content: tquic.h3.client.Content = request.stream
            limit = None
            if isinstance(request.stream, httpx.ByteStream):
                content = b"".join(request.stream) or None
                limit = limits.get("read")
            work = inner.request(request.method, url, headers=_fields(request), content=content)
            response = home.run(work, limit)
        return httpx.Response(
            response.status,
            headers=response.headers.fields,
            stream=_Content(request, tquic.sync.h3.Response(home, response, limits.get("read"))),
            extensions=_extensions(response.stream_id),
        )

    def close(self) -> None:
        """Closes all connections."""
        self._client.close()


class _Content(httpx.SyncByteStream):
    def __init__(self, request: httpx.Request, response: tquic.sync.h3.Response) -> None:
        self._request = request
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        with _translated(self._request, httpx.ReadTimeout, httpx.ReadError):
            for chunk in self._response:
                yield bytes(chunk)

    def close(self) -> None:
        self._response.close()


def _limits(request: httpx.Request) -> dict[str, float | None]:
    limits: dict[str, float | None] = request.extensions.get("timeout", {})
    return limits


def _url(request: httpx.Request) -> str:
    if request.url.scheme != "https":
        raise httpx.UnsupportedProtocol("HTTP/3 is for https URLs", request=request)
    return str(request.url)


def _fields(request: httpx.Request) -> list[Field]:
    """What httpx has put together for HTTP/1.1, for HTTP/3."""
    pairs = ((name.lower(), value) for name, value in request.headers.raw)
    return [(name, value) for name, value in pairs if name not in _NOT_SENT]


def _extensions(stream_id: int) -> dict[str, Any]:
    return {"http_version": b"HTTP/3", "stream_id": stream_id}


@contextlib.contextmanager
def _translated(
    request: httpx.Request,
    timeout: type[httpx.TimeoutException],
    failure: type[httpx.NetworkError],
) -> Generator[None, None, None]:
    """Errors as httpx knows them; the cause is ours."""
    try:
        yield
    except TimeoutError as error:
        raise timeout(str(error) or "timed out", request=request) from error
    except LocalProtocolError as error:
        raise httpx.LocalProtocolError(str(error), request=request) from error
    except RequestFailed as error:
        if error.by == "local":
            raise httpx.RemoteProtocolError(str(error), request=request) from error
        raise failure(str(error), request=request) from error
    except (QuicError, OSError) as error:
        raise failure(str(error), request=request) from error
