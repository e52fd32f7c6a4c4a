"""WebTransport without ``await``: our blocking client, and our server in another thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

import tquic
import tquic.h3
import tquic.sync
import tquic.sync.h3
from tquic.h3.server import Limits, Request, Response
from tquic.h3.webtransport import SessionClosed, SessionRefused, SessionRequest, Stream

BIG = bytes(range(256)) * 4096


async def page(request: Request) -> Response:
    return Response()


async def echo(stream: Stream) -> None:
    async for piece in stream:
        await stream.write(piece)
    stream.finish()


async def handle(request: SessionRequest) -> None:
    """Does what its first datagram says."""
    if request.path != "/":
        request.refuse(404)
        return
    session = request.accept(protocol=request.protocols[0] if request.protocols else None)
    match await session.recv_datagram():
        case b"echo":
            async with asyncio.TaskGroup() as group:
                async for stream in session:
                    group.create_task(echo(stream))
        case b"open":
            for number in range(3):
                stream = session.open_stream(unidirectional=number == 1)
                stream.write(b"%d" % number)
                stream.finish()
            session.send_datagram(b"there")
            await session.wait_draining()
            session.close(0)
        case b"close":
            session.close(7, "as you wish")


@pytest.fixture
def url(server_config: tquic.Config) -> Iterator[str]:
    ready, addresses = threading.Event(), []
    over = asyncio.Event()

    async def serve() -> None:
        limits = Limits(session_data=64 * 1024)
        async with tquic.h3.serve(
            page, "127.0.0.1", 0, config=server_config, webtransport=handle, limits=limits
        ) as server:
            addresses.append(server.address)
            loops.append(asyncio.get_running_loop())
            ready.set()
            await over.wait()

    loops: list[asyncio.AbstractEventLoop] = []
    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(30)
    yield f"https://127.0.0.1:{addresses[0][1]}/"
    loops[0].call_soon_threadsafe(over.set)
    thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def c(url: str, client_config: tquic.Config) -> Iterator[tquic.sync.h3.ClientConnection]:
    with tquic.sync.h3.connect(url, config=client_config, timeout=30) as connection:
        yield connection


Connection = tquic.sync.h3.ClientConnection


def test_streams_beyond_the_limits(c: Connection) -> None:
    with c.webtransport("/", protocols=["one"]) as session:
        assert (session.protocol, session.headers["wt-protocol"]) == ("one", '"one"')
        assert session.gettimeout() == 30
        assert session.max_datagram_size > 1000
        assert session.send_datagram(b"echo")
        stream = session.open_stream()
        assert stream.session is session
        assert (stream.readable, stream.writable) == (True, True)
        assert stream.fileno() == session.fileno()

        def write() -> None:
            stream.write(BIG)
            stream.finish()

        writer = threading.Thread(target=write)
        writer.start()
        assert stream.read() == BIG
        writer.join(30)
        session.settimeout(0)
        with pytest.raises(BlockingIOError):
            session.recv_datagram()
        session.settimeout(30)
    assert session.closed
    with pytest.raises(SessionClosed):
        session.open_stream()


def test_what_the_server_opens(c: Connection) -> None:
    session = c.webtransport("/")
    session.send_datagram(b"open")
    streams = [session.accept_stream() for _ in range(3)]
    assert sorted(stream.read() for stream in streams) == [b"0", b"1", b"2"]
    assert session.recv_datagram() == b"there"
    session.drain_datagrams()
    session.flush()
    session.drain()
    assert session.draining
    session.wait_draining()
    # It ends in order, and so does this.
    assert not list(session)
    session.wait_closed()
    assert isinstance(session.exception, SessionClosed)
    assert session.exception.clean
    assert session.id == 0
    assert "closed" in repr(session)


def test_how_it_ends(c: Connection) -> None:
    session = c.webtransport("/")
    session.send_datagram(b"close")
    with pytest.raises(SessionClosed, match="as you wish") as caught:
        list(session)
    assert caught.value.code == 7
    with pytest.raises(SessionRefused):
        c.webtransport("/no")
    session = c.webtransport("/")
    with pytest.raises(ZeroDivisionError), session:
        raise ZeroDivisionError
    assert isinstance(session.exception, SessionClosed)
    assert (session.exception.code, session.exception.by) == (1, "local")
    session = c.webtransport("/")
    session.close(5, "enough")
    assert session.exception is not None
