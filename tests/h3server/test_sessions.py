"""WebTransport sessions of clients written by hand: too early, too much, and against the rules."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import tquic
from tquic.h3._codec import encode_varint
from tquic.h3._webtransport import encode_close, http_code, stream_header
from tquic.h3.capsules import encode_capsule
from tquic.h3.errors import ErrorCode, SessionErrorCode
from tquic.h3.qpack import encode_static
from tquic.h3.server import Limits
from tquic.h3.webtransport import SessionClosed

from .byhand import CONNECT, SETTINGS, Site, control, frame, until_stopped


@pytest.fixture
async def site(
    authority: tuple[bytes, bytes, bytes], caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Site]:
    site = Site()
    async with site.serve(authority, Limits(sessions=3)):
        yield site
    # Nothing that clients do makes an exception.
    assert not caplog.records


async def test_what_comes_before_its_session(site: Site) -> None:
    session_id = 4
    # Bidirectional stream 0, and a unidirectional one, for the session that stream 4 will make.
    both = site.open(stream_header(session_id, unidirectional=False) + b"both")
    both.finish()
    one = site.open(stream_header(session_id, unidirectional=True) + b"one", unidirectional=True)
    one.finish()
    site.client.send_datagram(b"\x01datagram")
    await site.client.ping()
    connect = site.open(frame(1, encode_static(CONNECT)))
    assert connect.id == session_id
    given_up = site.open(frame(1, encode_static(CONNECT)))
    await site.client.ping()
    given_up.reset(ErrorCode.H3_REQUEST_CANCELLED)
    await site.client.ping()
    # Without the client's SETTINGS nobody knows what it means.
    assert site.sessions.empty()
    site.open(control(SETTINGS), unidirectional=True)
    session = await site.sessions.get()
    streams = [await session.accept_stream() for _ in range(2)]
    assert sorted([await stream.read() for stream in streams]) == [b"both", b"one"]
    assert await session.recv_datagram() == b"datagram"
    assert site.sessions.empty()


async def test_streams_of_sessions_that_never_come(site: Site) -> None:
    """draft-ietf-webtrans-http3-16 section 4.6"""
    site.open(control(SETTINGS), unidirectional=True)
    waiting = []
    for _ in range(17):
        waiting.append(site.open(stream_header(400, unidirectional=False) + b"x"))
        await site.client.ping()
    with pytest.raises(tquic.StreamReset) as caught:
        await waiting[0].read()
    assert caught.value.code == SessionErrorCode.WT_BUFFERED_STREAM_REJECTED
    with pytest.raises(tquic.StreamStopped):
        await waiting[0].wait_finished()
    # The others may wait on.
    waiting[1].write(b"y")
    await waiting[1].drain()
    assert waiting[1]._out.error is None
    for _ in range(1000):
        site.client.send_datagram(encode_varint(100) + bytes(1000))
    await site.client.ping()


async def test_streams_of_sessions_that_have_ended(site: Site) -> None:
    site.open(control(SETTINGS), unidirectional=True)
    connect, session = await site.begin()
    session.close()
    await connect.read(1)
    late = site.open(stream_header(connect.id, unidirectional=False) + b"late")
    with pytest.raises(tquic.StreamReset) as caught:
        await late.read()
    assert caught.value.code == SessionErrorCode.WT_SESSION_GONE
    site.client.send_datagram(encode_varint(connect.id >> 2) + b"late")
    await site.client.ping()


async def test_a_stream_that_is_stopped_before_it_has_begun(site: Site) -> None:
    site.open(control(SETTINGS), unidirectional=True)
    connect, session = await site.begin()
    header = stream_header(connect.id, unidirectional=False)
    stream = site.open(header[:1])
    stream.stop(http_code(5))
    await site.client.ping()
    stream.write(header[1:] + b"content")
    theirs = await session.accept_stream()
    assert await theirs.readexactly(7) == b"content"
    with pytest.raises(tquic.StreamStopped) as caught:
        await theirs.wait_finished()
    assert caught.value.code == 5


@pytest.mark.parametrize("settings", [{}, {0x33: 1}, {0x2B603742: 1}])
async def test_clients_that_do_not_know_it(site: Site, settings: dict[int, int]) -> None:
    site.open(control(settings), unidirectional=True)
    connect = site.open(frame(1, encode_static(CONNECT)))
    with pytest.raises(tquic.StreamReset) as caught:
        await connect.read()
    assert caught.value.code == ErrorCode.H3_MESSAGE_ERROR


async def test_datagrams_that_nobody_reads(site: Site) -> None:
    site.open(control(SETTINGS), unidirectional=True)
    connect, session = await site.begin()
    for number in range(50):
        site.client.send_datagram(encode_varint(connect.id >> 2) + b"%036d" % number)
        await site.client.ping()
    kept = [int(await session.recv_datagram()) for _ in range(10)]
    assert kept == list(range(40, 50))
    assert not session._datagrams


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (encode_capsule(0x2843, b"\0\0\0\0\xff"), ErrorCode.H3_MESSAGE_ERROR),
        (encode_varint(0) + encode_varint(1 << 20), ErrorCode.H3_EXCESSIVE_LOAD),
    ],
    ids=["no UTF-8", "too long"],
)
async def test_a_capsule_that_is_too_long(site: Site, content: bytes, code: int) -> None:
    site.open(control(SETTINGS), unidirectional=True)
    connect, session = await site.begin()
    connect.write(frame(0, content))
    await session.wait_closed()
    assert isinstance(session.exception, SessionClosed)
    assert (session.exception.code, session.exception.by) == (None, "local")
    with pytest.raises(tquic.StreamReset) as caught:
        await connect.read()
    assert caught.value.code == code
    # The connection goes on.
    await site.begin()


async def test_the_connect_stream_is_given_up(site: Site) -> None:
    site.open(control(SETTINGS), unidirectional=True)
    connect, session = await site.begin()
    connect.reset(ErrorCode.H3_REQUEST_CANCELLED)
    await session.wait_closed()
    assert isinstance(session.exception, SessionClosed)
    assert (session.exception.code, session.exception.by) == (None, "peer")
    # Stopped with the word that follows on the stream: the word counts.
    connect, session = await site.begin()
    connect.stop(SessionErrorCode.WT_SESSION_GONE)
    await site.client.ping()
    connect.write(frame(0, encode_close(3, "bye")))
    connect.finish()
    await session.wait_closed()
    assert isinstance(session.exception, SessionClosed)
    assert (session.exception.code, session.exception.reason) == (3, "bye")
    # Stopped for another reason.
    connect, session = await site.begin()
    connect.stop(ErrorCode.H3_REQUEST_CANCELLED)
    await session.wait_closed()
    assert isinstance(session.exception, SessionClosed)
    assert session.exception.code is None


@pytest.mark.parametrize("more", [encode_capsule(0x78AE, b""), b"x"])
async def test_content_behind_the_end_of_a_session(site: Site, more: bytes) -> None:
    """draft-ietf-webtrans-http3-16 section 6"""
    site.open(control(SETTINGS), unidirectional=True)
    connect, session = await site.begin()
    connect.write(frame(0, encode_close(3, "bye")))
    await session.wait_closed()
    connect.write(frame(0, more))
    with pytest.raises(tquic.StreamStopped) as caught:
        await until_stopped(connect)
    assert caught.value.code == ErrorCode.H3_MESSAGE_ERROR
    # What it was told is not changed by that.
    assert isinstance(session.exception, SessionClosed)
    assert (session.exception.code, session.exception.reason) == (3, "bye")


async def test_nothing_is_kept_of_sessions_that_are_over(site: Site) -> None:
    site.open(control(SETTINGS), unidirectional=True)
    for end in ("finish", "reset", "closed", "stop"):
        connect, session = await site.begin()
        if end == "reset":
            connect.reset(ErrorCode.H3_REQUEST_CANCELLED)
        elif end == "stop":
            connect.stop(ErrorCode.H3_REQUEST_CANCELLED)
        elif end == "closed":
            session.close()
        await site.client.ping()
        connect.finish()
        await session.wait_closed()
        await site.client.ping()
        sessions = session._wire.sessions
        while sessions._active or sessions._closing:
            await site.client.ping()


async def test_a_session_that_cannot_be(site: Site) -> None:
    site.open(control(SETTINGS), unidirectional=True)
    site.open(stream_header(3, unidirectional=True), unidirectional=True)
    await site.client.wait_closed()
    assert site.client.exception.code == ErrorCode.H3_ID_ERROR
