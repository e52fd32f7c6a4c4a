"""WebTransport of draft 16: clients written by hand that break its rules, and what a server tells
them (section numbers: draft-ietf-webtrans-http3-16)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

import tquic
from tquic.h3._codec import decode_varint, encode_varint
from tquic.h3._webtransport import stream_header
from tquic.h3.capsules import Capsule, CapsuleDecoder, encode_capsule
from tquic.h3.errors import ErrorCode, SessionErrorCode
from tquic.h3.server import Limits
from tquic.h3.webtransport import SessionClosed

from .byhand import SETTINGS as OLDER
from .byhand import Site, control, frame, until_stopped

H3 = b"webtransport-h3"
MAX_DATA, DATA_BLOCKED = 0x190B4D3D, 0x190B4D41
MAX_BIDI, MAX_UNI = 0x190B4D3F, 0x190B4D40
BIDI_BLOCKED, UNI_BLOCKED = 0x190B4D43, 0x190B4D44

ALONE = {0x33: 1, 0x2C7CF000: 1}
WITH = {**ALONE, 0x2B61: 100, 0x2B64: 1, 0x2B65: 1}
LIMITS = Limits(sessions=3, session_data=100, session_bidi_streams=2, session_uni_streams=1)

FLOW_CONTROL = SessionErrorCode.WT_FLOW_CONTROL_ERROR


@pytest.fixture
async def site(
    authority: tuple[bytes, bytes, bytes], caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Site]:
    site = Site()
    async with site.serve(authority, LIMITS):
        yield site
    # Nothing that clients do makes an exception.
    assert not caplog.records


def capsule(kind: int, value: int) -> bytes:
    return encode_capsule(kind, encode_varint(value))


class Said:
    """What the server says on a CONNECT stream behind its response."""

    def __init__(self, connect: tquic.Stream) -> None:
        self._connect = connect
        self._capsules = CapsuleDecoder()
        self._waiting: list[Capsule] = []

    async def _frame(self) -> tuple[int, bytes]:
        numbers = []
        for _ in range(2):
            start = await self._connect.readexactly(1)
            rest = await self._connect.readexactly((1 << (start[0] >> 6)) - 1)
            found = decode_varint(start + rest)
            assert found is not None
            numbers.append(found[0])
        return numbers[0], await self._connect.readexactly(numbers[1])

    async def next(self) -> tuple[int, int]:
        """The next capsule, as (type, value)."""
        while not self._waiting:
            kind, payload = await self._frame()
            if kind == 0:
                self._waiting += self._capsules.read(payload)
        first = self._waiting.pop(0)
        found = decode_varint(first.payload)
        assert found is not None
        return first.type, found[0]


async def ended_with(connect: tquic.Stream, code: int) -> None:
    """The server gives the session up, in both directions."""
    with pytest.raises(tquic.StreamReset) as caught:
        await connect.read()
    assert caught.value.code == code
    with pytest.raises(tquic.StreamStopped):
        await connect.wait_finished()


async def test_what_a_server_announces(site: Site) -> None:
    stream = await site.client.accept_stream()
    content = await stream.read_chunk()
    for number, value in ((0x2C7CF000, 1), (0x2B61, 100), (0x2B64, 1), (0x2B65, 2)):
        assert encode_varint(number) + encode_varint(value) in bytes(content)


@pytest.mark.parametrize("unidirectional", [False, True])
async def test_more_streams_than_allowed(site: Site, unidirectional: bool) -> None:
    """Section 5.6.2"""
    site.open(control(WITH), unidirectional=True)
    connect, session = await site.begin(H3)
    streams = [
        site.open(
            stream_header(connect.id, unidirectional=unidirectional), unidirectional=unidirectional
        )
        for _ in range(
            LIMITS.session_uni_streams if unidirectional else LIMITS.session_bidi_streams
        )
    ]
    await site.client.ping()
    assert not session.closed
    site.open(
        stream_header(connect.id, unidirectional=unidirectional), unidirectional=unidirectional
    )
    await ended_with(connect, FLOW_CONTROL)
    await session.wait_closed()
    assert isinstance(session.exception, SessionClosed)
    assert (session.exception.code, session.exception.by) == (None, "local")
    assert "more than the limit" in session.exception.reason
    # Section 6
    with pytest.raises(tquic.StreamStopped) as caught:
        await until_stopped(streams[0])
    assert caught.value.code == SessionErrorCode.WT_SESSION_GONE
    # The connection goes on.
    await site.begin(H3)


async def test_more_data_than_allowed(site: Site) -> None:
    """Section 5.6.4: that of all streams together, headers left out."""
    site.open(control(WITH), unidirectional=True)
    connect, session = await site.begin(H3)
    site.open(stream_header(connect.id, unidirectional=False) + bytes(60))
    last = site.open(
        stream_header(connect.id, unidirectional=True) + bytes(40), unidirectional=True
    )
    await site.client.ping()
    assert not session.closed
    last.write(b"x")
    await ended_with(connect, FLOW_CONTROL)


async def test_more_data_than_allowed_before_the_session(site: Site) -> None:
    header = stream_header(4, unidirectional=False)
    site.open(header + bytes(101))
    await site.client.ping()
    connect = site.ask(H3)
    assert connect.id == 4
    site.open(control(WITH), unidirectional=True)
    await ended_with(connect, FLOW_CONTROL)


async def test_data_that_nobody_reads_counts(site: Site) -> None:
    """Section 5.4: the final size of a stream that the server stopped."""
    site.open(control(WITH), unidirectional=True)
    connect, session = await site.begin(H3)
    stream = site.open(stream_header(connect.id, unidirectional=False))
    theirs = await session.accept_stream()
    # In this order, or the client might be stopped before it has sent anything.
    stream.write(bytes(101))
    theirs.stop(1)
    await ended_with(connect, FLOW_CONTROL)


async def test_limits_that_come_back(site: Site) -> None:
    """Section 5.6: without being asked for, and for streams that were given up as well."""
    site.open(control(WITH), unidirectional=True)
    connect, session = await site.begin(H3)
    said = Said(connect)
    stream = site.open(
        stream_header(connect.id, unidirectional=True) + bytes(30), unidirectional=True
    )
    theirs = await session.accept_stream()
    assert await theirs.readexactly(30) == bytes(30)
    assert await said.next() == (MAX_DATA, 130)
    stream.write(bytes(60))
    await site.client.ping()
    # Never read, but over.
    stream.reset(0)
    assert await said.next() == (MAX_DATA, 190)
    assert await said.next() == (MAX_UNI, 2)
    for _ in range(2):
        one = site.open(stream_header(connect.id, unidirectional=False))
        one.finish()
        theirs = await session.accept_stream()
        assert await theirs.read() == b""
        theirs.finish()
    # One behind each, as there are only two.
    assert [await said.next() for _ in range(2)] == [(MAX_BIDI, 3), (MAX_BIDI, 4)]


async def test_streams_that_were_rejected_before_their_session(
    authority: tuple[bytes, bytes, bytes],
) -> None:
    """The client has counted them (section 5.4), so they come back as all others do."""
    site = Site()
    limits = Limits(session_data=640, session_uni_streams=32)
    async with site.serve(authority, limits):
        # The session will be on the first bidirectional stream.
        header = stream_header(0, unidirectional=True)
        for _ in range(32):
            site.open(header + bytes(20), unidirectional=True).finish()
        await site.client.ping()
        site.open(control({**WITH, 0x2B64: 0}), unidirectional=True)
        connect, session = await site.begin(H3)
        assert connect.id == 0
        for _ in range(16):
            assert await (await session.accept_stream()).read() == bytes(20)
        said, told = Said(connect), {MAX_DATA: 640, MAX_UNI: 32}
        # All of it but the last quarter, which is not worth a capsule yet.
        while told[MAX_DATA] <= 2 * 640 - 160 or told[MAX_UNI] <= 2 * 32 - 8:
            told.update([await said.next()])


async def test_what_is_in_the_way_of_a_server(site: Site) -> None:
    site.open(control({**ALONE, 0x2B64: 1}), unidirectional=True)
    connect, session = await site.begin(H3)
    said = Said(connect)
    one = session.open_stream(unidirectional=True)
    one.write(b"not one byte may go")
    assert await said.next() == (DATA_BLOCKED, 0)
    two = session.open_stream(unidirectional=True)
    assert await said.next() == (UNI_BLOCKED, 1)
    both = session.open_stream()
    both.finish()
    assert await said.next() == (BIDI_BLOCKED, 0)
    control_stream, *_ = [await site.client.accept_stream() for _ in range(3)]
    assert control_stream.id == 3
    first = await site.client.accept_stream()
    header = stream_header(connect.id, unidirectional=True)
    assert await first.readexactly(len(header)) == header
    connect.write(frame(0, capsule(MAX_DATA, 3)))
    assert await first.readexactly(3) == b"not"
    assert await said.next() == (DATA_BLOCKED, 3)
    # All but the third byte is lost with the stream, and counts no more.
    one.reset(0)
    connect.write(frame(0, capsule(MAX_UNI, 2) + capsule(MAX_BIDI, 1) + capsule(MAX_DATA, 5)))
    two.write(b"ok")
    two.finish()
    others = [await site.client.accept_stream() for _ in range(2)]
    headers = [stream_header(connect.id, unidirectional=bool(other.id & 2)) for other in others]
    assert sorted([await other.read() for other in others]) == sorted(
        header + (b"ok" if other.id & 2 else b"")
        for other, header in zip(others, headers, strict=True)
    )


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (capsule(MAX_DATA, 100), FLOW_CONTROL),
        (capsule(MAX_DATA, 200) + capsule(MAX_DATA, 199), FLOW_CONTROL),
        (capsule(MAX_BIDI, 1), FLOW_CONTROL),
        (capsule(MAX_UNI, (1 << 60) + 1), FLOW_CONTROL),
        (capsule(UNI_BLOCKED, (1 << 60) + 1), FLOW_CONTROL),
        (encode_capsule(0x190B4D3E, b"\x04\x05"), FLOW_CONTROL),
        (encode_capsule(0x190B4D42, b"\x04\x05"), FLOW_CONTROL),
        (encode_capsule(MAX_DATA, b""), ErrorCode.H3_MESSAGE_ERROR),
        (encode_capsule(DATA_BLOCKED, b"\x05\x05"), ErrorCode.H3_MESSAGE_ERROR),
        (encode_varint(MAX_DATA) + encode_varint(1 << 20), ErrorCode.H3_EXCESSIVE_LOAD),
    ],
)
async def test_capsules_that_break_rules(site: Site, content: bytes, code: int) -> None:
    site.open(control(WITH), unidirectional=True)
    connect, session = await site.begin(H3)
    connect.write(frame(0, content))
    await session.wait_closed()
    await ended_with(connect, code)


async def test_a_client_without_flow_control(site: Site) -> None:
    """Section 5.1: one session at a time, and capsules of flow control mean nothing."""
    site.open(control(ALONE), unidirectional=True)
    connect, session = await site.begin(H3)
    connect.write(frame(0, capsule(MAX_DATA, 0) + capsule(MAX_UNI, 1 << 61)))
    stream = site.open(stream_header(connect.id, unidirectional=False) + bytes(1000))
    theirs = await session.accept_stream()
    assert await theirs.readexactly(1000) == bytes(1000)
    theirs.write(bytes(1000))
    assert await stream.readexactly(1000) == bytes(1000)
    await ended_with(site.ask(H3), ErrorCode.H3_REQUEST_REJECTED)
    connect.finish()
    await session.wait_closed()
    await connect.read()
    await site.begin(H3)


async def test_the_name_of_another_version(site: Site) -> None:
    """Sections 2.1.2 and 3.1"""
    site.open(control(WITH), unidirectional=True)
    answer = await site.ask(b"webtransport").read()
    # :status 501, which the static table does not have.
    assert b"501" in answer
    await site.begin(H3)


async def test_a_client_of_an_older_version_with_the_new_name(site: Site) -> None:
    site.open(control(OLDER), unidirectional=True)
    await ended_with(site.ask(H3), ErrorCode.H3_MESSAGE_ERROR)
    await site.begin()


async def test_a_client_without_reset_stream_at(authority: tuple[bytes, bytes, bytes]) -> None:
    """Section 3.1: a transport parameter is missing."""
    site = Site()
    async with site.serve(authority, LIMITS, reset_stream_at=False):
        site.open(control(WITH), unidirectional=True)
        await ended_with(site.ask(H3), ErrorCode.H3_MESSAGE_ERROR)


async def test_a_version_that_cannot_be(site: Site) -> None:
    site.open(control({**WITH, 0x2C7CF000: 2}), unidirectional=True)
    await site.client.wait_closed()
    assert site.client.exception.code == ErrorCode.H3_SETTINGS_ERROR
