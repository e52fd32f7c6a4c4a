"""The encoder: what it inserts, what it never does, and what it takes from the decoder stream."""

import threading
from collections import deque

import pytest

from tquic.h3 import ErrorCode, H3Error
from tquic.h3.qpack import Blocked, Decoder, Encoder, NeverIndexed, encode_static

Field = tuple[bytes, bytes]

CAPACITY = 4096
AGENT = (b"user-agent", b"tests/1.0")
CUSTOM = (b"x-custom", b"some value")
GET = (b":method", b"GET")


class Pair:
    """An encoder and the decoder of its peer; what is on the way can be held back."""

    def __init__(self, capacity: int = CAPACITY, blocked: int = 16, **options: object) -> None:
        self.encoder = Encoder(capacity, blocked, **options)  # type: ignore[arg-type]
        self.decoder = Decoder(capacity, blocked, 1 << 20)
        self.decoder.feed_encoder(self.encoder.set_capacity(capacity))

    def send(self, stream: int, fields: list[Field], **options: object) -> bytes:
        """One section there, and its acknowledgment back; returns the section."""
        section = self.send_unanswered(stream, fields, **options)
        self.answer()
        return section

    def send_unanswered(self, stream: int, fields: list[Field], **options: object) -> bytes:
        instructions, section = self.encoder.encode(stream, fields, **options)  # type: ignore[arg-type]
        self.decoder.feed_encoder(instructions)
        assert self.decoder.decode(stream, section) == fields
        assert self.encoder.table == self.decoder.table
        assert self.encoder.table_size == self.decoder.table_size
        return section

    def answer(self) -> None:
        self.encoder.feed_decoder(self.decoder.take_decoder_stream())


# What is inserted


def test_a_line_is_inserted_when_it_comes_again() -> None:
    pair = Pair()
    first = pair.send(0, [GET, AGENT, CUSTOM])
    assert pair.encoder.table == []
    pair.send(4, [GET, AGENT, CUSTOM])
    assert pair.encoder.table == [AGENT, CUSTOM]
    third = pair.send(8, [GET, AGENT, CUSTOM])
    assert pair.encoder.table == [AGENT, CUSTOM]
    assert len(third) == 5 < len(first)
    assert pair.encoder.known_received_count == 2


def test_a_name_is_inserted_alone_when_its_values_change() -> None:
    pair = Pair()
    lines = [[(b"x-request-id", b"%d" % number)] for number in range(4)]
    sizes = [len(pair.send(4 * number, lines[number])) for number in range(4)]
    assert pair.encoder.table == [(b"x-request-id", b"")]
    assert sizes[3] < sizes[0]
    # A name of the static table needs no entry.
    for number in range(4):
        pair.send(100, [(b"etag", b"%d" % number)])
    assert pair.encoder.insert_count == 1


def test_without_capacity_nothing_is_inserted() -> None:
    encoder = Encoder(CAPACITY, 16)
    for stream in range(5):
        instructions, section = encoder.encode(stream, [AGENT, CUSTOM])
        assert instructions == b""
        assert section == encode_static([AGENT, CUSTOM])
    # RFC 9204 section 3.2.3: nothing at all is sent when the limit is zero.
    assert Encoder(0, 0).set_capacity(0) == b""


def test_a_peer_with_a_huge_limit_gets_the_table_we_choose() -> None:
    encoder, decoder = Encoder((1 << 62) - 1, (1 << 62) - 1), Decoder(1 << 30, 1)
    encoder.set_capacity(1000)
    for _ in range(3):
        encoder.encode(0, [AGENT])
    assert encoder.table == [AGENT]
    with pytest.raises(ValueError, match="capacity"):
        encoder.set_capacity((1 << 30) + 1)
    assert decoder.table == []


# Secrets


