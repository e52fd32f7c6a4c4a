"""Values on the command line: sizes, times, addresses; and how numbers are shown to people."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TypeVar

from tquic._units import duration, host_and_port, port_number, size

__all__ = [
    "argument",
    "duration",
    "host_and_port",
    "lasting",
    "port_number",
    "positive",
    "show_address",
    "show_rate",
    "show_size",
    "size",
]

_T = TypeVar("_T")
# Of anything.
_MANY = 10**9


def lasting(text: str) -> float:
    """A time above 0, in seconds."""
    seconds = duration(text)
    if not seconds:
        raise ValueError(f"{text!r} is no time above 0")
    return seconds


def positive(text: str) -> int:
    """A number of things, at least one."""
    if not text.isascii() or not text.isdigit() or not int(text):
        raise ValueError(f"{text!r} is no number above 0")
    if int(text) > _MANY:
        raise ValueError(f"{text} is more than {_MANY}")
    return int(text)


def argument(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    """A parser as argparse wants it: its sentence is shown instead of "invalid value"."""

    def parsed(text: str) -> _T:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return parsed


def show_address(host: str, port: int) -> str:
    """The inverse of `host_and_port`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def show_size(number: float) -> str:
    """Bytes for people, in powers of 1024."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if number < 1024 or unit == "GiB":
            break
        number /= 1024
    return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"


def show_rate(bytes_per_second: float) -> str:
    """A rate for people, in bits as networks have it."""
    bits = bytes_per_second * 8
    for unit in ("bit/s", "kbit/s", "Mbit/s", "Gbit/s"):
        if bits < 1000 or unit == "Gbit/s":
            break
        bits /= 1000
    return f"{bits:.0f} {unit}" if bits >= 100 or unit == "bit/s" else f"{bits:.2f} {unit}"


def count(number: int, what: str) -> str:
    """``1 thread``, ``2 threads``."""
    return f"{number} {what}{'' if number == 1 else 's'}"
