"""The decoder: every rule of RFC 9204 that the peer can break, bounds, and blocked streams."""

import threading
from collections import deque

import pytest

from tquic.h3 import ErrorCode, H3Error
from tquic.h3._huffman import encode as huffman
from tquic.h3.errors import FieldSectionTooLarge
from tquic.h3.qpack import Blocked, Decoder, NeverIndexed

CAPACITY = 4096


def integer(flags: int, prefix: int, value: int) -> bytes:
    """RFC 7541 section 5.1"""
    limit = (1 << prefix) - 1
    if value < limit:
        return bytes([flags | value])
    out = bytearray([flags | limit])
    value -= limit
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(data: bytes, flags: int = 0, prefix: int = 7) -> bytes:
    return integer(flags, prefix, len(data)) + data


def insert(name: bytes, value: bytes) -> bytes:
    return string(name, 0x40, 5) + string(value)


def set_capacity(capacity: int) -> bytes:
    return integer(0x20, 5, capacity)


def decoder_with(count: int, *, capacity: int = CAPACITY, blocked: int = 4) -> Decoder:
    """With entries name0=value0, ..."""
    decoder = Decoder(capacity, blocked)
    decoder.feed_encoder(set_capacity(capacity))
    for number in range(count):
        decoder.feed_encoder(insert(b"name%d" % number, b"value%d" % number))
    decoder.take_decoder_stream()
    return decoder


