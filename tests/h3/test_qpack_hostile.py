"""QPACK fed with what no peer should send: the right error, bounded work, and nothing leaked."""

import random
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz_codec import mutated
from tquic.h3 import ErrorCode, H3Error
from tquic.h3.errors import FieldSectionTooLarge
from tquic.h3.qpack import Blocked, Decoder, Encoder

CAPACITY = 512
LIMIT = 2000

FIELDS = [
    (b":method", b"GET"),
    (b":path", b"/a/path?with=query"),
    (b"user-agent", b"tests/1.0 (some; agent)"),
    (b"x-custom", b"\x00\xff not text"),
    (b"cookie", b"session=1234567890"),
    (b"x-empty", b""),
]


def decode(decoder: Decoder, stream: int, section: bytes) -> bool:
    """Decodes what may be anything; false when the connection is over."""
    try:
        fields = decoder.decode(stream, section)
    except FieldSectionTooLarge as error:
        assert error.code is ErrorCode.H3_EXCESSIVE_LOAD
    except H3Error as error:
        assert error.code is ErrorCode.QPACK_DECOMPRESSION_FAILED
        return False
    else:
        if not isinstance(fields, Blocked):
            assert sum(32 + len(name) + len(value) for name, value in fields) <= LIMIT
    return True


def feed(decoder: Decoder, data: bytes) -> bool:
    try:
        decoder.feed_encoder(data)
    except H3Error as error:
        assert error.code is ErrorCode.QPACK_ENCODER_STREAM_ERROR
        return False
    assert decoder.table_size <= CAPACITY
    assert decoder.table_size == sum(32 + len(name) + len(value) for name, value in decoder.table)
    return True


def recorded(count: int) -> tuple[list[bytes], list[tuple[int, bytes]], list[bytes]]:
    """An honest exchange: instructions, sections, and answers."""
    encoder, decoder = Encoder(CAPACITY, 8, never_indexed=()), Decoder(CAPACITY, 8)
    instructions, sections, answers = [encoder.set_capacity(CAPACITY)], [], []
    decoder.feed_encoder(instructions[0])
    for number in range(count):
        fields = [*FIELDS, (b"x-n", b"%d" % (number % 7))]
        more, section = encoder.encode(4 * number, fields)
        decoder.feed_encoder(more)
        assert decoder.decode(4 * number, section) == fields
        answer = decoder.take_decoder_stream()
        encoder.feed_decoder(answer)
        instructions.append(more)
        sections.append((4 * number, section))
        answers.append(answer)
    return instructions, sections, answers


INSTRUCTIONS, SECTIONS, ANSWERS = recorded(40)


@given(st.binary(max_size=200))
@example(b"\x00\x00" + b"\xff" * 12)
@example(b"\x02\x00" + b"\x10" * 12)
def test_any_section_is_decoded_or_refused(section: bytes) -> None:
    decoder = Decoder(CAPACITY, 1, LIMIT)
    decoder.feed_encoder(INSTRUCTIONS[0] + INSTRUCTIONS[1] + INSTRUCTIONS[2])
    decode(decoder, 0, section)
    decode(Decoder(0, 0, LIMIT), 0, section)


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_any_encoder_stream_is_taken_or_refused(parts: list[bytes]) -> None:
    decoder = Decoder(CAPACITY, 1, LIMIT)
    decoder.feed_encoder(INSTRUCTIONS[0])
    for part in parts:
        if not feed(decoder, part):
            break


@given(st.lists(st.binary(max_size=20), max_size=10))
def test_any_decoder_stream_is_taken_or_refused(parts: list[bytes]) -> None:
    encoder = Encoder(CAPACITY, 8)
    encoder.set_capacity(CAPACITY)
    for stream in range(6):
        encoder.encode(stream, FIELDS)
    for part in parts:
        try:
            encoder.feed_decoder(part)
        except H3Error as error:
            assert error.code is ErrorCode.QPACK_DECODER_STREAM_ERROR
            break
        assert encoder.known_received_count <= encoder.insert_count
        encoder.encode(100, FIELDS)


