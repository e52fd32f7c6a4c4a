"""WebTransport over HTTP/3 (draft-ietf-webtrans-http3): streams and datagrams of sessions that
share a connection with requests, for clients and servers. Experimental: names may change.

::

    async with await connection.webtransport("/chat") as session:
        stream = session.open_stream()
        await stream.write(b"hello")
        stream.finish()
        print(await stream.read())

Servers give `tquic.h3.serve` a `SessionHandler`.
"""

from tquic.h3._session_stream import Stream
from tquic.h3._sessions import Session, SessionClosed, SessionRefused
from tquic.h3.server._sessions import SessionHandler, SessionRequest

__all__ = [
    "Session",
    "SessionClosed",
    "SessionHandler",
    "SessionRefused",
    "SessionRequest",
    "Stream",
]
