"""Our encoder against ls-qpack's decoder and the other way round: the same fields must come out.

Everything on the way may be late: the encoder stream, sections of other streams, the decoder
stream. The seed of a run is part of the test's name.
"""

import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tquic.h3.qpack import STATIC_TABLE, Blocked, Decoder, Encoder, NeverIndexed, encode_static

pylsqpack = pytest.importorskip("pylsqpack", reason="not to be had for this Python")

Field = tuple[bytes, bytes]

REQUEST = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"www.example.com"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) Chrome/142.0.0.0 Safari/537.36"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"cookie", b"session=8f14e45fceea167a5a36dedd4bea2543; consent=yes"),
    (b"sec-fetch-mode", b"navigate"),
]

names = st.one_of(
    st.sampled_from(sorted({name for name, _ in STATIC_TABLE})),
    st.sampled_from([b"x-a", b"x-b", b"priority"]),
    st.binary(min_size=1, max_size=20),
)
values = st.one_of(
    st.sampled_from(sorted({value for _, value in STATIC_TABLE})),
    st.sampled_from([b"1", b"22", b"u=0, i"]),
    st.binary(max_size=60),
)
fields = st.one_of(st.sampled_from(STATIC_TABLE), st.tuples(names, values))
# Not empty, neither names: ls-qpack refuses such, which RFC 9204 section 4.5 allows.
sections = st.lists(st.lists(fields, min_size=1, max_size=10), max_size=12)


class TheirDecoder:
    """ls-qpack's decoder with the interface of ours."""

    def __init__(self, capacity: int, blocked: int) -> None:
        self.decoder = pylsqpack.Decoder(capacity, blocked)
        self.sent = b""
        self.waiting: set[int] = set()

    def feed_encoder(self, data: bytes) -> list[int]:
        return list(self.decoder.feed_encoder(data))

    def decode(self, stream: int, section: bytes) -> list[Field] | None:
        try:
            if stream in self.waiting:
                sent, found = self.decoder.resume_header(stream)
                self.waiting.discard(stream)
            else:
                sent, found = self.decoder.feed_header(stream, section)
        except pylsqpack.StreamBlocked:
            self.waiting.add(stream)
            return None
        self.sent += sent
        return list(found)

    def cancel(self, stream: int) -> None:
        self.waiting.discard(stream)
        self.sent += self.decoder.cancel_stream(stream)

    def take_decoder_stream(self) -> bytes:
        sent, self.sent = self.sent, b""
        return sent


class OurDecoder:
    def __init__(self, capacity: int, blocked: int) -> None:
        self.decoder = Decoder(capacity, blocked, 1 << 20)
        self.feed_encoder = self.decoder.feed_encoder
        self.cancel = self.decoder.cancel
        self.take_decoder_stream = self.decoder.take_decoder_stream

    def decode(self, stream: int, section: bytes) -> list[Field] | None:
        found = self.decoder.decode(stream, section)
        return None if isinstance(found, Blocked) else found


class TheirEncoder:
    """ls-qpack's encoder with the interface of ours."""

    def __init__(self, capacity: int, blocked: int) -> None:
        self.encoder = pylsqpack.Encoder()
        self.first: bytes = self.encoder.apply_settings(capacity, blocked)
        self.encode = self.encoder.encode
        self.feed_decoder = self.encoder.feed_decoder


class OurEncoder:
    def __init__(self, capacity: int, blocked: int) -> None:
        self.encoder = Encoder(capacity, blocked, never_indexed=())
        self.first = self.encoder.set_capacity(capacity)
        self.encode = self.encoder.encode
        self.feed_decoder = self.encoder.feed_decoder


