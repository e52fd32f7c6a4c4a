"""Handlers, the end of servers, and WebSockets."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

import tquic
from tquic.errors import ConfigError
from tquic.h3 import ErrorCode, RequestFailed
from tquic.h3._websocket import (
    Close,
    FrameReader,
    Pong,
    encode_close,
    encode_message,
    encode_ping,
)
from tquic.h3.server import Limits, Request, Response, StaticFiles
from tquic.h3.server._asgi import AsgiResponder
from tquic.h3.server._handler import HandlerResponder
from tquic.h3.server._serve import responder

from .conftest import Serve, Site


async def test_a_handler(serve: Serve, www: Path) -> None:
    async def handler(request: Request) -> Response:
        assert request.scheme == "https"
        assert request.client[0] == "127.0.0.1"
        assert not request.early
        match request.path:
            case "/text":
                return Response(f"{request.method} {request.query} {request.headers['X-A']}")
            case "/echo":
                body = await request.read()
                assert request.trailers is None
                return Response(body, 201, {"X-Size": str(len(body))})
            case "/file":
                return Response(www / "big.bin")
            case "/pieces":

                async def pieces() -> AsyncIterator[bytes]:
                    for number in range(100):
                        yield b"%d," % number

                return Response(pieces(), trailers={"x-count": "100"})
            case "/hint":
                request.send_informational(103, {"link": "</a.css>; rel=preload"})
                return Response(status=204)
        return Response("no such page\n", 404)

    async with serve(handler) as site, site.connect() as client:
        text = await client.get("/text?a=b", headers={"x-a": "1"})
        assert await text.read() == b"GET a=b 1"
        assert text.headers["content-type"] == "text/plain; charset=utf-8"
        content = bytes(200_000)
        echo = await client.post("/echo", content=content)
        assert (echo.status, echo.headers["x-size"]) == (201, "200000")
        assert await echo.read() == content
        file = await client.get("/file")
        assert await file.read() == (www / "big.bin").read_bytes()
        pieces = await client.get("/pieces")
        assert await pieces.read() == b"".join(b"%d," % number for number in range(100))
        assert pieces.trailers is not None
        assert pieces.trailers["x-count"] == "100"
        assert (await client.get("/hint")).status == 204
        assert (await client.get("/nothing")).status == 404
        for path in ("/text", "/file", "/pieces"):
            head = await client.head(path, headers={"x-a": "1"})
            assert (head.status, await head.read()) == (200, b"")


async def test_a_handler_that_fails(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Request) -> Response:
        raise RuntimeError("on purpose")

    caplog.set_level(logging.CRITICAL, "tquic.h3.server")
    async with serve(handler) as site, site.connect() as client:
        assert (await client.get("/")).status == 500


async def test_a_handler_is_cancelled_with_its_request(serve: Serve) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def handler(request: Request) -> Response:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with serve(handler) as site, site.connect() as client:
        stream = await client.open("GET", "/")
        await stream.finish()
        await began.wait()
        stream.cancel()
        await ended.wait()


def test_what_cannot_be_served() -> None:
    with pytest.raises(ConfigError, match="can be served, not 7"):
        tquic.h3.serve(7, "127.0.0.1", 0)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="streams must be a number"):
        Limits(streams=-1)


def test_who_is_an_application() -> None:
    async def handler(request: Request) -> Response:
        return Response()

    async def with_more(greeting: str, request: Request, status: int = 200) -> Response:
        return Response(greeting, status)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        pass

    class Wrapped:
        async def __call__(self, *args: Any) -> None:
            pass

    for served in (handler, functools.partial(with_more, "hello")):
        assert isinstance(responder(served), HandlerResponder)
    for served in (app, Starlette(), Wrapped()):
        assert isinstance(responder(served), AsgiResponder)


async def test_access_log(
    authority: tuple[bytes, bytes, bytes], www: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ca, cert, key = authority
    caplog.set_level(logging.INFO, "tquic.access")
    config = tquic.Config(cert=cert, key=key)
    served = StaticFiles(www)
    async with (
        tquic.h3.serve(served, "127.0.0.1", 0, config=config, access_log=True) as server,
        Site(server, ca).connect() as client,
    ):
        agent = {"user-agent": 'a "quoted" one', "referer": "https://example.com/"}
        await (await client.get("/hello.txt?x", headers=agent)).read()
        await (await client.get("/nothing")).read()
    lines = [record.getMessage() for record in caplog.records if record.name == "tquic.access"]
    assert len(lines) == 2
    assert lines[0].startswith("127.0.0.1 - - [")
    assert (
        '"GET /hello.txt?x HTTP/3" 200 13 "https://example.com/" "a \\"quoted\\" one" ' in lines[0]
    )
    assert '"GET /nothing HTTP/3" 404 14 ' in lines[1]


# ---- The end ----


async def test_shutdown_lets_requests_end(serve: Serve) -> None:
    go_on = asyncio.Event()

    async def handler(request: Request) -> Response:
        await go_on.wait()
        return Response(bytes(3_000_000))

    async with serve(handler) as site, site.connect() as client:
        under_way = await client.open("GET", "/")
        await under_way.finish()
        while not any(connection.busy for connection in site.server.connections):  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)
        end = asyncio.create_task(site.server.shutdown(30))
        # Told twice: soon, and now.
        while client.available:
            await asyncio.sleep(0.01)
        assert not end.done()
        go_on.set()
        response = await under_way.response()
        assert len(await response.read()) == 3_000_000
        assert await end
        await client.wait_closed()
        error = client.quic.exception
        assert isinstance(error, tquic.ApplicationClosed)
        assert error.code == ErrorCode.H3_NO_ERROR


async def test_shutdown_has_an_end(serve: Serve) -> None:
    async def handler(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serve(handler) as site, site.connect() as client:
        stream = await client.open("GET", "/")
        await stream.finish()
        while not any(connection.busy for connection in site.server.connections):  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)
        assert not await site.server.shutdown(0.2)
        with pytest.raises((tquic.ConnectionClosed, RequestFailed)):
            await stream.response()


# RFC 9114 section 10.9
async def test_early_data_is_for_what_a_replay_cannot_harm(serve: Serve) -> None:
    async def handler(request: Request) -> Response:
        return Response(f"{request.method} {request.early}")

    store = tquic.SessionStore()
    async with serve(handler, early_data=True) as site:
        async with site.connect(session_store=store, early_data=True) as client:
            await (await client.get("/")).read()
            while not len(store):
                await asyncio.sleep(0.01)
        config = tquic.Config(
            ca=site.ca,
            alpn=("h3",),
            server_name="localhost",
            session_store=store,
            early_data=True,
        )
        request = tquic.h3.prepare_request(
            [
                (b":method", b"POST"),
                (b":scheme", b"https"),
                (b":authority", b"localhost"),
                (b":path", b"/"),
            ]
        )
        async with tquic.connect("127.0.0.1", site.port, config=config, wait=False) as conn:
            answers = []
            for _ in range(2):
                stream = conn.open_stream()
                stream.write(request.data)
                stream.finish()
                answers.append(await stream.read())
                await conn.wait_connected()
            assert conn.zero_rtt
            assert answers[0].endswith(b"425 Too Early\n")
            assert answers[1].endswith(b"POST False")


# ---- WebSockets ----


async def echo(socket: WebSocket) -> None:
    """Says everything again."""
    if socket.query_params.get("refuse"):
        await socket.close()
        return
    await socket.accept(subprotocol="echo" if "echo" in socket.scope["subprotocols"] else None)
    try:
        while True:
            message = await socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("text") == "close":
                await socket.close(3001, "as you like")
                return
            if message.get("text") is not None:
                await socket.send_text(message["text"])
            else:
                await socket.send_bytes(message["bytes"])
    except WebSocketDisconnect:
        pass


class Peer:
    """A WebSocket client, on our extended CONNECT."""

    def __init__(self, stream: Any, response: Any) -> None:
        self._stream = stream
        self.response = response
        self._reader = FrameReader(masked=False)
        self._inbox: list[Any] = []

    @classmethod
    async def open(cls, client: Any, path: str, **headers: str) -> Peer:
        fields = {"sec-websocket-version": "13"}
        fields |= {name.replace("_", "-"): value for name, value in headers.items()}
        stream = await client.open("CONNECT", path, headers=fields, protocol="websocket")
        return cls(stream, await stream.response())

    async def send(self, data: bytes) -> None:
        await self._stream.write(data)

    async def receive(self) -> Any:
        while not self._inbox:
            chunk = await self.response.read_chunk()
            if not chunk:
                return None
            self._inbox += self._reader.feed(chunk)
        return self._inbox.pop(0)


async def test_websockets(serve: Serve) -> None:
    app = Starlette(routes=[WebSocketRoute("/ws", echo)])
    async with serve(app) as site, site.connect() as client:
        peer = await Peer.open(client, "/ws", sec_websocket_protocol="other, echo")
        assert peer.response.status == 200
        assert peer.response.headers["sec-websocket-protocol"] == "echo"
        for message in ("text", b"bytes", "ü" * 100_000, b""):
            await peer.send(encode_message(message, masked=True))
            assert await peer.receive() == message
        await peer.send(encode_ping(b"?", masked=True) + encode_message("x", masked=True))
        assert await peer.receive() == Pong(b"?")
        assert await peer.receive() == "x"
        await peer.send(encode_message("close", masked=True))
        assert await peer.receive() == Close(3001, "as you like")
        assert await peer.receive() is None

        closing = await Peer.open(client, "/ws")
        await closing.send(encode_close(1001, "away", masked=True))
        assert await closing.receive() == Close(1001, "away")
        assert await closing.receive() is None

        wrong = await Peer.open(client, "/ws")
        await wrong.send(encode_message("not masked", masked=False))
        told = await wrong.receive()
        assert (told.code, told.reason) == (1002, "a client's frame is not masked")

        assert (await Peer.open(client, "/ws?refuse=1")).response.status == 403
        assert (await Peer.open(client, "/nothing")).response.status == 403
        old = await Peer.open(client, "/ws", sec_websocket_version="8")
        assert old.response.status == 400
        assert old.response.headers["sec-websocket-version"] == "13"
