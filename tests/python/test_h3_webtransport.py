"""WebTransport from our client to our server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import tquic
import tquic.h3
from tquic.h3 import LocalProtocolError, RequestFailed
from tquic.h3.server import Limits, Request, Response
from tquic.h3.webtransport import Session, SessionClosed, SessionRefused, SessionRequest, Stream

BIG = bytes(range(256)) * 8192


async def answer(request: Request) -> Response:
    return Response(f"{request.method} {request.path}")


async def echo(stream: Stream) -> None:
    """Back on the same stream, or on one of its own."""
    out = stream if stream.writable else stream.session.open_stream(unidirectional=True)
    with contextlib.suppress(tquic.StreamReset, SessionClosed):
        async for piece in stream:
            await out.write(piece)
        out.finish()


async def everything(session: Session) -> None:
    """Sends back what comes."""

    async def datagrams() -> None:
        with contextlib.suppress(SessionClosed):
            while True:
                session.send_datagram(await session.recv_datagram())

    async with asyncio.TaskGroup() as group:
        group.create_task(datagrams())
        async for stream in session:
            group.create_task(echo(stream))


class Site:
    """A server, and what its handler has seen."""

    def __init__(self) -> None:
        self.sessions: list[Session] = []
        self.requests: list[SessionRequest] = []
        self.ends: asyncio.Queue[Any] = asyncio.Queue()
        self.url = ""

    async def handle(self, request: SessionRequest) -> None:
        self.requests.append(request)
        if request.path == "/no":
            return
        if request.path == "/gone":
            request.refuse(404)
            return
        if request.path == "/broken":
            raise ValueError("broken")
        if request.path == "/evil":
            exchange: Any = request._exchange
            exchange.send_head(200, [(b"wt-protocol", b'"evil"')])
            await exchange.wait_end()
            return
        wanted = request.protocols[-1] if request.protocols else None
        session = request.accept(protocol=wanted, headers={"x-path": request.path})
        self.sessions.append(session)
        match request.path:
            case "/close":
                session.close(7, "as you wish")
            case "/fail":
                await session.recv_datagram()
                raise ValueError("broken")
            case "/quiet":
                await session.wait_closed()
            case "/stop":
                stream = await session.accept_stream()
                stream.stop(77)
                stream.reset(0xFFFFFFFF)
                await session.wait_closed()
            case "/gone-at-once":
                stream = await session.accept_stream()
                with pytest.raises(tquic.StreamReset) as caught:
                    await stream.read()
                self.ends.put_nowait(caught.value)
            case "/push":
                stream = session.open_stream()
                stream.write(b"pushed")
                stream.finish()
                self.ends.put_nowait(await stream.read())
                one = session.open_stream(unidirectional=True)
                one.write(b"one way")
                one.finish()
            case _:
                await everything(session)
        self.ends.put_nowait(session.exception)


@pytest.fixture
async def site(server_config: tquic.Config) -> AsyncIterator[Site]:
    site = Site()
    async with (
        asyncio.timeout(30),
        tquic.h3.serve(
            answer,
            "127.0.0.1",
            0,
            config=server_config,
            webtransport=site.handle,
            limits=Limits(sessions=4),
        ) as server,
    ):
        site.url = f"https://127.0.0.1:{server.address[1]}/"
        yield site


@pytest.fixture
async def c(site: Site, client_config: tquic.Config) -> AsyncIterator[tquic.h3.ClientConnection]:
    async with tquic.h3.connect(site.url, config=client_config) as connection:
        yield connection


Connection = tquic.h3.ClientConnection


async def test_streams_and_datagrams_both_ways(site: Site, c: Connection) -> None:
    session = await c.webtransport("/echo?x=1", headers={"origin": "https://example.com"})
    assert session.headers["x-path"] == "/echo"
    asked = site.requests[0]
    assert (asked.target, asked.query, asked.origin) == ("/echo?x=1", "x=1", "https://example.com")
    assert asked.protocols == []
    assert session.protocol is None
    async with session:
        both = session.open_stream()
        assert both.session is session
        for piece in (b"hello", BIG):
            await both.write(piece)
            assert await both.readexactly(len(piece)) == piece
        both.finish()
        assert await both.read() == b""
        there = session.open_stream(unidirectional=True)
        there.write(b"one way")
        there.finish()
        back = await session.accept_stream()
        assert not back.writable
        assert await back.read() == b"one way"
        assert session.send_datagram(b"datagram")
        assert await session.recv_datagram() == b"datagram"
        assert session.send_datagram(bytes(session.max_datagram_size))
        with pytest.raises(tquic.DatagramError):
            session.send_datagram(bytes(session.max_datagram_size + 1))
        # Requests go on beside it.
        assert await (await c.get("/page")).read() == b"GET /page"
    assert session.closed
    end = await site.ends.get()
    assert (end.code, end.reason, end.by, end.clean) == (0, "", "peer", True)
    for act in (session.open_stream, lambda: session.send_datagram(b"")):
        with pytest.raises(SessionClosed):
            act()
    with pytest.raises(SessionClosed):
        await session.accept_stream()
    assert [stream async for stream in session] == []


async def test_files(site: Site, c: Connection, tmp_path: Path) -> None:
    """That the engine moves content past Python behind the header of a stream."""
    (tmp_path / "there").write_bytes(BIG)
    async with await c.webtransport("/echo") as session:
        stream = session.open_stream(unidirectional=True)
        assert await stream.send_file(tmp_path / "there") == len(BIG)
        back = await session.accept_stream()
        assert await back.recv_to_file(tmp_path / "back") == len(BIG)
    assert (tmp_path / "back").read_bytes() == BIG


async def test_the_server_opens_streams(site: Site, c: Connection) -> None:
    session = await c.webtransport("/push")
    stream = await session.accept_stream()
    assert stream.writable
    assert await stream.read() == b"pushed"
    stream.write(b"answer")
    stream.finish()
    assert await site.ends.get() == b"answer"
    one = await session.accept_stream()
    assert await one.read() == b"one way"
    await session.wait_closed()
    assert isinstance(session.exception, SessionClosed)
    assert session.exception.by == "peer"


async def test_several_sessions_at_once(site: Site, c: Connection) -> None:
    async def talk(number: int) -> None:
        async with await c.webtransport(f"/{number}") as session:
            for turn in range(20):
                stream = session.open_stream()
                message = f"{number} {turn}".encode()
                stream.write(message)
                stream.finish()
                assert await stream.read() == message
                session.send_datagram(message)
                assert await session.recv_datagram() == message

    await asyncio.gather(*map(talk, range(4)))
    assert c.requests == 0


async def test_more_sessions_than_the_server_takes(site: Site, c: Connection) -> None:
    """draft-ietf-webtrans-http3-16 section 5.2"""
    sessions = [await c.webtransport("/quiet") for _ in range(4)]
    with pytest.raises(RequestFailed, match="H3_REQUEST_REJECTED") as caught:
        await c.webtransport("/quiet")
    assert caught.value.unprocessed
    for session in sessions:
        session.close()
        assert (await site.ends.get()).clean
    async with await c.webtransport("/quiet"):
        pass


async def test_the_server_closes(site: Site, c: Connection) -> None:
    session = await c.webtransport("/close")
    await session.wait_closed()
    error = session.exception
    assert isinstance(error, SessionClosed)
    assert (error.code, error.reason, error.by) == (7, "as you wish", "peer")
    with pytest.raises(SessionClosed, match="as you wish"):
        async for _ in session:
            pass
    assert c.requests == 0


async def test_the_client_closes_with_a_code(site: Site, c: Connection) -> None:
    session = await c.webtransport("/quiet")
    stream = session.open_stream()
    stream.write(b"x")
    with pytest.raises(ValueError, match="2\\^32"):
        session.close(1 << 32)
    session.close(0xFFFFFFFF, "ä" * 1000)
    with pytest.raises(SessionClosed):
        await stream.read()
    error = await site.ends.get()
    # At most 1024 bytes, cut between characters.
    assert (error.code, error.reason, error.by) == (0xFFFFFFFF, "ä" * 512, "peer")
    # An exception in the block is an end with code 1.
    with pytest.raises(KeyError):
        async with await c.webtransport("/quiet"):
            raise KeyError
    assert (await site.ends.get()).code == 1


async def test_error_codes_of_streams(site: Site, c: Connection) -> None:
    """draft-ietf-webtrans-http3-16 section 4.4"""
    session = await c.webtransport("/stop")
    stream = session.open_stream()
    stream.write(b"x")
    with pytest.raises(tquic.StreamReset) as reset:
        await stream.read()
    assert reset.value.code == 0xFFFFFFFF
    with pytest.raises(tquic.StreamStopped) as stopped:
        await stream.wait_finished()
    assert stopped.value.code == 77
    with pytest.raises(ValueError, match="2\\^32"):
        stream.reset(1 << 32)
    session.close()


async def test_a_stream_that_is_given_up_at_once_is_heard_of(site: Site, c: Connection) -> None:
    """RESET_STREAM_AT keeps its header (draft-ietf-webtrans-http3-16 section 4.4)."""
    session = await c.webtransport("/gone-at-once")
    session.open_stream().reset(5)
    assert (await site.ends.get()).code == 5


async def test_streams_end_with_their_session(site: Site, c: Connection) -> None:
    session = await c.webtransport("/quiet")
    stream = session.open_stream()
    stream.write(b"x")
    while not site.sessions:
        await asyncio.sleep(0)
    theirs = await site.sessions[0].accept_stream()
    site.sessions[0].close(3)
    with pytest.raises(SessionClosed):
        await theirs.read()
    with pytest.raises((SessionClosed, tquic.StreamReset)) as caught:
        await stream.read()
    if isinstance(caught.value, tquic.StreamReset):
        assert caught.value.code_name == "WT_SESSION_GONE"


async def test_draining(site: Site, c: Connection) -> None:
    session = await c.webtransport("/quiet")
    assert not session.draining
    while not site.sessions:
        await asyncio.sleep(0)
    site.sessions[0].drain()
    await session.wait_draining()
    assert session.draining
    assert not session.closed
    session.close()


async def test_a_server_that_goes_away_drains(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    """draft-ietf-webtrans-http3-16 section 4.7"""
    site = Site()
    async with asyncio.timeout(30):
        server = await tquic.h3.serve(
            answer, "127.0.0.1", 0, config=server_config, webtransport=site.handle
        )
        url = f"https://127.0.0.1:{server.address[1]}/"
        async with tquic.h3.connect(url, config=client_config) as c:
            session = await c.webtransport("/quiet")
            ending = asyncio.create_task(server.shutdown(10))
            await session.wait_draining()
            assert site.sessions[0].draining
            session.close()
            assert await ending


async def test_refusals(site: Site, c: Connection, caplog: pytest.LogCaptureFixture) -> None:
    for path, status in (("/no", 403), ("/gone", 404), ("/broken", 500)):
        with pytest.raises(SessionRefused) as caught:
            await c.webtransport(path)
        assert caught.value.status == status
    assert "broken" in caplog.text
    assert c.requests == 0
    session = await c.webtransport("/fail")
    session.send_datagram(b"now")
    await session.wait_closed()
    assert isinstance(session.exception, SessionClosed)
    assert session.exception.code is None
    assert "H3_INTERNAL_ERROR" in session.exception.reason


async def test_protocols(site: Site, c: Connection) -> None:
    """draft-ietf-webtrans-http3-16 section 3.3"""
    async with await c.webtransport("/echo", protocols=("one", 'with " and \\')) as session:
        assert session.protocol == 'with " and \\'
        assert site.sessions[0].protocol == 'with " and \\'
        assert site.requests[0].protocols == ["one", 'with " and \\']
    with pytest.raises(SessionClosed, match="not offered"):
        await c.webtransport("/evil", protocols=("good",))
    with pytest.raises(ValueError, match="ASCII"):
        await c.webtransport("/echo", protocols=("ä",))


async def test_ends_without_webtransport(
    site: Site, server_config: tquic.Config, client_config: tquic.Config
) -> None:
    async with tquic.h3.serve(answer, "127.0.0.1", 0, config=server_config) as server:
        url = f"https://127.0.0.1:{server.address[1]}/"
        async with tquic.h3.connect(url, config=client_config) as c:
            with pytest.raises(LocalProtocolError, match="does not take"):
                await c.webtransport("/")
    deaf = client_config.replace(max_datagram_frame_size=0)
    async with tquic.h3.connect(site.url, config=deaf) as c:
        with pytest.raises(LocalProtocolError, match="datagrams"):
            await c.webtransport("/")
        assert (await c.get("/")).status == 200
    deaf = server_config.replace(max_datagram_frame_size=0)
    with pytest.raises(tquic.ConfigError, match="datagrams"):
        tquic.h3.serve(answer, "127.0.0.1", 0, config=deaf, webtransport=site.handle)
    with pytest.raises(tquic.ConfigError, match="ASGI"):
        tquic.h3.serve(answer, "127.0.0.1", 0, config=server_config, webtransport=True)


async def test_other_protocols_are_refused(site: Site, c: Connection) -> None:
    async with await c.open("CONNECT", "/", protocol="websocket") as stream:
        assert (await stream.response()).status == 501


async def test_an_asgi_application(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "webtransport":
            return
        with pytest.raises(RuntimeError):
            await receive()
        request = scope["extensions"]["tquic.webtransport"]["request"]
        if scope["path"] == "/echo":
            await everything(request.accept())

    async with (
        asyncio.timeout(30),
        tquic.h3.serve(app, "127.0.0.1", 0, config=server_config, webtransport=True) as server,
        tquic.h3.Client(config=client_config) as client,
    ):
        url = f"https://127.0.0.1:{server.address[1]}"
        async with await client.webtransport(f"{url}/echo") as session:
            stream = session.open_stream()
            stream.write(b"hello")
            stream.finish()
            assert await stream.read() == b"hello"
        with pytest.raises(SessionRefused):
            await client.webtransport(f"{url}/no")


async def test_the_connection_ends(site: Site, c: Connection) -> None:
    session = await c.webtransport("/quiet")
    stream = session.open_stream()
    c.close()
    with pytest.raises(tquic.ConnectionClosed):
        await stream.read()
    with pytest.raises(tquic.ConnectionClosed):
        await session.recv_datagram()
    assert isinstance(await site.ends.get(), tquic.ConnectionClosed)