def prefix(required: int, base: int, capacity: int = CAPACITY) -> bytes:
    """RFC 9204 section 4.5.1"""
    encoded = 0 if required == 0 else required % (2 * (capacity // 32)) + 1
    if base >= required:
        return integer(0, 8, encoded) + integer(0, 7, base - required)
    return integer(0, 8, encoded) + integer(0x80, 7, required - base - 1)


def fails(decoder: Decoder, section: bytes) -> str:
    """Checks that the section ends the decoder; returns the reason."""
    with pytest.raises(H3Error) as caught:
        decoder.decode(0, section)
    assert caught.value.code is ErrorCode.QPACK_DECOMPRESSION_FAILED
    for again in (
        lambda: decoder.decode(4, b"\0\0"),
        lambda: decoder.feed_encoder(b""),
        lambda: decoder.cancel(0),
        decoder.take_decoder_stream,
    ):
        with pytest.raises(H3Error, match="QPACK_DECOMPRESSION_FAILED"):
            again()
    return caught.value.reason


def stream_fails(decoder: Decoder, data: bytes) -> str:
    """Checks that the bytes on the encoder stream end the decoder; returns the reason."""
    with pytest.raises(H3Error) as caught:
        decoder.feed_encoder(data)
    assert caught.value.code is ErrorCode.QPACK_ENCODER_STREAM_ERROR
    with pytest.raises(H3Error, match="QPACK_ENCODER_STREAM_ERROR"):
        decoder.decode(0, b"\0\0")
    return caught.value.reason


# Field lines


def test_every_kind_of_line() -> None:
    decoder = decoder_with(4)
    section = (
        prefix(4, 2)
        + integer(0xC0, 6, 17)
        + integer(0x80, 6, 1)
        + integer(0x10, 4, 0)
        + integer(0x50, 4, 1) + string(b"/x")
        + integer(0x40, 4, 0) + string(b"other")
        + integer(0x00, 3, 1) + string(huffman(b"more"), 0x80)
        + string(huffman(b"literal"), 0x28, 3) + string(b"")
    )  # fmt: skip
    assert decoder.decode(0, section) == [
        (b":method", b"GET"),
        (b"name0", b"value0"),
        (b"name2", b"value2"),
        (b":path", b"/x"),
        (b"name1", b"other"),
        (b"name3", b"more"),
        (b"literal", b""),
    ]
    assert decoder.take_decoder_stream() == b"\x80"


@pytest.mark.parametrize(
    "line",
    [
        integer(0x70, 4, 5) + string(b"secret"),
        integer(0x60, 4, 0) + string(b"secret"),
        integer(0x08, 3, 0) + string(b"secret"),
        string(b"token", 0x30, 3) + string(b"secret"),
    ],
)
def test_lines_that_must_stay_literal_are_told(line: bytes) -> None:
    # RFC 9204 sections 4.5.4 to 4.5.6: the bit N
    decoder = decoder_with(2)
    fields = decoder.decode(0, prefix(2, 1) + line + integer(0xC0, 6, 17))
    assert not isinstance(fields, Blocked)
    secret, plain = fields
    assert isinstance(secret, NeverIndexed)
    assert secret == (secret[0], b"secret")
    assert not isinstance(plain, NeverIndexed)


def test_an_empty_section_has_no_fields() -> None:
    assert Decoder().decode(0, b"\0\0") == []


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_read_and_released(kind: type) -> None:
    assert Decoder().decode(0, kind(b"\0\0\xd1")) == [(b":method", b"GET")]
    block = bytearray(b"\0\0\xff")
    with pytest.raises(H3Error):
        Decoder().decode(0, block)
    block.append(0)


# What breaks a rule


@pytest.mark.parametrize(
    "line",
    [
        integer(0xC0, 6, 99),
        integer(0xC0, 6, (1 << 62) - 1),
        integer(0x50, 4, 99) + string(b"x"),
    ],
)
def test_a_static_index_beyond_the_table(line: bytes) -> None:
    # RFC 9204 section 3.1
    assert "static" in fails(Decoder(), b"\0\0" + line)


@pytest.mark.parametrize(
    "section",
    [
        # Not covered by the Required Insert Count: RFC 9204 section 2.2.3.
        prefix(2, 3) + integer(0x80, 6, 0),
        prefix(2, 2) + integer(0x10, 4, 0),
        prefix(2, 1) + integer(0x10, 4, 1),
        prefix(0, 4) + integer(0x80, 6, 0),
        prefix(0, 0) + integer(0x10, 4, 0),
        prefix(2, 1) + integer(0x00, 3, 1) + string(b"x"),
        prefix(2, 2) + integer(0x10, 4, (1 << 62) - 1),
        prefix(2, (1 << 62)) + integer(0x10, 4, (1 << 62) - 1),
        # Below the first entry.
        prefix(2, 2) + integer(0x80, 6, 2),
        prefix(2, 2) + integer(0x40, 4, 2) + string(b"x"),
        prefix(2, 2) + integer(0x80, 6, (1 << 62) - 1),
        prefix(2, 0) + integer(0x80, 6, 0),
    ],
)
def test_a_reference_to_what_is_not_there(section: bytes) -> None:
    assert "reference" in fails(decoder_with(4), section)


def test_a_reference_to_an_entry_that_was_evicted() -> None:
    # RFC 9204 section 2.2.3; 43 bytes each, so two of three are left.
    decoder = decoder_with(3, capacity=100)
    assert len(decoder.table) == 2
    assert decoder.decode(0, prefix(3, 3, 100) + integer(0x80, 6, 1)) == [(b"name1", b"value1")]
    assert "evicted" in fails(decoder, prefix(3, 3, 100) + integer(0x80, 6, 2))


def test_the_required_insert_count_must_be_possible() -> None:
    # RFC 9204 section 4.5.1.1: with a table of 100 bytes there are three entries at most.
    assert "7" in fails(decoder_with(0, capacity=100), integer(0, 8, 7) + b"\0")
    assert "1" in fails(Decoder(31, 0), b"\x01\0")
    assert "1" in fails(Decoder(0, 0), b"\x01\0")
    # Encoded as 1 it would be 0, or 6 which is beyond 0 + 3.
    fails(decoder_with(0, capacity=100), b"\x01\0")
    # 4 and 5 are beyond 0 + 3.
    for encoded in (5, 6):
        assert "beyond" in fails(decoder_with(0, capacity=100), bytes([encoded, 0]))


@pytest.mark.parametrize("inserted", range(20))
@pytest.mark.parametrize("ahead", range(-2, 4))
def test_the_required_insert_count_wraps(inserted: int, ahead: int) -> None:
    # RFC 9204 section 4.5.1.1: three entries at most, so counts within 3 are told apart.
    required = inserted + ahead
    if required < 1:
        return
    decoder = Decoder(100, 1)
    decoder.feed_encoder(set_capacity(100) + insert(b"a", b"") * inserted)
    section = prefix(required, required, 100)
    if ahead > 0:
        blocked = decoder.decode(0, section)
        assert isinstance(blocked, Blocked)
        assert blocked.required_insert_count == required
        assert decoder.feed_encoder(insert(b"a", b"") * (ahead - 1)) == []
        assert decoder.feed_encoder(insert(b"a", b"")) == [0]
    assert decoder.decode(0, section) == []


@pytest.mark.parametrize(("required", "delta"), [(0, 0), (0, 5), (2, 2), (2, (1 << 62) - 1)])
def test_a_negative_base(required: int, delta: int) -> None:
    # RFC 9204 section 4.5.1.2
    section = prefix(required, required)[:1] + integer(0x80, 7, delta)
    assert "Base" in fails(decoder_with(4), section)


@pytest.mark.parametrize(
    "section",
    [
        b"",
        b"\0",
        b"\xff",
        b"\0\x7f",
        b"\0\0\xff",
        b"\0\0\x50",
        b"\0\0\x51\x05abcd",
        b"\0\0\x51\xff",
        b"\0\0\x27",
        b"\0\0\x23ab",
        b"\0\0\x23abc",
        b"\0\0\x23abc\x02a",
        b"\0\0" + string(b"a", 0x20, 3) + integer(0, 7, (1 << 62) - 1),
        b"\0\0" + integer(0x20, 3, (1 << 62) - 1),
    ],
)
def test_a_section_that_ends_too_early(section: bytes) -> None:
    decoder = Decoder(0, 0, (1 << 62) - 1)
    assert "ends in the middle" in fails(decoder, section)


@pytest.mark.parametrize(
    "section",
    [
        integer(0, 8, 1 << 62) + b"\0",
        b"\0" + integer(0, 7, 1 << 62),
        b"\0\0" + integer(0xC0, 6, 1 << 62),
        b"\0\0\xff" + b"\x80" * 10 + b"\0",
        b"\0\0\xff" + b"\xff" * 10,
        b"\0\0\x51\x7f" + b"\xff" * 9 + b"\x7f",
    ],
)
def test_an_integer_of_more_than_62_bits(section: bytes) -> None:
    # RFC 9204 sections 4.1.1 and 7.4
    assert "62 bits" in fails(Decoder(), section)


def test_integers_of_62_bits_are_read() -> None:
    # RFC 9204 section 4.1.1, in the longest encoding that is accepted too.
    assert Decoder().decode(0, b"\0" + integer(0, 7, (1 << 62) - 1)) == []
    assert Decoder().decode(0, b"\0\x7f" + b"\x80" * 8 + b"\0\xd1") == [(b":method", b"GET")]


@pytest.mark.parametrize("broken", [b"\xff\xff\xff\xff", b"\x00", b"\x1f\xff"])
def test_strings_that_are_no_huffman_encoding(broken: bytes) -> None:
    # RFC 7541 section 5.2
    assert "Huffman" in fails(Decoder(), b"\0\0\x51" + string(broken, 0x80))
    assert "Huffman" in fails(Decoder(), b"\0\0" + string(broken, 0x28, 3) + b"\0")
    assert "Huffman" in stream_fails(decoder_with(0), b"\xc0" + string(broken, 0x80))
    assert "Huffman" in stream_fails(decoder_with(0), string(broken, 0x60, 5) + b"\0")


# The encoder stream


# RFC 9204 sections 3.2.3 and 4.3.1
def test_a_capacity_over_the_limit() -> None:
    # RFC 9204 section 4.3.1
    decoder = Decoder(100, 0)
    decoder.feed_encoder(set_capacity(100))
    assert "101" in stream_fails(decoder, set_capacity(101))
    stream_fails(Decoder(0, 0), set_capacity(1))


@pytest.mark.parametrize(
    "instruction",
    [
        integer(0x00, 5, 2),
        integer(0x00, 5, (1 << 62) - 1),
        integer(0x80, 6, 2) + string(b""),
        integer(0x80, 6, (1 << 62) - 1),
        integer(0xC0, 6, 99) + string(b""),
    ],
)
def test_an_instruction_that_refers_to_what_is_not_there(instruction: bytes) -> None:
    # RFC 9204 sections 2.2.3 and 3.1
    stream_fails(decoder_with(2), instruction)


def test_an_instruction_that_refers_to_an_evicted_entry() -> None:
    # RFC 9204 section 2.2.3
    stream_fails(decoder_with(3, capacity=100), integer(0x00, 5, 2))


# RFC 9204 section 3.2.2
@pytest.mark.parametrize("size", [0, 1, 5])
def test_an_entry_larger_than_the_table(size: int) -> None:
    # RFC 9204 section 3.2.2
    decoder = Decoder(CAPACITY, 0)
    decoder.feed_encoder(set_capacity(32 + size))
    decoder.feed_encoder(insert(b"", b"x" * size))
    assert "33" in stream_fails(Decoder(CAPACITY, 0), set_capacity(32) + insert(b"", b"x"))
    stream_fails(decoder, insert(b"", b"x" * (size + 1)))


def test_before_a_capacity_is_set_nothing_can_be_inserted() -> None:
    # RFC 9204 section 3.2.2: the initial capacity is zero.
    stream_fails(Decoder(CAPACITY, 0), insert(b"", b""))


def test_an_entry_that_cannot_fit_is_not_waited_for() -> None:
    """By its length alone: what is kept of an instruction is bounded by the capacity."""
    stream_fails(decoder_with(0, capacity=100), integer(0x40, 5, 69))
    stream_fails(decoder_with(0, capacity=100), b"\xc1" + integer(0, 7, 1 << 40))
    # Huffman-encoded it may still shrink to a quarter.
    decoder_with(0, capacity=100).feed_encoder(b"\xc1" + integer(0x80, 7, 4 * 68))
    stream_fails(decoder_with(0, capacity=100), b"\xc1" + integer(0x80, 7, 4 * 69))


def test_integers_of_more_than_62_bits_on_the_encoder_stream() -> None:
    # RFC 9204 section 7.4
    for first, bits in ((0x00, 5), (0x20, 5), (0x40, 5), (0x80, 6), (0xC0, 6)):
        assert "62 bits" in stream_fails(decoder_with(1), integer(first, bits, 1 << 62))
    assert "62 bits" in stream_fails(decoder_with(1), b"\xc1\x7f" + b"\xff" * 10)


def test_a_name_is_taken_from_the_entry_that_leaves() -> None:
    # RFC 9204 section 3.2.2
    decoder = decoder_with(1, capacity=60)
    decoder.feed_encoder(integer(0x80, 6, 0) + string(b"x" * 20))
    assert decoder.table == [(b"name0", b"x" * 20)]
    decoder.feed_encoder(integer(0x00, 5, 0))
    assert decoder.table == [(b"name0", b"x" * 20)]
    assert decoder.insert_count == 3


def test_a_smaller_capacity_evicts_and_a_larger_one_restores_nothing() -> None:
    # RFC 9204 section 3.2.2
    decoder = decoder_with(4)
    assert decoder.table_size == 4 * 43
    decoder.feed_encoder(set_capacity(100))
    assert decoder.table == [(b"name2", b"value2"), (b"name3", b"value3")]
    decoder.feed_encoder(set_capacity(0) + set_capacity(CAPACITY))
    assert (decoder.table, decoder.table_size, decoder.insert_count) == ([], 0, 4)
    decoder.feed_encoder(insert(b"a", b"b"))
    assert decoder.decode(0, prefix(5, 5) + integer(0x80, 6, 0)) == [(b"a", b"b")]


# RFC 9204 section 3.2
def test_the_table_stays_within_its_capacity() -> None:
    decoder = Decoder(1000, 0)
    decoder.feed_encoder(set_capacity(1000))
    for number in range(3000):
        decoder.feed_encoder(insert(b"n" * (number % 40), b"v" * (number % 70)))
        assert decoder.table_size <= 1000
        assert decoder.table_size == sum(32 + len(n) + len(v) for n, v in decoder.table)
    assert decoder.insert_count == 3000


# Blocked streams


def test_streams_wait_for_their_entries() -> None:
    decoder = decoder_with(0)
    first, second = prefix(1, 1) + b"\x80", prefix(3, 3) + b"\x80"
    assert isinstance(decoder.decode(4, second), Blocked)
    assert isinstance(decoder.decode(8, first), Blocked)
    assert isinstance(decoder.decode(8, first), Blocked)
    assert decoder.feed_encoder(insert(b"a", b"1")) == [8]
    assert decoder.feed_encoder(insert(b"b", b"2")) == []
    assert decoder.feed_encoder(insert(b"c", b"3")) == [4]
    assert decoder.decode(4, second) == [(b"c", b"3")]
    assert decoder.decode(8, first) == [(b"a", b"1")]
    # The acknowledgment of stream 4 covers all three inserts.
    assert decoder.take_decoder_stream() == b"\x84\x88"


def test_a_later_section_does_not_overtake_a_blocked_one() -> None:
    # RFC 9204 sections 2.2.1 and 4.4.1: acknowledgments count the sections in their order.
    decoder = decoder_with(1)
    assert isinstance(decoder.decode(0, prefix(2, 2) + b"\x80"), Blocked)
    blocked = decoder.decode(0, prefix(1, 1) + b"\x80")
    assert isinstance(blocked, Blocked)
    assert blocked.required_insert_count == 2
    assert decoder.feed_encoder(insert(b"a", b"b")) == [0]


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_more_blocked_streams_than_promised(limit: int) -> None:
    # RFC 9204 section 2.1.2
    decoder = decoder_with(0, blocked=limit)
    section = prefix(1, 1) + b"\x80"
    for stream in range(limit):
        assert isinstance(decoder.decode(4 * stream, section), Blocked)
    if limit:
        # Given up: there is room for another.
        decoder.cancel(0)
        assert isinstance(decoder.decode(100, section), Blocked)
    with pytest.raises(H3Error) as caught:
        decoder.decode(200, section)
    assert caught.value.code is ErrorCode.QPACK_DECOMPRESSION_FAILED


# The size of a section


def test_the_size_of_a_section_is_counted_as_http_does() -> None:
    # RFC 9114 section 4.2.2: name, value and 32 bytes each.
    section = b"\0\0\xd1" + b"\x51" + string(b"/abc")
    assert len(Decoder(0, 0, 42 + 41).decode(0, section)) == 2  # type: ignore[arg-type]
    decoder = Decoder(0, 0, 42 + 40)
    with pytest.raises(FieldSectionTooLarge) as caught:
        decoder.decode(0, section)
    assert caught.value.code is ErrorCode.H3_EXCESSIVE_LOAD
    # The connection goes on, and trailers are counted for themselves.
    assert decoder.decode(0, b"\0\0\xd1") == [(b":method", b"GET")]


@pytest.mark.parametrize(
    "line",
    [
        b"\xd1",
        b"\x51" + string(b"x" * 100),
        b"\x51" + string(huffman(b"0" * 100), 0x80),
        string(b"x" * 50, 0x20, 3) + string(b"x" * 50),
        string(huffman(b"0" * 50), 0x28, 3) + string(b""),
        b"\x80",
        b"\x10",
        b"\x40" + string(b""),
        b"\x00" + string(b""),
    ],
)
def test_a_bomb_of_any_kind_of_line_ends_at_the_limit(line: bytes) -> None:
    decoder = Decoder(CAPACITY, 0, 5000)
    decoder.feed_encoder(set_capacity(CAPACITY) + insert(b"n" * 50, b"v" * 1900) * 2)
    with pytest.raises(FieldSectionTooLarge):
        decoder.decode(0, prefix(2, 1) + line * 1000)
    # It is done with: acknowledged, so that the entries can leave.
    assert decoder.take_decoder_stream() == b"\x80"


def test_a_string_that_cannot_fit_is_not_decoded() -> None:
    """Its bytes are no Huffman encoding, which nobody comes to see."""
    with pytest.raises(FieldSectionTooLarge):
        Decoder(0, 0, 1000).decode(0, b"\0\0\x51" + string(b"\x00" * 5000, 0x80))


def test_no_field_at_all_fits_a_limit_below_32_bytes() -> None:
    assert Decoder(0, 0, 0).decode(0, b"\0\0") == []
    with pytest.raises(FieldSectionTooLarge):
        Decoder(0, 0, 31).decode(0, b"\0\0\x20\0")
    assert Decoder(0, 0, 32).decode(0, b"\0\0\x20\0") == [(b"", b"")]


# The decoder stream


# RFC 9204 section 2.2.2.1
def test_acknowledgments_and_increments_are_put_together() -> None:
    decoder = decoder_with(0)
    decoder.feed_encoder(insert(b"a", b"") * 3)
    assert decoder.decode(1000, prefix(2, 2) + b"\x80") == [(b"a", b"")]
    # RFC 9204 section 4.4.3: one of three is not covered by the acknowledgment.
    assert decoder.take_decoder_stream() == integer(0x80, 7, 1000) + b"\x01"
    assert decoder.take_decoder_stream() == b""
    decoder.feed_encoder(insert(b"a", b"") * 100)
    assert decoder.take_decoder_stream() == integer(0x00, 6, 100)
    assert decoder.decode(0, b"\0\0") == []
    assert decoder.take_decoder_stream() == b""


def test_without_a_table_nothing_is_cancelled() -> None:
    # RFC 9204 section 2.2.2.2
    decoder = Decoder(0, 0)
    decoder.cancel(4)
    assert decoder.take_decoder_stream() == b""
    decoder = Decoder(100, 0)
    decoder.cancel((1 << 62) - 1)
    assert decoder.take_decoder_stream() == integer(0x40, 6, (1 << 62) - 1)


def test_what_is_not_taken_is_bounded() -> None:
    # RFC 9204 section 7.3
    decoder = decoder_with(1)
    section = prefix(1, 1) + b"\x80"
    with pytest.raises(H3Error) as caught:
        deque(decoder.decode(0, section) for _ in range(100_000))
    assert caught.value.code is ErrorCode.H3_EXCESSIVE_LOAD


# Arguments and objects


@pytest.mark.parametrize("stream", [-1, 1 << 62, 1 << 64])
def test_an_impossible_stream_id(stream: int) -> None:
    with pytest.raises(ValueError, match="stream ID"):
        Decoder().decode(stream, b"\0\0")
    with pytest.raises(ValueError, match="stream ID"):
        Decoder().cancel(stream)


def test_impossible_limits() -> None:
    for arguments in ((-1, 0), ((1 << 30) + 1, 0), (0, -1), (0, 1 << 32), (0, 0, -1)):
        with pytest.raises(ValueError, match="is not in 0 to"):
            Decoder(*arguments)


def test_blocked_can_be_matched_and_read() -> None:
    match decoder_with(0).decode(0, prefix(2, 2) + b"\x80"):
        case Blocked(count):
            assert count == 2
        case other:
            pytest.fail(f"unexpected {other}")
    assert repr(Blocked(7)) == "Blocked(required_insert_count=7)"


def test_threads_feeding_one_decoder_lose_nothing() -> None:
    decoder = decoder_with(0)

    def work() -> None:
        for _ in range(300):
            decoder.feed_encoder(insert(b"a", b"b"))
            decoder.decode(0, b"\0\0\xd1")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert decoder.insert_count == 1200