@pytest.mark.parametrize(
    "name", [b"authorization", b"cookie", b"set-cookie", b"proxy-authorization"]
)
def test_secrets_are_never_indexed_unless_asked_for(name: bytes) -> None:
    # RFC 9204 section 7.1.3
    secret = (name, b"very secret")
    pair = Pair()
    for stream in range(4):
        section = pair.send(stream, [secret, AGENT])
        fields = Decoder(CAPACITY, 1).decode(0, encode_static([secret]))
        assert [type(field) for field in fields] == [NeverIndexed]  # type: ignore[union-attr]
    assert pair.encoder.table == [AGENT]
    assert section[2] & 0xF0 in (0x70, 0x30)

    pair = Pair(never_indexed=())
    for stream in range(4):
        pair.send(stream, [secret, AGENT])
    assert pair.encoder.table == [secret, AGENT]
    fields = Decoder().decode(0, encode_static([secret], never_indexed=()))
    assert [type(field) for field in fields] == [tuple]  # type: ignore[union-attr]


def test_other_names_can_be_secret() -> None:
    pair = Pair(never_indexed=[b"x-custom", b"etag", b"x" * 100])
    for stream in range(4):
        pair.send(stream, [CUSTOM, (b"etag", b"1"), (b"x" * 100, b"1"), (b"cookie", b"1")])
    assert pair.encoder.table == [(b"cookie", b"1")]
    for wrong in ("x-custom", 1):
        with pytest.raises(TypeError, match="bytes"):
            Encoder(never_indexed=[wrong])  # type: ignore[list-item]


@pytest.mark.parametrize("field", [GET, AGENT, CUSTOM, (b"", b"")])
def test_what_was_received_as_a_literal_goes_on_as_one(field: Field) -> None:
    # RFC 9204 section 7.1.3
    pair = Pair()
    for stream in range(4):
        pair.send(stream, [field])
    for section in (pair.send(0, [NeverIndexed(field)]), encode_static([NeverIndexed(field)])):
        decoded = Decoder().decode(0, section)
        assert [type(line) for line in decoded] == [NeverIndexed]  # type: ignore[union-attr]
        assert decoded == [field]


# Blocked streams


def test_no_stream_is_risked_when_none_may_be() -> None:
    pair = Pair(blocked=0)
    for stream in range(3):
        section = pair.send_unanswered(stream, [AGENT, CUSTOM])
        assert section[:2] == b"\0\0"
    assert pair.encoder.at_risk == 0
    assert pair.encoder.insert_count == 2
    pair.answer()
    # Known to have come: no risk.
    assert pair.send_unanswered(8, [AGENT, CUSTOM])[:2] != b"\0\0"
    assert pair.encoder.at_risk == 0


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_the_limit_of_blocked_streams_holds_at_all_times(limit: int) -> None:
    # RFC 9204 section 2.1.2
    encoder, decoder = Encoder(CAPACITY, limit), Decoder(CAPACITY, limit)
    kept = [encoder.set_capacity(CAPACITY)]
    fields = [AGENT, CUSTOM]
    sections = []
    for stream in range(20):
        for _ in range(2):
            instructions, section = encoder.encode(stream, fields)
            kept.append(instructions)
            sections.append((stream, section))
            assert encoder.at_risk <= limit
    # Nothing of the encoder stream has come; only as many streams as may be are blocked.
    blocked = [stream for stream, section in sections if section[:2] != b"\0\0"]
    assert len(set(blocked)) == limit == encoder.at_risk
    for stream, section in sections:
        waits = isinstance(decoder.decode(stream, section), Blocked)
        assert waits == (section[:2] != b"\0\0") or stream in blocked
    assert set(decoder.feed_encoder(b"".join(kept))) == set(blocked)


def test_streams_are_at_risk_until_the_inserts_are_known() -> None:
    encoder = Encoder(CAPACITY, 16)
    encoder.set_capacity(CAPACITY)
    encoder.encode(0, [AGENT, CUSTOM])
    encoder.encode(0, [AGENT])
    encoder.encode(4, [AGENT, CUSTOM])
    assert (encoder.insert_count, encoder.at_risk, encoder.unacknowledged) == (2, 2, 2)
    encoder.feed_decoder(b"\x01")
    assert encoder.at_risk == 1
    encoder.feed_decoder(b"\x80")
    assert (encoder.at_risk, encoder.unacknowledged) == (1, 1)
    # Cancelled: neither at risk nor held, but nothing is known to have come.
    encoder.feed_decoder(b"\x44")
    assert (encoder.at_risk, encoder.unacknowledged, encoder.known_received_count) == (0, 0, 1)


