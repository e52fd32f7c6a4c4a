"""WebTransport without sockets: streams, datagrams, capsules, codes, and who breaks their rules
(section numbers: draft-ietf-webtrans-http3-16)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tquic.h3 import Connection, ErrorCode, H3Error, Settings
from tquic.h3._codec import encode_varint
from tquic.h3._webtransport import (
    Close,
    Drain,
    Early,
    SessionCapsules,
    application_code,
    encode_close,
    encode_drain,
    encode_strings,
    http_code,
    parse_string,
    parse_strings,
    stream_header,
)
from tquic.h3.capsules import Capsule, CapsuleDecoder, encode_capsule
from tquic.h3.errors import SessionErrorCode, code_name
from tquic.h3.events import Datagram, Request, SessionStream, StreamFailed
from tquic.h3.settings import PeerSettings, SettingId

from .pair import OK, Attacked, Ends, code_of, control, frame, headers, settings

WITH = Settings(enable_connect_protocol=True, h3_datagram=True, webtransport=4)
CONNECT = [
    (b":method", b"CONNECT"),
    (b":scheme", b"https"),
    (b":authority", b"example.com"),
    (b":path", b"/"),
    (b":protocol", b"webtransport"),
]


def told(stream: SessionStream) -> tuple[int, int, int, bytes, bool]:
    return stream.stream_id, stream.session_id, stream.offset, bytes(stream.data), stream.end


# ---- Settings ----


def test_what_is_announced() -> None:
    ends = Ends(WITH, WITH)
    peer = ends.client.peer_settings
    assert peer is not None
    assert peer.webtransport == 7
    assert peer.values[SettingId.WEBTRANSPORT_MAX_SESSIONS] == 4
    assert peer.values[SettingId.ENABLE_WEBTRANSPORT] == 1
    with pytest.raises(ValueError, match="h3_datagram"):
        Settings(webtransport=1)
    assert not any(number > 0x40 for number, _ in Settings().pairs())


@pytest.mark.parametrize(
    ("values", "draft"),
    [
        ({0x2B603742: 1, 0x33: 1}, 2),
        ({0x2B603742: 1}, 0),
        ({0x2B603742: 0, 0x33: 1}, 0),
        ({0xC671706A: 5, 0x33: 1}, 7),
        ({0xC671706A: 0, 0x2B603742: 1, 0x33: 1}, 2),
        ({}, 0),
    ],
)
def test_the_newest_version_that_both_know(values: dict[int, int], draft: int) -> None:
    payload = b"".join(encode_varint(n) + encode_varint(v) for n, v in values.items())
    assert PeerSettings.parse(payload).webtransport == draft


def test_a_setting_that_is_a_flag() -> None:
    payload = encode_varint(0x2B603742) + b"\x02"
    with pytest.raises(H3Error, match="ENABLE_WEBTRANSPORT is 2"):
        PeerSettings.parse(payload)


# ---- Streams ----


@pytest.mark.parametrize("cut", range(1, 8))
@pytest.mark.parametrize(
    ("is_client", "stream_id"), [(False, 4), (False, 14), (True, 1), (True, 15)]
)
def test_streams_cut_anywhere(cut: int, is_client: bool, stream_id: int) -> None:
    end = Attacked(is_client=is_client, settings=WITH).begun().connection
    # Longer than it need be, as RFC 9000 section 16 allows.
    header = stream_header(0, unidirectional=bool(stream_id & 2))[:2] + b"\x40\x08"
    data = header + b"content"
    events = end.receive(stream_id, data[:cut])
    rest = data[cut:]
    if not events:
        events = end.receive(stream_id, rest, True)
        assert told(events[0]) == (stream_id, 8, 4, data[max(4, cut) :] or b"", True)
    else:
        assert told(events[0]) == (stream_id, 8, 4, data[4:cut], False)


def test_one_byte_at_a_time() -> None:
    end = Attacked(is_client=False, settings=WITH).begun().connection
    header = stream_header(400, unidirectional=False)
    for position in range(len(header) - 1):
        assert end.receive(4, header[position : position + 1]) == []
    [event] = end.receive(4, header[-1:])
    assert told(event) == (4, 400, len(header), b"", False)


def test_requests_beside_them() -> None:
    """What begins like a session's stream may be a request after all."""
    end = Attacked(is_client=False, settings=WITH).begun().connection
    request = frame(0x4021, b"grease") + headers(CONNECT)
    assert end.receive(0, request[:1]) == []
    [event] = end.receive(0, request[1:])
    assert isinstance(event, Request)
    assert event.protocol == b"webtransport"
    [failed] = end.receive(4, b"", True)
    assert isinstance(failed, StreamFailed)
    assert failed.code is ErrorCode.H3_REQUEST_INCOMPLETE
    # Given up before it said what it is.
    assert end.receive(8, b"\x40") == []
    end.receive_reset(8, 0)
    assert end.receive(12, b"\x40") == []
    end.abandon(12)


