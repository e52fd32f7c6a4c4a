"""WebSockets over HTTP/3 from our client to an ASGI application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

import tquic
import tquic.h3
from tquic.h3 import LocalProtocolError, websocket
from tquic.h3._websocket import Close, FrameReader
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


Connection = tquic.h3.ClientConnection
Serve = Callable[[Any], AbstractAsyncContextManager[Connection]]


@pytest.fixture
def serve(server_config: tquic.Config, client_config: tquic.Config) -> Serve:
    """A connection to a server of this application."""

    @contextlib.asynccontextmanager
    async def serving(served: Any) -> AsyncIterator[Connection]:
        async with (
            asyncio.timeout(30),
            tquic.h3.serve(served, "127.0.0.1", 0, config=server_config) as server,
            tquic.h3.connect(
                f"https://127.0.0.1:{server.address[1]}/", config=client_config
            ) as connection,
        ):
            yield connection

    return serving


@pytest.fixture
async def c(serve: Serve) -> AsyncIterator[Connection]:
    async with serve(app) as connection:
        yield connection


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


# ---- Applications and clients that break off ----


@pytest.mark.parametrize(
    ("accepts", "fails", "status", "code"),
    [
        (True, False, 200, CloseCode.NORMAL),
        (True, True, 200, CloseCode.INTERNAL_ERROR),
        (False, False, 403, None),
        (False, True, 500, None),
    ],
)
async def test_an_application_that_leaves(
    serve: Serve, accepts: bool, fails: bool, status: int, code: int | None
) -> None:
    async def leaves(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return
        await receive()
        if accepts:
            await send({"type": "websocket.accept", "headers": [(b"X-One", b"1")]})
        if fails:
            raise ArithmeticError("on purpose")

    async with serve(leaves) as c:
        try:
            ws = await websocket.open(c, "/")
        except WebSocketRefused as refused:
            assert (refused.status, code) == (status, None)
            return
        assert (ws.response.status, ws.response.headers["x-one"]) == (status, "1")
        with pytest.raises(WebSocketClosed) as caught:
            await ws.receive()
        assert caught.value.code == code


async def test_a_response_in_place_of_a_websocket(serve: Serve) -> None:
    """The extension websocket.http.response of ASGI."""
    start = {"type": "websocket.http.response.start", "status": 401, "headers": [(b"X-Why", b"me")]}
    body = {"type": "websocket.http.response.body", "body": b"not "}
    wrong = []

    async def denies(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return
        await receive()
        with contextlib.suppress(RuntimeError):
            await send(body)
            wrong.append("a body without a response")
        await send(start)
        with contextlib.suppress(RuntimeError):
            await send(start)
            wrong.append("two responses")
        await send({**body, "more_body": True})
        with contextlib.suppress(RuntimeError):
            await send({"type": "websocket.accept"})
            wrong.append("a response and a WebSocket")
        await send({**body, "body": b"you"})

    async with serve(denies) as c:
        fields = [(b"sec-websocket-version", b"13")]
        stream = await c.open("CONNECT", "/", headers=fields, protocol="websocket")
        response = await stream.response()
        assert (response.status, response.headers["x-why"]) == (401, "me")
        assert await response.read() == b"not you"
        with pytest.raises(WebSocketRefused):
            await websocket.open(c, "/")
    assert wrong == []


async def test_messages_out_of_turn(serve: Serve) -> None:
    wrong = []

    async def confused(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return

        async def refused(message: dict[str, Any], *errors: type[Exception]) -> None:
            with contextlib.suppress(*errors):
                await send(message)
                wrong.append(message)

        await receive()
        await refused({"type": "websocket.send", "text": "early"}, RuntimeError)
        await refused({"type": "http.response.start"}, ValueError)
        await send({"type": "websocket.accept"})
        await refused({"type": "websocket.accept"}, RuntimeError)
        await send({"type": "websocket.close"})
        await send({"type": "websocket.close", "code": 4000})
        await refused({"type": "websocket.send", "text": "late"}, RuntimeError)

    async with serve(confused) as c:
        ws = await websocket.open(c, "/")
        with pytest.raises(WebSocketClosed) as caught:
            await ws.receive()
        assert caught.value.code == CloseCode.NORMAL
    assert wrong == []


async def leave(stream: Any) -> None:
    await stream.finish()


async def reset(stream: Any) -> None:
    stream.cancel()


async def break_rules(stream: Any) -> None:
    # RFC 6455 section 5.1: frames of a client are masked.
    await stream.write(bytes.fromhex("810548656c6c6f"))


@pytest.mark.parametrize(
    ("act", "code", "answer"),
    [
        (leave, CloseCode.ABNORMAL, CloseCode.NORMAL),
        (reset, CloseCode.ABNORMAL, None),
        (break_rules, CloseCode.PROTOCOL_ERROR, CloseCode.PROTOCOL_ERROR),
    ],
)
async def test_a_client_that_breaks_off(
    serve: Serve, act: Callable[[Any], Any], code: int, answer: int | None
) -> None:
    told: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def listens(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "websocket":
            return
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        told.set_result(message)
        # As often as it asks.
        assert await receive() == message

    async with serve(listens) as c:
        fields = [(b"sec-websocket-version", b"13")]
        stream = await c.open("CONNECT", "/", headers=fields, protocol="websocket")
        response = await stream.response()
        await act(stream)
        message = await told
        assert (message["type"], message["code"]) == ("websocket.disconnect", code)
        if answer is not None:
            (close,) = FrameReader(masked=False).feed(await response.read())
            assert isinstance(close, Close)
            assert close.code == answer