class Network:
    """Carries the three kinds of streams, each in order, all as late as the dice want."""

    def __init__(self, encoder: object, decoder: object, dice: random.Random) -> None:
        self.encoder: OurEncoder = encoder  # type: ignore[assignment]
        self.decoder: OurDecoder = decoder  # type: ignore[assignment]
        self.dice = dice
        self.instructions = bytearray(self.encoder.first)
        self.answers = bytearray()
        # What is on its way on each stream: the section and what must come out.
        self.streams: dict[int, deque[tuple[bytes, list[Field]]]] = {}
        self.blocked: set[int] = set()
        self.cancelled: set[int] = set()
        self.decoded = self.waited = 0

    def send(self, stream: int, fields: list[Field]) -> None:
        # Nobody goes on with a stream that the peer gave up.
        if stream in self.cancelled:
            return
        instructions, section = self.encoder.encode(stream, fields)
        self.instructions += instructions
        self.streams.setdefault(stream, deque()).append((section, fields))

    def take(self, stream: int) -> None:
        """Delivers the next section of a stream that is not blocked."""
        section, expected = self.streams[stream][0]
        found = self.decoder.decode(stream, section)
        if found is None:
            self.blocked.add(stream)
            self.waited += 1
            return
        assert found == expected
        self.decoded += 1
        self.streams[stream].popleft()
        if not self.streams[stream]:
            del self.streams[stream]

    def cancel(self, stream: int) -> None:
        self.decoder.cancel(stream)
        self.blocked.discard(stream)
        del self.streams[stream]
        self.cancelled.add(stream)

    def carry_instructions(self, size: int) -> None:
        part = bytes(self.instructions[:size])
        del self.instructions[:size]
        for stream in self.decoder.feed_encoder(part):
            self.blocked.discard(stream)

    def carry_answers(self, size: int) -> None:
        self.answers += self.decoder.take_decoder_stream()
        self.encoder.feed_decoder(bytes(self.answers[:size]))
        del self.answers[:size]

    def step(self) -> None:
        ready = sorted(self.streams.keys() - self.blocked)
        kind = self.dice.random()
        if kind < 0.4 and ready:
            self.take(self.dice.choice(ready))
        elif kind < 0.42 and self.streams:
            self.cancel(self.dice.choice(sorted(self.streams)))
        elif kind < 0.8:
            self.carry_instructions(self.dice.randrange(1, 60))
        else:
            self.carry_answers(self.dice.randrange(1, 10))

    def finish(self) -> None:
        self.carry_instructions(len(self.instructions))
        while self.streams:
            assert not self.blocked
            self.take(min(self.streams))
        self.carry_answers(1 << 20)


def drawn_fields(dice: random.Random) -> list[Field]:
    found = [field for field in REQUEST if dice.random() < 0.9]
    found.append((b":path", b"/item/%d" % dice.randrange(30)))
    found.append((b"x-request-id", b"%016x" % dice.getrandbits(64)))
    for _ in range(dice.randrange(4)):
        found.append((b"x-%d" % dice.randrange(5), b"v" * dice.randrange(40)))
    return found


def play(network: Network, dice: random.Random, count: int) -> None:
    for number in range(count):
        # Later sections of a stream are its trailers. ls-qpack keeps one blocked section for each
        # stream, so that a stream in use is not taken twice.
        network.send(4 * number, drawn_fields(dice))
        for _ in range(dice.randrange(8)):
            network.step()
    network.finish()


# RFC 9204 section 2.1
@pytest.mark.parametrize("blocked", [0, 2, 100])
@pytest.mark.parametrize("capacity", [0, 100, 512, 4096, 65536])
@pytest.mark.parametrize("seed", range(3))
def test_our_encoder_and_their_decoder(seed: int, capacity: int, blocked: int) -> None:
    dice = random.Random(seed)
    network = Network(OurEncoder(capacity, blocked), TheirDecoder(capacity, blocked), dice)
    play(network, dice, 300)
    encoder = network.encoder.encoder
    assert encoder.unacknowledged == encoder.at_risk == 0
    assert network.decoded + len(network.cancelled) == 300
    if capacity >= 512:
        assert encoder.insert_count > 5
    if capacity >= 4096 and blocked == 100:
        assert network.waited


# RFC 9204 section 2.2
@pytest.mark.parametrize("blocked", [0, 2, 100])
@pytest.mark.parametrize("capacity", [0, 100, 512, 4096, 65536])
@pytest.mark.parametrize("seed", range(3))
def test_their_encoder_and_our_decoder(seed: int, capacity: int, blocked: int) -> None:
    dice = random.Random(seed)
    network = Network(TheirEncoder(capacity, blocked), OurDecoder(capacity, blocked), dice)
    play(network, dice, 300)
    assert network.decoded + len(network.cancelled) == 300
    if capacity >= 4096:
        assert network.decoder.decoder.insert_count > 5