@pytest.mark.parametrize("seed", range(40))
def test_exchanges_with_faults_end_in_fields_or_the_error(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(20):
        decoder = Decoder(CAPACITY, 8, LIMIT)
        encoder = Encoder(CAPACITY, 8)
        encoder.set_capacity(CAPACITY)
        alive = True
        steps = zip(INSTRUCTIONS, SECTIONS, ANSWERS, strict=False)
        for instructions, (stream, section), answers in steps:
            fault = dice.randrange(30)
            if fault == 0:
                instructions = mutated(instructions, dice, 3)
            elif fault == 1:
                section = mutated(section, dice, 3)
            elif fault == 2:
                answers = mutated(answers, dice, 3)
            elif fault == 3:
                decoder.cancel(stream)
            alive = feed(decoder, instructions) and decode(decoder, stream, section)
            if not alive:
                break
            decoder.take_decoder_stream()
            encoder.encode(stream, FIELDS)
            try:
                encoder.feed_decoder(answers)
            except H3Error as error:
                assert error.code is ErrorCode.QPACK_DECODER_STREAM_ERROR
                break


@pytest.mark.parametrize("number", range(0, 40, 4))
def test_every_cut_of_a_section_is_refused_or_shorter(number: int) -> None:
    instructions = b"".join(INSTRUCTIONS[: number + 2])
    decoder = Decoder(CAPACITY, 8, LIMIT)
    decoder.feed_encoder(instructions)
    stream, section = SECTIONS[number]
    whole = decoder.decode(stream, section)
    assert isinstance(whole, list)
    for cut in range(len(section)):
        other = Decoder(CAPACITY, 8, LIMIT)
        other.feed_encoder(instructions)
        try:
            fields = other.decode(stream, section[:cut])
        except H3Error as error:
            assert error.code is ErrorCode.QPACK_DECOMPRESSION_FAILED
        else:
            assert fields == whole[: len(fields)]  # type: ignore[arg-type]


def test_an_instruction_that_comes_byte_by_byte_costs_no_more_than_its_bytes() -> None:
    """Were what is there read again each time, this would take minutes."""
    capacity = 1 << 20
    decoder = Decoder(capacity, 0)
    value = b"x" * (capacity - 100)
    size = len(value)
    head = b"\x41a\x7f" + bytes(
        [(size - 127) & 0x7F | 0x80, (size - 127) >> 7 & 0x7F | 0x80, (size - 127) >> 14]
    )
    decoder.feed_encoder(b"\x3f\xe1\xff\x3f" + head)
    for place in range(0, size, 7):
        decoder.feed_encoder(value[place : place + 7])
    assert decoder.table == [(b"a", value)]


def test_no_object_is_leaked() -> None:
    name, value = b"x-some-name", b"some value of it"
    before = sys.getrefcount(name), sys.getrefcount(value)
    for _ in range(50):
        encoder, decoder = Encoder(200, 8), Decoder(200, 8)
        decoder.feed_encoder(encoder.set_capacity(200))
        for number in range(20):
            fields = [(name, value if number % 4 < 2 else b"%d" % (number // 4))]
            more, section = encoder.encode(number, fields)
            decoder.feed_encoder(more)
            decoder.decode(number, section)
            encoder.feed_decoder(decoder.take_decoder_stream())
        assert encoder.insert_count > 5 > len(encoder.table)
        del encoder, decoder, fields
    assert (sys.getrefcount(name), sys.getrefcount(value)) == before


def test_no_entry_is_leaked_by_the_decoder() -> None:
    decoder = Decoder(200, 8)
    decoder.feed_encoder(b"\x3f\xa9\x01" + b"\x43abc\x03def")
    entry = decoder.table[0]
    base = sys.getrefcount(entry)
    kept = decoder.decode(0, b"\x02\x00\x80")
    assert kept == [(b"abc", b"def")]
    assert sys.getrefcount(entry) == base + 1
    del kept
    for _ in range(10):
        decoder.feed_encoder(b"\x43abc\x03def")
    assert sys.getrefcount(entry) == base - 1