def test_sections_nobody_acknowledges_are_bounded() -> None:
    pair = Pair()
    for stream in range(3):
        pair.send(stream, [AGENT])
    for stream in range(5000):
        pair.encoder.encode(stream, [AGENT])
    assert pair.encoder.unacknowledged == 4096
    assert pair.encoder.encode(0, [AGENT]) == (b"", encode_static([AGENT]))
    # Each is still found.
    for stream in range(4096):
        pair.encoder.feed_decoder(b"\x80" if stream == 0 else integer(0x80, 7, stream))
    assert pair.encoder.unacknowledged == 0
    assert pair.encoder.encode(0, [AGENT])[1] != encode_static([AGENT])


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


# Eviction


def test_nothing_is_evicted_that_is_in_use_or_not_known() -> None:
    # RFC 9204 section 2.1.1; entries of 50 bytes, two at most, none of them draining.
    pair = Pair(capacity=140)
    lines = [(b"name-%03d" % number, b"%010d" % number) for number in range(5)]
    for line in lines[:2]:
        pair.send(0, [line])
        pair.send(0, [line])
    assert pair.encoder.table == lines[:2]
    # Referred to by a section that is not acknowledged.
    pair.send_unanswered(4, lines[:2])
    for _ in range(3):
        pair.send_unanswered(8, [lines[2]])
    assert pair.encoder.table == lines[:2]
    pair.answer()
    # Inserted, but not known to have come: the one before it can leave, it cannot.
    pair.send_unanswered(12, [lines[2]])
    assert pair.encoder.table == lines[1:3]
    assert pair.encoder.known_received_count == 2
    for _ in range(2):
        pair.send_unanswered(16, [lines[3]])
    assert pair.encoder.table == lines[2:4]
    for _ in range(3):
        pair.send_unanswered(20, [lines[4]])
    assert pair.encoder.table == lines[2:4]
    pair.answer()
    pair.send_unanswered(24, [lines[4]])
    assert pair.encoder.table == lines[3:]


def test_an_entry_the_same_section_refers_to_is_not_evicted() -> None:
    pair = Pair(capacity=120)
    lines = [(b"name-%03d" % number, b"%010d" % number) for number in range(3)]
    for line in lines:
        pair.send(0, [line])
    pair.send(0, lines[:2])
    assert pair.encoder.table == lines[:2]
    # The third would drive out the first, which its section has just used.
    pair.send(4, lines)
    assert pair.encoder.table in (lines[:2], lines[1:3])
    for stream in range(20):
        pair.send(stream, lines)


def test_entries_close_to_eviction_are_duplicated() -> None:
    # RFC 9204 section 2.1.1.1
    pair = Pair(capacity=512)
    pair.send(0, [AGENT])
    pair.send(0, [AGENT])
    others = [(b"etag", b"%010d" % number) for number in range(60)]
    for number, line in enumerate(others):
        pair.send(4 * number, [line])
        pair.send(4 * number, [line])
        pair.send(4 * number, [AGENT])
    # Used all the time, so never lost, and never sent again in full.
    assert AGENT in pair.encoder.table
    assert pair.encoder.insert_count > len(others) + 1
    assert len(pair.send(0, [AGENT])) <= 4


def test_a_line_used_often_moves_where_one_byte_is_enough() -> None:
    # RFC 9204 section 4.5.2: relative indices from 63 on take two bytes.
    pair = Pair(capacity=1 << 16)
    for _ in range(10):
        pair.send(0, [AGENT])
    others = [(b"etag", b"%d" % number) for number in range(64)]
    for _ in range(2):
        pair.send(0, others)
    assert (pair.encoder.insert_count, pair.encoder.table[0]) == (65, AGENT)
    assert len(pair.send(0, [AGENT])) == 3
    assert (pair.encoder.insert_count, pair.encoder.table[-1]) == (66, AGENT)
    # What is used seldom stays where it is.
    pair.send(0, others[:1])
    assert pair.encoder.insert_count == 66


