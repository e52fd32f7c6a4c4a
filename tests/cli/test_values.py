"""Sizes, times and addresses as people write them."""

import pytest

from tquic.cli import values


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("17", 17),
        ("1K", 1000),
        ("10M", 10**7),
        ("1.5G", 1_500_000_000),
        ("1Ki", 1024),
        ("0.5Mi", 1 << 19),
        ("2GiB", 2 << 30),
        ("9007199254740993", 9007199254740993),
        ("4611686018427387903", (1 << 62) - 1),
    ],
)
def test_sizes(text: str, number: int) -> None:
    assert values.size(text) == number


@pytest.mark.parametrize("text", ["", "K", "-1", "1k", "1T", "1 000", "ten", "4611686018427387904"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|stream"):
        values.size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("1", 1.0), ("250us", 250e-6), ("5ms", 0.005), ("2s", 2.0), ("1.5m", 90)]
)
def test_times(text: str, seconds: float) -> None:
    assert values.duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1h", "-1s", "1 s"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="time"):
        values.duration(text)


def test_times_in_which_something_is_done() -> None:
    assert values.lasting("1us") == pytest.approx(1e-6)
    for text in ("0", "0.0ms"):
        with pytest.raises(ValueError, match="is no time above 0"):
            values.lasting(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost:4433", ("localhost", 4433)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:443", ("::1", 443)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert values.host_and_port(text) == address
    assert values.show_address(*address) == text


@pytest.mark.parametrize("text", ["localhost", "::1:443", ":443", "[]:1", "a:b", "a:65536", "a:-1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|port|brackets"):
        values.host_and_port(text)


def test_what_is_shown() -> None:
    assert values.show_size(0) == "0 bytes"
    assert values.show_size(1536) == "1.5 KiB"
    assert values.show_size(5 << 40) == "5120.0 GiB"
    assert values.show_rate(125) == "1.00 kbit/s"
    assert values.show_rate(125e6) == "1.00 Gbit/s"
    assert values.show_rate(50) == "400 bit/s"
