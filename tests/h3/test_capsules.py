"""Capsules: RFC 9297 section 3."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tquic.h3 import ErrorCode, H3Error
from tquic.h3.capsules import DATAGRAM, Capsule, CapsuleDecoder, encode_capsule

capsules = st.lists(
    st.builds(Capsule, st.integers(0, (1 << 62) - 1), st.binary(max_size=100)), max_size=6
)


@given(capsules, st.lists(st.integers(0, 700), max_size=6))
def test_cut_anywhere(expected: list[Capsule], cuts: list[int]) -> None:
    data = b"".join(encode_capsule(*capsule) for capsule in expected)
    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    decoder, found = CapsuleDecoder(), []
    for start, end in itertools.pairwise(places):
        found += decoder.read(data[start:end])
    decoder.finish()
    assert found == expected


def test_bounds() -> None:
    decoder = CapsuleDecoder(10)
    assert decoder.read(encode_capsule(DATAGRAM, bytes(10))) == [Capsule(0, bytes(10))]
    with pytest.raises(H3Error) as caught:
        # As soon as it is announced.
        decoder.read(b"\x00\x0b")
    assert caught.value.code is ErrorCode.H3_EXCESSIVE_LOAD


@pytest.mark.parametrize("data", [b"\x00", b"\x40", b"\x00\x01", b"\x00\x02x"])
def test_cut_off(data: bytes) -> None:
    decoder = CapsuleDecoder()
    assert decoder.read(data) == []
    with pytest.raises(H3Error) as caught:
        decoder.finish()
    assert caught.value.code is ErrorCode.H3_MESSAGE_ERROR
