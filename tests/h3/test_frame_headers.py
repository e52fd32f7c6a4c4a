"""Frame headers, alone and in a row: RFC 9114 sections 7.1 and 7.2.8."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tquic.h3._codec import MAX_VARINT, encode_frame_header, parse_frame_headers
from tquic.h3.errors import ErrorCode, H3Error

HTTP2_ONLY = [0x02, 0x06, 0x08, 0x09]

frame_types = st.integers(0, MAX_VARINT).filter(lambda number: number not in HTTP2_ONLY)
frames = st.lists(st.tuples(frame_types, st.binary(max_size=100)), max_size=20)


def serialized(items: list[tuple[int, bytes]]) -> bytes:
    return b"".join(encode_frame_header(kind, len(body)) + body for kind, body in items)


def test_known_bytes() -> None:
    # A SETTINGS frame with 5 bytes, and a DATA frame of 16384 bytes.
    assert encode_frame_header(0x04, 5) == bytes.fromhex("0405")
    assert encode_frame_header(0x00, 16_384) == bytes.fromhex("0080004000")


@pytest.mark.parametrize("frame_type", HTTP2_ONLY)
def test_http2_types_are_refused_both_ways(frame_type: int) -> None:
    with pytest.raises(ValueError, match="HTTP/2"):
        encode_frame_header(frame_type, 0)
    with pytest.raises(H3Error) as caught:
        parse_frame_headers(bytes([frame_type, 0]))
    assert caught.value.code is ErrorCode.H3_FRAME_UNEXPECTED
    assert f"0x{frame_type:02x}" in str(caught.value)


@pytest.mark.parametrize("frame_type", HTTP2_ONLY)
def test_http2_types_are_refused_in_a_longer_encoding_too(frame_type: int) -> None:
    data = b"\x00\x00" + bytes([0x40, frame_type, 0])
    with pytest.raises(H3Error, match="H3_FRAME_UNEXPECTED"):
        parse_frame_headers(data)


def test_out_of_range_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="frame type -1"):
        encode_frame_header(-1, 0)
    with pytest.raises(ValueError, match=f"length {MAX_VARINT + 1}"):
        encode_frame_header(0, MAX_VARINT + 1)


def test_parsing_stops_at_a_payload_that_goes_on() -> None:
    data = encode_frame_header(1, 3) + b"abc" + encode_frame_header(0, 1_000) + b"de"
    assert parse_frame_headers(data) == [(1, 3, 2), (0, 1_000, 3)]


def test_parsing_stops_at_a_cut_header() -> None:
    data = encode_frame_header(1, 3) + b"abc" + encode_frame_header(0, 1_000)[:2]
    assert parse_frame_headers(data) == [(1, 3, 2)]


def test_a_length_beyond_any_memory_does_not_overflow() -> None:
    data = encode_frame_header(0x21, MAX_VARINT) + b"x" * 50
    assert parse_frame_headers(data) == [(0x21, MAX_VARINT, 9)]


@given(frames)
def test_round_trip(items: list[tuple[int, bytes]]) -> None:
    data = serialized(items)
    headers = parse_frame_headers(data)
    assert [(kind, length) for kind, length, _ in headers] == [
        (kind, len(body)) for kind, body in items
    ]
    position = 0
    for (_, length, size), (_, body) in zip(headers, items, strict=True):
        assert data[position + size : position + size + length] == body
        position += size + length
    assert position == len(data)


@given(st.binary(max_size=200))
def test_hostile_bytes_give_headers_inside_the_buffer_or_the_error(data: bytes) -> None:
    try:
        headers = parse_frame_headers(data)
    except H3Error as error:
        assert error.code is ErrorCode.H3_FRAME_UNEXPECTED
        return
    position = 0
    for index, (_, length, size) in enumerate(headers):
        assert 2 <= size <= 16
        position += size
        assert position <= len(data)
        position += length
        assert position <= len(data) or index == len(headers) - 1
