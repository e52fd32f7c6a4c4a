"""Asking a server for a WebTransport session (section numbers: draft-ietf-webtrans-http3-16)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tquic.errors import ConfigError
from tquic.h3._sessions import SessionClosed
from tquic.h3._webtransport import PROTOCOL, PROTOCOL_16, encode_strings
from tquic.h3._wire import Exchange, Wire
from tquic.h3.errors import LocalProtocolError
from tquic.h3.fields import Field
from tquic.h3.settings import SessionLimits, Settings

if TYPE_CHECKING:
    from tquic.config import Config
    from tquic.h3._sessions import Session

__all__ = ["begin", "check_server", "client_settings", "session_fields", "session_token"]

# What a client announces: any number says that it knows WebTransport (version 7, section 3.1).
_SESSIONS: Final = 1


def client_settings(config: Config, settings: Settings | None) -> Settings:
    """What a client announces: by default, so that it may ask for sessions later.

    Raises:
        ConfigError: it has not what it would announce.
    """
    if settings is not None:
        if settings.h3_datagram and not config.max_datagram_frame_size:
            raise ConfigError("h3_datagram needs datagrams: max_datagram_frame_size is 0")
        if settings.session_limits is not None and not config.reset_stream_at:
            raise ConfigError("session_limits needs reset_stream_at")
        return settings
    if not config.max_datagram_frame_size:
        # RFC 9297 section 2.1.1: it would be a lie.
        return Settings()
    # Section 3.1: version 16 relies on RESET_STREAM_AT.
    limits = SessionLimits() if config.reset_stream_at else None
    return Settings(h3_datagram=True, webtransport=_SESSIONS, session_limits=limits)


def check_server(wire: Wire) -> None:
    """Section 3.1: what a server must have announced.

    Raises:
        LocalProtocolError: it has not, or it takes no other session now.
    """
    settings = wire.h3.peer_settings
    if settings is None or not settings.webtransport or not settings.enable_connect_protocol:
        raise LocalProtocolError("the server does not take WebTransport sessions")
    if wire.h3.settings.h3_datagram and not wire.h3.settings.webtransport:
        raise LocalProtocolError("this client's settings say that it makes no sessions")
    if not wire.h3.settings.webtransport or not wire.max_datagram_size:
        raise LocalProtocolError("WebTransport needs datagrams, which one of the ends refuses")
    if wire.h3.session_version == 16:
        if not wire.can_reset_at:
            raise LocalProtocolError("the server has WebTransport without RESET_STREAM_AT")
        if wire.sessions.alone and wire.sessions.active:
            # Section 5.1
            raise LocalProtocolError("without flow control there is one session at a time")


def session_token(wire: Wire) -> str:
    """What a request for a session says that it wants (section 9.1)."""
    return (PROTOCOL_16 if wire.h3.session_version == 16 else PROTOCOL).decode()


def session_fields(wire: Wire, protocols: Sequence[str]) -> list[Field]:
    """The fields of a request for a session that are not the application's."""
    fields: list[Field] = []
    if wire.h3.session_version == 2:
        # Version 2, section 3.3
        fields.append((b"sec-webtransport-http3-draft02", b"1"))
    if protocols:
        fields.append((b"wt-available-protocols", encode_strings(tuple(protocols))))
    return fields


async def begin(exchange: Exchange, protocols: Sequence[str]) -> Session:
    """Waits for the answer to a request for a session.

    Raises:
        SessionRefused: it is no.
        SessionClosed: the server chose a protocol that was not offered.
        RequestFailed: the server gave the request up.
        ConnectionClosed: the connection is over.
    """
    wire = exchange.wire
    session = wire._session_type(wire, exchange, exchange.id, offered=protocols)
    wire.sessions.add(session)
    try:
        await exchange.wait_head()
    except BaseException as cause:
        exchange.cancel()
        session._end(SessionClosed(None, str(cause), by="local"))
        raise
    if session._refused is not None:
        raise session._refused
    return session
