"""The parts of the server that know no connection."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tquic.h3._websocket import (
    Close,
    CloseCode,
    FrameReader,
    Ping,
    WebSocketError,
    encode_close,
    encode_message,
    encode_ping,
)
from tquic.h3.server._answer import problem
from tquic.h3.server._conditions import (
    Validators,
    http_date,
    parse_http_date,
    precondition,
    range_applies,
)
from tquic.h3.server._fields import Fields
from tquic.h3.server._media import accepted_codings, content_type
from tquic.h3.server._ranges import MAX_RANGES, Range, parse_range

ETAG = b'"abc"'
NOW = 1_700_000_000
CURRENT = Validators(ETAG, NOW)
BEFORE, SAME, AFTER = http_date(NOW - 10), http_date(NOW), http_date(NOW + 10)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (b"bytes=0-0", [(0, 1)]),
        (b"bytes=0-", [(0, 100)]),
        (b"bytes=90-200", [(90, 10)]),
        (b"bytes=-1", [(99, 1)]),
        (b"bytes=-200", [(0, 100)]),
        (b"Bytes = 5-6 , 10-10,", [(5, 2), (10, 1)]),
        (b"bytes=10-10,5-6", [(10, 1), (5, 2)]),
        (b"bytes=100-", []),
        (b"bytes=100-,5-5", [(5, 1)]),
        # Malformed, another unit, too many, overlapping: as if it were not there.
        (b"bytes=", None),
        (b"bytes=-", None),
        (b"bytes=5-4", None),
        (b"bytes=a-b", None),
        (b"bytes=1-2-3", None),
        (b"bytes=99999999999999999999-", None),
        (b"lines=1-2", None),
        (b"0-1", None),
        (b"bytes=0-9,5-15", None),
        (b"bytes=" + b"1-1," * (MAX_RANGES + 1), None),
    ],
)
def test_ranges(value: bytes, wanted: list[tuple[int, int]] | None) -> None:
    assert parse_range(value, 100) == wanted
    assert parse_range(value, 0) is None


@given(st.binary(max_size=40), st.integers(0, 1000))
def test_every_range_is_inside(tail: bytes, total: int) -> None:
    for offset, size in parse_range(b"bytes=" + tail, total) or ():
        assert size > 0
        assert 0 <= offset < offset + size <= total


def test_content_range() -> None:
    assert Range(3, 4).content_range(10) == b"bytes 3-6/10"


@pytest.mark.parametrize(
    ("method", "fields", "wanted"),
    [
        (b"GET", {}, None),
        (b"GET", {b"if-none-match": ETAG}, 304),
        (b"GET", {b"if-none-match": b'W/"abc"'}, 304),
        (b"GET", {b"if-none-match": b'"x", ,"abc"'}, 304),
        (b"GET", {b"if-none-match": b"*"}, 304),
        (b"GET", {b"if-none-match": b'"x"'}, None),
        (b"GET", {b"if-none-match": b"abc"}, None),
        (b"PUT", {b"if-none-match": b"*"}, 412),
        (b"GET", {b"if-modified-since": SAME}, 304),
        (b"HEAD", {b"if-modified-since": AFTER}, 304),
        (b"GET", {b"if-modified-since": BEFORE}, None),
        (b"GET", {b"if-modified-since": b"yesterday"}, None),
        (b"PUT", {b"if-modified-since": AFTER}, None),
        # The tag counts, not the date: RFC 9110 section 13.1.3.
        (b"GET", {b"if-none-match": b'"x"', b"if-modified-since": AFTER}, None),
        (b"GET", {b"if-match": ETAG}, None),
        (b"GET", {b"if-match": b"*"}, None),
        (b"GET", {b"if-match": b'W/"abc"'}, 412),
        (b"GET", {b"if-match": b'"x"'}, 412),
        (b"GET", {b"if-match": b'"x" "abc"'}, 412),
        (b"GET", {b"if-unmodified-since": BEFORE}, 412),
        (b"GET", {b"if-unmodified-since": SAME}, None),
        (b"GET", {b"if-match": ETAG, b"if-unmodified-since": BEFORE}, None),
    ],
)
def test_preconditions(method: bytes, fields: dict[bytes, bytes], wanted: int | None) -> None:
    assert precondition(method, Fields(list(fields.items())), CURRENT) == wanted


def test_preconditions_on_what_is_not_there() -> None:
    for value, wanted in [(b"*", 412), (ETAG, 412)]:
        assert precondition(b"PUT", Fields([(b"if-match", value)]), None) == wanted
    assert precondition(b"PUT", Fields([(b"if-none-match", b"*")]), None) is None


@pytest.mark.parametrize(
    ("value", "applies"),
    [(ETAG, True), (b'"x"', False), (b'W/"abc"', False), (SAME, True), (BEFORE, False)],
)
def test_if_range(value: bytes, applies: bool) -> None:
    fields = Fields([(b"if-range", value)])
    assert range_applies(fields, CURRENT, NOW + 100) is applies
    # It may have changed twice within its second.
    assert range_applies(fields, CURRENT, NOW + 0.5) is (applies and value == ETAG)
    assert range_applies(Fields([]), CURRENT, NOW)


def test_dates() -> None:
    assert http_date(784_111_777) == b"Sun, 06 Nov 1994 08:49:37 GMT"
    # All three forms of RFC 9110 section 5.6.7.
    for text in (
        b"Sun, 06 Nov 1994 08:49:37 GMT",
        b"Sunday, 06-Nov-94 08:49:37 GMT",
        b"Sun Nov  6 08:49:37 1994",
    ):
        assert parse_http_date(text) == 784_111_777
    for text in (b"", b"never", b"\xff", b"Sun, 99 Nov 1994 08:49:37 GMT"):
        assert parse_http_date(text) is None


def test_media_types() -> None:
    for name, wanted in [
        ("a.html", b"text/html; charset=utf-8"),
        ("a.MJS", b"text/javascript; charset=utf-8"),
        ("a.json", b"application/json; charset=utf-8"),
        ("a.tar.gz", b"application/gzip"),
        ("a.wasm", b"application/wasm"),
        ("a", b"application/octet-stream"),
        (".html", b"application/octet-stream"),
        ("a.nothing", b"application/octet-stream"),
    ]:
        assert content_type(name) == wanted, name


def test_codings() -> None:
    assert accepted_codings(b"gzip, br") >= {b"gzip", b"br"}
    assert b"br" not in accepted_codings(b"gzip, br;q=0, *")
    assert b"gzip" in accepted_codings(b"*;q=0.5")
    assert not accepted_codings(b"*;q=0") & {b"gzip", b"br"}
    assert b"gzip" in accepted_codings(b"X-GZIP; q=0.001")


def test_problems_have_no_body_for_head() -> None:
    assert problem(404).parts == [b"404 Not Found\n"]
    assert problem(404, head=True).parts == []


# ---- WebSocket frames ----


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_messages_come_back(masked: bool, size: int) -> None:
    for message in (b"x" * size, "y" * size):
        reader = FrameReader(masked=masked)
        data = encode_message(message, masked=masked)
        assert reader.feed(data[:1]) == []
        assert reader.feed(data[1:-1]) in ([], [message])
        assert reader.feed(data[-1:]) == [message]


def test_the_examples_of_the_rfc() -> None:
    # RFC 6455 section 5.7
    plain, masked = FrameReader(masked=False), FrameReader(masked=True)
    assert plain.feed(bytes.fromhex("810548656c6c6f")) == ["Hello"]
    assert masked.feed(bytes.fromhex("818537fa213d7f9f4d5158")) == ["Hello"]
    assert plain.feed(bytes.fromhex("010348656c890080026c6f")) == [Ping(b""), "Hello"]


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("c100", CloseCode.PROTOCOL_ERROR),  # a reserved bit
        ("8180", CloseCode.PROTOCOL_ERROR),  # masked by a server
        ("8300", CloseCode.PROTOCOL_ERROR),  # unknown
        ("8b00", CloseCode.PROTOCOL_ERROR),
        ("0900", CloseCode.PROTOCOL_ERROR),  # a fragment of a ping
        ("897e", CloseCode.PROTOCOL_ERROR),  # a long ping
        ("8000", CloseCode.PROTOCOL_ERROR),  # goes on with nothing
        ("01008100", CloseCode.PROTOCOL_ERROR),  # one within another
        ("817e0001", CloseCode.PROTOCOL_ERROR),  # a length not in its shortest form
        ("817f0000000000000001", CloseCode.PROTOCOL_ERROR),
        ("827fffffffffffffffff", CloseCode.PROTOCOL_ERROR),
        ("880103", CloseCode.PROTOCOL_ERROR),
        ("880203ed", CloseCode.PROTOCOL_ERROR),  # 1005 is never sent
        ("8102c328", CloseCode.INVALID_PAYLOAD),
        ("827e03e9", CloseCode.TOO_BIG),
    ],
)
def test_frames_that_break_rules(frame: str, code: CloseCode) -> None:
    with pytest.raises(WebSocketError) as caught:
        FrameReader(masked=False, max_message=1000).feed(bytes.fromhex(frame))
    assert caught.value.code is code


def test_fragments_count_together() -> None:
    reader = FrameReader(masked=False, max_message=1000)
    reader.feed(bytes.fromhex("0200"))
    with pytest.raises(WebSocketError, match="more than 1000 bytes"):
        reader.feed(bytes.fromhex("0000") * 100)


def test_closing() -> None:
    reader = FrameReader(masked=False)
    assert reader.feed(encode_close(1001, "bye", masked=False)) == [Close(1001, "bye")]
    assert reader.feed(encode_close(1005, masked=False)) == [Close(1005, "")]
    (long,) = reader.feed(encode_close(1000, "ä" * 100, masked=False))
    assert long == Close(1000, "ä" * 61)
    with pytest.raises(ValueError, match="125 bytes"):
        encode_ping(b"x" * 126, masked=False)


@given(st.binary(max_size=64), st.booleans())
def test_hostile_frames(data: bytes, masked: bool) -> None:
    reader = FrameReader(masked=masked, max_message=100)
    try:
        reader.feed(data)
    except WebSocketError as error:
        assert error.reason
