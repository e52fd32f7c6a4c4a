"""What a server does with those who break rules, are slow, or take too much."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Callable
from typing import Any

import pytest

import tquic
from tquic.h3 import ErrorCode, prepare_request
from tquic.h3._codec import encode_frame_header, encode_varint
from tquic.h3.qpack import encode_static
from tquic.h3.server import Limits, Request, Response, StaticFiles
from tquic.h3.server._connection import ServerConnection

from .conftest import Serve, Site

GET = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"localhost"),
    (b":path", b"/"),
]
POST = [(b":method", b"POST"), *GET[1:]]
DATA, HEADERS, SETTINGS = 0, 1, 4


async def hello(request: Request) -> Response:
    await request.read()
    return Response(b"hello")


def frame(kind: int, payload: bytes = b"") -> bytes:
    return encode_frame_header(kind, len(payload)) + payload


def headers(fields: list[tuple[bytes, bytes]]) -> bytes:
    return frame(HEADERS, encode_static(fields))


def control(*frames: bytes) -> bytes:
    return encode_varint(0) + b"".join(frames)


def connection_of(site: Site) -> ServerConnection:
    (connection,) = site.server.connections
    assert isinstance(connection, ServerConnection)
    return connection


async def delivered(stream: tquic.Stream) -> None:
    await until(lambda: stream.unacknowledged() == 0)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (headers([(b":method", b"GET"), *GET]), ErrorCode.H3_MESSAGE_ERROR),
        (headers(GET[:2]), ErrorCode.H3_MESSAGE_ERROR),
        (headers([*GET, (b":other", b"x")]), ErrorCode.H3_MESSAGE_ERROR),
        (headers([*GET[:3], (b"a", b"b"), GET[3]]), ErrorCode.H3_MESSAGE_ERROR),
        (headers([*GET, (b"Upper", b"x")]), ErrorCode.H3_MESSAGE_ERROR),
        (headers([*GET, (b"connection", b"close")]), ErrorCode.H3_MESSAGE_ERROR),
        (headers([*GET, (b"a", b"x\r\ny")]), ErrorCode.H3_MESSAGE_ERROR),
        (headers([*POST, (b"content-length", b"5")]), ErrorCode.H3_MESSAGE_ERROR),
        (
            headers([*POST, (b"content-length", b"5")]) + frame(DATA, b"123456"),
            ErrorCode.H3_MESSAGE_ERROR,
        ),
        (
            headers([*POST, (b"content-length", b"5"), (b"content-length", b"6")]),
            ErrorCode.H3_MESSAGE_ERROR,
        ),
        (b"", ErrorCode.H3_REQUEST_INCOMPLETE),
    ],
)
async def test_malformed_requests_end_their_stream(
    serve: Serve, content: bytes, code: ErrorCode
) -> None:
    async with serve(hello) as site, site.connect_raw() as conn:
        stream = conn.open_stream()
        await stream.write(content)
        stream.finish()
        with pytest.raises(tquic.StreamReset) as caught:
            await stream.read()
        assert caught.value.code == code
        # The connection goes on.
        other = conn.open_stream()
        await other.write(headers(GET))
        other.finish()
        assert (await other.read()).endswith(b"hello")


@pytest.mark.parametrize(
    ("streams", "code"),
    [
        ([(True, frame(DATA, b"x"))], ErrorCode.H3_FRAME_UNEXPECTED),
        ([(True, frame(SETTINGS))], ErrorCode.H3_FRAME_UNEXPECTED),
        ([(True, b"\x01\x02\xff")], ErrorCode.H3_FRAME_ERROR),
        ([(True, frame(HEADERS, b"\x00\x00\xff\xff\xff"))], ErrorCode.QPACK_DECOMPRESSION_FAILED),
        ([(False, control(frame(DATA)))], ErrorCode.H3_MISSING_SETTINGS),
        ([(False, control(frame(SETTINGS), frame(DATA)))], ErrorCode.H3_FRAME_UNEXPECTED),
        ([(False, control(frame(SETTINGS), frame(SETTINGS)))], ErrorCode.H3_FRAME_UNEXPECTED),
        ([(False, control(frame(SETTINGS, b"\x02\x00")))], ErrorCode.H3_SETTINGS_ERROR),
        ([(False, control(frame(SETTINGS)))] * 2, ErrorCode.H3_STREAM_CREATION_ERROR),
        ([(False, encode_varint(1))], ErrorCode.H3_STREAM_CREATION_ERROR),
        ([(False, encode_varint(2) + b"\x81\x00")], ErrorCode.QPACK_ENCODER_STREAM_ERROR),
        ([(False, encode_varint(3) + b"\x00")], ErrorCode.QPACK_DECODER_STREAM_ERROR),
    ],
)
async def test_broken_rules_end_the_connection(
    serve: Serve, streams: list[tuple[bool, bytes]], code: ErrorCode
) -> None:
    async with serve(hello) as site, site.connect_raw() as conn:
        for bidirectional, content in streams:
            stream = conn.open_stream(unidirectional=not bidirectional)
            await stream.write(content)
            if bidirectional:
                stream.finish()
        await conn.wait_closed()
        assert isinstance(conn.exception, tquic.ApplicationClosed)
        assert conn.exception.code == code


async def test_critical_streams_must_stay(serve: Serve) -> None:
    async with serve(hello) as site, site.connect_raw() as conn:
        stream = conn.open_stream(unidirectional=True)
        await stream.write(control(frame(SETTINGS)))
        stream.finish()
        await conn.wait_closed()
        assert conn.exception.code == ErrorCode.H3_CLOSED_CRITICAL_STREAM


async def test_headers_that_are_too_large(serve: Serve) -> None:
    async with serve(hello, limits=Limits(header_size=2000)) as site, site.connect_raw() as conn:
        stream = conn.open_stream()
        await stream.write(headers([*GET, (b"a", b"x" * 3000)]))
        stream.finish()
        answer = await stream.read()
        assert answer.endswith(b"431 Request Header Fields Too Large\n")
        other = conn.open_stream()
        await other.write(headers([*GET, (b"a", b"x" * 500)]))
        other.finish()
        assert (await other.read()).endswith(b"hello")


async def test_headers_that_do_not_come(serve: Serve) -> None:
    async with serve(hello, limits=Limits(header_time=0.3)) as site, site.connect_raw() as conn:
        stream = conn.open_stream()
        await stream.write(headers(GET)[:5])
        with pytest.raises(tquic.StreamReset) as caught:
            await stream.read()
        assert caught.value.code == ErrorCode.H3_REQUEST_INCOMPLETE
        assert not connection_of(site).busy


async def test_too_many_requests_given_up(serve: Serve) -> None:
    async def never(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serve(never, limits=Limits(resets=20)) as site, site.connect_raw() as conn:
        with contextlib.suppress(tquic.ConnectionClosed):
            for _ in range(40):
                stream = conn.open_stream()
                await stream.write(headers(GET))
                # Or what was not acknowledged is not sent any more.
                await delivered(stream)
                stream.reset(ErrorCode.H3_REQUEST_CANCELLED)
                stream.stop(ErrorCode.H3_REQUEST_CANCELLED)
        await conn.wait_closed()
        assert conn.exception.code == ErrorCode.H3_EXCESSIVE_LOAD
        await until(lambda: not site.server._tasks)


async def test_requests_that_are_given_up_leave_nothing(serve: Serve) -> None:
    async def slow(request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError

    async with serve(slow) as site, site.connect_raw() as conn:
        for number in range(30):
            stream = conn.open_stream()
            await stream.write(headers(POST) + frame(DATA, b"x" * 1000))
            await delivered(stream)
            if number % 2:
                stream.reset(ErrorCode.H3_REQUEST_CANCELLED)
            stream.stop(ErrorCode.H3_REQUEST_CANCELLED)
        connection = connection_of(site)
        await until(lambda: not connection.busy)
        await until(lambda: not site.server._tasks)
        assert connection.h3.streams == 0
        assert connection._exchanges == {}
        assert connection._reading == {}


async def test_slow_readers_take_bounded_memory(serve: Serve, www: Any) -> None:
    """Clients that ask for much and read nothing."""
    (www / "large.bin").write_bytes(bytes(20_000_000))
    window = 64 * 1024
    # Room for what nobody reads, or the head of the last response could not come.
    room = 51 * window
    narrow = {
        "stream_window": window,
        "max_stream_window": window,
        "connection_window": room,
        "max_connection_window": room,
    }
    async with (
        serve(StaticFiles(www), send_buffer=window) as site,
        site.connect(**narrow) as client,
    ):
        responses = await asyncio.gather(*(client.get("/large.bin") for _ in range(50)))
        connection = connection_of(site)
        await asyncio.sleep(0.2)
        held = sum(connection._native.buffered(number) for number in connection._exchanges)
        assert held <= 50 * window
        for response in responses:
            response.close()
        await until(lambda: not connection.busy)
        assert await (await client.get("/hello.txt")).read() == b"hello, world\n"


async def deaf(request: Request) -> Response:
    return Response(b"no, thanks")


async def answered(site: Site, conn: tquic.Connection) -> tquic.Stream:
    """A request that has its whole response before it is complete."""
    stream = conn.open_stream()
    await stream.write(headers(POST) + frame(DATA, bytes(1000)))
    assert (await stream.read()).endswith(b"no, thanks")
    return stream


async def stopped(stream: tquic.Stream, piece: int = 1000) -> int:
    """Sends content until the server wants no more; how much that was."""
    size = 0
    try:
        while True:
            await stream.write(frame(DATA, bytes(piece)))
            size += piece
            await asyncio.sleep(0.01)
    except tquic.StreamStopped as error:
        assert error.code == ErrorCode.H3_NO_ERROR
    return size


@pytest.mark.parametrize("length", [True, False])
async def test_a_body_nobody_reads_is_thrown_away(serve: Serve, length: bool) -> None:
    """Clients may look at no response before all is sent; with content of more than any window."""
    size = 10_000_000
    more = [(b"content-length", b"%d" % size)] if length else []
    async with serve(deaf) as site, site.connect_raw() as conn:
        stream = conn.open_stream()
        await stream.write(headers([*POST, *more]))
        for _ in range(10):
            await stream.write(frame(DATA, bytes(size // 10)))
        stream.finish()
        await stream.wait_finished()
        assert (await stream.read()).endswith(b"no, thanks")
        connection = connection_of(site)
        await until(lambda: not connection.busy)
        assert connection.h3.streams == 0
        assert not connection._unread


async def test_a_body_nobody_reads_is_stopped(serve: Serve) -> None:
    """Above the limit, whether it comes piece by piece or is announced; and if that is none."""
    announced = [*POST, (b"content-length", b"5000000")]
    limits = Limits(discard_size=2_000_000)
    async with serve(deaf, limits=limits) as site, site.connect_raw() as conn:
        size = await stopped(await answered(site, conn), 100_000)
        assert 2_000_000 <= size < 4_000_000
        stream = conn.open_stream()
        await stream.write(headers(announced))
        assert await stopped(stream) < 100_000
        await until(lambda: not connection_of(site).busy)
        assert not connection_of(site)._unread
    async with serve(deaf, limits=Limits(discard_size=0)) as site, site.connect_raw() as conn:
        assert await stopped(await answered(site, conn)) < 100_000
        await until(lambda: not connection_of(site).busy)


async def test_a_body_nobody_reads_may_not_take_for_ever(serve: Serve) -> None:
    limits = Limits(discard_time=0.3)
    async with serve(deaf, limits=limits) as site, site.connect_raw() as conn:
        await stopped(await answered(site, conn))
        await until(lambda: not connection_of(site).busy)
        # The headers of another request have their own time.
        waiting = conn.open_stream()
        await waiting.write(headers(POST)[:10])
        await stopped(await answered(site, conn))
        await waiting.write(headers(POST)[10:] + frame(DATA, b"late"))
        waiting.finish()
        assert (await waiting.read()).endswith(b"no, thanks")


async def test_an_answer_outlives_the_request_it_did_not_need(serve: Serve) -> None:
    """A client that gives up sending once it is answered has given up no request."""

    async def long(request: Request) -> Response:
        return Response(bytes(5_000_000))

    limits = Limits(resets=0)
    async with serve(long, limits=limits) as site, site.connect_raw() as conn:
        stream = conn.open_stream()
        await stream.write(headers(POST) + frame(DATA, bytes(1000)))
        assert await stream.read(1000)
        connection = connection_of(site)
        await until(lambda: stream.id in connection._unread)
        stream.reset(ErrorCode.H3_REQUEST_CANCELLED)
        await until(lambda: stream.id not in connection._unread)
        assert len(await stream.read()) > 4_990_000
        await until(lambda: not connection.busy)
        assert not conn.closed


async def test_bodies_are_read_to_their_end_however_long(serve: Serve) -> None:
    """Flow control credit for everything: content, and frames around it."""

    async def count(request: Request) -> Response:
        size = 0
        async for chunk in request:
            size += len(chunk)
        return Response(b"%d" % size)

    async with serve(count) as site, site.connect_raw() as conn:
        stream = conn.open_stream()
        await stream.write(headers(POST))
        unknown = frame(0x21, bytes(100))
        piece = b"".join(frame(DATA, b"x") + unknown for _ in range(1000))
        for _ in range(20):
            await stream.write(piece)
        stream.finish()
        assert (await stream.read()).endswith(b"20000")


async def test_nothing_is_left_of_connections(serve: Serve, www: Any) -> None:
    async with serve(StaticFiles(www)) as site:
        for _ in range(5):
            async with site.connect() as client:
                await client.get("/hello.txt")
        await until(lambda: not site.server.connections)
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, ServerConnection)]


async def test_connect_is_no_proxy(serve: Serve) -> None:
    async with serve(hello) as site, site.connect_raw() as conn:
        stream = conn.open_stream()
        await stream.write(headers([(b":method", b"CONNECT"), (b":authority", b"example.com:443")]))
        assert b"501 Not Implemented" in await stream.read()


async def test_a_prepared_request_over_and_over(serve: Serve, www: Any) -> None:
    request = prepare_request([*GET[:3], (b":path", b"/hello.txt")]).data
    async with serve(StaticFiles(www), limits=Limits(streams=16)) as site:
        async with site.connect_raw() as conn:

            async def ask() -> bytes:
                stream = conn.open_stream()
                await stream.write(request)
                stream.finish()
                return await stream.read()

            answers = set(await asyncio.gather(*(ask() for _ in range(500))))
        assert all(answer.endswith(b"hello, world\n") for answer in answers)
        assert len(answers) <= 3
