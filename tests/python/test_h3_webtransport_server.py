"""WebTransport of draft 16: servers written by hand that break its rules (section numbers:
draft-ietf-webtrans-http3-16)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

import tquic
import tquic.h3
from tquic.h3 import LocalProtocolError
from tquic.h3._codec import encode_frame_header, encode_varint
from tquic.h3._webtransport import stream_header
from tquic.h3.capsules import encode_capsule
from tquic.h3.errors import ErrorCode, SessionErrorCode
from tquic.h3.qpack import encode_static
from tquic.h3.webtransport import Session, SessionClosed, SessionRefused

MAX_DATA = 0x190B4D3D
ALONE = {0x08: 1, 0x33: 1, 0x2C7CF000: 1}
WITH = {**ALONE, 0x2B61: 100, 0x2B64: 1, 0x2B65: 1}
OK = [(b":status", b"200")]


def frame(kind: int, payload: bytes) -> bytes:
    return encode_frame_header(kind, len(payload)) + payload


async def until_stopped(stream: tquic.Stream) -> None:
    """Waits until the client takes it no more, which is raised."""
    await stream._flushed()
    stream.finish()
    await stream.wait_finished()


class Peer:
    """A server on whose connection anything may be sent, and a client of ours."""

    def __init__(self) -> None:
        self.connections: asyncio.Queue[tquic.Connection] = asyncio.Queue()
        self.connection: Any = None

    async def handle(self, connection: tquic.Connection) -> None:
        self.connections.put_nowait(connection)
        await connection.wait_closed()

    @contextlib.asynccontextmanager
    async def meet(
        self, server: tquic.Config, client: tquic.Config, settings: dict[int, int]
    ) -> AsyncIterator[tquic.h3.ClientConnection]:
        config = server.replace(alpn=("h3",))
        async with tquic.serve("127.0.0.1", 0, self.handle, config=config) as listener:
            url = f"https://127.0.0.1:{listener.address[1]}/"
            async with tquic.h3.connect(url, config=client) as c:
                self.connection = await self.connections.get()
                stream = self.connection.open_stream(unidirectional=True)
                payload = b"".join(encode_varint(n) + encode_varint(v) for n, v in settings.items())
                stream.write(b"\0" + frame(4, payload))
                yield c

    async def connect_stream(self) -> tquic.Stream:
        """The next bidirectional stream of the client."""
        while True:
            stream: tquic.Stream = await self.connection.accept_stream()
            if stream.writable:
                return stream

    async def begin(self, c: tquic.h3.ClientConnection) -> tuple[Session, tquic.Stream]:
        """Takes a session."""
        asking = asyncio.create_task(c.webtransport("/"))
        connect = await self.connect_stream()
        connect.write(frame(1, encode_static(OK)))
        return await asking, connect


@pytest.fixture
def peer() -> Peer:
    return Peer()


Configs = tuple[tquic.Config, tquic.Config]


@pytest.fixture
async def configs(
    server_config: tquic.Config, client_config: tquic.Config
) -> AsyncIterator[Configs]:
    async with asyncio.timeout(30):
        yield server_config, client_config


async def test_a_version_that_cannot_be(peer: Peer, configs: Configs) -> None:
    """Section 3.1"""
    async with peer.meet(*configs, {**ALONE, 0x2C7CF000: 2}):
        await peer.connection.wait_closed()
        assert peer.connection.exception.code == ErrorCode.H3_SETTINGS_ERROR


@pytest.mark.parametrize("lacks", [0x08, 0x33])
async def test_servers_that_lack_a_setting(peer: Peer, configs: Configs, lacks: int) -> None:
    """Section 3.1"""
    settings = {number: value for number, value in WITH.items() if number != lacks}
    async with peer.meet(*configs, settings) as c:
        with pytest.raises(LocalProtocolError, match="does not take WebTransport"):
            await c.webtransport("/")


async def test_a_server_without_reset_stream_at(peer: Peer, configs: Configs) -> None:
    """Section 3.1"""
    server, client = configs
    async with peer.meet(server.replace(reset_stream_at=False), client, WITH) as c:
        with pytest.raises(LocalProtocolError, match="without RESET_STREAM_AT"):
            await c.webtransport("/")


async def test_redirections_are_not_followed(peer: Peer, configs: Configs) -> None:
    """Section 3.2"""
    async with peer.meet(*configs, WITH) as c:
        asking = asyncio.create_task(c.webtransport("/"))
        connect = await peer.connect_stream()
        answer = [(b":status", b"302"), (b"location", b"/there")]
        connect.write(frame(1, encode_static(answer)))
        with pytest.raises(SessionRefused) as caught:
            await asking
        assert (caught.value.status, caught.value.headers["location"]) == (302, "/there")


async def test_one_session_at_a_time_without_flow_control(peer: Peer, configs: Configs) -> None:
    """Section 5.1"""
    async with peer.meet(*configs, ALONE) as c:
        session, connect = await peer.begin(c)
        # Capsules of flow control mean nothing then.
        connect.write(frame(0, encode_capsule(MAX_DATA, b"no integer")))
        with pytest.raises(LocalProtocolError, match="one session at a time"):
            await c.webtransport("/")
        session.close()
        session, _ = await peer.begin(c)
        assert not session.closed


async def test_a_server_that_sends_too_much(peer: Peer, configs: Configs) -> None:
    """Section 5.6.4"""
    async with peer.meet(*configs, WITH) as c:
        session, connect = await peer.begin(c)
        assert session._flow is not None
        limit = tquic.h3.settings.SessionLimits().data
        # No stream may have as much, so several do: so small each that all of it crosses to Python
        # while nobody reads.
        header, left = stream_header(connect.id, unidirectional=True), limit + 1
        while left:
            size = min(left, 1 << 19)
            stream = peer.connection.open_stream(unidirectional=True)
            stream.write(header + bytes(size))
            left -= size
        with pytest.raises(tquic.StreamReset) as caught:
            await connect.read()
        assert caught.value.code == SessionErrorCode.WT_FLOW_CONTROL_ERROR
        await session.wait_closed()
        assert isinstance(session.exception, SessionClosed)
        assert "WT_FLOW_CONTROL_ERROR" in session.exception.reason


async def test_a_server_that_ends_a_session_for_flow_control(peer: Peer, configs: Configs) -> None:
    async with peer.meet(*configs, WITH) as c:
        session, connect = await peer.begin(c)
        connect.reset(SessionErrorCode.WT_FLOW_CONTROL_ERROR)
        await session.wait_closed()
        assert "WT_FLOW_CONTROL_ERROR" in str(session.exception)


async def test_content_behind_the_end_of_a_session(peer: Peer, configs: Configs) -> None:
    """Section 6"""
    async with peer.meet(*configs, WITH) as c:
        session, connect = await peer.begin(c)
        connect.write(frame(0, encode_capsule(0x2843, b"\0\0\0\7bye")))
        await session.wait_closed()
        assert isinstance(session.exception, SessionClosed)
        assert (session.exception.code, session.exception.reason) == (7, "bye")
        connect.write(frame(0, b"x"))
        with pytest.raises(tquic.StreamStopped) as caught:
            await until_stopped(connect)
        assert caught.value.code == ErrorCode.H3_MESSAGE_ERROR
