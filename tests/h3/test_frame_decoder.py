"""The incremental decoder: frames cut anywhere, bounds, and hostile streams."""

import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tquic.h3._codec import (
    DEFAULT_MAX_PAYLOAD,
    MAX_VARINT,
    Data,
    DataSpan,
    Frame,
    FrameDecoder,
    encode_frame_header,
)
from tquic.h3.errors import ErrorCode, H3Error

DATA, HEADERS, SETTINGS, GREASE = 0x00, 0x01, 0x04, 0x21
COLLECTED = [0x01, 0x03, 0x04, 0x05, 0x07, 0x0D, 0xF0700, 0xF0701]
HTTP2_ONLY = [0x02, 0x06, 0x08, 0x09]

# Known types often, others sometimes.
frame_types = st.one_of(
    st.sampled_from([DATA, *COLLECTED]),
    st.integers(0, MAX_VARINT).filter(lambda number: number not in HTTP2_ONLY),
)
streams = st.lists(st.tuples(frame_types, st.binary(max_size=60)), max_size=12)


def frame(frame_type: int, payload: bytes) -> bytes:
    return encode_frame_header(frame_type, len(payload)) + payload


def expected(items: list[tuple[int, bytes]]) -> list[tuple[int, bytes | None]]:
    return [(kind, body if kind == DATA or kind in COLLECTED else None) for kind, body in items]


def collect(decoder: FrameDecoder, chunks: list[bytes]) -> list[tuple[int, bytes | None]]:
    """What the events say, with the spans of each DATA frame put together."""
    seen: list[tuple[int, bytes | None]] = []
    data = bytearray()
    for chunk in chunks:
        for event in decoder.feed(chunk):
            if isinstance(event, DataSpan):
                data += chunk[event.start : event.end]
                if event.remaining == 0:
                    seen.append((DATA, bytes(data)))
                    data.clear()
            else:
                seen.append((event.type, event.payload))
    return seen


def test_whole_frames_in_one_chunk() -> None:
    chunk = frame(SETTINGS, b"\x01\x02") + frame(DATA, b"hello") + frame(HEADERS, b"")
    assert FrameDecoder().feed(chunk) == [
        Frame(SETTINGS, b"\x01\x02"),
        DataSpan(6, 11, 0),
        Frame(HEADERS, b""),
    ]


def test_data_is_told_as_it_comes_and_not_kept() -> None:
    decoder = FrameDecoder()
    assert decoder.feed(encode_frame_header(DATA, 10)) == []
    assert decoder.feed(b"abcd") == [DataSpan(0, 4, 6)]
    assert decoder.buffered == 0
    assert decoder.feed(b"") == []
    assert decoder.feed(b"efghij") == [DataSpan(0, 6, 0)]


def test_an_empty_data_frame_is_told() -> None:
    assert FrameDecoder().feed(b"\x00\x00") == [DataSpan(2, 2, 0)]


def test_a_data_frame_longer_than_memory_is_streamed() -> None:
    decoder = FrameDecoder()
    decoder.feed(encode_frame_header(DATA, MAX_VARINT))
    assert decoder.feed(b"x" * 100) == [DataSpan(0, 100, MAX_VARINT - 100)]


def test_an_unknown_frame_is_told_at_its_header_and_dropped() -> None:
    decoder = FrameDecoder(max_payload=4)
    assert decoder.feed(encode_frame_header(GREASE, 1_000)) == [Frame(GREASE, None)]
    assert decoder.feed(b"x" * 999) == []
    assert decoder.buffered == 0
    assert decoder.feed(b"x" + frame(DATA, b"a")) == [DataSpan(3, 4, 0)]


@pytest.mark.parametrize("frame_type", COLLECTED)
def test_known_frames_come_whole_when_cut_at_every_byte(frame_type: int) -> None:
    data = frame(frame_type, b"payload")
    decoder = FrameDecoder()
    events = [event for byte in data for event in decoder.feed(bytes([byte]))]
    assert events == [Frame(frame_type, b"payload")]
    assert decoder.buffered == 0


@pytest.mark.parametrize("frame_type", HTTP2_ONLY)
def test_http2_types_end_the_decoder(frame_type: int) -> None:
    decoder = FrameDecoder()
    for data in (bytes([frame_type, 0]), b"", frame(DATA, b"x")):
        with pytest.raises(H3Error) as caught:
            decoder.feed(data)
        assert caught.value.code is ErrorCode.H3_FRAME_UNEXPECTED
    with pytest.raises(H3Error):
        decoder.finish()


@pytest.mark.parametrize("limit", [0, 1, 100, DEFAULT_MAX_PAYLOAD])
def test_the_payload_limit_is_exact(limit: int) -> None:
    decoder = FrameDecoder(max_payload=limit)
    assert decoder.feed(frame(HEADERS, b"x" * limit)) == [Frame(HEADERS, b"x" * limit)]
    with pytest.raises(H3Error) as caught:
        decoder.feed(encode_frame_header(HEADERS, limit + 1))
    assert caught.value.code is ErrorCode.H3_EXCESSIVE_LOAD
    assert str(limit + 1) in caught.value.reason


def test_memory_follows_what_has_come_not_what_is_announced() -> None:
    decoder = FrameDecoder(max_payload=1 << 40)
    decoder.feed(encode_frame_header(HEADERS, 1 << 40))
    decoder.feed(b"abc")
    assert decoder.buffered == 3


