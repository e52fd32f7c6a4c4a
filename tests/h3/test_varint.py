"""Varints: RFC 9000 section 16 and its examples in appendix A.1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tquic.h3._codec import MAX_VARINT, decode_varint, encode_varint

# RFC 9000 appendix A.1
RFC_EXAMPLES = [
    ("c2197c5eff14e88c", 151_288_809_941_952_652),
    ("9d7f3e7d", 494_878_333),
    ("7bbd", 15_293),
    ("25", 37),
]


@pytest.mark.parametrize(("encoded", "value"), RFC_EXAMPLES)
def test_rfc_examples(encoded: str, value: int) -> None:
    data = bytes.fromhex(encoded)
    assert decode_varint(data) == (value, len(data))
    assert encode_varint(value) == data


def test_longer_form_than_needed_is_accepted() -> None:
    # RFC 9000 appendix A.1: 0x4025 decodes to 37 as well.
    assert decode_varint(bytes.fromhex("4025")) == (37, 2)


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (0, 1),
        (63, 1),
        (64, 2),
        (16_383, 2),
        (16_384, 4),
        (2**30 - 1, 4),
        (2**30, 8),
        (MAX_VARINT, 8),
    ],
)
def test_shortest_form_at_each_edge(value: int, size: int) -> None:
    encoded = encode_varint(value)
    assert len(encoded) == size
    assert decode_varint(encoded) == (value, size)


@pytest.mark.parametrize("value", [-1, MAX_VARINT + 1, 2**64, -(2**70)])
def test_what_does_not_fit_is_refused_with_the_range(value: int) -> None:
    with pytest.raises(ValueError, match=r"0 to 2\*\*62 - 1"):
        encode_varint(value)


@pytest.mark.parametrize("value", [1.5, "1", None, b"1"])
def test_what_is_no_integer_is_refused(value: object) -> None:
    with pytest.raises(TypeError):
        encode_varint(value)  # type: ignore[arg-type]


def test_decode_starts_at_the_offset() -> None:
    data = b"\x00\x7b\xbd"
    assert decode_varint(data, 1) == (15_293, 2)
    assert decode_varint(data, 3) is None
    for offset in (-1, 4, 2**62):
        with pytest.raises(ValueError, match="outside"):
            decode_varint(data, offset)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_read(kind: type) -> None:
    assert decode_varint(kind(b"\x7b\xbd")) == (15_293, 2)


def test_buffer_is_released_also_after_an_error() -> None:
    data = bytearray(b"\x25")
    decode_varint(data)
    with pytest.raises(ValueError, match="outside"):
        decode_varint(data, 9)
    # A buffer still exported could not change its size.
    data.append(0)


@given(st.integers(0, MAX_VARINT))
def test_round_trip(value: int) -> None:
    encoded = encode_varint(value)
    assert decode_varint(encoded) == (value, len(encoded))
    for cut in range(len(encoded)):
        assert decode_varint(encoded[:cut]) is None


@given(st.binary(max_size=12))
def test_any_bytes_decode_as_the_definition_says(data: bytes) -> None:
    size = 1 << (data[0] >> 6) if data else 1
    if len(data) < size:
        assert decode_varint(data) is None
    else:
        value = int.from_bytes(data[:size], "big") & ((1 << (8 * size - 2)) - 1)
        assert decode_varint(data) == (value, size)
