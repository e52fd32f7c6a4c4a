"""Files for other programs: requests one by one as CSV, histograms as HdrHistogram logs."""

from __future__ import annotations

import base64
import struct
import time
import zlib
from collections.abc import Iterator
from typing import Any, Final, Protocol

from tquic._engine import Histogram
from tquic.many import Cause, EventKind, unpack_events

__all__ = ["CSV_FIELDS", "HlogWriter", "csv_rows", "encode_histogram"]

CSV_FIELDS: Final = (
    *("time_s", "latency_us", "service_us", "first_byte_us", "status", "bytes"),
    *("connection", "stream", "error"),
)
"""The columns of `csv_rows`."""

# Begins what is compressed, in version 2.
_COMPRESSED: Final = 0x1C849314


def encode_histogram(histogram: Histogram) -> str:
    """A histogram as HdrHistogram writes it into logs: compressed, in base64."""
    compressed = zlib.compress(histogram.to_hdr())
    header = struct.pack(">ii", _COMPRESSED, len(compressed))
    return base64.b64encode(header + compressed).decode()


class _Writable(Protocol):
    def write(self, text: str, /) -> object: ...


class HlogWriter:
    """Writes an HdrHistogram log: a line for each interval, values in nanoseconds.

    Args:
        file: a text file; the header is written at once.
    """

    def __init__(self, file: _Writable) -> None:
        self._file = file
        self._start = self._last = time.time()
        self._seen = Histogram()
        began = time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime(self._start))
        file.write("#[Histogram log format version 1.3]\n")
        file.write(f"#[StartTime: {self._start:.3f} (seconds since epoch), {began}]\n")
        file.write('"StartTimestamp","Interval_Length","Interval_Max",')
        file.write('"Interval_Compressed_Histogram"\n')

    def write(self, histogram: Histogram) -> None:
        """The interval since the last line, at whose end `histogram` has all counts."""
        now = time.time()
        new = histogram.since(self._seen)
        start, length = self._last - self._start, now - self._last
        # By convention the largest value stands in milliseconds there.
        largest = f"{new.max_ns / 1e6:.3f}"
        self._file.write(f"{start:.3f},{length:.3f},{largest},{encode_histogram(new)}\n")
        self._last, self._seen = now, histogram


def csv_rows(batch: Any, started_ns: int) -> Iterator[tuple[Any, ...]]:
    """Rows of `CSV_FIELDS` for the responses in a batch of `Load.poll_batch`.

    `started_ns`: the begin of the run, from which ``time_s`` counts.
    """
    for event in unpack_events(batch):
        if event.kind != EventKind.RESPONSE:
            continue
        error = "" if event.cause == Cause.NONE else Cause(event.cause).name.lower()
        yield (
            f"{(event.time_ns - started_ns) / 1e9:.6f}",
            event.latency_ns / 1e3,
            event.service_ns / 1e3,
            event.first_byte_ns / 1e3 if event.first_byte_ns >= 0 else "",
            event.status or "",
            event.bytes,
            event.connection,
            event.stream,
            error,
        )
