"""Clients and servers for asyncio under aioquic's names."""

from tquic.compat.aioquic.asyncio.client import connect
from tquic.compat.aioquic.asyncio.protocol import QuicConnectionProtocol
from tquic.compat.aioquic.asyncio.server import serve

__all__ = ["QuicConnectionProtocol", "connect", "serve"]
