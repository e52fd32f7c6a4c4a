"""A client of WebTransport written by hand, on a QUIC connection on which anything may be sent."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import tquic
from tquic import h3
from tquic.h3._codec import encode_frame_header, encode_varint
from tquic.h3.qpack import encode_static
from tquic.h3.server import Limits, Request, Response
from tquic.h3.webtransport import Session, SessionRequest

CONNECT = [
    (b":method", b"CONNECT"),
    (b":scheme", b"https"),
    (b":authority", b"localhost"),
    (b":path", b"/"),
    (b":protocol", b"webtransport"),
]
SETTINGS = {0x33: 1, 0x2B603742: 1}


def frame(kind: int, payload: bytes) -> bytes:
    return encode_frame_header(kind, len(payload)) + payload


def control(settings: dict[int, int]) -> bytes:
    payload = b"".join(encode_varint(n) + encode_varint(v) for n, v in settings.items())
    return b"\0" + frame(4, payload)


async def until_stopped(stream: tquic.Stream) -> None:
    """Waits until the server takes it no more, which is raised."""
    await stream._flushed()
    stream.finish()
    await stream.wait_finished()


async def page(_: Request) -> Response:
    return Response()


class Site:
    """A server with sessions, and a QUIC connection to it on which anything may be written."""

    def __init__(self) -> None:
        self.sessions: asyncio.Queue[Session] = asyncio.Queue()
        self.client: Any = None

    async def handle(self, request: SessionRequest) -> None:
        session = request.accept()
        self.sessions.put_nowait(session)
        await session.wait_closed()

    def open(self, data: bytes, *, unidirectional: bool = False) -> tquic.Stream:
        stream: tquic.Stream = self.client.open_stream(unidirectional=unidirectional)
        stream.write(data)
        return stream

    async def begin(self, protocol: bytes = b"webtransport") -> tuple[tquic.Stream, Session]:
        """A session on the next stream."""
        return self.ask(protocol), await self.sessions.get()

    def ask(self, protocol: bytes = b"webtransport") -> tquic.Stream:
        """Asks for one."""
        return self.open(frame(1, encode_static([*CONNECT[:-1], (b":protocol", protocol)])))

    @contextlib.asynccontextmanager
    async def serve(
        self, authority: tuple[bytes, bytes, bytes], limits: Limits, **settings: Any
    ) -> AsyncIterator[None]:
        """Serves, and connects."""
        ca, cert, key = authority
        # Each datagram counts 64 more: room for ten of 36 bytes.
        config = tquic.Config(cert=cert, key=key, datagram_receive_queue=1024)
        ours = tquic.Config(ca=ca, alpn=("h3",), server_name="localhost", **settings)
        async with (
            h3.serve(
                page, "127.0.0.1", 0, config=config, webtransport=self.handle, limits=limits
            ) as server,
            tquic.connect(*server.address, config=ours) as self.client,
        ):
            yield
