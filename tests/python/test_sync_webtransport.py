"""WebTransport without ``await``: our blocking client, and our server in another thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import tquic
import tquic.h3
import tquic.sync
import tquic.sync.h3
from tquic.h3 import SessionLimits, Settings
from tquic.h3.webtransport import SessionClosed, SessionRefused

BIG = bytes(range(256)) * 4096


@pytest.fixture
def c(session_url: str, client_config: tquic.Config) -> Iterator[tquic.sync.h3.ClientConnection]:
    with tquic.sync.h3.connect(session_url, config=client_config, timeout=30) as connection:
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


def test_settings(session_url: str, client_config: tquic.Config) -> None:
    limits = SessionLimits(data=3, bidi_streams=1, uni_streams=1)
    settings = Settings(h3_datagram=True, webtransport=1, session_limits=limits)
    how: Any = {"config": client_config, "settings": settings, "timeout": 30}
    with tquic.sync.h3.connect(session_url, **how) as c, c.webtransport("/") as session:
        session.send_datagram(b"echo")
        stream = session.open_stream()
        stream.write(BIG[:1000])
        # The server may send three bytes before they are read.
        stream.finish()
        first = stream.read(1000)
        assert len(first) <= 3
        assert first + stream.read() == BIG[:1000]
    with tquic.sync.h3.Client(**how) as client:
        assert client.get(session_url).status == 200
        (inner,) = client._inner._connections.values()
        assert inner._wire.h3.settings is settings


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
