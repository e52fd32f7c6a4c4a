"""The Huffman code: RFC 7541 section 5.2, appendix B, and the examples of appendix C."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tquic.h3._huffman import decode, encode

# RFC 7541 appendix C.4 and C.6
RFC_EXAMPLES = [
    (b"www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"),
    (b"no-cache", "a8eb10649cbf"),
    (b"custom-key", "25a849e95ba97d7f"),
    (b"custom-value", "25a849e95bb8e8b4bf"),
    (b"302", "6402"),
    (b"private", "aec3771a4b"),
    (b"Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"),
    (b"https://www.example.com", "9d29ad171863c78f0b97c8e9ae82ae43d3"),
    (b"307", "640eff"),
    (
        b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
        "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ),
]

# RFC 7541 appendix B: codes of each length, the longest among them, as they stand in the table.
CODES = {
    0x30: "00000",
    0x74: "01001",
    0x20: "010100",
    0x7A: "1111011",
    0x26: "11111000",
    0x3F: "1111111100",
    0x27: "11111111010",
    0x7C: "11111111100",
    0x23: "111111111010",
    0x00: "1111111111000",
    0x5E: "11111111111100",
    0x3C: "111111111111100",
    0x5C: "1111111111111110000",
    0x80: "11111111111111100110",
    0x99: "111111111111111011100",
    0x81: "1111111111111111010010",
    0x01: "11111111111111111011000",
    0x09: "111111111111111111101010",
    0xC7: "1111111111111111111101100",
    0xC0: "11111111111111111111100000",
    0xCB: "111111111111111111111011110",
    0x02: "1111111111111111111111100010",
    0x0A: "111111111111111111111111111100",
    0x16: "111111111111111111111111111110",
}

texts = st.text(
    alphabet="abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/.:;=%& ",
    max_size=200,
).map(str.encode)


def bits_to_bytes(bits: str) -> bytes:
    assert len(bits) % 8 == 0
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def padded(bits: str) -> bytes:
    return bits_to_bytes(bits + "1" * (-len(bits) % 8))


@pytest.mark.parametrize(("text", "encoded"), RFC_EXAMPLES)
def test_rfc_examples(text: bytes, encoded: str) -> None:
    assert encode(text).hex() == encoded
    assert decode(bytes.fromhex(encoded)) == text


@pytest.mark.parametrize(("symbol", "bits"), CODES.items())
def test_codes_are_those_of_the_rfc(symbol: int, bits: str) -> None:
    assert encode(bytes([symbol])) == padded(bits)
    for count in range(1, 40):
        assert encode(bytes([symbol]) * count) == padded(bits * count)
        assert decode(padded(bits * count)) == bytes([symbol]) * count


def test_every_pair_of_symbols() -> None:
    for first in range(256):
        row = b"".join(bytes([first, second]) for second in range(256))
        assert decode(encode(row)) == row
        for second in range(256):
            pair = bytes([first, second])
            assert decode(encode(pair)) == pair


def test_no_code_is_left_over() -> None:
    """With EOS the codes fill all of 30 bits: a complete prefix code."""
    sizes = [
        next(n for n in range(5, 31) if (n * 8 + 7) // 8 == len(encode(bytes([symbol]) * 8)))
        for symbol in range(256)
    ]
    assert sum(2.0**-size for size in sizes) + 2.0**-30 == 1.0


@pytest.mark.parametrize("count", range(8, 40))
def test_padding_over_seven_bits_is_an_error(count: int) -> None:
    # RFC 7541 section 5.2
    for text in (b"", b"0", b"www.example.com", b"\x00\xff"):
        bits = "".join(f"{byte:08b}" for byte in encode(text))
        if len(bits + "1" * count) % 8 == 0:
            with pytest.raises(ValueError, match="Huffman"):
                decode(bits_to_bytes(bits + "1" * count))


@pytest.mark.parametrize("padding", ["000", "110", "011", "101"])
def test_padding_of_anything_but_ones_is_an_error(padding: str) -> None:
    # RFC 7541 section 5.2
    assert decode(bits_to_bytes("00000" + "111")) == b"0"
    with pytest.raises(ValueError, match="Huffman"):
        decode(bits_to_bytes("00000" + padding))
    with pytest.raises(ValueError, match="Huffman"):
        decode(bits_to_bytes("00000" * 17 + padding))


@pytest.mark.parametrize("before", range(30))
def test_eos_is_an_error_wherever_it_stands(before: int) -> None:
    # RFC 7541 section 5.2
    bits = "00000" * before + "1" * 30
    for after in ("", "00000" * 20):
        with pytest.raises(ValueError, match="Huffman"):
            decode(padded(bits + after))


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_is_read(kind: type) -> None:
    assert decode(kind(encode(b"abc"))) == b"abc"
    assert encode(kind(b"abc")) == encode(b"abc")


@given(st.one_of(st.binary(max_size=200), texts))
def test_round_trip(data: bytes) -> None:
    encoded = encode(data)
    assert decode(encoded) == data
    assert len(encoded) <= 4 * len(data)


@given(st.binary(max_size=100))
def test_any_bytes_decode_to_what_encodes_to_them_or_are_refused(data: bytes) -> None:
    try:
        decoded = decode(data)
    except ValueError:
        return
    # The code is complete and the padding has one form, so that nothing has two encodings.
    assert encode(decoded) == data
