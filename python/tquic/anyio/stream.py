"""Streams that are byte streams of anyio as well."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping
from typing import Any, Self

import anyio
import anyio.abc
import anyio.lowlevel
from anyio.abc import SocketAttribute
from anyio.streams.tls import TLSAttribute

import tquic.stream
from tquic.errors import QuicError, StreamClosed

__all__ = ["Stream"]


class Stream(tquic.stream.Stream, anyio.abc.ByteStream):
    """One stream of a connection; see `tquic.Stream`, whose methods it has, too."""

    _closed_here = False

    def __aiter__(self) -> Self:
        """What is received, up to the end."""
        return self

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Receives up to `max_bytes` bytes, at least one.

        Raises:
            anyio.EndOfStream: the stream has ended.
            anyio.ClosedResourceError: this end has closed it, or stopped reading.
            anyio.BrokenResourceError: the peer gave it up, or the connection is over. The cause is
                the error of `tquic`.
            anyio.BusyResourceError: another task is receiving.
        """
        await anyio.lowlevel.checkpoint()
        if self._closed_here:
            raise anyio.ClosedResourceError
        if self._in.busy or self._in.file is not None:
            raise anyio.BusyResourceError("receiving from")
        with _translated():
            data = await self.read(max_bytes)
        if not data:
            raise anyio.EndOfStream
        return data

    async def send(self, item: bytes) -> None:
        """Sends all of `item`; waits until the engine has taken it.

        If it is cancelled, all of it is sent nevertheless.

        Raises:
            anyio.ClosedResourceError: this end has closed or finished it.
            anyio.BrokenResourceError: the peer does not want it, or the connection is over. The
                cause is the error of `tquic`.
        """
        await anyio.lowlevel.checkpoint()
        with _translated():
            await self.write(item)

    async def send_eof(self) -> None:
        """Ends the stream behind what was sent; receiving goes on."""
        with _translated():
            self.finish()
        await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        """Ends the stream behind what was sent, and gives up receiving."""
        self._closed_here = True
        if self.writable:
            self.finish()
        if self.readable and not self._in.over:
            self.stop()
        await anyio.lowlevel.checkpoint()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """Addresses (`SocketAttribute`) and what the handshake agreed on (`TLSAttribute`)."""
        connection = self.connection
        remote, info = connection.remote_address, connection.info
        family = socket.AF_INET6 if ":" in remote[0] else socket.AF_INET
        return {
            SocketAttribute.family: lambda: family,
            SocketAttribute.remote_address: lambda: remote,
            SocketAttribute.remote_port: lambda: remote[1],
            SocketAttribute.local_address: lambda: info.local,
            SocketAttribute.local_port: lambda: info.local and info.local[1],
            TLSAttribute.alpn_protocol: lambda: info.alpn,
            TLSAttribute.tls_version: lambda: "TLSv1.3",
            TLSAttribute.server_side: lambda: not connection.is_client,
            TLSAttribute.standard_compatible: lambda: True,
            TLSAttribute.peer_certificate_binary: lambda: next(iter(info.peer_certificates), None),
        }


@contextlib.contextmanager
def _translated() -> Any:
    try:
        yield
    except StreamClosed as error:
        raise anyio.ClosedResourceError(str(error)) from error
    except QuicError as error:
        raise anyio.BrokenResourceError(str(error)) from error
