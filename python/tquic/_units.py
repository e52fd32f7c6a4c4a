"""Values in text: sizes, times, addresses. Used by the command line and by configuration."""

from __future__ import annotations

import re

__all__ = ["duration", "host_and_port", "port_number", "size"]

_SIZES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}
_NUMBER = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>[A-Za-z]*)")
# What a stream can carry (RFC 9000 section 2.2).
_MAX_SIZE = (1 << 62) - 1


def size(text: str) -> int:
    """Bytes: a number and K, M, G (powers of 1000) or Ki, Mi, Gi (powers of 1024)."""
    match = _NUMBER.fullmatch(text.strip())
    unit = match and _SIZES.get(match["unit"].removesuffix("B"))
    if not match or not unit:
        raise ValueError(f"{text!r} is no size: write a number and K, M, G, Ki, Mi or Gi")
    # Exact for what people write, also above 2**53.
    whole, _, fraction = match["number"].partition(".")
    number: int = int(whole) * unit + int(fraction or "0") * unit // 10 ** len(fraction)
    if number > _MAX_SIZE:
        raise ValueError(f"{text!r} is more than a stream can carry, 2^62-1 bytes")
    return number


def duration(text: str) -> float:
    """Seconds: a number and us, ms, s or m; a bare number means seconds."""
    match = _NUMBER.fullmatch(text.strip())
    unit = match and _TIMES.get(match["unit"] or "s")
    if not match or not unit:
        raise ValueError(f"{text!r} is no time: write a number and us, ms, s or m")
    return float(match["number"]) * unit


def host_and_port(text: str) -> tuple[str, int]:
    """``HOST:PORT``; an IPv6 address stands in brackets."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address stands in brackets, [::1]:4433")
    if not colon or not host:
        raise ValueError(f"{text!r} is not HOST:PORT")
    return host, port_number(port)


def port_number(text: str) -> int:
    """A UDP port; 0 lets the system choose one."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise ValueError(f"{text!r} is no port: write a number from 0 to 65535")
    return int(text)
