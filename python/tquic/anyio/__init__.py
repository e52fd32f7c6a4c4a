"""tquic for anyio: the same connections and streams on asyncio and on trio.

Needs the package `anyio` (``pip install tquic[anyio]``)::

    async with tquic.anyio.connect("example.com", 4433) as conn:
        async with conn.open_stream() as stream:
            await stream.send(b"hello")
            await stream.send_eof()
            print(await stream.receive())

Connections are those of `tquic`; their streams are `anyio.abc.ByteStream` as well. HTTP/3 is in
`tquic.anyio.h3`, for clients.
"""

from tquic.anyio.connection import Connection, connect
from tquic.anyio.server import Server, serve
from tquic.anyio.stream import Stream

__all__ = ["Connection", "Server", "Stream", "connect", "serve"]
