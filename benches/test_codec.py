"""How long the HTTP/3 codec takes; `pytest benches --benchmark-enable` measures."""

from collections.abc import Callable
from typing import Any

import pytest

from tquic.h3._codec import (
    DataSpan,
    FrameDecoder,
    decode_varint,
    encode_frame_header,
    encode_varint,
    parse_frame_headers,
)

Benchmark = Callable[..., Any]

FRAMES = 100


def stream(frame_type: int, size: int) -> bytes:
    return (encode_frame_header(frame_type, size) + bytes(size)) * FRAMES


@pytest.mark.parametrize("value", [37, 15_293, 494_878_333, 151_288_809_941_952_652])
def test_encode_varint(benchmark: Benchmark, value: int) -> None:
    encoded = benchmark(encode_varint, value)
    assert decode_varint(encoded) == (value, len(encoded))


@pytest.mark.parametrize("encoded", ["25", "7bbd", "9d7f3e7d", "c2197c5eff14e88c"])
def test_decode_varint(benchmark: Benchmark, encoded: str) -> None:
    data = bytes.fromhex(encoded)
    assert benchmark(decode_varint, data)[1] == len(data)


def test_encode_frame_header(benchmark: Benchmark) -> None:
    assert benchmark(encode_frame_header, 0, 16_384) == b"\x00\x80\x00\x40\x00"


def test_parse_100_headers(benchmark: Benchmark) -> None:
    assert len(benchmark(parse_frame_headers, stream(0, 1_000))) == FRAMES


@pytest.mark.parametrize("size", [0, 1_000, 16_384])
def test_decode_100_data_frames(benchmark: Benchmark, size: int) -> None:
    events = benchmark(FrameDecoder().feed, stream(0, size))
    assert len(events) == FRAMES
    assert all(isinstance(event, DataSpan) for event in events)


def test_100_data_frames_as_views(benchmark: Benchmark) -> None:
    events = benchmark(FrameDecoder().read, stream(0, 1_000))
    assert [event.payload for event in events] == [bytes(1_000)] * FRAMES


def test_decode_100_headers_frames(benchmark: Benchmark) -> None:
    events = benchmark(FrameDecoder().feed, stream(1, 50))
    assert [event.payload for event in events] == [bytes(50)] * FRAMES


def test_decode_in_chunks_of_1400_bytes(benchmark: Benchmark) -> None:
    """As packets bring it: 1.6 MB in DATA frames of 16 KiB, none aligned with a chunk."""
    data = memoryview(stream(0, 16_384))
    chunks = [data[at : at + 1_400] for at in range(0, len(data), 1_400)]

    def run() -> int:
        decoder = FrameDecoder()
        return sum(span.end - span.start for chunk in chunks for span in decoder.feed(chunk))

    assert benchmark(run) == FRAMES * 16_384
