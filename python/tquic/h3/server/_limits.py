"""What one client may take from a server."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tquic.errors import ConfigError

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a server; what is above is refused, and the connection goes on if it can.

    Raises:
        ConfigError: a value is negative, or no number.
    """

    header_size: int = 32 * 1024
    """Bytes of a request's header section, by the count of RFC 9114 section 4.2.2; trailers have as
    many again. Above: status 431. Default 32 KiB."""

    body_size: int = 1 << 40
    """Bytes of a request's body. Above: status 413. Default 1 TiB."""

    streams: int = 128
    """Requests of one connection at a time; it stands in `Config.max_bidi_streams` for the
    transport, which makes clients wait. Default 128."""

    sessions: int = 16
    """WebTransport sessions of one connection at a time, if there are any. Above:
    H3_REQUEST_REJECTED. Default 16."""

    session_data: int = 8 << 20
    """Bytes that a client may send on the streams of one session beyond what was read; see
    `tquic.h3.settings.SessionLimits`. Above: the session ends with WT_FLOW_CONTROL_ERROR. Default 8
    MiB."""

    session_bidi_streams: int = 100
    """Bidirectional streams of the client in one session at a time, in the same way. Default
    100."""

    session_uni_streams: int = 100
    """Unidirectional streams of the client in one session at a time, in the same way. Default
    100."""

    resets: int = 200
    """Requests that a client may give up within 10 s before they were answered; more close the
    connection with H3_EXCESSIVE_LOAD. Default 200."""

    header_time: float = 10.0
    """Seconds from the beginning of a request to the end of its headers. Default 10 s; 0: any."""

    discard_size: int = 16 << 20
    """Bytes of a request's body that are read and thrown away behind a complete response: Chromium
    looks at no response before it has sent its request. Above, or if Content-Length says that
    there is more: STOP_SENDING with H3_NO_ERROR (RFC 9114 section 4.1). Default 16 MiB; 0: that is
    sent at once."""

    discard_time: float = 30.0
    """Seconds for it. Above: as for `discard_size`. Default 30 s; 0: any."""

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
                raise ConfigError(f"{setting.name} must be a number, not negative")
