"""WebTransport of draft 16 from our client to our server: sessions with limits of their own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import tquic
import tquic.h3
import tquic.sync.h3
from tquic.h3 import LocalProtocolError, SessionLimits, Settings
from tquic.h3.server import Limits, Request, Response
from tquic.h3.webtransport import Session, SessionClosed, SessionRequest, Stream

WINDOW = 64 * 1024
BIG = bytes(range(256)) * 4096
SMALL = Limits(session_data=WINDOW, session_bidi_streams=2, session_uni_streams=1)
MODEST = Settings(
    h3_datagram=True,
    webtransport=1,
    session_limits=SessionLimits(data=WINDOW, bidi_streams=1, uni_streams=2),
)

Connection = tquic.h3.ClientConnection


async def page(request: Request) -> Response:
    return Response()


class Site:
    """A server that gives its sessions to the test."""

    def __init__(self) -> None:
        self.sessions: asyncio.Queue[Session] = asyncio.Queue()
        self.url = ""

    async def handle(self, request: SessionRequest) -> None:
        session = request.accept()
        self.sessions.put_nowait(session)
        await session.wait_closed()

    @contextlib.asynccontextmanager
    async def serve(self, config: tquic.Config, limits: Limits) -> AsyncIterator[None]:
        async with tquic.h3.serve(
            page, "127.0.0.1", 0, config=config, webtransport=self.handle, limits=limits
        ) as server:
            self.url = f"https://127.0.0.1:{server.address[1]}/"
            yield


@pytest.fixture
async def site(server_config: tquic.Config) -> AsyncIterator[Site]:
    site = Site()
    async with asyncio.timeout(30), site.serve(server_config, SMALL):
        yield site


@pytest.fixture
async def c(site: Site, client_config: tquic.Config) -> AsyncIterator[Connection]:
    async with tquic.h3.connect(site.url, config=client_config, settings=MODEST) as connection:
        yield connection


async def both(site: Site, c: Connection) -> tuple[Session, Session]:
    """A session at both of its ends."""
    ours = await c.webtransport("/")
    theirs = await site.sessions.get()
    assert ours._flow is not None
    assert theirs._flow is not None
    return ours, theirs


def credit(session: Session) -> int:
    """Bytes that it may send."""
    flow: Any = session._flow
    return int(flow.data.left)


async def test_more_than_a_window_both_ways(site: Site, c: Connection) -> None:
    ours, theirs = await both(site, c)
    for near, far in ((ours, theirs), (theirs, ours)):
        stream = near.open_stream()
        writing = asyncio.create_task(fill(stream))
        other = await far.accept_stream()
        assert await other.read() == BIG
        await writing
        other.finish()
        assert await stream.read() == b""


async def fill(stream: Stream) -> None:
    await stream.write(BIG)
    stream.finish()


async def test_nobody_sends_more_than_was_allowed(site: Site, c: Connection) -> None:
    ours, theirs = await both(site, c)
    one = ours.open_stream()
    one.write(BIG)
    far = await theirs.accept_stream()
    while far._in.buffered < WINDOW:
        await far._in.changed.wait()
    two = ours.open_stream()
    two.write(b"waits")
    two.finish()
    other = await theirs.accept_stream()
    await c._wire.ping()
    # All of it is in the one stream, and nothing more has come.
    assert (far._in.buffered, other._in.buffered) == (WINDOW, 0)
    one.finish()
    # Room is made for both, one after the other.
    assert await asyncio.gather(far.read(), other.read()) == [BIG, b"waits"]
    assert theirs.exception is None


async def test_reading_more_than_a_window_at_once(site: Site, c: Connection) -> None:
    ours, theirs = await both(site, c)
    stream = ours.open_stream()
    writing = asyncio.create_task(fill(stream))
    far = await theirs.accept_stream()
    assert await far.readexactly(len(BIG)) == BIG
    await writing


async def test_no_more_streams_than_allowed(site: Site, c: Connection) -> None:
    ours, theirs = await both(site, c)
    streams = [ours.open_stream() for _ in range(4)]
    for number, stream in enumerate(streams):
        stream.write(b"stream %d" % number)
        stream.finish()
    first, second = [await theirs.accept_stream() for _ in range(2)]
    await c._wire.ping()
    assert not theirs._unaccepted
    assert await first.read() == b"stream 0"
    first.finish()
    third = await theirs.accept_stream()
    assert await third.read() == b"stream 2"
    # Given up before it was begun: nobody hears of it.
    streams[3].reset(5)
    last = ours.open_stream()
    last.write(b"last")
    last.finish()
    second.reset()
    second.stop()
    assert await (await theirs.accept_stream()).read() == b"last"
    # The limit is one for each direction.
    ones = [theirs.open_stream(unidirectional=True) for _ in range(3)]
    for one in ones:
        one.finish()
    for _ in ones:
        assert await (await ours.accept_stream()).read() == b""


@pytest.mark.parametrize("by_client", [True, False])
async def test_streams_that_are_given_up_before_they_begin(
    site: Site, c: Connection, by_client: bool
) -> None:
    """Nobody keeps them, and they are not counted as requests that were given up."""
    ours, theirs = await both(site, c)
    near, far = (ours, theirs) if by_client else (theirs, ours)
    begun = [near.open_stream() for _ in range(2 if by_client else 1)]
    taken = [await far.accept_stream() for _ in begun]
    for _ in range(Limits().resets + 1):
        stream = near.open_stream()
        stream.write(b"x")
        stream.reset(5)
        with pytest.raises(tquic.StreamClosed):
            await stream.read()
    assert not any(near._unbegun)
    kept = {stream.id for stream in begun}
    for session in (near, far):
        while {one for one in session._wire._streams if one > 0 and not one & 2} != kept:
            await c._wire.ping()
    server: Any = theirs.connection
    assert set(server._reading) == {ours.id}
    # The limit was not used up.
    for stream in (*begun, *taken):
        stream.finish()
    for stream in (*begun, *taken):
        assert await stream.read() == b""
    last = near.open_stream()
    last.write(b"last")
    last.finish()
    assert await (await far.accept_stream()).read() == b"last"


async def test_a_stream_that_waits_is_not_taken_for_a_slow_request(
    site: Site, c: Connection
) -> None:
    """Its ID is in use, and others go on behind it."""
    ours, theirs = await both(site, c)
    streams = [ours.open_stream() for _ in range(3)]
    waits = streams[2]
    waits.write(b"at last")
    waits.finish()
    assert await (await c.get("/")).read() == b""
    server: Any = theirs.connection
    assert waits.id in server._reading
    # The time for its headers is over.
    server._reading[waits.id] = 0.0
    server._look()
    assert server._reading[waits.id] > 0.0
    for stream in streams[:2]:
        stream.finish()
        far = await theirs.accept_stream()
        assert await far.read() == b""
        far.finish()
    assert await (await theirs.accept_stream()).read() == b"at last"


async def test_what_is_given_up_comes_back(site: Site, c: Connection) -> None:
    """Whoever gives a stream up, and whenever: no credit is lost."""
    ours, theirs = await both(site, c)
    for turn in range(12):
        near, far = (ours, theirs) if turn % 2 else (theirs, ours)
        stream = near.open_stream(unidirectional=turn % 4 > 1)
        stream.write(BIG)
        other = await far.accept_stream()
        match turn % 3:
            case 0:
                stream.reset(1)
                with pytest.raises(tquic.StreamReset):
                    await other.read()
            case 1:
                await other.read_chunk()
                other.stop(2)
                with pytest.raises(tquic.StreamStopped):
                    await stream.wait_finished()
            case _:
                # Both at once.
                other.stop(3)
                stream.reset(4)
        for one in (stream, other):
            if one.writable:
                one.reset()
            if one.readable:
                one.stop()
        # Until the limits are known to be what they were.
        while credit(near) < WINDOW * 3 // 4:
            await c._wire.ping()
    for session in (ours, theirs):
        assert session.exception is None
        assert not session._streams()


async def test_a_reset_that_cannot_be_changes_nothing(site: Site, c: Connection) -> None:
    ours, theirs = await both(site, c)
    stream = ours.open_stream(unidirectional=True)
    stream.write(b"all")
    with pytest.raises(ValueError, match="reliable_size"):
        stream.reset(0, reliable_size=4)
    with pytest.raises(ValueError, match="code"):
        stream.reset(1 << 32)
    stream.finish()
    assert await (await theirs.accept_stream()).read() == b"all"
    await stream.wait_finished()
    # Too late: it has been delivered.
    stream.reset(0)
    assert not ours._streams()
    assert stream.id not in c._wire._streams


async def test_files_go_through_the_limits(site: Site, c: Connection, tmp_path: Path) -> None:
    ours, theirs = await both(site, c)
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(BIG)
    target.write_bytes(b"before")
    stream = ours.open_stream()
    sending = asyncio.create_task(stream.send_file(source, offset=1, size=len(BIG) - 2))
    far = await theirs.accept_stream()
    assert await far.recv_to_file(target, offset=6) == len(BIG) - 2
    assert await sending == len(BIG) - 2
    assert target.read_bytes() == b"before" + BIG[1:-1]


async def test_files_that_are_given_up(site: Site, c: Connection, tmp_path: Path) -> None:
    ours, theirs = await both(site, c)
    stream = ours.open_stream()
    stream.write(b"x")
    far = await theirs.accept_stream()
    with pytest.raises(FileNotFoundError):
        await stream.send_file(tmp_path / "none")
    with pytest.raises(tquic.StreamReset):
        await far.recv_to_file(tmp_path / "target")


async def test_the_end_of_a_session_ends_what_waits(site: Site, c: Connection) -> None:
    ours, theirs = await both(site, c)
    streams = [ours.open_stream() for _ in range(4)]
    streams[0].write(BIG)
    waiting = [asyncio.create_task(stream.drain()) for stream in (streams[0], streams[3])]
    theirs.close(3, "enough")
    for task in waiting:
        # A stream's STOP_SENDING may overtake the end of the session.
        with pytest.raises((SessionClosed, tquic.StreamStopped), match=r"enough|0x170d7b68"):
            await task
    # Another on the same connection has limits of its own.
    ours, theirs = await both(site, c)
    assert credit(ours) == WINDOW


async def test_a_stream_that_nobody_reads_is_in_nobodys_way(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    """What the windows of QUIC keep here takes no credit from others."""
    site = Site()
    config = server_config.replace(stream_window=WINDOW, max_stream_window=WINDOW)
    async with (
        site.serve(config, Limits(session_data=4 << 20)),
        tquic.h3.connect(site.url, config=client_config) as c,
    ):
        ours, theirs = await both(site, c)
        stuck = ours.open_stream()
        stuck.write(BIG * 8)
        stuck.finish()
        far = await theirs.accept_stream()
        stream = ours.open_stream()
        stream.write(BIG)
        stream.finish()
        assert await (await theirs.accept_stream()).read() == BIG
        assert await far.read() == BIG * 8


async def test_what_is_unread_does_not_hide_what_was_read(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    """The limit is raised by what was read of one stream, though only another sends since."""
    site = Site()
    async with (
        site.serve(server_config, SMALL),
        tquic.h3.connect(site.url, config=client_config) as c,
    ):
        ours, theirs = await both(site, c)
        one, two = ours.open_stream(), ours.open_stream()
        one.write(BIG[:1000])
        one.finish()
        assert await (await theirs.accept_stream()).read() == BIG[:1000]
        two.write(BIG[: WINDOW - 1000])
        far = await theirs.accept_stream()
        while far._in.buffered < WINDOW - 1000:
            await far._in.changed.wait()
        assert credit(ours) <= 1000
        while credit(ours) < 1000:
            await c._wire.ping()


async def test_streams_that_may_not_begin_yet_are_in_nobodys_way(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    """The connection has a limit of streams as well."""
    site = Site()
    limits = Limits(streams=2, session_data=WINDOW, session_bidi_streams=10)
    async with (
        site.serve(server_config, limits),
        tquic.h3.connect(site.url, config=client_config) as c,
    ):
        ours, theirs = await both(site, c)
        stream = ours.open_stream()
        for _ in range(5):
            ours.open_stream().write(BIG)
        stream.write(BIG)
        stream.finish()
        assert await (await theirs.accept_stream()).read() == BIG


async def test_sessions_do_not_share_limits(site: Site, c: Connection) -> None:
    """draft-ietf-webtrans-http3-16 section 8"""
    greedy, idle = await both(site, c)
    modest, busy = await both(site, c)
    stream = greedy.open_stream()
    stream.write(BIG)
    await idle.accept_stream()
    while credit(greedy):
        await c._wire.ping()
    other = modest.open_stream()
    other.write(b"not in its way")
    other.finish()
    assert await (await busy.accept_stream()).read() == b"not in its way"


async def test_a_server_without_reset_stream_at(
    server_config: tquic.Config, client_config: tquic.Config
) -> None:
    """It cannot speak version 16, so both speak an older one, without limits for sessions."""
    site = Site()
    config = server_config.replace(reset_stream_at=False)
    async with (
        asyncio.timeout(30),
        site.serve(config, SMALL),
        tquic.h3.connect(site.url, config=client_config) as c,
    ):
        session = await c.webtransport("/")
        assert c._wire.h3.session_version == 7
        assert session._flow is None
        stream = session.open_stream()
        stream.write(BIG)
        stream.finish()
        assert await (await (await site.sessions.get()).accept_stream()).read() == BIG


async def test_settings_of_a_client(site: Site, client_config: tquic.Config) -> None:
    async with tquic.h3.Client(config=client_config, settings=MODEST) as client:
        await client.webtransport(site.url)
        theirs = await site.sessions.get()
        assert credit(theirs) == WINDOW
        seen = theirs._wire.h3.peer_settings
        assert seen is not None
        assert seen.session_limits == MODEST.session_limits
    plain = Settings(h3_datagram=True)
    async with tquic.h3.connect(site.url, config=client_config, settings=plain) as c:
        with pytest.raises(LocalProtocolError, match="makes no sessions"):
            await c.webtransport("/")


@pytest.mark.parametrize("missing", [{"max_datagram_frame_size": 0}, {"reset_stream_at": False}])
def test_settings_that_would_be_lies(client_config: tquic.Config, missing: dict[str, Any]) -> None:
    config = client_config.replace(**missing)
    for make in (tquic.h3.connect, tquic.sync.h3.connect):
        with pytest.raises(tquic.ConfigError, match=next(iter(missing))):
            make("https://localhost/", config=config, settings=MODEST)
    with pytest.raises(tquic.ConfigError):
        tquic.h3.Client(config=config, settings=MODEST)
