"""The exchange of RFC 9204 appendix B, byte for byte, and the static table of appendix A."""

import pytest

from tquic.h3.qpack import STATIC_TABLE, Blocked, Decoder, Encoder, encode_static

AUTHORITY = (b":authority", b"www.example.com")
PATH = (b":path", b"/sample/path")
CUSTOM = (b"custom-key", b"custom-value")
CUSTOM2 = (b"custom-key", b"custom-value2")


def h(text: str) -> bytes:
    return bytes.fromhex(text)


# Appendix B.2 to B.5
B2_ENCODER = h("3fbd01 c00f7777772e6578616d706c652e636f6d c10c2f73616d706c652f70617468")
B2_SECTION = h("0381 10 11")
B3_ENCODER = h("4a637573746f6d2d6b65790c637573746f6d2d76616c7565")
B4_ENCODER = h("02")
B4_SECTION = h("0500 80 c1 81")
B5_ENCODER = h("810d637573746f6d2d76616c756532")


def test_b1_literal_field_line_with_name_reference() -> None:
    decoder = Decoder(0, 0)
    assert decoder.decode(0, h("0000 510b2f696e6465782e68746d6c")) == [(b":path", b"/index.html")]
    assert decoder.take_decoder_stream() == b""


def test_b2_to_b5_in_order() -> None:
    decoder = Decoder(220, 1)
    decoder.feed_encoder(B2_ENCODER)
    assert decoder.table == [AUTHORITY, PATH]
    assert decoder.table_size == 106
    assert decoder.decode(4, B2_SECTION) == [AUTHORITY, PATH]
    # No Insert Count Increment: the acknowledgment says it.
    assert decoder.take_decoder_stream() == h("84")

    decoder.feed_encoder(B3_ENCODER)
    assert decoder.table_size == 160
    assert decoder.take_decoder_stream() == h("01")

    # The instruction is late; the stream is given up before it comes.
    blocked = decoder.decode(8, B4_SECTION)
    assert isinstance(blocked, Blocked)
    assert blocked.required_insert_count == 4
    decoder.cancel(8)
    assert decoder.take_decoder_stream() == h("48")
    assert decoder.feed_encoder(B4_ENCODER) == []
    assert decoder.table == [AUTHORITY, PATH, CUSTOM, AUTHORITY]
    assert decoder.table_size == 217

    decoder.feed_encoder(B5_ENCODER)
    assert decoder.table == [PATH, CUSTOM, AUTHORITY, CUSTOM2]
    assert decoder.table_size == 215
    assert decoder.insert_count == 5


def test_b4_when_the_instruction_is_in_time() -> None:
    decoder = Decoder(220, 1)
    decoder.feed_encoder(B2_ENCODER + B3_ENCODER + B4_ENCODER)
    assert decoder.decode(8, B4_SECTION) == [AUTHORITY, (b":path", b"/"), CUSTOM]


@pytest.mark.parametrize("cut", range(1, len(B2_ENCODER)))
def test_b2_with_the_encoder_stream_late_and_cut_anywhere(cut: int) -> None:
    decoder = Decoder(220, 1)
    assert isinstance(decoder.decode(4, B2_SECTION), Blocked)
    assert decoder.feed_encoder(B2_ENCODER[:cut]) == []
    assert decoder.feed_encoder(B2_ENCODER[cut:]) == [4]
    assert decoder.decode(4, B2_SECTION) == [AUTHORITY, PATH]


def test_the_whole_encoder_stream_byte_by_byte() -> None:
    decoder = Decoder(220, 1)
    for byte in B2_ENCODER + B3_ENCODER + B4_ENCODER + B5_ENCODER:
        decoder.feed_encoder(bytes([byte]))
    assert decoder.table == [PATH, CUSTOM, AUTHORITY, CUSTOM2]


def test_the_encoder_reads_the_decoder_stream_of_the_exchange() -> None:
    encoder = Encoder(220, 1)
    # Set Dynamic Table Capacity=220, as in B.2.
    assert encoder.set_capacity(220) == B2_ENCODER[:3]
    fields = [AUTHORITY, PATH]
    encoder.encode(0, fields)
    encoder.encode(4, fields)
    assert (encoder.insert_count, encoder.known_received_count) == (2, 0)
    encoder.feed_decoder(h("84"))
    assert (encoder.known_received_count, encoder.unacknowledged) == (2, 0)
    encoder.encode(8, [CUSTOM])
    encoder.encode(8, [CUSTOM])
    assert encoder.insert_count == 3
    encoder.feed_decoder(h("01"))
    assert encoder.known_received_count == 3
    assert encoder.unacknowledged == 1
    encoder.feed_decoder(h("48"))
    assert (encoder.unacknowledged, encoder.at_risk) == (0, 0)


def test_the_encoders_section_of_b2() -> None:
    """The same bytes as in B.2: two entries inserted with the section, both post-Base."""
    encoder = Encoder(220, 1)
    encoder.set_capacity(220)
    encoder.encode(0, [AUTHORITY, PATH])
    instructions, section = encoder.encode(4, [AUTHORITY, PATH])
    assert section == B2_SECTION
    decoder = Decoder(220, 1)
    decoder.feed_encoder(B2_ENCODER[:3] + instructions)
    assert decoder.table == [AUTHORITY, PATH]


def test_the_required_insert_count_example() -> None:
    """RFC 9204 sections 4.5.1.1 and 4.5.1.2: a table of 100 bytes, 10 inserts, 4 means 9."""
    decoder = Decoder(100, 1)
    decoder.feed_encoder(h("3f45") + b"".join(h("4161 01") + bytes([48 + n]) for n in range(10)))
    assert decoder.table == [(b"a", b"8"), (b"a", b"9")]
    # With Sign 1 and Delta Base 2 the Base is 6; post-Base index 2 is the ninth entry.
    assert decoder.decode(0, h("04 82 12")) == [(b"a", b"8")]


@pytest.mark.parametrize("index", range(99))
def test_every_static_line_by_its_index(index: int) -> None:
    name, value = STATIC_TABLE[index]
    reference = bytes([0xC0 | index]) if index < 63 else bytes([0xFF, index - 63])
    section = b"\0\0" + reference
    assert Decoder().decode(0, section) == [(name, value)]
    assert encode_static([(name, value)], never_indexed=()) == section


@pytest.mark.parametrize(
    ("index", "line"),
    [
        (0, (b":authority", b"")),
        (17, (b":method", b"GET")),
        (25, (b":status", b"200")),
        (45, (b"content-type", b"application/javascript")),
        (54, (b"content-type", b"text/plain;charset=utf-8")),
        (58, (b"strict-transport-security", b"max-age=31536000; includesubdomains; preload")),
        (74, (b"access-control-allow-credentials", b"TRUE")),
        (86, (b"early-data", b"1")),
        (98, (b"x-frame-options", b"sameorigin")),
    ],
)
def test_the_static_table_is_that_of_the_rfc(index: int, line: tuple[bytes, bytes]) -> None:
    assert STATIC_TABLE[index] == line
    assert len(STATIC_TABLE) == 99
    # The longest, over three lines in the RFC.
    assert STATIC_TABLE[85] == (
        b"content-security-policy",
        b"script-src 'none'; object-src 'none'; base-uri 'none'",
    )
