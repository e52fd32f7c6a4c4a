"""A slice of `make soak`, and whether it would notice."""

from __future__ import annotations

import dataclasses
import sys

import pytest

soak = pytest.importorskip("soak")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@pytest.fixture(scope="module")
def result() -> soak.Soak:
    return soak.soak(15.0, seed=2, shown=False)


def test_nothing_is_lost(result: soak.Soak) -> None:
    assert result.problems() == []
    tally = result.tally
    assert tally.opened == tally.closed > 100
    # Those of the warm-up are among them at both ends, and churned ones come to the first port.
    assert result.accepted >= tally.opened
    assert tally.bytes > 1_000_000
    assert set(tally.done) == {
        "streams", "datagrams", "resets", "migrations", "paths", "key updates", "requests",
        "handshakes alone",
    }  # fmt: skip
    assert len(result.samples) > 10


def test_what_goes_wrong_is_told(result: soak.Soak) -> None:
    tally = dataclasses.replace(result.tally, closed=result.tally.closed - 1)
    for change, word in (
        ({"tally": tally}, "closed"),
        ({"left": 1}, "still has 1 connections"),
        ({"panics": 2}, "2 panics"),
        ({"descriptors": ((5, 5), (5, 6))}, "descriptors"),
        ({"seconds": 1800.0, "slopes": (0.0, 1.5)}, "memory grows"),
    ):
        (problem,) = dataclasses.replace(result, **change).problems()
        assert word in problem
    assert dataclasses.replace(result, slopes=(9.0, 9.0)).problems() == []


def test_the_slope_is_that_of_a_line(result: soak.Soak) -> None:
    first = result.samples[0]
    # 100 MB that grow by 1 MB in an hour, after a jump that does not count.
    sizes = [50e6] + [100e6 + 1e6 * n / 60 for n in range(1, 61)]
    samples = [
        dataclasses.replace(first, at=60.0 * n, resident=(int(size), 1))
        for n, size in enumerate(sizes)
    ]
    assert soak.slope(samples, 0) == pytest.approx(1.0, rel=0.02)
    assert soak.slope(samples, 1) == 0


def test_the_page(result: soak.Soak) -> None:
    table = soak.table(result)
    assert f"{result.tally.opened:,}, {result.tally.closed:,}" in table
    assert all(line.startswith("|") for line in table.split("\n\n")[0].splitlines())
