"""Connections whose streams are byte streams of anyio as well, and beginning them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from typing import cast

import tquic.connection
from tquic.anyio._home import at_home
from tquic.anyio.stream import Stream
from tquic.client import plan
from tquic.config import Config
from tquic.engine import Engine
from tquic.tls import TlsContext, settled

__all__ = ["Connection", "connect"]


class Connection(tquic.connection.Connection):
    """A QUIC connection; see `tquic.Connection`. Its streams are `anyio.abc.ByteStream` as well."""

    _stream_type = Stream

    def open_stream(self, *, unidirectional: bool = False) -> Stream:
        """Opens a stream, which can be written at once; see `tquic.Connection.open_stream`."""
        return cast(Stream, super().open_stream(unidirectional=unidirectional))

    async def accept_stream(self) -> Stream:
        """Waits for the next stream that the peer opens.

        Raises:
            ConnectionClosed: the connection is over, and all its streams were accepted.
        """
        return cast(Stream, await super().accept_stream())

    async def __anext__(self) -> Stream:
        return cast(Stream, await super().__anext__())


@contextlib.asynccontextmanager
async def connect(
    host: str,
    port: int,
    *,
    config: Config | None = None,
    tls: TlsContext | None = None,
    engine: Engine | None = None,
    local: str | tuple[str, int] | None = None,
    interface: str | None = None,
    wait: bool = True,
) -> AsyncGenerator[Connection, None]:
    """Connects to a server for the time of an ``async with``; see `tquic.connect`.

    Args:
        host: name or numeric address.
        port: UDP port.
        config: settings. Default `Config()`.
        tls: TLS settings, which come before those in `config`.
        engine: threads to use. Default: those of the process.
        local: numeric address (and port) to send from. Default: a socket shared by all.
        interface: network interface to send through; only together with `local`.
        wait: wait until the handshake is complete; see `tquic.connect`.

    Raises:
        ConnectionClosed: the handshake failed. The subclass says how.
        ConfigError: a setting cannot be used.
        OSError: the name is not known, or the local address is not ours.
    """
    config = settled(config, tls, server_side=False)
    how = plan(host, port, config, local, interface, wait)
    async with at_home(engine) as home, await how.connect(home, Connection) as connection:
        yield connection
