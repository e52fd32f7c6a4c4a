"""WebSockets over HTTP/3 from our client to an ASGI application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

import tquic
import tquic.h3
from tquic.h3 import LocalProtocolError, websocket
from tquic.h3.websocket import CloseCode, WebSocketClosed, WebSocketRefused


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Sends everything back; "bye" ends it."""
    if scope["type"] != "websocket":
        return
    await receive()
    if scope["path"] == "/no":
        await send({"type": "websocket.close"})
        return
    names = scope["subprotocols"]
    await send({"type": "websocket.accept", "subprotocol": names[-1] if names else None})
    while (message := await receive())["type"] == "websocket.receive":
        if message.get("text") == "bye":
            await send({"type": "websocket.close", "code": 4000, "reason": "as you wish"})
            return
        if message.get("text") == "gone":
            await send({"type": "websocket.close", "code": 1001})
            return
        await send({**message, "type": "websocket.send"})


@pytest.fixture
async def c(
    server_config: tquic.Config, client_config: tquic.Config
) -> AsyncIterator[tquic.h3.ClientConnection]:
    async with (
        asyncio.timeout(30),
        tquic.h3.serve(app, "127.0.0.1", 0, config=server_config) as server,
        tquic.h3.connect(
            f"https://127.0.0.1:{server.address[1]}/", config=client_config
        ) as connection,
    ):
        yield connection


Connection = tquic.h3.ClientConnection


async def test_messages_both_ways(c: Connection) -> None:
    async with await websocket.open(c, "/", subprotocols=("one", "two")) as ws:
        assert ws.subprotocol == "two"
        for message in ("Grüße", b"bytes", "", b"", "x" * 200, b"y" * 100_000):
            await ws.send(message)
            assert await ws.receive() == message
        await ws.ping(b"are you there?")
        await ws.send("yes")
        assert await ws.receive() == "yes"
    assert c.requests == 0
    with pytest.raises(WebSocketClosed):
        await ws.send("late")


async def test_several_at_once(c: Connection) -> None:
    async def talk(number: int) -> None:
        async with await websocket.open(c, f"/{number}") as ws:
            assert ws.subprotocol is None
            for turn in range(10):
                await ws.send(f"{number} {turn}")
                assert await ws.receive() == f"{number} {turn}"

    await asyncio.gather(*map(talk, range(20)))


async def test_the_server_closes(c: Connection) -> None:
    ws = await websocket.open(c, "/")
    await ws.send("first")
    await ws.send("bye")
    assert await ws.receive() == "first"
    with pytest.raises(WebSocketClosed) as caught:
        await ws.receive()
    assert (caught.value.code, caught.value.reason) == (4000, "as you wish")
    await ws.close()
    async with await websocket.open(c, "/") as ws:
        await ws.send("one")
        await ws.send("gone")
        assert [message async for message in ws] == ["one"]
    assert c.requests == 0


async def test_a_message_that_is_too_large(c: Connection) -> None:
    async with await websocket.open(c, "/", max_message=100) as ws:
        await ws.send("x" * 101)
        with pytest.raises(WebSocketClosed) as caught:
            await ws.receive()
        assert caught.value.code == CloseCode.TOO_BIG


async def test_refusals(c: Connection, server_config: tquic.Config) -> None:
    with pytest.raises(WebSocketRefused) as caught:
        await websocket.open(c, "/no")
    assert caught.value.status == 403
    assert c.requests == 0

    async def answer(request: Any) -> Any:
        raise NotImplementedError

    config = c.quic.config
    async with tquic.h3.serve(answer, "127.0.0.1", 0, config=server_config) as server:
        url = f"https://127.0.0.1:{server.address[1]}/"
        async with tquic.h3.connect(url, config=config.replace(server_name=None)) as other:
            with pytest.raises(LocalProtocolError, match="extended CONNECT"):
                await websocket.open(other, "/")