@pytest.mark.parametrize("session", [1, 2, 3, 7])
@pytest.mark.parametrize("stream_id", [4, 14])
def test_a_session_that_cannot_be(session: int, stream_id: int) -> None:
    """Section 4"""
    end = Attacked(is_client=False, settings=WITH).begun().connection
    data = stream_header(session, unidirectional=bool(stream_id & 2))
    assert code_of(lambda: end.receive(stream_id, data)) is ErrorCode.H3_ID_ERROR


def test_a_server_opens_something_else() -> None:
    for data in (b"\x01\x00", b"\x40\x42\x00"):
        end = Attacked(is_client=True, settings=WITH).begun().connection
        code = code_of(lambda end=end, data=data: end.receive(1, data))  # type: ignore[misc]
        assert code is ErrorCode.H3_STREAM_CREATION_ERROR
    end = Attacked(is_client=True, settings=WITH).begun().connection
    assert code_of(lambda: end.receive(1, b"", True)) is ErrorCode.H3_STREAM_CREATION_ERROR


def test_the_signal_where_it_must_not_be() -> None:
    """Section 4.3"""
    end = Attacked(is_client=False, settings=WITH).begun().connection
    end.receive(0, headers(CONNECT))
    data = stream_header(0, unidirectional=False)
    assert code_of(lambda: end.receive(0, data)) is ErrorCode.H3_FRAME_ERROR


def test_without_webtransport() -> None:
    """Nothing of it is known then."""
    server = Attacked(is_client=False).begun().connection
    [failed] = server.receive(14, stream_header(0, unidirectional=True))
    assert isinstance(failed, StreamFailed)
    assert failed.code is ErrorCode.H3_STREAM_CREATION_ERROR
    # An unknown frame, which is skipped (RFC 9114 section 9).
    assert server.receive(4, stream_header(0, unidirectional=False)) == []
    client = Attacked(is_client=True).begun().connection
    header = stream_header(0, unidirectional=False)
    assert code_of(lambda: client.receive(1, header)) is ErrorCode.H3_STREAM_CREATION_ERROR


# ---- Datagrams ----


def test_datagrams_before_their_session() -> None:
    end = Attacked(is_client=False, settings=WITH).begun().connection
    assert end.receive_datagram(b"\x01early") == [Datagram(4, b"early")]
    deaf = Attacked(is_client=False, settings=Settings(h3_datagram=True)).begun().connection
    assert deaf.receive_datagram(b"\x01early") == []


def test_datagrams_of_a_session() -> None:
    ends = Ends(WITH, WITH)
    ends.request(CONNECT, end=False)
    datagram = ends.client.encode_datagram(0, b"there")
    assert ends.server.receive_datagram(datagram) == [Datagram(0, b"there")]
    answer = ends.server.send_response(0, OK)
    ends.exchange()
    ends.client.receive(0, answer)
    datagram = ends.server.encode_datagram(0, b"back")
    assert ends.client.receive_datagram(datagram) == [Datagram(0, b"back")]


# ---- Capsules ----


def test_capsules_cut_anywhere() -> None:
    data = encode_drain() + encode_capsule(0, b"datagram") + encode_close(7, "reason")
    for cut in range(len(data)):
        capsules = SessionCapsules()
        events = capsules.receive(data[:cut]) + capsules.receive(data[cut:], True)
        assert events == [Drain(), b"datagram", Close(7, "reason")]


def test_an_end_without_a_word() -> None:
    assert SessionCapsules().receive(b"", True) == [Close(0, "")]


@pytest.mark.parametrize(
    "data",
    [
        encode_capsule(0x2843, b"\0\0\0"),
        encode_capsule(0x2843, b"\0\0\0\0" + b"x" * 1025),
        encode_capsule(0x2843, b"\0\0\0\0\xff"),
        encode_close(0, "") + b"x",
        encode_close(0, "") + encode_drain(),
        encode_close(0, "x")[:-1],
        encode_capsule(0x1234, b"x" * 100)[:-1],
    ],
    ids=["short", "long reason", "no UTF-8", "content behind", "capsule behind", "cut", "skipped"],
)
def test_capsules_that_break_rules(data: bytes) -> None:
    capsules = SessionCapsules()

    def receive() -> None:
        for position in range(len(data)):
            capsules.receive(data[position : position + 1])
        capsules.receive(b"", True)

    assert code_of(receive) is ErrorCode.H3_MESSAGE_ERROR


