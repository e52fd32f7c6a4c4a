"""What the HTTP/3 client does with servers that break rules (RFC 9114)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

import tquic
import tquic.h3
from tquic.h3 import ErrorCode, RequestFailed
from tquic.h3._codec import encode_varint
from tquic.h3.qpack import encode_static

DATA, HEADERS, CANCEL_PUSH, SETTINGS, PUSH_PROMISE, GOAWAY, MAX_PUSH_ID = 0, 1, 3, 4, 5, 7, 13
OK = [(b":status", b"200")]

Serve = Callable[..., AbstractAsyncContextManager[tquic.h3.ClientConnection]]


def frame(kind: int, payload: bytes = b"") -> bytes:
    return encode_varint(kind) + encode_varint(len(payload)) + payload


def headers(*fields: tuple[bytes, bytes]) -> bytes:
    return frame(HEADERS, encode_static(fields))


GOOD = headers(*OK) + frame(DATA, b"fine")


@pytest.fixture
def serve(server_config: tquic.Config, client_config: tquic.Config) -> Serve:
    """A client of a server that begins with `control`, answers its first request with `first` and
    all others as it should."""

    @contextlib.asynccontextmanager
    async def serving(
        first: bytes = GOOD,
        control: bytes = encode_varint(0) + frame(SETTINGS),
        *,
        code: int | None = None,
    ) -> AsyncIterator[tquic.h3.ClientConnection]:
        async def handler(conn: tquic.Connection) -> None:
            conn.open_stream(unidirectional=True).write(control)
            answers = iter([first])
            async for stream in conn:
                if stream.id & 3:
                    continue
                stream.write(next(answers, GOOD))
                if code is None:
                    stream.finish()
                else:
                    await stream._flushed()
                    stream.reset(code)
            await conn.wait_closed()

        config = server_config.replace(alpn=("h3",))
        async with (
            asyncio.timeout(30),
            tquic.serve("127.0.0.1", 0, handler, config=config) as server,
            tquic.h3.connect(
                f"https://127.0.0.1:{server.address[1]}/", config=client_config
            ) as connection,
        ):
            yield connection

    return serving


async def fetch(c: tquic.h3.ClientConnection) -> bytes:
    return await (await c.get("/")).read()


# RFC 9114 sections 4.1, 4.1.2, 4.2, 4.3.2
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (headers((b"server", b"x")), ErrorCode.H3_MESSAGE_ERROR),
        (headers((b":status", b"99x")), ErrorCode.H3_MESSAGE_ERROR),
        (headers((b":status", b"200"), (b":status", b"200")), ErrorCode.H3_MESSAGE_ERROR),
        (headers(*OK, (b":path", b"/")), ErrorCode.H3_MESSAGE_ERROR),
        (headers((b"a", b"b"), *OK), ErrorCode.H3_MESSAGE_ERROR),
        (headers(*OK, (b"Upper", b"x")), ErrorCode.H3_MESSAGE_ERROR),
        (headers(*OK, (b"transfer-encoding", b"chunked")), ErrorCode.H3_MESSAGE_ERROR),
        (headers(*OK, (b"content-length", b"5")) + frame(DATA, b"1"), ErrorCode.H3_MESSAGE_ERROR),
        (headers(*OK, (b"content-length", b"0")) + frame(DATA, b"1"), ErrorCode.H3_MESSAGE_ERROR),
        (GOOD + headers(*OK), ErrorCode.H3_MESSAGE_ERROR),
        (headers((b":status", b"103")), ErrorCode.H3_MESSAGE_ERROR),
        (b"", ErrorCode.H3_MESSAGE_ERROR),
    ],
)
async def test_malformed_responses_end_their_stream(
    serve: Serve, answer: bytes, code: ErrorCode
) -> None:
    async with serve(answer) as c:
        with pytest.raises(RequestFailed) as caught:
            await fetch(c)
        assert (caught.value.code, caught.value.by) == (code, "local")
        # The connection goes on.
        assert await fetch(c) == b"fine"
        assert c.requests == 0


async def test_a_response_that_is_given_up(serve: Serve) -> None:
    async with serve(GOOD, code=ErrorCode.H3_INTERNAL_ERROR) as c:
        with pytest.raises(RequestFailed) as caught:
            await fetch(c)
        assert (caught.value.code, caught.value.by) == (ErrorCode.H3_INTERNAL_ERROR, "peer")


# RFC 9114 sections 6.2.1, 7.1, 7.2
@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (frame(DATA, b"first"), ErrorCode.H3_FRAME_UNEXPECTED),
        (GOOD + headers((b"a", b"b")) + frame(DATA, b"x"), ErrorCode.H3_FRAME_UNEXPECTED),
        (frame(SETTINGS), ErrorCode.H3_FRAME_UNEXPECTED),
        (frame(GOAWAY, b"\0"), ErrorCode.H3_FRAME_UNEXPECTED),
        # Of HTTP/2.
        (frame(2, b"x"), ErrorCode.H3_FRAME_UNEXPECTED),
        # Nothing was allowed.
        (frame(PUSH_PROMISE, b"\0" + encode_static(OK)), ErrorCode.H3_ID_ERROR),
        (headers(*OK) + b"\0\5abc", ErrorCode.H3_FRAME_ERROR),
        (frame(HEADERS, b"\0\0\xff\xff\xff"), ErrorCode.QPACK_DECOMPRESSION_FAILED),
    ],
)
async def test_frames_that_do_not_belong_there_end_the_connection(
    serve: Serve, answer: bytes, code: ErrorCode
) -> None:
    async with serve(answer) as c:
        with pytest.raises(tquic.ApplicationClosed):
            await fetch(c)
        error: Any = c.quic.exception
        assert (error.code, error.by) == (code, "local")


@pytest.mark.parametrize(
    ("control", "code"),
    [
        (b"\0" + frame(GOAWAY, b"\0"), ErrorCode.H3_MISSING_SETTINGS),
        (b"\0" + frame(SETTINGS) * 2, ErrorCode.H3_FRAME_UNEXPECTED),
        (b"\0" + frame(SETTINGS, b"\x06\1\x06\1"), ErrorCode.H3_SETTINGS_ERROR),
        (b"\0" + frame(SETTINGS, b"\x02\1"), ErrorCode.H3_SETTINGS_ERROR),
        (b"\0" + frame(SETTINGS) + frame(DATA), ErrorCode.H3_FRAME_UNEXPECTED),
        (b"\0" + frame(SETTINGS) + frame(MAX_PUSH_ID, b"\0"), ErrorCode.H3_FRAME_UNEXPECTED),
        (b"\0" + frame(SETTINGS) + frame(CANCEL_PUSH, b"\0"), ErrorCode.H3_ID_ERROR),
        # A push stream, which a server may only open with leave.
        (b"\1\0", ErrorCode.H3_ID_ERROR),
        (b"\0" + frame(SETTINGS) + frame(GOAWAY, b"\1"), ErrorCode.H3_ID_ERROR),
        (
            b"\0" + frame(SETTINGS) + frame(GOAWAY, b"\0") + frame(GOAWAY, b"\4"),
            ErrorCode.H3_ID_ERROR,
        ),
        (b"\3\x20", ErrorCode.QPACK_DECODER_STREAM_ERROR),
        (b"\2\x3f\xff\xff\x7f", ErrorCode.QPACK_ENCODER_STREAM_ERROR),
    ],
)
async def test_control_streams_that_break_rules_end_the_connection(
    serve: Serve, control: bytes, code: ErrorCode
) -> None:
    async with serve(control=control) as c:
        await c.quic.wait_closed()
        error: Any = c.quic.exception
        assert (error.code, error.by) == (code, "local")
        # After GOAWAY none was taken anyway.
        with pytest.raises((tquic.ApplicationClosed, RequestFailed)):
            await fetch(c)
