"""aioquic's qlog writers: names that can be imported, and say what to do instead when used."""

from __future__ import annotations

from typing import Any

__all__ = ["QuicFileLogger", "QuicLogger"]


class QuicLogger:
    """Not supported: raises `NotImplementedError`."""

    def __init__(self, *_: Any) -> None:
        raise NotImplementedError(
            "tquic writes no qlog through aioquic's QuicLogger; leave quic_logger unset"
        )


class QuicFileLogger(QuicLogger):
    """Not supported: raises `NotImplementedError`."""