def test_what_comes_again_only_after_long_is_not_inserted() -> None:
    pair = Pair()
    for number in range(1000):
        pair.send(0, [(b"etag", b"%d" % (number % 500))])
    assert pair.encoder.table == []


def test_a_line_that_would_fill_the_table_is_not_inserted() -> None:
    pair = Pair(capacity=1000)
    for size, inserted in ((469, False), (468, True)):
        for _ in range(3):
            pair.send(0, [(b"", b"x" * size)])
        assert bool(pair.encoder.table) is inserted


def test_the_capacity_can_be_changed() -> None:
    pair = Pair(capacity=CAPACITY)
    lines = [(b"etag", b"%010d" % number) for number in range(20)]
    for _ in range(2):
        pair.send(0, lines)
    assert pair.encoder.table == lines
    pair.send_unanswered(0, lines)
    # RFC 9204 section 4.3.1: not while entries that would leave are in use.
    with pytest.raises(ValueError, match="in use"):
        pair.encoder.set_capacity(100)
    pair.answer()
    for capacity, left in ((100, 2), (0, 0), (100, 0), (CAPACITY, 0)):
        pair.decoder.feed_encoder(pair.encoder.set_capacity(capacity))
        assert pair.encoder.table == pair.decoder.table == lines[20 - left :]
    for _ in range(3):
        pair.send(0, lines)
    assert pair.encoder.table == lines
    assert pair.encoder.set_capacity(CAPACITY) == b""
    for wrong in (-1, CAPACITY + 1):
        with pytest.raises(ValueError, match="capacity"):
            pair.encoder.set_capacity(wrong)