@pytest.mark.parametrize("capacity", [100, 512, 4096, 65536])
@pytest.mark.parametrize("seed", range(10))
def test_our_encoder_and_our_decoder(seed: int, capacity: int) -> None:
    dice = random.Random(seed)
    network = Network(OurEncoder(capacity, 20), OurDecoder(capacity, 20), dice)
    for number in range(300):
        # Trailers and interim responses: several sections on a stream.
        network.send(4 * (number // 3), drawn_fields(dice))
        for _ in range(dice.randrange(8)):
            network.step()
    network.finish()
    encoder, decoder = network.encoder.encoder, network.decoder.decoder
    assert encoder.table == decoder.table
    assert encoder.insert_count == decoder.insert_count == encoder.known_received_count
    assert encoder.unacknowledged == encoder.at_risk == 0


@pytest.mark.parametrize("late", [0, 5])
@pytest.mark.parametrize("capacity", [4096, 16384])
@pytest.mark.parametrize("seed", range(3))
def test_sessions_are_as_small_as_theirs(seed: int, capacity: int, late: int) -> None:
    """All bytes of both streams, with files fetched several times; answers may be late."""
    sizes = []
    for encoder in (OurEncoder(capacity, 16), TheirEncoder(capacity, 16)):
        dice = random.Random(seed)
        decoder = OurDecoder(capacity, 16)
        decoder.feed_encoder(encoder.first)
        answers: deque[bytes] = deque()
        size = 0
        for number in range(400):
            fields = [
                *REQUEST,
                (b":path", b"/assets/img/%d.png" % dice.randrange(150)),
                (b"referer", b"https://www.example.com/page/%d" % (number // 20)),
            ]
            if dice.random() < 0.3:
                fields.append((b"x-request-id", b"%032x" % dice.getrandbits(128)))
            instructions, section = encoder.encode(4 * number, fields)
            size += len(instructions) + len(section)
            decoder.feed_encoder(instructions)
            assert decoder.decode(4 * number, section) == fields
            answers.append(decoder.take_decoder_stream())
            if len(answers) > late:
                encoder.feed_decoder(answers.popleft())
        sizes.append(size)
    assert sizes[0] <= 1.02 * sizes[1]


@given(sections, st.sampled_from([0, 64, 200, 4096]), st.integers(0, 3), st.randoms())
def test_drawn_fields_through_our_encoder(
    items: list[list[Field]], capacity: int, blocked: int, dice: random.Random
) -> None:
    for decoder in (TheirDecoder(capacity, blocked), OurDecoder(capacity, blocked)):
        network = Network(OurEncoder(capacity, blocked), decoder, dice)
        for number, item in enumerate(items * 2):
            network.send(4 * number, item)
            network.step()
        network.finish()


@given(sections, st.sampled_from([0, 64, 200, 4096]), st.integers(0, 3), st.randoms())
def test_drawn_fields_through_their_encoder(
    items: list[list[Field]], capacity: int, blocked: int, dice: random.Random
) -> None:
    network = Network(TheirEncoder(capacity, blocked), OurDecoder(capacity, blocked), dice)
    for number, item in enumerate(items * 2):
        network.send(4 * number, item)
        network.step()
    network.finish()


@given(st.lists(fields, min_size=1, max_size=20), st.booleans())
def test_static_sections(items: list[Field], never: bool) -> None:
    marked = [NeverIndexed(item) if never else item for item in items]
    section = encode_static(marked)
    assert pylsqpack.Decoder(0, 0).feed_header(0, section)[1] == items
    assert Decoder(0, 0, 1 << 20).decode(0, section) == items
    if not never:
        # The same size at least as theirs: the same choice of references and Huffman coding.
        encoder = pylsqpack.Encoder()
        encoder.apply_settings(0, 0)
        plain = encode_static(items, never_indexed=())
        assert len(plain) <= len(encoder.encode(0, items)[1])