def test_unknown_capsules_of_any_size_are_skipped() -> None:
    decoder = CapsuleDecoder(10, types={1})
    assert decoder.read(encode_varint(99) + encode_varint(1 << 61)) == []
    for _ in range(100):
        assert decoder.read(bytes(100_000)) == []
        assert not decoder._kept
    with pytest.raises(H3Error, match="inside"):
        decoder.finish()
    decoder = CapsuleDecoder(10, types={1})
    skipped = encode_capsule(99, b"x" * 11)
    assert decoder.read(skipped + encode_capsule(1, b"y")) == [Capsule(1, b"y")]
    decoder.finish()


def test_reasons_are_cut_between_characters() -> None:
    [close] = SessionCapsules().receive(encode_close(1, "x" + "ä" * 600))
    assert close == Close(1, "x" + "ä" * 511)
    for code in (-1, 1 << 32):
        with pytest.raises(ValueError, match="2\\^32"):
            encode_close(code, "")


# ---- Codes ----


@given(st.integers(0, (1 << 32) - 1))
def test_codes_there_and_back(code: int) -> None:
    wire = http_code(code)
    assert (wire - 0x21) % 0x1F
    assert application_code(wire) == code


def test_codes_at_their_ends() -> None:
    assert http_code(0) == 0x52E4A40FA8DB
    assert http_code((1 << 32) - 1) == 0x52E5AC983162
    assert application_code(0x52E4A40FA8DB - 1) is None
    assert application_code(0x52E5AC983162 + 1) is None
    # The first that RFC 9114 section 8.1 reserves.
    reserved = next(n for n in range(0x52E4A40FA8DB, 1 << 62) if (n - 0x21) % 0x1F == 0)
    assert application_code(reserved) is None
    for code in (-1, 1 << 32):
        with pytest.raises(ValueError, match="2\\^32"):
            http_code(code)
    assert code_name(SessionErrorCode.WT_SESSION_GONE) == "WT_SESSION_GONE"


# ---- What comes too early ----


def test_streams_that_wait() -> None:
    early: Early[int] = Early(streams=3, datagrams=300)
    assert [early.add_stream(session, stream) for stream, session in enumerate((0, 4, 0))] == [
        None
    ] * 3
    assert early.add_stream(8, 3) == (0, 0)
    assert early.take(0) == ([2], [])
    assert early.take(0) == ([], [])
    assert early.take(4) == ([1], [])
    for number in range(4):
        early.add_datagram(number % 2 * 4, b"%d" % number * 36)
    # Each counts 100.
    assert early.take(0) == ([], [b"2" * 36])
    assert early.take(4) == ([], [b"1" * 36, b"3" * 36])
    early.add_datagram(0, bytes(400))
    assert early.take(0) == ([], [])


# ---- Names of protocols ----


@pytest.mark.parametrize(
    ("field", "values"),
    [
        (b'"a"', ["a"]),
        (b' "a" , "b;c"; q=1;x="y" ,\t"" ', ["a", "b;c", ""]),
        (b'"with \\" and \\\\"', ['with " and \\']),
        (b"", []),
        (b"a", []),
        (b'"a", b', []),
        (b'"a",', []),
        (b'"a" "b"', []),
        (b'"a', []),
        (b'"\xe4"', []),
        (b'"a\\b"', []),
        (b":YQ==:", []),
    ],
)
def test_lists_of_strings(field: bytes, values: list[str]) -> None:
    assert parse_strings(field) == values
    assert parse_string(field) == (values[0] if len(values) == 1 else None)


@given(st.lists(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)), min_size=1))
def test_strings_there_and_back(values: list[str]) -> None:
    assert parse_strings(encode_strings(tuple(values))) == values


@given(st.binary(max_size=200))
def test_any_bytes_as_strings(field: bytes) -> None:
    parse_strings(field)


@given(st.lists(st.binary(max_size=40)), st.booleans(), st.sampled_from([0, 1, 3, 4, 14, 15]))
def test_any_bytes_as_streams(pieces: list[bytes], is_client: bool, stream_id: int) -> None:
    """Nothing but H3Error comes out of whatever goes in."""
    end = Connection(is_client=is_client, settings=WITH)
    end.start(*((2, 6, 10) if is_client else (3, 7, 11)))
    peer = 3 if is_client else 2
    end.receive(peer, control(settings()))
    stream_id += 4 if stream_id == peer else 0
    if stream_id & 1 != is_client and stream_id & 2:
        return
    try:
        for piece in pieces:
            end.receive(stream_id, piece)
        end.receive(stream_id, b"", True)
    except H3Error as error:
        assert error.reason