def test_a_larger_capacity_keeps_what_is_there() -> None:
    pair = Pair()
    pair.decoder.feed_encoder(pair.encoder.set_capacity(300))
    lines = [(b"etag", b"%010d" % number) for number in range(6)]
    for _ in range(2):
        pair.send(0, lines)
    pair.decoder.feed_encoder(pair.encoder.set_capacity(CAPACITY))
    assert pair.encoder.table == lines
    assert len(pair.send(0, lines)) == 8
    for number in range(200):
        pair.send(0, [(b"etag", b"%d" % (number // 2))])


# Flow control of the encoder stream


def test_no_more_is_inserted_than_the_limit_says() -> None:
    # RFC 9204 section 2.1.3
    encoder = Encoder(CAPACITY, 16)
    encoder.set_capacity(CAPACITY)
    lines = [(b"etag", b"%010d" % number) for number in range(20)]
    assert encoder.encode(0, lines)[0] == b""
    for limit in (0, 10, 60, 100):
        instructions, _ = encoder.encode(0, lines, insert_limit=limit)
        assert len(instructions) <= limit
    assert 0 < encoder.insert_count < 20
    encoder.encode(0, lines)
    assert encoder.insert_count == 20
    with pytest.raises(ValueError, match="insert_limit"):
        encoder.encode(0, lines, insert_limit=-1)


# The decoder stream


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        # RFC 9204 section 4.4.1
        (b"\x84", "stream 4"),
        (b"\x80\x80", "stream 0"),
        # RFC 9204 section 4.4.3
        (b"\x00", "by 0"),
        (b"\x03", "by 3"),
        (b"\x01\x02", "by 2"),
        (b"\x80\x01", "by 1"),
        # RFC 9204 section 7.4
        (integer(0x80, 7, 1 << 62), "62 bits"),
        (integer(0x40, 6, 1 << 62), "62 bits"),
        (b"\x3f" + b"\xff" * 10, "62 bits"),
    ],
)
def test_what_breaks_a_rule_on_the_decoder_stream(data: bytes, reason: str) -> None:
    for cut in range(len(data)):
        encoder = Encoder(CAPACITY, 16)
        encoder.set_capacity(CAPACITY)
        encoder.encode(0, [AGENT, CUSTOM])
        encoder.encode(0, [AGENT, CUSTOM])
        parts = iter((data[:cut], data[cut:]))
        with pytest.raises(H3Error) as caught:
            deque(map(encoder.feed_decoder, parts))
        assert caught.value.code is ErrorCode.QPACK_DECODER_STREAM_ERROR
        assert reason in caught.value.reason
        with pytest.raises(H3Error, match="QPACK_DECODER_STREAM_ERROR"):
            encoder.feed_decoder(b"")


def test_without_a_table_only_cancellations_are_right() -> None:
    encoder = Encoder(0, 0)
    encoder.feed_decoder(b"\x44\x7f\x80\x01")
    for data in (b"\x80", b"\x01"):
        with pytest.raises(H3Error):
            Encoder(0, 0).feed_decoder(data)


def test_the_decoder_stream_is_read_byte_by_byte() -> None:
    pair = Pair()
    for stream in (0, 10_000, 1 << 40):
        pair.send_unanswered(stream, [AGENT])
    pair.decoder.cancel(1 << 61)
    for byte in pair.decoder.take_decoder_stream():
        pair.encoder.feed_decoder(bytearray([byte]))
    assert (pair.encoder.unacknowledged, pair.encoder.known_received_count) == (0, 1)


# Arguments


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        b"name",
        (b"name",),
        (b"a", b"b", b"c"),
        ("a", b"b"),
        (b"a", "b"),
        [b"a", b"b"],
        (b"a", 1),
    ],
)
def test_a_field_that_is_none_is_named_and_nothing_is_lost(wrong: object) -> None:
    pair = Pair()
    pair.send(0, [AGENT])
    fields = [AGENT, wrong]
    with pytest.raises(TypeError, match="tuple of two bytes"):
        pair.encoder.encode(0, fields)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="tuple of two bytes"):
        encode_static(fields)  # type: ignore[arg-type]
    # What was inserted for the first is sent with the next section.
    assert pair.encoder.insert_count == 1
    pair.send(0, [AGENT])
    assert pair.decoder.table == [AGENT]


def test_fields_can_come_from_any_iterable() -> None:
    fields = [GET, AGENT]
    section = encode_static(fields)
    for form in (tuple(fields), iter(fields), dict(fields).items()):
        assert Encoder().encode(0, form) == (b"", section)
    assert encode_static(iter(fields)) == section
    with pytest.raises(TypeError):
        Encoder().encode(0, 7)  # type: ignore[arg-type]


def test_impossible_arguments() -> None:
    for stream in (-1, 1 << 62):
        with pytest.raises(ValueError, match="stream ID"):
            Encoder().encode(stream, [])
    for arguments in ((-1, 0), (1 << 62, 0), (0, -1), (0, 1 << 62)):
        with pytest.raises(ValueError, match="is not in 0 to"):
            Encoder(*arguments)


@pytest.mark.parametrize("size", [0, 1, 126, 127, 128, 254, 255, 1000, 100_000])
def test_strings_of_every_length(size: int) -> None:
    for fill in (b"0", b"\xff", b"x"):
        fields = [(fill * size, fill * size), (b"etag", fill * size)]
        assert Decoder(0, 0, 1 << 20).decode(0, encode_static(fields)) == fields
        pair = Pair(capacity=1 << 20)
        for _ in range(3):
            pair.send(0, fields)


def test_threads_with_one_encoder_lose_nothing() -> None:
    encoder = Encoder(CAPACITY, 16)
    decoder = Decoder(CAPACITY, 16)
    decoder.feed_encoder(encoder.set_capacity(CAPACITY))

    def work(name: bytes) -> None:
        for _ in range(300):
            encoder.encode(0, [(name, b"value")])

    threads = [threading.Thread(target=work, args=(b"name-%d" % n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(encoder.table) == [(b"name-%d" % n, b"value") for n in range(4)]
