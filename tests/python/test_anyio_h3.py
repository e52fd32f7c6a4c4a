"""HTTP/3 and WebTransport for anyio: our client on asyncio and on trio, and our server in a
thread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

import tquic
from tquic.h3 import SessionLimits, Settings
from tquic.h3.webtransport import SessionClosed, SessionRefused

anyio = pytest.importorskip("anyio")

import tquic.anyio.h3  # noqa: E402
from tquic.anyio.webtransport import Session, Stream  # noqa: E402

BIG = bytes(range(256)) * 4096

Run = Callable[[Callable[[], Awaitable[None]]], None]
Talk = Callable[[Callable[[tquic.anyio.h3.ClientConnection], Awaitable[None]]], None]


@pytest.fixture
def talk(run: Run, session_url: str, client_config: tquic.Config) -> Talk:
    """Runs a function with a connection."""

    def talks(body: Callable[[tquic.anyio.h3.ClientConnection], Awaitable[None]]) -> None:
        async def main() -> None:
            async with tquic.anyio.h3.connect(session_url, config=client_config) as c:
                await body(c)
            assert not c.available

        run(main)

    return talks


def test_requests(talk: Talk) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield BIG
        await anyio.lowlevel.checkpoint()
        yield b"end"

    async def body(c: tquic.anyio.h3.ClientConnection) -> None:
        response = await c.get("/")
        assert (response.status, await response.read()) == (200, b"")
        response = await c.post("/", pieces())
        assert (response.status, await response.read()) == (200, b"")

    talk(body)


def test_streams_beyond_the_limits(talk: Talk) -> None:
    async def body(c: tquic.anyio.h3.ClientConnection) -> None:
        async with await c.webtransport("/", protocols=["one"]) as session:
            assert isinstance(session, Session)
            assert session.protocol == "one"
            assert session.send_datagram(b"echo")

            async def send(stream: Stream) -> None:
                await stream.send(BIG)
                await stream.send_eof()

            async with session.open_stream() as stream, anyio.create_task_group() as tasks:
                assert isinstance(stream, anyio.abc.ByteStream)
                assert stream.session is session
                tasks.start_soon(send, stream)
                assert b"".join([part async for part in stream]) == BIG
            with pytest.raises(anyio.ClosedResourceError):
                await stream.send(b"x")
        assert session.closed
        with pytest.raises(SessionClosed):
            session.open_stream()

    talk(body)


def test_what_the_server_opens(talk: Talk) -> None:
    async def body(c: tquic.anyio.h3.ClientConnection) -> None:
        session = await c.webtransport("/")
        session.send_datagram(b"open")
        got = []
        for _ in range(3):
            stream = await session.accept_stream()
            assert isinstance(stream, Stream)
            got.append(await stream.receive())
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
            if not stream.writable:
                with pytest.raises(anyio.ClosedResourceError):
                    await stream.send(b"x")
        assert sorted(got) == [b"0", b"1", b"2"]
        assert await session.recv_datagram() == b"there"
        session.drain()
        # It ends in order, and so does this.
        assert [stream async for stream in session] == []
        assert session.exception is not None

    talk(body)


def test_how_it_ends(talk: Talk) -> None:
    async def body(c: tquic.anyio.h3.ClientConnection) -> None:
        session = await c.webtransport("/")
        stream = session.open_stream()
        await stream.send(b"x")
        session.send_datagram(b"close")
        await session.wait_closed()
        with pytest.raises(anyio.BrokenResourceError) as caught:
            await stream.receive()
        # The end of the stream may overtake that of the session.
        assert isinstance(caught.value.__cause__, SessionClosed | tquic.StreamReset)
        assert isinstance(session.exception, SessionClosed)
        assert (session.exception.code, session.exception.by) == (7, "peer")
        with pytest.raises(SessionRefused):
            await c.webtransport("/no")
        session = await c.webtransport("/")
        with pytest.raises(ZeroDivisionError):
            async with session:
                raise ZeroDivisionError
        assert isinstance(session.exception, SessionClosed)
        assert (session.exception.code, session.exception.by) == (1, "local")

    talk(body)


def test_cancelled_while_it_is_left(talk: Talk) -> None:
    """It is closed at once: nobody waits for a peer that reads nothing."""

    async def body(c: tquic.anyio.h3.ClientConnection) -> None:
        session = await c.webtransport("/")
        with anyio.CancelScope() as scope:
            async with session:
                session.open_stream().write(BIG)
                scope.cancel()
        assert scope.cancelled_caught
        assert isinstance(session.exception, SessionClosed)
        assert (session.exception.code, session.exception.by) == (0, "local")
        # The connection goes on.
        assert await (await c.get("/")).read() == b""

    talk(body)


def test_cancelled_waits_lose_nothing(talk: Talk) -> None:
    async def body(c: tquic.anyio.h3.ClientConnection) -> None:
        async with await c.webtransport("/") as session:
            session.send_datagram(b"echo")
            stream = session.open_stream()
            with anyio.move_on_after(0.02) as scope:
                await stream.receive()
            assert scope.cancelled_caught
            await stream.send(b"half")
            with anyio.move_on_after(0.05) as scope:
                await stream.readexactly(8)
            assert scope.cancelled_caught
            await stream.send(b"done")
            assert await stream.readexactly(8) == b"halfdone"
            await stream.aclose()

    talk(body)


def test_settings(run: Run, session_url: str, client_config: tquic.Config) -> None:
    limits = SessionLimits(data=3, bidi_streams=1, uni_streams=1)
    settings = Settings(h3_datagram=True, webtransport=1, session_limits=limits)

    async def main() -> None:
        async with (
            tquic.anyio.h3.connect(session_url, config=client_config, settings=settings) as c,
            await c.webtransport("/") as session,
        ):
            session.send_datagram(b"echo")
            stream = session.open_stream()
            await stream.send(BIG[:1000])
            await stream.send_eof()
            first = await stream.receive()
            assert len(first) <= 3
            assert first + await stream.read() == BIG[:1000]

    run(main)