# RFC 9114 section 7.1
def test_a_stream_may_end_between_frames_only() -> None:
    FrameDecoder().finish()
    whole = frame(HEADERS, b"abc")
    decoder = FrameDecoder()
    decoder.feed(whole)
    decoder.finish()
    for cut in range(1, len(whole)):
        decoder = FrameDecoder()
        decoder.feed(whole[:cut])
        for _ in range(2):
            # RFC 9114 section 7.1
            with pytest.raises(H3Error) as caught:
                decoder.finish()
            assert caught.value.code is ErrorCode.H3_FRAME_ERROR


@pytest.mark.parametrize("limit", [-1, MAX_VARINT + 1])
def test_an_impossible_limit_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match="max_payload"):
        FrameDecoder(max_payload=limit)


def test_buffers_are_released_also_after_an_error() -> None:
    data = bytearray(frame(DATA, b"x") + b"\x02\x00")
    with pytest.raises(H3Error):
        FrameDecoder().feed(data)
    data.append(0)


def test_events_can_be_matched_compared_and_read() -> None:
    match FrameDecoder().feed(frame(DATA, b"xy"))[0]:
        case DataSpan(start, end, remaining):
            assert (start, end, remaining) == (2, 4, 0)
        case other:
            pytest.fail(f"unexpected {other}")
    assert Frame(1, b"a") != Frame(1, b"b")
    assert Frame(1, b"a") != DataSpan(0, 1, 0)
    assert DataSpan(0, 1, 0) != DataSpan(0, 1, 2)
    assert repr(Frame(0x21)) == "Frame(type=0x21, payload=None)"
    assert repr(Frame(1, b"ab")) == "Frame(type=0x01, payload=2 bytes)"
    assert repr(DataSpan(1, 2, 3)) == "DataSpan(start=1, end=2, remaining=3)"


def test_no_object_is_leaked() -> None:
    payload = b"p" * 100
    chunk = frame(HEADERS, payload) + frame(DATA, payload)
    before = sys.getrefcount(chunk)
    for _ in range(100):
        decoder = FrameDecoder()
        decoder.feed(chunk)
        decoder.feed(chunk[:50])
    assert sys.getrefcount(chunk) == before


def test_threads_feeding_one_decoder_lose_nothing() -> None:
    decoder = FrameDecoder()
    chunk = frame(HEADERS, b"abc") * 50
    counts: list[int] = []

    def work() -> None:
        counts.append(sum(len(decoder.feed(chunk)) for _ in range(200)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [50 * 200] * 4


@given(streams, st.data())
def test_cuts_change_nothing(items: list[tuple[int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(frame(kind, body) for kind, body in items)
    places = st.lists(st.integers(0, len(stream)), max_size=20)
    cuts = sorted(data.draw(places))
    chunks = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    decoder = FrameDecoder()
    assert collect(decoder, chunks) == expected(items)
    assert decoder.buffered == 0
    decoder.finish()


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_hostile_streams_end_in_events_or_the_error(chunks: list[bytes]) -> None:
    decoder = FrameDecoder(max_payload=32)
    for chunk in chunks:
        try:
            events = decoder.feed(chunk)
        except H3Error as error:
            assert error.code in (ErrorCode.H3_FRAME_UNEXPECTED, ErrorCode.H3_EXCESSIVE_LOAD)
            assert decoder.buffered <= 15
            return
        assert decoder.buffered <= 32
        for event in events:
            if isinstance(event, DataSpan):
                assert 0 <= event.start <= event.end <= len(chunk)
            else:
                assert event.payload is None or len(event.payload) <= 32


def test_read_gives_payload_as_views_that_are_not_copied() -> None:
    chunk = bytearray(frame(SETTINGS, b"\x01\x02") + frame(DATA, b"hello") + frame(DATA, b"wor"))
    settings, first, second = FrameDecoder().read(memoryview(chunk)[:-1])
    assert settings == Frame(SETTINGS, b"\x01\x02")
    assert first == Data(memoryview(b"hello"), 0)
    assert second == Data(memoryview(b"wo"), 1)
    assert isinstance(first, Data)
    assert isinstance(second, Data)
    chunk[6] = ord("J")
    assert bytes(first.payload) == b"Jello"
    assert repr(second) == "Data(payload=2 bytes, remaining=1)"
    with pytest.raises(BufferError):
        chunk.append(0)


def test_views_count_bytes_whatever_the_items_of_the_buffer() -> None:
    whole = frame(DATA, b"hello!")
    wide = memoryview(whole).cast("H")
    assert FrameDecoder().read(wide) == [Data(memoryview(b"hello!"), 0)]
    square = memoryview(whole).cast("B", (2, 4))
    assert FrameDecoder().read(square) == [Data(memoryview(b"hello!"), 0)]


def test_no_view_is_kept_by_the_decoder() -> None:
    chunk = bytearray(frame(DATA, b"hello") + b"\x02\x00")
    decoder = FrameDecoder()
    with pytest.raises(H3Error):
        decoder.read(chunk)
    chunk.append(0)


@given(streams, st.data())
def test_read_and_feed_say_the_same(items: list[tuple[int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(frame(kind, body) for kind, body in items)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    fed, read = FrameDecoder(), FrameDecoder()
    for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        chunk = stream[a:b]
        spans = [
            (chunk[event.start : event.end], event.remaining)
            if isinstance(event, DataSpan)
            else event
            for event in fed.feed(chunk)
        ]
        views = [
            (bytes(event.payload), event.remaining) if isinstance(event, Data) else event
            for event in read.read(chunk)
        ]
        assert views == spans
