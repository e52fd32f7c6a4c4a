"""QPACK beside ls-qpack, with fields as browsers and servers send them.

`pytest benches/test_qpack.py --benchmark-enable` measures each alone; run as a program, this file
measures both in turns and prints the ratios of the medians: what counts on a busy machine.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from tquic.h3.qpack import NEVER_INDEXED, Decoder, Encoder, encode_static

pylsqpack = pytest.importorskip("pylsqpack", reason="not to be had for this Python")

Benchmark = Callable[..., Any]
Field = tuple[bytes, bytes]

CAPACITY = 4096
BLOCKED = 100

REQUEST: list[Field] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"www.example.com"),
    (
        b":path",
        b"/assets/app/2026/11/main.7f3c9ab2e1.bundle.js?v=18&locale=en-US&theme=dark"
        b"&ref=%2Farticles%2F2026%2Fnetworks",
    ),
    (b"sec-ch-ua", b'"Chromium";v="142", "Google Chrome";v="142", "Not_A Brand";v="99"'),
    (b"sec-ch-ua-mobile", b"?0"),
    (b"sec-ch-ua-platform", b'"Linux"'),
    (
        b"user-agent",
        b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
        b"Chrome/142.0.0.0 Safari/537.36",
    ),
    (
        b"accept",
        b"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    ),
    (b"sec-fetch-site", b"same-origin"),
    (b"sec-fetch-mode", b"navigate"),
    (b"sec-fetch-user", b"?1"),
    (b"sec-fetch-dest", b"document"),
    (b"referer", b"https://www.example.com/articles/2026/networks?page=3"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"accept-language", b"en-US,en;q=0.9,de;q=0.8"),
    (
        b"cookie",
        b"session=8f14e45fceea167a5a36dedd4bea2543; _ga=GA1.2.1234567890.1700000000; "
        b"consent=yes; prefs=eyJ0aGVtZSI6ImRhcmsiLCJsYW5nIjoiZW4ifQ",
    ),
    (b"priority", b"u=0, i"),
]
RESPONSE: list[Field] = [
    (b":status", b"200"),
    (b"date", b"Sun, 22 Nov 2026 22:22:22 GMT"),
    (b"content-type", b"text/html; charset=utf-8"),
    (b"content-length", b"18437"),
    (b"cache-control", b"private, max-age=0, must-revalidate"),
    (b"etag", b'W/"4805-18f2b6a1c30"'),
    (b"last-modified", b"Sat, 21 Nov 2026 10:00:00 GMT"),
    (b"server", b"tquic"),
    (b"vary", b"accept-encoding"),
    (b"strict-transport-security", b"max-age=31536000; includesubdomains"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data: https://cdn.example.com; "
        b"script-src 'self' 'nonce-r4nd0m'; style-src 'self' 'unsafe-inline'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"sameorigin"),
    (
        b"set-cookie",
        b"session=8f14e45fceea167a5a36dedd4bea2543; Path=/; Secure; HttpOnly; SameSite=Lax",
    ),
    (b"alt-svc", b'h3=":443"; ma=86400'),
    (b"x-request-id", b"0f8fad5b-d9cb-469f-a165-70867728950e"),
]
SHORT: list[Field] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"example.com"),
    (b":path", b"/"),
]
SETS = {"request": REQUEST, "response": RESPONSE, "short": SHORT}


def lengthened(fields: list[Field]) -> list[Field]:
    return [(name + b"!", value + b"!") for name, value in fields]


def fresh(longer: list[Field]) -> list[Field]:
    """New objects, whose hashes Python has not computed yet, as a server has them."""
    return [(name[:-1], value[:-1]) for name, value in longer]


# Each gives a function that does the work once.


def our_static_encode(fields: list[Field]) -> Callable[[], bytes]:
    return lambda: encode_static(fields)


def their_static_encode(fields: list[Field]) -> Callable[[], bytes]:
    encoder = pylsqpack.Encoder()
    encoder.apply_settings(0, 0)
    return lambda: encoder.encode(0, fields)[1]


def our_static_decode(fields: list[Field]) -> Callable[[], list[Field]]:
    decoder, section = Decoder(), encode_static(fields)
    return lambda: decoder.decode(0, section)


def their_static_decode(fields: list[Field]) -> Callable[[], list[Field]]:
    decoder, section = pylsqpack.Decoder(0, 0), encode_static(fields)
    return lambda: decoder.feed_header(0, section)[1]


def our_dynamic_encode(
    fields: list[Field], never_indexed: frozenset[bytes] = frozenset()
) -> Callable[[], bytes]:
    """In the long run: everything is in the table, each section is acknowledged."""
    encoder = Encoder(CAPACITY, BLOCKED, never_indexed=never_indexed)
    encoder.set_capacity(CAPACITY)

    def once() -> bytes:
        section = encoder.encode(0, fields)[1]
        if section[0]:
            encoder.feed_decoder(b"\x80")
        return section

    for _ in range(5):
        once()
    return once


def our_secret_encode(fields: list[Field]) -> Callable[[], bytes]:
    """The same with cookies as literals, which is the default."""
    return our_dynamic_encode(fields, NEVER_INDEXED)


def their_dynamic_encode(fields: list[Field]) -> Callable[[], bytes]:
    encoder = pylsqpack.Encoder()
    encoder.apply_settings(CAPACITY, BLOCKED)

    def once() -> bytes:
        section: bytes = encoder.encode(0, fields)[1]
        if section[0]:
            encoder.feed_decoder(b"\x80")
        return section

    for _ in range(5):
        once()
    return once


def our_fresh_encode(fields: list[Field]) -> Callable[[], bytes]:
    """With the time to make the objects, which is the same for both."""
    encoder = Encoder(CAPACITY, BLOCKED, never_indexed=())
    encoder.set_capacity(CAPACITY)
    longer = lengthened(fields)

    def once() -> bytes:
        section = encoder.encode(0, fresh(longer))[1]
        if section[0]:
            encoder.feed_decoder(b"\x80")
        return section

    for _ in range(5):
        once()
    return once


def their_fresh_encode(fields: list[Field]) -> Callable[[], bytes]:
    encoder = pylsqpack.Encoder()
    encoder.apply_settings(CAPACITY, BLOCKED)
    longer = lengthened(fields)

    def once() -> bytes:
        section: bytes = encoder.encode(0, fresh(longer))[1]
        if section[0]:
            encoder.feed_decoder(b"\x80")
        return section

    for _ in range(5):
        once()
    return once


def dynamic_sections(fields: list[Field]) -> tuple[bytes, bytes]:
    """What their encoder makes in the long run: all instructions, and a section."""
    encoder, decoder = pylsqpack.Encoder(), pylsqpack.Decoder(CAPACITY, BLOCKED)
    instructions = encoder.apply_settings(CAPACITY, BLOCKED)
    decoder.feed_encoder(instructions)
    section = b""
    for _ in range(5):
        more, section = encoder.encode(0, fields)
        decoder.feed_encoder(more)
        instructions += more
        encoder.feed_decoder(decoder.feed_header(0, section)[0])
    return instructions, section


def our_dynamic_decode(fields: list[Field]) -> Callable[[], list[Field]]:
    instructions, section = dynamic_sections(fields)
    decoder = Decoder(CAPACITY, BLOCKED)
    decoder.feed_encoder(instructions)

    def once() -> list[Field]:
        found = decoder.decode(0, section)
        decoder.take_decoder_stream()
        return found

    return once


def their_dynamic_decode(fields: list[Field]) -> Callable[[], list[Field]]:
    instructions, section = dynamic_sections(fields)
    decoder = pylsqpack.Decoder(CAPACITY, BLOCKED)
    decoder.feed_encoder(instructions)
    return lambda: decoder.feed_header(0, section)[1]


ENCODERS = {
    "static": (our_static_encode, their_static_encode),
    "dynamic": (our_dynamic_encode, their_dynamic_encode),
    "dynamic, cookies literal": (our_secret_encode, their_dynamic_encode),
    "dynamic, fresh objects": (our_fresh_encode, their_fresh_encode),
}
DECODERS = {
    "static": (our_static_decode, their_static_decode),
    "dynamic": (our_dynamic_decode, their_dynamic_decode),
}
SIDES = {"tquic": 0, "ls-qpack": 1}


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("fields", SETS)
@pytest.mark.parametrize("kind", ENCODERS)
def test_encode(benchmark: Benchmark, kind: str, fields: str, side: str) -> None:
    section = benchmark(ENCODERS[kind][SIDES[side]](SETS[fields]))
    if kind == "static":
        assert pylsqpack.Decoder(0, 0).feed_header(0, section)[1] == SETS[fields]
    else:
        assert len(section) < len(encode_static(SETS[fields])) or fields == "short"


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("fields", SETS)
@pytest.mark.parametrize("kind", DECODERS)
def test_decode(benchmark: Benchmark, kind: str, fields: str, side: str) -> None:
    assert benchmark(DECODERS[kind][SIDES[side]](SETS[fields])) == SETS[fields]


def compared(ours: Callable[[], object], theirs: Callable[[], object]) -> tuple[float, float]:
    """Medians in nanoseconds, of turns taken one after the other."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(41):
        for side, once in enumerate((ours, theirs)):
            start = time.perf_counter_ns()
            for _ in range(300):
                once()
            times[side].append((time.perf_counter_ns() - start) / 300)
    return statistics.median(times[0]), statistics.median(times[1])


def main() -> int:
    worst = 100.0
    print(f"{'':44} tquic   ls-qpack   times as fast")
    for direction, kinds in (("encode", ENCODERS), ("decode", DECODERS)):
        for kind, (ours, theirs) in kinds.items():
            for name, fields in SETS.items():
                mine, other = compared(ours(fields), theirs(fields))
                worst = min(worst, other / mine)
                label = f"{direction} {name}, {kind}"
                print(f"{label:42} {mine:5.0f} ns   {other:5.0f} ns   {other / mine:5.2f}")
    return 0 if worst >= 1 else 1


if __name__ == "__main__":
    sys.exit(main())
